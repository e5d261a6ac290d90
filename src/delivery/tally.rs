//! What is counted about connections: how many there are, what they are doing, and why they were cut off.
//!
//! Shared by all workers. A connection is counted from accept on by its [`Seat`], whatever comes of it; streams of HTTP/2 have
//! none, they are part of one. Invariant: what goes up with a connection goes down with it, whatever ends it.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::address::{Addresses, Home, Resident};

/// What happens at all workers; all but the first four are only ever counted up.
#[derive(Debug, Default)]
pub struct Tally {
    /// Connections that are open, from accept on.
    pub connections: AtomicUsize,
    /// Connections that have sent part of a request's head.
    pub reading: AtomicUsize,
    /// Requests that are being answered, waiting subscribers included.
    pub writing: AtomicUsize,
    /// Connections that wait for a request.
    pub waiting: AtomicUsize,
    /// Connections accepted.
    pub accepted: AtomicU64,
    /// Connections accepted and closed at once, because `worker_connections` were in use.
    pub turned_away: AtomicU64,
    /// Requests begun.
    pub requests: AtomicU64,
    /// Subscribers cut off because they did not read: over the byte budget.
    pub too_slow: AtomicU64,
    /// Connections cut off because the peer took nothing for `send_timeout`.
    pub send_timeouts: AtomicU64,
    /// Connections cut off because too much was held for all of them, or for their address.
    pub over_memory: AtomicU64,
    /// Bodies that were not taken because too much was held.
    pub refused_bodies: AtomicU64,
    /// Connections closed at once, because their address had as many as it may have.
    pub crowded_addresses: AtomicU64,
    /// Messages handed to subscribers.
    pub deliveries: AtomicU64,
    /// Connections that ended by a panic below them: mistakes of ours.
    pub panics: AtomicU64,
    /// Reloads.
    pub reloads: AtomicU64,
    /// Who is counted by address.
    pub(super) addresses: Arc<Addresses>,
    /// Ids of the workers' threads.
    threads: Mutex<Vec<u32>>,
}

/// No process or thread of Linux has an id as great as this.
const BEYOND_IDS: u64 = 1 << 22;
/// Reloads after which the numbers of workers begin anew: they stay below what 32 bits hold.
const NUMBERED: u64 = 500;

/// What a connection is doing, in the words of `stub_status`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Activity {
    /// It has sent nothing yet.
    Fresh,
    /// Part of a head has come.
    Reading,
    /// A request is being answered.
    Writing,
    /// Between requests.
    Idle,
    /// It carries streams of HTTP/2, which count themselves.
    Carrying,
}

impl Activity {
    /// Whether the connection waits for a request.
    pub fn is_waiting(self) -> bool {
        matches!(self, Self::Fresh | Self::Idle)
    }
}

impl Tally {
    /// Notes which thread worker `index` is.
    pub fn note_thread(&self, index: usize, thread: u32) {
        let mut threads = self.threads.lock();
        let length = threads.len().max(index + 1);
        threads.resize(length, 0);
        if let Some(place) = threads.get_mut(index) {
            *place = thread;
        }
    }

    /// What stands for the process id of a worker, which nginx's workers have and ours do not: the id of its thread, and
    /// after each reload, when nginx's are new ones, another number that no process can have.
    pub fn worker_number(&self, index: usize) -> u64 {
        let thread = self.threads.lock().get(index).copied().unwrap_or_else(std::process::id);
        u64::from(thread) + self.reloads.load(Ordering::Relaxed) % NUMBERED * BEYOND_IDS
    }

    /// Counts a connection that a panic has ended. What it was has been told by whoever hears of panics first.
    pub fn count_panic(&self) {
        self.panics.fetch_add(1, Ordering::Relaxed);
        tracing::error!("push stream module: a connection was ended by a mistake of the server");
    }

    pub(super) fn begin(&self, activity: Activity) {
        if let Some(count) = self.doing(activity) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn end(&self, activity: Activity) {
        if let Some(count) = self.doing(activity) {
            count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn doing(&self, activity: Activity) -> Option<&AtomicUsize> {
        match activity {
            Activity::Fresh | Activity::Idle => Some(&self.waiting),
            Activity::Reading => Some(&self.reading),
            Activity::Writing => Some(&self.writing),
            Activity::Carrying => None,
        }
    }
}

/// The seats of one worker.
#[derive(Debug)]
pub(super) struct Seats {
    tally: Arc<Tally>,
    taken: Cell<usize>,
}

impl Seats {
    pub(super) fn new(tally: Arc<Tally>) -> Rc<Self> {
        Rc::new(Self { tally, taken: Cell::new(0) })
    }

    pub(super) fn taken(&self) -> usize {
        self.taken.get()
    }

    pub(super) fn take(self: &Rc<Self>) -> Seat {
        self.take_for(None)
    }

    pub(super) fn take_for(self: &Rc<Self>, resident: Option<Resident>) -> Seat {
        self.taken.set(self.taken.get() + 1);
        self.tally.connections.fetch_add(1, Ordering::Relaxed);
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
        self.0.tally.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seat_is_free_again_when_it_is_dropped() {
        let seats = Seats::new(Arc::default());
        let (first, second) = (seats.take(), seats.take());
        assert_eq!((seats.taken(), seats.tally.connections.load(Ordering::Relaxed)), (2, 2));
        drop(first);
        assert_eq!(seats.taken(), 1);
        drop(second);
        assert_eq!((seats.taken(), seats.tally.connections.load(Ordering::Relaxed)), (0, 0));
    }
}
