//! How long something took, by a few steps between a tenth of a millisecond and ten seconds.
//!
//! Written by one thread, read by any. Invariant: the count of a distribution is the sum of its steps.

use super::count::Count;

/// The upper ends of the steps, microseconds; what took longer stands in one more.
pub const BOUNDS: [u64; 15] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    10_000_000,
];

/// The cells of one worker.
#[derive(Debug, Default)]
pub struct Histogram {
    steps: [Count; BOUNDS.len() + 1],
    sum: Count,
}

/// What one or several of them hold at a moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Distribution {
    /// How often it was within each step, and how often longer than all.
    pub steps: [u64; BOUNDS.len() + 1],
    /// Microseconds altogether.
    pub sum: u64,
}

impl Histogram {
    /// Counts one that took so many microseconds.
    pub fn observe(&self, microseconds: u64) {
        if let Some(step) = self.steps.get(BOUNDS.partition_point(|bound| *bound < microseconds)) {
            step.add(1);
        }
        self.sum.add(microseconds);
    }

    /// Adds what it holds to a distribution.
    pub(super) fn add_to(&self, distribution: &mut Distribution) {
        for (sum, step) in distribution.steps.iter_mut().zip(&self.steps) {
            *sum += step.get();
        }
        distribution.sum += self.sum.get();
    }
}

impl Distribution {
    /// How many there were.
    pub fn count(&self) -> u64 {
        self.steps.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn everything_stands_in_the_one_step_it_belongs_to(times in prop::collection::vec(0u64..20_000_000, 0..60)) {
            let histogram = Histogram::default();
            for time in &times {
                histogram.observe(*time);
            }
            let mut told = Distribution::default();
            histogram.add_to(&mut told);
            prop_assert_eq!(told.count(), times.len() as u64);
            prop_assert_eq!(told.sum, times.iter().sum::<u64>());
            for (at, bound) in BOUNDS.iter().enumerate() {
                let within = times.iter().filter(|time| *time <= bound).count() as u64;
                prop_assert_eq!(told.steps[..=at].iter().sum::<u64>(), within, "up to {}", bound);
            }
        }
    }
}
