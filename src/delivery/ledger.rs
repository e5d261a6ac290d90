//! What is held for all connections of the process: bytes that wait for clients, and those of clients that wait for us.
//!
//! The bytes answer for themselves: [`hold`] enters them, and whoever drops the last share of them gives them back, be it an
//! outbox, the library that speaks HTTP/2, or an end that nobody has thought of. What grows in place has a [`Charge`]. Bytes that
//! many connections share are entered once. Does not know whose anything is, nor what is too much. Invariant: what has been
//! entered is given back exactly once.

use std::cell::Cell;

use bytes::Bytes;

#[cfg(not(test))]
mod total {
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// One for the process, as its memory is.
    static HELD: AtomicUsize = AtomicUsize::new(0);

    pub(super) fn enter(bytes: usize) {
        HELD.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn give_back(bytes: usize) {
        HELD.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(super) fn now() -> usize {
        HELD.load(Ordering::Relaxed)
    }
}

/// Each test has its own.
#[cfg(test)]
mod total {
    use std::cell::Cell;

    thread_local! {
        static HELD: Cell<isize> = const { Cell::new(0) };
    }

    pub(super) fn enter(bytes: usize) {
        HELD.set(HELD.get() + bytes as isize);
    }

    pub(super) fn give_back(bytes: usize) {
        HELD.set(HELD.get() - bytes as isize);
    }

    pub(super) fn now() -> usize {
        HELD.get().max(0) as usize
    }
}

/// Bytes that are held now.
pub fn held() -> usize {
    total::now()
}

/// Bytes that count until the last share of them is dropped.
pub fn hold(bytes: impl Into<Bytes>) -> Bytes {
    let bytes = bytes.into();
    if bytes.is_empty() {
        return bytes;
    }
    total::enter(bytes.len());
    Bytes::from_owner(Held(bytes))
}

struct Held(Bytes);

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        total::give_back(self.0.len());
    }
}

/// What somebody holds in a place that grows and shrinks.
#[derive(Debug, Default)]
pub struct Charge(Cell<u32>);

impl Charge {
    /// It is so many bytes now.
    pub fn set(&self, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let before = self.0.replace(bytes);
        if bytes > before {
            total::enter((bytes - before) as usize);
        } else if bytes < before {
            total::give_back((before - bytes) as usize);
        }
    }

    /// How many bytes it is.
    pub fn get(&self) -> usize {
        self.0.get() as usize
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Hold(usize),
        Share(usize),
        Cut(usize, usize),
        Drop(usize),
        Charge(usize, usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0usize..50).prop_map(Step::Hold),
            any::<usize>().prop_map(Step::Share),
            (any::<usize>(), 0usize..50).prop_map(|(which, at)| Step::Cut(which, at)),
            any::<usize>().prop_map(Step::Drop),
            (0usize..4, 0usize..100).prop_map(|(which, bytes)| Step::Charge(which, bytes)),
        ]
    }

    proptest! {
        #[test]
        fn what_is_entered_is_there_as_long_as_any_share_of_it_and_no_longer(
            steps in prop::collection::vec(step(), 0..60),
        ) {
            prop_assert_eq!(held(), 0);
            let charges: [Charge; 4] = Default::default();
            // Shares, each with the number of what it is of.
            let mut shares: Vec<(usize, Bytes)> = Vec::new();
            let mut entered = Vec::new();
            for step in steps {
                match step {
                    Step::Hold(length) => {
                        shares.push((entered.len(), hold(vec![0; length])));
                        entered.push(length);
                    }
                    Step::Share(which) if !shares.is_empty() => shares.push(shares[which % shares.len()].clone()),
                    Step::Cut(which, at) if !shares.is_empty() => {
                        let index = which % shares.len();
                        let (of, share) = &mut shares[index];
                        let (of, rest) = (*of, share.split_off(at.min(share.len())));
                        shares.push((of, rest));
                    }
                    Step::Drop(which) if !shares.is_empty() => drop(shares.swap_remove(which % shares.len())),
                    Step::Charge(which, bytes) => charges[which].set(bytes),
                    _ => {}
                }
                let alive = |of: &usize| shares.iter().any(|(share, bytes)| share == of && !bytes.is_empty());
                let least: usize = (0..entered.len()).filter(alive).map(|of| entered[of]).sum();
                let most: usize =
                    (0..entered.len()).filter(|of| shares.iter().any(|(share, _)| share == of)).map(|of| entered[of]).sum();
                let charged: usize = charges.iter().map(Charge::get).sum();
                // A share of no bytes may keep what it was cut from, and need not.
                prop_assert!((least + charged..=most + charged).contains(&held()));
            }
            drop((shares, charges));
            prop_assert_eq!(held(), 0);
        }
    }
}
