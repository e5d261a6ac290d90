//! Simulations by seed: their numbers depend on it and on nothing else, so that a run that failed can be had again.
//!
//! `SIMULATION_SEED=N` runs that one, `SIMULATION_SEEDS=N` so many. A run that fails prints its seed.

/// Prints the seed if the run below it fails.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the simulation failed: run it again with SIMULATION_SEED={}", self.0);
        }
    }
}

/// Runs with each seed below `count`, unless the environment wants others.
pub(crate) fn for_each_seed(count: u64, run: impl Fn(u64)) {
    let run = |seed| {
        let _told = Seed(seed);
        run(seed);
    };
    match number("SIMULATION_SEED") {
        Some(seed) => run(seed),
        None => (0..number("SIMULATION_SEEDS").unwrap_or(count)).for_each(run),
    }
}

/// The numbers of a seed (splitmix64).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number from 0 to `most`.
    pub(crate) fn up_to(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % (most + 1)
    }

    /// True once in so many times.
    pub(crate) fn one_in(&mut self, many: u64) -> bool {
        self.up_to(many - 1) == 0
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}
