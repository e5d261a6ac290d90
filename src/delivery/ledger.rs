//! What is held for all connections of the process: bytes that wait for clients, and those of clients that wait for us.
//!
//! The bytes answer for themselves: [`hold`] enters them, and whoever drops the last share of them gives them back, be it an
//! outbox, the library that speaks HTTP/2, or an end that nobody has thought of. What grows in place has a [`Charge`]. Bytes that
//! many connections share are entered once. A second sum ([`Leaving`]) holds the part of it that will be gone in a
//! moment, since whoever has it was told to go. Does not know whose anything is, nor what is too much. Invariant: what has been entered is given
//! back exactly once.

use std::cell::Cell;

use bytes::Bytes;

/// What is summed up.
#[derive(Clone, Copy)]
enum Sum {
    Held,
    /// What of it will be gone in a moment.
    Leaving,
}

#[cfg(not(test))]
mod total {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::Sum;

    /// For the process, as its memory is.
    static HELD: AtomicUsize = AtomicUsize::new(0);
    static LEAVING: AtomicUsize = AtomicUsize::new(0);

    fn of(sum: Sum) -> &'static AtomicUsize {
        match sum {
            Sum::Held => &HELD,
            Sum::Leaving => &LEAVING,
        }
    }

    pub(super) fn enter(sum: Sum, bytes: usize) {
        of(sum).fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn give_back(sum: Sum, bytes: usize) {
        of(sum).fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(super) fn now(sum: Sum) -> usize {
        of(sum).load(Ordering::Relaxed)
    }
}

/// Each test has its own.
#[cfg(test)]
mod total {
    use std::cell::Cell;

    use super::Sum;

    thread_local! {
        static SUMS: [Cell<isize>; 2] = const { [Cell::new(0), Cell::new(0)] };
    }

    pub(super) fn enter(sum: Sum, bytes: usize) {
        SUMS.with(|sums| sums[sum as usize].set(sums[sum as usize].get() + bytes as isize));
    }

    pub(super) fn give_back(sum: Sum, bytes: usize) {
        SUMS.with(|sums| sums[sum as usize].set(sums[sum as usize].get() - bytes as isize));
    }

    pub(super) fn now(sum: Sum) -> usize {
        SUMS.with(|sums| sums[sum as usize].get().max(0) as usize)
    }
}

/// Bytes that are held now.
pub fn held() -> usize {
    total::now(Sum::Held)
}

/// Those of them that stay when all have gone that were told to, whichever worker told them.
pub(super) fn staying() -> usize {
    held().saturating_sub(total::now(Sum::Leaving))
}

/// Enters bytes whose owner knows how many they are when it gives them back.
pub(super) fn enter(bytes: usize) {
    total::enter(Sum::Held, bytes);
}

/// Gives back what was entered so.
pub(super) fn give_back(bytes: usize) {
    total::give_back(Sum::Held, bytes);
}

/// Bytes that count until the last share of them is dropped.
pub fn hold(bytes: impl Into<Bytes>) -> Bytes {
    let bytes = bytes.into();
    if bytes.is_empty() {
        return bytes;
    }
    total::enter(Sum::Held, bytes.len());
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
        total::give_back(Sum::Held, self.0.len());
    }
}

/// What somebody holds in a place that grows and shrinks.
pub type Charge = Account<false>;

/// What will be gone in a moment of what somebody holds.
pub(super) type Leaving = Account<true>;

/// A part of a sum.
#[derive(Debug, Default)]
pub struct Account<const LEAVING: bool>(Cell<u32>);

impl<const LEAVING: bool> Account<LEAVING> {
    const SUM: Sum = if LEAVING { Sum::Leaving } else { Sum::Held };

    /// It is so many bytes now.
    pub fn set(&self, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let before = self.0.replace(bytes);
        if bytes > before {
            total::enter(Self::SUM, (bytes - before) as usize);
        } else if bytes < before {
            total::give_back(Self::SUM, (before - bytes) as usize);
        }
    }

    /// How many bytes it is.
    pub fn get(&self) -> usize {
        self.0.get() as usize
    }
}

impl<const LEAVING: bool> Drop for Account<LEAVING> {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// What is held for a client beside its outbox and its stream.
#[derive(Default)]
pub(super) struct Holding {
    /// Bytes of the client that nobody has dealt with.
    pub(super) input: Charge,
    /// What its subscription takes, for a compressor and for channels, which is entered elsewhere.
    pub(super) subscription: Cell<u32>,
    /// All that is held for one that was told to go, until it has gone.
    pub(super) leaving: Leaving,
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
