//! The hub's one clock: the time everything in the hub counts in, and the order of all messages.
//!
//! It does not know channels, and reads no clock: whoever calls the hub says what the wall clock shows. Invariants: its time
//! never goes back, whatever the wall clock does; each stamp is greater than every stamp given and every resume point told
//! before, by this process or (as far as the floor says) by one before it. A clock that is led does not look at the wall clock
//! at all: its time is that of the entries that were applied, the same on every node.

use crate::model::{Now, Stamp};

/// Milliseconds the wall clock may show less than before without having been set back: workers read it before they come to
/// the hub, and do not come in that order.
const DISORDER: u64 = 1_000;
/// Milliseconds the clock may be ahead of the wall clock and simply wait for it. Further ahead it goes on at half pace: ttls and
/// timeouts would otherwise stand still for as long as the wall clock was set back.
const WAITS: u64 = 2_000;
/// Milliseconds that may pass between two looks at the wall clock: the hub is swept twice a second. If it shows more, nobody has
/// waited for that: it was set forward, a worker that had read it before it was set back came late, or the process was stopped, which
/// cannot be told from these and makes nothing older then.
const UNATTENDED: u64 = 10_000;

/// Tags that a process leaves free for each millisecond that has passed of the second it begins in, if it does not know what
/// the one before has given in this second: nobody publishes that many messages in one. All of them fit 31 bits.
const FREE_TAGS: u32 = 2_000_000;

/// The clock and the last place in the order.
pub(super) struct Clock {
    /// Milliseconds since the epoch, by this clock.
    present: u64,
    /// What the wall clock showed last.
    wall: u64,
    /// The greatest stamp that a message bears.
    last: Stamp,
    seq: u64,
    /// Whether entries alone say what time it is.
    led: bool,
}

/// A moment in the order of messages: all up to it are history, all after it are news.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Moment {
    /// Sequence number of the last message; 0 before the first.
    pub(super) seq: u64,
    /// No message up to here bears a greater stamp, none after it an equal or lesser one.
    pub(super) stamp: Stamp,
}

impl Clock {
    /// A clock that gives stamps above `floor`. Where that is not known, the tags of this second begin far beyond those that a process
    /// which ended in it can have given.
    pub(super) fn new(wall: Now, floor: Option<Stamp>) -> Self {
        let last = floor.unwrap_or(Stamp { time: wall.secs(), tag: (wall.0 % 1000 + 1) as u32 * FREE_TAGS });
        Self { present: (u64::from(last.time) * 1000).max(wall.0), wall: wall.0, last, seq: 0, led: false }
    }

    /// A clock that knows nothing before the first entry.
    pub(super) fn led() -> Self {
        Self { present: 0, wall: 0, last: Stamp::default(), seq: 0, led: true }
    }

    /// Whether entries alone say what time it is.
    pub(super) fn is_led(&self) -> bool {
        self.led
    }

    /// The time, given what the wall clock shows.
    pub(super) fn tick(&mut self, wall: Now) -> Now {
        if self.led {
            return Now(self.present);
        }
        if wall.0.saturating_add(DISORDER) < self.wall {
            // Set back: what passes from now on is counted from here.
            self.wall = wall.0;
        }
        let passed = wall.0.saturating_sub(self.wall);
        self.wall = self.wall.max(wall.0);
        if self.present.saturating_sub(self.wall) > WAITS && passed <= UNATTENDED {
            self.present += passed / 2;
            // The half of an odd millisecond is kept for the next time, or the time of a busy hub would stand still.
            self.wall -= passed % 2;
        }
        self.present = self.present.max(self.wall);
        Now(self.present)
    }

    /// Sequence number and stamp of the next message; `first_tag` is the tag of the first message in a second.
    pub(super) fn next(&mut self, first_tag: u32) -> (u64, Stamp) {
        let time = Now(self.present).secs();
        let tag = if time == self.last.time { self.last.tag.saturating_add(1) } else { first_tag };
        self.last = Stamp { time, tag };
        self.seq += 1;
        (self.seq, self.last)
    }

    /// The time as it was told last.
    pub(super) fn present(&self) -> Now {
        Now(self.present)
    }

    /// Goes on from what a process before has handed out: times up to `time`, stamps up to `last`, sequence numbers up to `seq`.
    pub(super) fn raise(&mut self, time: u32, last: Stamp, seq: u64) {
        self.present = self.present.max(u64::from(time.max(last.time)) * 1000);
        self.last = self.last.max(last);
        self.seq = self.seq.max(seq);
    }

    /// The moment of the last message.
    pub(super) fn last(&self) -> Moment {
        Moment { seq: self.seq, stamp: self.last }
    }

    /// The stamp that a client which has seen everything so far goes on from: every later message bears a greater one. (Not so where
    /// a first tag is 0, which is why that is only done where the module is followed to the letter.)
    pub(super) fn seen(&self) -> Stamp {
        let time = Now(self.present).secs();
        if time == self.last.time { self.last } else { Stamp { time, tag: 0 } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn begun(wall: u64) -> Clock {
        Clock::new(Now(wall), Some(Stamp::default()))
    }

    #[test]
    fn tags_count_within_a_second() {
        let mut clock = begun(5000);
        let mut next = |ms| {
            clock.tick(Now(ms));
            let (seq, stamp) = clock.next(1);
            (seq, stamp.time, stamp.tag)
        };
        assert_eq!(next(5000), (1, 5, 1));
        assert_eq!(next(5999), (2, 5, 2));
        assert_eq!(next(6000), (3, 6, 1));
        assert_eq!(next(5990), (4, 6, 2));
        assert_eq!(next(7000), (5, 7, 1));
    }

    #[test]
    fn the_first_tag_is_a_choice() {
        let mut clock = begun(5000);
        assert_eq!(clock.next(0).1, Stamp { time: 5, tag: 0 });
        clock.tick(Now(6000));
        assert_eq!(clock.seen(), Stamp { time: 6, tag: 0 });
        assert_eq!(clock.next(1).1, Stamp { time: 6, tag: 1 });
        assert_eq!(clock.seen(), clock.last().stamp);
    }

    #[test]
    fn a_clock_begins_above_its_floor_or_far_behind_what_may_have_been() {
        let floor = Stamp { time: 9, tag: 4 };
        assert_eq!(Clock::new(Now(9_100), Some(floor)).next(1).1, Stamp { time: 9, tag: 5 });
        assert_eq!(Clock::new(Now(3_000), Some(floor)).next(1).1, Stamp { time: 9, tag: 5 });
        let mut unknown = Clock::new(Now(9_100), None);
        assert_eq!(unknown.seen(), Stamp { time: 9, tag: 202_000_000 });
        assert_eq!(unknown.next(1).1, Stamp { time: 9, tag: 202_000_001 });
        unknown.tick(Now(10_000));
        assert_eq!(unknown.next(1).1, Stamp { time: 10, tag: 1 });
    }

    #[test]
    fn after_a_step_back_time_goes_on_at_half_pace_until_the_wall_clock_is_near() {
        let mut clock = begun(10_000_000);
        let mut wall = 10_000_000 - 3_600_000;
        clock.tick(Now(wall));
        for _ in 0..1_000_000 {
            wall += 1;
            clock.tick(Now(wall));
        }
        assert_eq!(clock.tick(Now(wall)), Now(10_500_000));
        wall += 2 * 3_600_000;
        assert_eq!(clock.tick(Now(wall)), Now(wall));
    }

    #[test]
    fn a_stop_while_it_is_ahead_makes_nothing_older_and_brings_the_wall_clock_nearer() {
        let (ahead, stop) = (10_000_000, 60_000);
        let mut clock = begun(ahead);
        let mut wall = ahead - 60 * stop;
        clock.tick(Now(wall));
        // A process that is stopped again and again: as long as the step was, it is ahead no longer.
        for _ in 0..60 {
            wall += stop;
            assert_eq!(clock.tick(Now(wall)), Now(ahead));
        }
        wall += stop;
        assert_eq!(clock.tick(Now(wall)), Now(wall), "from here on a stop counts whole");
    }

    #[test]
    fn who_read_the_clock_before_it_was_set_back_and_comes_late_makes_nothing_older() {
        let mut clock = begun(10_000_000);
        let back = 10_000_000 - 3_600_000;
        for wall in [back, 10_000_000, back + 1, 10_000_000, back + 2] {
            assert!(clock.tick(Now(wall)).0 <= 10_000_001, "{wall}");
        }
        assert_eq!(clock.tick(Now(10_000_005)), Now(10_000_005));
    }

    #[test]
    fn a_clock_that_is_led_shows_what_it_is_told_and_no_wall_clock_moves_it() {
        let mut clock = Clock::led();
        assert_eq!(clock.tick(Now(9_000_000)), Now(0));
        clock.raise(50, Stamp { time: 50, tag: 3 }, 7);
        assert_eq!(clock.tick(Now(9_000_000)), Now(50_000));
        assert_eq!(clock.seen(), Stamp { time: 50, tag: 3 });
        clock.raise(52, Stamp::default(), 0);
        assert_eq!((clock.tick(Now(1)), clock.seen()), (Now(52_000), Stamp { time: 52, tag: 0 }));
    }

    proptest! {
        #[test]
        fn neither_time_nor_stamps_go_back(
            floor in prop::option::of((0u32..60, 0u32..3)),
            steps in prop::collection::vec((-9000i64..9000, 0u8..3), 1..60),
        ) {
            let floor = floor.map(|(time, tag)| Stamp { time, tag });
            let mut clock = Clock::new(Now(30_000), floor);
            let (mut wall, mut time, mut told) = (30_000u64, 0, floor.unwrap_or_default());
            for (step, act) in steps {
                wall = wall.saturating_add_signed(step);
                let now = clock.tick(Now(wall)).0;
                prop_assert!(now >= time && now >= wall);
                time = now;
                if act == 0 {
                    let seen = clock.seen();
                    prop_assert!(seen >= told && seen.time == Now(now).secs());
                    told = seen;
                } else {
                    let (_, stamp) = clock.next(1);
                    prop_assert!(stamp > told, "{stamp:?} after {told:?}");
                    told = stamp;
                }
            }
        }
    }
}
