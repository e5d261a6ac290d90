//! A zone as one worker has it: its hub, who listens to its channels here, and what they have seen.
//!
//! All else of a worker (connections, deadlines, what is held) is the same for all zones and knows none. Invariant: what a hub
//! posts for the worker is taken once it has rung, or while anybody listens.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

use super::clock::wall;
use super::subscribers::Listeners;
use crate::hub::Hub;
use crate::model::{Now, Stamp};

/// A zone at a worker.
pub struct LocalZone {
    number: u16,
    worker: usize,
    hub: Arc<Hub>,
    pub(super) listeners: RefCell<Listeners>,
    /// What clients of the zone have seen by the last delivery: all messages of their channels up to here, and none after.
    pub(super) seen: Cell<Stamp>,
    rung: Arc<AtomicBool>,
}

impl LocalZone {
    /// The zone with this number at a worker, whose bell the hub rings from now on.
    pub(super) fn new(number: u16, worker: usize, hub: Arc<Hub>, bell: &Arc<Notify>) -> Self {
        let rung = Arc::new(AtomicBool::new(false));
        let (ringing, bell) = (Arc::clone(&rung), Arc::clone(bell));
        let waker = move || {
            ringing.store(true, Ordering::Release);
            bell.notify_one();
        };
        hub.set_waker(worker, Box::new(waker));
        Self { number, worker, hub, listeners: RefCell::default(), seen: Cell::default(), rung }
    }

    /// Its number among the zones of the process.
    pub(super) fn number(&self) -> u16 {
        self.number
    }

    /// Number of the worker.
    pub fn worker(&self) -> usize {
        self.worker
    }

    /// Channels and messages.
    pub fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    /// Wall-clock time.
    #[expect(clippy::unused_self, reason = "time is asked of the zone, as all that is not an argument")]
    pub fn now(&self) -> Now {
        wall()
    }

    /// Whether there may be news, or somebody whom it would concern that there are none.
    pub(super) fn has_news(&self) -> bool {
        self.rung.swap(false, Ordering::Acquire) || !self.listeners.borrow().is_empty()
    }
}
