//! The addresses of clients: how many connections each has, and how much is held for it.
//!
//! Nobody is counted unless a bound is set. An address of IPv6 is its network of 64 bits, which is what one customer has. Does
//! not know who is exempt. Invariant: an address without connections leaves nothing behind.

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hashbrown::HashMap;
use parking_lot::Mutex;

/// What one address may have; 0: any amount.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AddressBounds {
    /// Connections.
    pub connections: usize,
    /// Bytes held for it.
    pub memory: usize,
}

/// All addresses that have connections.
#[derive(Debug, Default)]
pub struct Addresses {
    households: Mutex<HashMap<IpAddr, Arc<Household>>>,
}

/// One address.
#[derive(Debug, Default)]
struct Household {
    /// Changed under the lock only.
    connections: AtomicUsize,
    held: AtomicUsize,
}

/// A connection of an address.
#[derive(Debug)]
pub(super) struct Resident {
    addresses: Arc<Addresses>,
    address: IpAddr,
    household: Arc<Household>,
}

impl Addresses {
    /// Takes a connection in, if its address may have one more.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr, bounds: AddressBounds) -> Result<Resident, TooMany> {
        let address = network(address);
        let mut households = self.households.lock();
        let household = households.entry(address).or_default();
        if bounds.connections != 0 && household.connections.load(Ordering::Relaxed) >= bounds.connections {
            return Err(TooMany);
        }
        household.connections.fetch_add(1, Ordering::Relaxed);
        let household = Arc::clone(household);
        Ok(Resident { addresses: Arc::clone(self), address, household })
    }
}

/// An address has as many connections as it may have.
#[derive(Debug, PartialEq, Eq)]
pub struct TooMany;

fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address @ IpAddr::V4(_) => address,
    }
}

impl Resident {
    /// A share of what is held for the address.
    fn share(&self) -> Share {
        Share { household: Arc::clone(&self.household), held: Cell::new(0) }
    }
}

impl Drop for Resident {
    fn drop(&mut self) {
        let mut households = self.addresses.households.lock();
        if self.household.connections.fetch_sub(1, Ordering::Relaxed) == 1 {
            households.remove(&self.address);
        }
    }
}

/// What a connection is to its address.
#[derive(Debug)]
pub(super) struct Home {
    pub(super) share: Share,
    /// A connection has one until it is let go, its streams have none.
    pub(super) resident: RefCell<Option<Resident>>,
}

impl Home {
    pub(super) fn of(resident: Resident) -> Self {
        Self { share: resident.share(), resident: RefCell::new(Some(resident)) }
    }

    /// That of a stream of the same connection.
    pub(super) fn beside(&self) -> Self {
        let share = Share { household: Arc::clone(&self.share.household), held: Cell::new(0) };
        Self { share, resident: RefCell::new(None) }
    }
}

/// What is held for one connection or stream of an address.
#[derive(Debug)]
pub(super) struct Share {
    household: Arc<Household>,
    held: Cell<usize>,
}

impl Share {
    /// It is so many bytes now; returns how many are held for the address.
    pub(super) fn set(&self, bytes: usize) -> usize {
        let before = self.held.replace(bytes);
        // Wraps around where it shrinks.
        let change = bytes.wrapping_sub(before);
        self.household.held.fetch_add(change, Ordering::Relaxed).wrapping_add(change)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_network_of_64_bits_is_one_address_and_an_ipv4_client_of_an_ipv6_socket_is_its_own() {
        let is = |a: &str, b: &str| network(a.parse().unwrap()) == network(b.parse().unwrap());
        assert!(is("2001:db8::1", "2001:db8::ffff:1"));
        assert!(!is("2001:db8:0:1::1", "2001:db8::1"));
        assert!(is("::ffff:10.0.0.1", "10.0.0.1"));
        assert!(!is("::ffff:10.0.0.1", "::ffff:10.0.0.2"));
    }

    proptest! {
        #[test]
        fn connections_and_bytes_of_every_address_are_those_of_who_is_there(
            steps in prop::collection::vec((0u8..3, any::<prop::sample::Index>(), 0usize..100), 0..80),
        ) {
            let addresses = Arc::new(Addresses::default());
            let bounds = AddressBounds { connections: 4, memory: 0 };
            let mut there: Vec<(u8, Resident, Share, usize)> = Vec::new();
            for (who, index, bytes) in steps {
                let of = |who: u8, there: &[(u8, Resident, Share, usize)]| -> (usize, usize) {
                    let own = there.iter().filter(|resident| resident.0 == who);
                    own.fold((0, 0), |(count, sum), resident| (count + 1, sum + resident.3))
                };
                match bytes % 3 {
                    0 => {
                        let entered = addresses.enter(IpAddr::from([10, 0, 0, who]), bounds);
                        prop_assert_eq!(entered.is_ok(), of(who, &there).0 < 4);
                        there.extend(entered.map(|resident| {
                            let share = resident.share();
                            (who, resident, share, 0)
                        }));
                    }
                    1 if !there.is_empty() => drop(there.swap_remove(index.index(there.len()))),
                    2 if !there.is_empty() => {
                        let at = index.index(there.len());
                        there[at].3 = bytes;
                        let sum = there[at].2.set(bytes);
                        prop_assert_eq!(sum, of(there[at].0, &there).1);
                    }
                    _ => {}
                }
            }
            drop(there);
            prop_assert!(addresses.households.lock().is_empty());
        }
    }
}
