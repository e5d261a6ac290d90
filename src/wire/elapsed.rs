//! How long something has taken, whatever was done to the wall clock meanwhile.

use std::time::Instant;

/// Whole milliseconds.
pub(super) fn milliseconds_since(began: Instant) -> u64 {
    began.elapsed().as_millis() as u64
}
