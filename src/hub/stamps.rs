//! The zone-wide order of messages: sequence numbers and stamps.
//!
//! It does not know channels. Each stamp is greater than the one before it even if the clock goes back: then the second of
//! the last message goes on.

use crate::model::{Now, Stamp};

/// Gives each message its place.
#[derive(Default)]
pub(super) struct Stamps {
    last: Stamp,
    seq: u64,
}

impl Stamps {
    /// Sequence number and stamp of the next message; `first_tag` is the tag of the first message in a second.
    pub(super) fn next(&mut self, now: Now, first_tag: u32) -> (u64, Stamp) {
        let time = now.secs().max(self.last.time);
        let same_second = self.seq > 0 && time == self.last.time;
        let tag = if same_second { self.last.tag.saturating_add(1) } else { first_tag };
        self.last = Stamp { time, tag };
        self.seq += 1;
        (self.seq, self.last)
    }

    /// The second a message would get now.
    #[cfg(test)]
    pub(super) fn next_time(&self, now: Now) -> u32 {
        now.secs().max(self.last.time)
    }

    /// Sequence number of the last message; 0 before the first.
    pub(super) fn last_seq(&self) -> u64 {
        self.seq
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_count_within_a_second_and_time_never_goes_back() {
        let mut stamps = Stamps::default();
        let mut next = |ms| {
            let (seq, stamp) = stamps.next(Now(ms), 1);
            (seq, stamp.time, stamp.tag)
        };
        assert_eq!(next(5000), (1, 5, 1));
        assert_eq!(next(5999), (2, 5, 2));
        assert_eq!(next(6000), (3, 6, 1));
        assert_eq!(next(3000), (4, 6, 2));
        assert_eq!(next(7000), (5, 7, 1));
    }

    #[test]
    fn the_first_tag_is_a_choice() {
        assert_eq!(Stamps::default().next(Now(0), 0).1.tag, 0);
        assert_eq!(Stamps::default().next(Now(0), 1).1.tag, 1);
    }
}
