//! How late a worker's loop is: a question is put to it, and the time until its turn comes is the lag of everything else.
//!
//! The question costs the worker one wake-up. Invariant: a loop that hangs is told while it hangs, not when it goes on.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

use super::clock::microseconds;
use super::histogram::Histogram;

/// The question that is put to a worker.
#[derive(Debug, Default)]
pub struct Probe {
    bell: Notify,
    /// When the question was put that has no answer yet; 0: none.
    asked: AtomicU64,
    last: AtomicU64,
    /// All answers.
    pub(super) lags: Histogram,
}

impl Probe {
    /// Puts a question, unless there is one without an answer.
    pub fn ask(&self) {
        let now = microseconds().max(1);
        if self.asked.compare_exchange(0, now, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            self.bell.notify_one();
        }
    }

    /// Answers questions for ever, in the worker's loop.
    pub async fn answer(&self) {
        loop {
            self.bell.notified().await;
            let asked = self.asked.swap(0, Ordering::AcqRel);
            if asked != 0 {
                let lag = microseconds().saturating_sub(asked);
                self.last.store(lag, Ordering::Relaxed);
                self.lags.observe(lag);
            }
        }
    }

    /// How late the loop is, microseconds: what the last answer says, or a question that has waited for longer.
    pub fn lag(&self) -> u64 {
        let waits = match self.asked.load(Ordering::Acquire) {
            0 => 0,
            asked => microseconds().saturating_sub(asked),
        };
        waits.max(self.last.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;
    use std::time::Duration;

    use super::*;
    use crate::metrics::histogram::Distribution;

    #[test]
    fn a_loop_that_hangs_is_told_while_it_hangs_and_counted_afterwards() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let probe = Rc::new(Probe::default());
        tokio::task::LocalSet::new().block_on(&runtime, async {
            let asked = Rc::clone(&probe);
            tokio::task::spawn_local(async move { asked.answer().await });
            tokio::task::yield_now().await;
            probe.ask();
            std::thread::sleep(Duration::from_millis(30));
            probe.ask();
            assert!(probe.lag() >= 30_000, "{}", probe.lag());
            while probe.asked.load(Ordering::Relaxed) != 0 {
                tokio::task::yield_now().await;
            }
            let mut told = Distribution::default();
            probe.lags.add_to(&mut told);
            assert_eq!(told.count(), 1);
            assert!(told.sum >= 30_000 && probe.lag() == told.sum);
        });
    }
}
