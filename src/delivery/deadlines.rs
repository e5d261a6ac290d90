//! The deadlines of a worker: one ordered set for pings, ttls and timeouts, at most one entry a connection.
//!
//! There is no timer per connection. A connection that moves its deadline further away leaves its entry where it is; the
//! entry is looked at when it comes due and set anew (most deadlines are moved far more often than they are reached).

use std::collections::BTreeSet;

/// Deadlines are rounded up to this many milliseconds, so that those of one moment share one wake-up.
const GRAIN: u64 = 10;

/// Due times (milliseconds of the monotonic clock) of connections (by slot).
#[derive(Default)]
pub(super) struct Deadlines {
    due: BTreeSet<(u64, u32)>,
}

impl Deadlines {
    /// Sets an entry and returns its (rounded) time, which [`Deadlines::disarm`] wants back.
    pub(super) fn arm(&mut self, at: u64, slot: u32) -> u64 {
        let at = at.div_ceil(GRAIN) * GRAIN;
        self.due.insert((at, slot));
        at
    }

    /// Removes an entry.
    pub(super) fn disarm(&mut self, armed: u64, slot: u32) {
        self.due.remove(&(armed, slot));
    }

    /// Time of the first entry.
    pub(super) fn first(&self) -> Option<u64> {
        self.due.first().map(|&(at, _)| at)
    }

    /// Removes and returns the first entry if it is due.
    pub(super) fn pop(&mut self, now: u64) -> Option<u32> {
        if self.first()? > now {
            return None;
        }
        self.due.pop_first().map(|(_, slot)| slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_due_in_order_and_not_before() {
        let mut deadlines = Deadlines::default();
        let late = deadlines.arm(95, 1);
        deadlines.arm(41, 2);
        let gone = deadlines.arm(41, 3);
        deadlines.disarm(gone, 3);
        assert_eq!(late, 100);
        assert_eq!(deadlines.first(), Some(50));
        assert_eq!(deadlines.pop(49), None);
        assert_eq!(deadlines.pop(50), Some(2));
        assert_eq!(deadlines.pop(50), None);
        assert_eq!(deadlines.pop(100), Some(1));
        assert_eq!(deadlines.first(), None);
    }
}
