//! The figures of the page, as they change: an event stream of our own, published once a second while somebody looks.
//!
//! It is a push server of its own, within this one: what it does shows in no number of the other, nor who leaves it in a line of the
//! log. Who opens the page gets the last minute at once.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Router;
use serde::Serialize;
use tokio::time::MissedTickBehavior;

use super::Sources;
use crate::delivery::wall;
use crate::embed::{Error, PushStream};
use crate::metrics::{BOUNDS, Cause, Mode, Refused, Snapshot};
use crate::site::vars::hostname;

const CHANNEL: &str = "figures";
const PERIOD: Duration = Duration::from_secs(1);
const SITE: &str = "worker_processes 1; events {} http { access_log off; push_stream_shared_memory_size 8m;
    push_stream_max_messages_stored_per_channel 60; push_stream_message_ttl 70s;
    server { listen 127.0.0.1:80; location = /live {
        push_stream_subscriber eventsource; push_stream_channels_path figures.b60; push_stream_ping_message_interval 15s;
    } } }";

/// The figures and whom they are told.
pub(super) struct Live {
    push: PushStream,
    sources: Sources,
}

/// What is told once a second.
#[derive(Serialize)]
struct Figures {
    /// Milliseconds since the epoch.
    time: u64,
    version: &'static str,
    host: String,
    uptime: u64,
    leaving: bool,
    subscribers: BTreeMap<&'static str, u64>,
    connections: u64,
    published: u64,
    delivered: u64,
    channels: u64,
    stored: u64,
    memory_used: u64,
    memory_limit: u64,
    resident: u64,
    refusals: BTreeMap<&'static str, u64>,
    ended: BTreeMap<&'static str, u64>,
    /// Deliveries so far by the steps of `bounds` (microseconds), and one for what took longer.
    delay: Vec<u64>,
    bounds: &'static [u64],
    /// Microseconds by worker.
    lag: Vec<u64>,
    log: Option<Log>,
    nodes: Vec<Node>,
    /// Names of the zones, where there are several.
    zones: Vec<String>,
}

#[derive(Serialize)]
struct Log {
    gap: Option<String>,
    size: u64,
    backlog: u64,
    sync_age: f64,
}

#[derive(Serialize)]
struct Node {
    name: String,
    subscribers: u64,
}

impl Live {
    pub(super) fn new(sources: Sources) -> Result<Self, Error> {
        Ok(Self { push: PushStream::options().quiet().from_text(SITE)?, sources })
    }

    /// The route of the stream.
    pub(super) fn router(&self) -> Router {
        self.push.router()
    }

    /// Publishes for ever, while somebody looks.
    pub(super) async fn publish(self) {
        let mut pause = tokio::time::interval(PERIOD);
        pause.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            pause.tick().await;
            if self.push.statistics().subscribers > 0
                && let Ok(figures) = serde_json::to_string(&Figures::of(self.sources.snapshot()))
            {
                // A second that could not be told is missed by nobody.
                let _ = self.push.publish(CHANNEL, figures);
            }
        }
    }
}

impl Figures {
    fn of(snapshot: Snapshot) -> Self {
        let Snapshot { totals, census, log, process, .. } = snapshot;
        let ended = Cause::ALL
            .into_iter()
            .map(|cause| (cause.name(), totals.ended.iter().filter_map(|mode| mode.get(cause as usize)).sum()));
        let lasting = Mode::ALL.into_iter().filter(|mode| *mode != Mode::Polling);
        let nodes = snapshot.backplane.map(|view| view.nodes).unwrap_or_default();
        Self {
            time: wall().0,
            version: env!("CARGO_PKG_VERSION"),
            host: hostname().to_owned(),
            uptime: census.uptime,
            leaving: snapshot.leaving,
            subscribers: lasting.map(|mode| (mode.name(), totals.subscribers(mode))).collect(),
            connections: totals.connections(),
            published: census.published,
            delivered: totals.delivered,
            channels: u64::from(census.channels) + u64::from(census.wildcard_channels),
            stored: census.stored,
            memory_used: census.memory_used,
            memory_limit: census.memory_limit,
            resident: process.resident,
            refusals: Refused::all().map(|reason| (reason.name(), totals.refused(reason))).collect(),
            ended: ended.collect(),
            delay: totals.delay.steps.to_vec(),
            bounds: &BOUNDS,
            lag: totals.lag,
            log: log.map(|health| Log {
                gap: health.gap,
                size: health.bytes,
                backlog: census.log_backlog,
                sync_age: health.synced_at.map_or(0.0, |at| at.elapsed().as_secs_f64()),
            }),
            zones: snapshot.zones.into_iter().map(|zone| zone.zone).collect(),
            nodes: nodes.into_iter().map(|node| Node { name: node.name, subscribers: node.subscribers }).collect(),
        }
    }
}
