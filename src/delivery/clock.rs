//! The clocks of the room: monotonic milliseconds, for deadlines and for progress, and what the wall clock shows.

use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::model::Now;

/// Milliseconds since some moment before the first connection; never 0.
pub(super) fn clock() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    let start = *START.get_or_init(Instant::now);
    let since = Instant::now().saturating_duration_since(start).as_millis() as u64 + 1;
    #[cfg(test)]
    let since = since + SKIPPED.get();
    since
}

/// What the wall clock shows.
pub fn wall() -> Now {
    Now(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64))
}

#[cfg(test)]
thread_local! {
    static SKIPPED: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// Lets time pass for the test's thread.
#[cfg(test)]
pub(super) fn skip(milliseconds: u64) {
    SKIPPED.set(SKIPPED.get() + milliseconds);
}
