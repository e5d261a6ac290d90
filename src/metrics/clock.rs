//! The clock that what is timed is timed by: monotone, in microseconds, the same for all threads.

use std::sync::OnceLock;
use std::time::Instant;

use crate::model::Tick;

/// Now.
pub fn tick() -> Tick {
    Tick::at(microseconds())
}

/// Microseconds since some moment before the first that was timed.
pub(super) fn microseconds() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_micros() as u64
}
