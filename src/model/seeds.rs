//! Runs of simulations by seed: `SIMULATION_SEED=N` runs that one, `SIMULATION_SEEDS=N` so many. A run that fails prints its seed.

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

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}
