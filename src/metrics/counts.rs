//! What one worker counts: cells on cache lines of its own, written by its thread alone.
//!
//! Invariant: every cell but those of [`Activity`] only goes up. Whoever counts on another thread than the worker's loses
//! counts; there is no such place.

use super::cause::{Cause, Mode};
use super::count::Count;
use super::histogram::Histogram;
use super::probe::Probe;
use super::refused::Refused;

/// What a connection is doing, in the words of `stub_status`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Activity {
    /// It has sent nothing yet.
    Fresh,
    /// Part of a head has come.
    Reading,
    /// A request is being answered.
    Writing,
    /// Between requests.
    Idle,
    /// It carries streams of HTTP/2, which count themselves.
    Carrying,
}

impl Activity {
    /// Whether the connection waits for a request.
    pub fn is_waiting(self) -> bool {
        matches!(self, Self::Fresh | Self::Idle)
    }
}

/// The cells of a worker.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Counts {
    /// Connections that took one of `worker_connections`.
    pub seated: Count,
    /// Of these, those that have given it back.
    pub left: Count,
    /// Connections closed at once, because `worker_connections` were in use or their address had as many as it may have.
    pub turned_away: Count,
    /// Of those turned away: because their address had as many as it may have.
    pub crowded: Count,
    /// Bodies that were not taken because too much was held.
    pub refused_bodies: Count,
    /// Requests begun.
    pub requests: Count,
    /// Bytes of clients, within TLS.
    pub received: Count,
    /// Bytes for clients, within TLS.
    pub sent: Count,
    /// Messages handed to subscribers as they were published.
    pub delivered: Count,
    /// Messages handed to subscribers that had missed them.
    pub replayed: Count,
    /// From publish to the write of those that were written at once.
    pub delay: Histogram,
    /// How late the worker's loop comes to what it is asked.
    pub probe: Probe,
    pub(super) reading: Count,
    pub(super) writing: Count,
    pub(super) waiting: Count,
    pub(super) begun: [Count; Mode::ALL.len()],
    pub(super) ended: [[Count; Cause::ALL.len()]; Mode::ALL.len()],
    pub(super) polls: [Count; Mode::ALL.len()],
    pub(super) cut: [Count; Cause::ALL.len()],
    pub(super) refused: [Count; Refused::COUNT],
}

impl Counts {
    /// A connection is doing this now.
    pub fn begin(&self, activity: Activity) {
        if let Some(count) = self.doing(activity) {
            count.add(1);
        }
    }

    /// It is not any more.
    pub fn end(&self, activity: Activity) {
        if let Some(count) = self.doing(activity) {
            count.take();
        }
    }

    /// A subscription has begun.
    pub fn begin_subscription(&self, mode: Mode) {
        one(&self.begun, mode as usize);
    }

    /// A subscription has ended.
    pub fn end_subscription(&self, mode: Mode, cause: Cause) {
        if let Some(ended) = self.ended.get(mode as usize) {
            one(ended, cause as usize);
        }
    }

    /// A poll was answered at once.
    pub fn poll(&self, mode: Mode) {
        one(&self.polls, mode as usize);
    }

    /// A connection was cut off.
    pub fn cut(&self, cause: Cause) {
        one(&self.cut, cause as usize);
    }

    /// A request was refused.
    pub fn refuse(&self, reason: Refused) {
        one(&self.refused, reason.index());
    }

    fn doing(&self, activity: Activity) -> Option<&Count> {
        match activity {
            Activity::Fresh | Activity::Idle => Some(&self.waiting),
            Activity::Reading => Some(&self.reading),
            Activity::Writing => Some(&self.writing),
            Activity::Carrying => None,
        }
    }
}

fn one(counts: &[Count], index: usize) {
    if let Some(count) = counts.get(index) {
        count.add(1);
    }
}
