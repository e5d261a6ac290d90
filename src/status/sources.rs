//! What the routes read: handles of those who know, and the numbers of one moment made of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;

use crate::backplane::{Health, HealthView};
use crate::delivery::{self, wall};
use crate::hub::{Census, Hub};
use crate::log;
use crate::metrics::{Process, Reloads, Snapshot, Tally, ZoneCensus};

/// A zone of the process.
#[derive(Clone)]
pub struct Zone {
    /// Its name.
    pub name: Box<str>,
    /// Channels, messages and the log.
    pub hub: Arc<Hub>,
    /// Where its order is made, if nodes share it.
    pub backplane: Option<Arc<Health>>,
    /// Whether no server is of it (any more): nobody comes for it.
    pub idle: bool,
}

impl Zone {
    /// The numbers of the hub.
    pub(super) fn census(&self) -> Census {
        self.hub.census(wall())
    }
}

/// Where numbers come from; a handle.
#[derive(Clone)]
pub struct Sources {
    /// The zones, the one of servers which name none first.
    pub zones: Arc<ArcSwap<Vec<Zone>>>,
    /// What the workers count.
    pub tally: Arc<Tally>,
    /// What became of reloads.
    pub reloads: Arc<Reloads>,
    /// When each certificate in use ends, seconds since the epoch, by its file.
    pub certificates: Arc<ArcSwap<Vec<(String, i64)>>>,
    /// Whether the server is about to end.
    pub leaving: Arc<AtomicBool>,
    /// Whether the texts of messages are shown.
    pub messages: bool,
}

impl Sources {
    /// The numbers of this moment.
    pub(super) fn snapshot(&self) -> Snapshot {
        let zones = self.zones.load();
        let of_zone = |zone: &Zone| ZoneCensus { zone: zone.name.to_string(), census: zone.census() };
        Snapshot {
            // What is said of all is not said again of the only one.
            zones: if zones.len() > 1 { zones.iter().map(of_zone).collect() } else { Vec::new() },
            totals: self.tally.totals(),
            census: self.census(),
            held: delivery::held() as u64,
            log: self.log_health(),
            process: Process::now(),
            reloads: self.reloads.view(),
            certificates: self.certificates.load().to_vec(),
            leaving: self.is_leaving(),
            backplane: self.backplane_health(),
        }
    }

    /// The numbers of all zones together.
    pub(super) fn census(&self) -> Census {
        let mut sum = Census::default();
        self.zones.load().iter().for_each(|zone| sum.add(&zone.census()));
        sum
    }

    /// The state of their logs, if there are any.
    pub(super) fn log_health(&self) -> Option<log::HealthView> {
        self.zones.load().iter().filter_map(|zone| zone.hub.log_health()).reduce(log::HealthView::and)
    }

    /// The state of what they share with other nodes, if they do.
    pub(super) fn backplane_health(&self) -> Option<HealthView> {
        self.zones.load().iter().filter_map(|zone| Some(zone.backplane.as_ref()?.view())).reduce(HealthView::and)
    }

    /// Why balancers should send nobody here, if that is so, and for which zone.
    pub(super) fn unready(&self) -> Option<String> {
        let zones = self.zones.load();
        let mut used = zones.iter().filter(|zone| !zone.idle);
        let (zone, why) = used.find_map(|zone| Some((zone, zone.backplane.as_ref()?.unready()?)))?;
        Some(if zones.len() > 1 { format!("{why} (zone {})", zone.name) } else { why.to_owned() })
    }

    /// The zone of this name; without one the first.
    pub(super) fn zone(&self, name: Option<&str>) -> Option<Zone> {
        let zones = self.zones.load();
        let zone = name.map_or_else(|| zones.first(), |name| zones.iter().find(|zone| *zone.name == *name));
        zone.cloned()
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Relaxed)
    }
}
