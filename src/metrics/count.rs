//! A number that is counted where it happens and read from anywhere.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that one thread writes and any may read.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Counts so many.
    pub fn add(&self, many: u64) {
        // No other thread writes: no need for an exchange that locks the line.
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(many), Ordering::Relaxed);
    }

    /// Counts one off.
    pub(super) fn take(&self) {
        self.0.store(self.0.load(Ordering::Relaxed).saturating_sub(1), Ordering::Relaxed);
    }

    /// The number.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
