//! The seats of a worker: how many of `worker_connections` its connections take.
//!
//! A connection has one from accept on, whatever comes of it; streams of HTTP/2 have none, they are part of one. Invariant: a
//! seat is free again whatever ends the connection.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use super::address::{Home, Resident};
use crate::metrics::Counts;

/// The seats of one worker.
#[derive(Debug)]
pub(super) struct Seats {
    counts: Arc<Counts>,
    taken: Cell<usize>,
}

impl Seats {
    pub(super) fn new(counts: Arc<Counts>) -> Rc<Self> {
        Rc::new(Self { counts, taken: Cell::new(0) })
    }

    pub(super) fn taken(&self) -> usize {
        self.taken.get()
    }

    pub(super) fn take(self: &Rc<Self>) -> Seat {
        self.take_for(None)
    }

    pub(super) fn take_for(self: &Rc<Self>, resident: Option<Resident>) -> Seat {
        self.taken.set(self.taken.get() + 1);
        self.counts.seated.add(1);
        Seat { place: Place(Rc::clone(self)), home: resident.map(Home::of).map(Box::new) }
    }
}

/// One of `worker_connections`, taken at accept and free again when it is dropped.
#[derive(Debug)]
pub struct Seat {
    pub(super) place: Place,
    /// What it is to its address, if addresses are counted.
    pub(super) home: Option<Box<Home>>,
}

/// What a seat counts for.
#[derive(Debug)]
pub(super) struct Place(Rc<Seats>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.taken.set(self.0.taken.get().saturating_sub(1));
        self.0.counts.left.add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seat_is_free_again_when_it_is_dropped() {
        let seats = Seats::new(Arc::default());
        let (first, second) = (seats.take(), seats.take());
        assert_eq!((seats.taken(), seats.counts.seated.get(), seats.counts.left.get()), (2, 2, 0));
        drop(first);
        assert_eq!(seats.taken(), 1);
        drop(second);
        assert_eq!((seats.taken(), seats.counts.seated.get(), seats.counts.left.get()), (0, 2, 2));
    }
}
