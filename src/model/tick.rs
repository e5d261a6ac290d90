//! A moment of the monotone clock, small enough to travel with whatever is to be timed.

/// Microseconds of the monotone clock, modulo 2^32 (71 minutes); the default is no moment at all.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tick(u32);

impl Tick {
    /// The moment this many microseconds after some beginning.
    pub fn at(microseconds: u64) -> Self {
        // A moment is never taken for none.
        Self((microseconds as u32).max(1))
    }

    /// Whether it is no moment.
    pub fn is_none(self) -> bool {
        self.0 == 0
    }

    /// Microseconds from this moment to a later one; `None` if it is no moment.
    pub fn until(self, later: Self) -> Option<u64> {
        let passed = later.0.wrapping_sub(self.0);
        // Two threads may look at the clock within the same microsecond in the other order.
        (!self.is_none()).then(|| if passed > u32::MAX / 2 { 0 } else { u64::from(passed) })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn time_between_two_moments_is_told_across_the_end_of_the_count(from in any::<u32>(), passed in 0u64..1 << 31) {
            let from = u64::from(from) + (1 << 32);
            let told = Tick::at(from).until(Tick::at(from + passed)).unwrap();
            prop_assert!(told.abs_diff(passed) <= 1, "{told} for {passed}");
        }
    }

    #[test]
    fn from_no_moment_no_time_passes_and_from_a_later_one_none() {
        assert_eq!(Tick::default().until(Tick::at(5)), None);
        assert_eq!(Tick::at(9).until(Tick::at(5)), Some(0));
    }
}
