//! The monotonic clock of the room: milliseconds, for deadlines and for progress.

use std::sync::OnceLock;
use std::time::Instant;

/// Milliseconds since some moment before the first connection; never 0.
pub(super) fn clock() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    let start = *START.get_or_init(Instant::now);
    let since = Instant::now().saturating_duration_since(start).as_millis() as u64 + 1;
    #[cfg(test)]
    let since = since + SKIPPED.get();
    since
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
