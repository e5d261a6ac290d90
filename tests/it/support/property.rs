//! Property tests of the real server: the same cases with every run, so that nobody's change fails by another's luck;
//! `PROPTEST_CASES` has so many, others with every run.

use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

/// Runs a property with this many cases, and shrinks what fails a little: each try is asked of a server.
pub fn property(cases: u32) -> TestRunner {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    let config =
        Config { cases: asked.unwrap_or(cases), failure_persistence: None, max_shrink_iters: 400, ..Config::default() };
    if asked.is_some() {
        return TestRunner::new(config);
    }
    TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha))
}
