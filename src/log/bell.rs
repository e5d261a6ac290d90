//! What wakes the thread of the log before its time: somebody waits for a sync, the end, or the first entry after a quiet time.
//!
//! It does not know why it is rung. A ring that comes before the thread waits is not lost.

use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// A bell with one thread that listens.
#[derive(Debug, Default)]
pub struct Bell {
    rung: Mutex<Rung>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Rung {
    now: bool,
    end: bool,
}

impl Bell {
    /// There is something to do. Not to be called under the hub's lock.
    pub fn ring(&self) {
        self.rung.lock().now = true;
        self.changed.notify_one();
    }

    /// It is the end.
    pub(super) fn ring_for_end(&self) {
        self.rung.lock().end = true;
        self.ring();
    }

    /// Waits until it is rung, or so long; whether it is the end.
    pub(super) fn wait(&self, most: Duration) -> bool {
        let mut rung = self.rung.lock();
        if !rung.now {
            self.changed.wait_for(&mut rung, most);
        }
        rung.now = false;
        rung.end
    }
}
