//! What the routes read: handles of those who know, and the numbers of one moment made of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;

use crate::backplane::Health;
use crate::delivery;
use crate::hub::{Census, Hub};
use crate::metrics::{Process, Reloads, Snapshot, Tally};
use crate::model::Now;

/// Where numbers come from; a handle.
#[derive(Clone)]
pub struct Sources {
    /// Channels, messages and the log.
    pub hub: Arc<Hub>,
    /// What the workers count.
    pub tally: Arc<Tally>,
    /// What became of reloads.
    pub reloads: Arc<Reloads>,
    /// When each certificate in use ends, seconds since the epoch, by its file.
    pub certificates: Arc<ArcSwap<Vec<(String, i64)>>>,
    /// Whether the server is about to end.
    pub leaving: Arc<AtomicBool>,
    /// The backplane, if nodes share the channels.
    pub backplane: Option<Arc<Health>>,
    /// Whether the texts of messages are shown.
    pub messages: bool,
}

impl Sources {
    /// The numbers of this moment.
    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot {
            totals: self.tally.totals(),
            census: self.census(),
            held: delivery::held() as u64,
            log: self.hub.log_health(),
            process: Process::now(),
            reloads: self.reloads.view(),
            certificates: self.certificates.load().to_vec(),
            leaving: self.is_leaving(),
            backplane: self.backplane.as_ref().map(|backplane| backplane.view()),
        }
    }

    /// The numbers of the hub.
    pub(super) fn census(&self) -> Census {
        self.hub.census(Now(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)))
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Relaxed)
    }
}
