//! What systemd is told: ready, reloading, stopping, and that all workers are alive.
//!
//! Without `NOTIFY_SOCKET` nothing happens. A message that cannot be sent is lost: supervision must not stop the service.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sd_notify::NotifyState;

/// The supervisor's side of the process.
pub(super) struct Supervisor {
    /// Signs of life of the present round.
    beats: Option<Arc<AtomicUsize>>,
}

impl Supervisor {
    /// The supervisor of this process, whoever it is.
    pub(super) fn new() -> Self {
        Self { beats: None }
    }

    /// The server serves. `successor`: in place of the process that was supervised so far.
    pub(super) fn ready(successor: bool) {
        if successor {
            tell(&[NotifyState::MainPid(std::process::id()), NotifyState::Ready]);
        } else {
            tell(&[NotifyState::Ready]);
        }
    }

    /// A reload begins; [`Supervisor::ready`] ends it.
    pub(super) fn reloading() {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => tell(&[NotifyState::Reloading, now]),
            Err(_) => tell(&[NotifyState::Reloading]),
        }
    }

    /// The server ends.
    pub(super) fn stopping() {
        tell(&[NotifyState::Stopping]);
    }

    /// How often the supervisor wants to hear of the workers; `None`: it does not.
    pub(super) fn interval() -> Option<Duration> {
        sd_notify::watchdog_enabled().map(|limit| limit / 3).filter(|interval| !interval.is_zero())
    }

    /// Begins a round: the supervisor hears of the last one if all `workers` took part. Each worker is to count up what is
    /// returned.
    pub(super) fn next_round(&mut self, workers: usize) -> Arc<AtomicUsize> {
        if self.beats.as_ref().is_none_or(|beats| beats.load(Ordering::Relaxed) >= workers) {
            tell(&[NotifyState::Watchdog]);
        }
        let beats = Arc::new(AtomicUsize::new(0));
        self.beats = Some(Arc::clone(&beats));
        beats
    }
}

fn tell(states: &[NotifyState<'_>]) {
    let _ = sd_notify::notify(states);
}
