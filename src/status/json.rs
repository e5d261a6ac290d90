//! Numbers and channels as JSON.

use axum::Json;
use axum::extract::{Query, State};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};

use super::messages::no_zone;
use super::{Sources, Zone};
use crate::backplane;
use crate::delivery;
use crate::log::HealthView;
use crate::metrics::Cause;

/// Most channels of one listing, and how many there are where nothing is said.
const MOST: usize = 10_000;
const USUAL: usize = 100;

/// The answer of `/status`.
#[derive(Serialize)]
pub(super) struct Status {
    version: &'static str,
    pid: u32,
    uptime_seconds: u64,
    connections: u64,
    subscribers: u64,
    subscribers_by_worker: Vec<u64>,
    channels: u32,
    wildcard_channels: u32,
    published_messages: u64,
    stored_messages: u64,
    memory_used_bytes: u64,
    delivered_messages: u64,
    /// Subscribers cut off because more waited for them than the byte budget of a connection.
    disconnected_not_reading: u64,
    /// Connections cut off because the peer took nothing for `send_timeout`.
    disconnected_send_timeout: u64,
    /// Bytes held for all connections, shared ones once.
    connections_memory_bytes: usize,
    /// Connections cut off because too much was held for all of them, or for their address.
    disconnected_memory: u64,
    /// Bodies refused because too much was held.
    refused_bodies: u64,
    /// Connections closed because their address had as many as it may have.
    refused_of_address: u64,
    /// Connections ended by a mistake of the server.
    disconnected_by_panic: u64,
    /// The log, where there is one; of several zones the logs together.
    log: Option<LogStatus>,
    /// The nodes and what they share, where it is shared.
    backplane: Option<BackplaneStatus>,
    /// What of this is whose.
    zones: Vec<ZoneStatus>,
}

/// A zone in `/status`.
#[derive(Serialize)]
struct ZoneStatus {
    name: Box<str>,
    subscribers: u64,
    channels: u32,
    wildcard_channels: u32,
    published_messages: u64,
    stored_messages: u64,
    memory_used_bytes: u64,
    memory_limit_bytes: u64,
    log: Option<LogStatus>,
    backplane: Option<BackplaneStatus>,
}

impl From<&Zone> for ZoneStatus {
    fn from(zone: &Zone) -> Self {
        let census = zone.census();
        Self {
            name: zone.name.clone(),
            subscribers: census.subscribers,
            channels: census.channels,
            wildcard_channels: census.wildcard_channels,
            published_messages: census.published,
            stored_messages: census.stored,
            memory_used_bytes: census.memory_used,
            memory_limit_bytes: census.memory_limit,
            log: zone.hub.log_health().map(LogStatus::from),
            backplane: zone.backplane.as_ref().map(|backplane| backplane.view().into()),
        }
    }
}

/// The backplane in `/status`.
#[derive(Serialize)]
struct BackplaneStatus {
    joined: bool,
    /// Why nothing can be published; nothing while all is well.
    fault: Option<String>,
    server: String,
    /// Counted up whenever another server process goes on.
    epoch: u64,
    /// How often the server had lost entries that this node had applied.
    losses: u64,
    /// Messages that were not shown, since their place had been passed.
    passed_over: u64,
    entries_applied: u64,
    /// The place of the last one in the stream: two nodes of the same place have the same.
    position: String,
    /// How often the whole zone was read.
    snapshots: u64,
    nodes: Vec<NodeStatus>,
}

/// A node in `/status`.
#[derive(Serialize)]
struct NodeStatus {
    name: String,
    subscribers: u64,
}

impl From<backplane::HealthView> for BackplaneStatus {
    fn from(view: backplane::HealthView) -> Self {
        let nodes = view.nodes.into_iter().map(|node| NodeStatus { name: node.name, subscribers: node.subscribers });
        Self {
            joined: view.joined,
            fault: view.fault,
            server: view.server,
            epoch: view.epoch,
            losses: view.losses,
            passed_over: view.passed_over,
            entries_applied: view.applied,
            position: view.position,
            snapshots: view.snapshots,
            nodes: nodes.collect(),
        }
    }
}

/// The log in `/status`.
#[derive(Serialize)]
struct LogStatus {
    /// Why what is published now would not survive; nothing while all is well.
    gap: Option<String>,
    gaps: u64,
    bytes: u64,
    files: u64,
    entries_written: u64,
    bytes_written: u64,
    syncs: u64,
    slowest_milliseconds: u64,
    damaged: u64,
}

impl From<HealthView> for LogStatus {
    fn from(view: HealthView) -> Self {
        Self {
            gap: view.gap,
            gaps: view.gaps,
            bytes: view.bytes,
            files: view.files,
            entries_written: view.entries,
            bytes_written: view.written,
            syncs: view.syncs,
            slowest_milliseconds: view.slowest,
            damaged: view.damaged,
        }
    }
}

#[derive(Deserialize)]
pub(super) struct Listing {
    /// The zone, that of servers which name none if it is not named.
    zone: Option<String>,
    #[serde(default)]
    prefix: String,
    limit: Option<usize>,
    /// The `place` of the channel after which to go on.
    #[serde(default)]
    after: u64,
}

#[derive(Serialize)]
struct Listed {
    channel: String,
    /// Its place in the order of creation, which is that of the listing.
    place: u64,
    published_messages: u64,
    stored_messages: u32,
    subscribers: u32,
}

pub(super) async fn status(State(sources): State<Sources>) -> Json<Status> {
    let (census, totals) = (sources.census(), sources.tally.totals());
    Json(Status {
        version: env!("CARGO_PKG_VERSION"),
        pid: std::process::id(),
        uptime_seconds: census.uptime,
        connections: totals.connections(),
        subscribers: census.subscribers,
        subscribers_by_worker: census.by_worker,
        channels: census.channels,
        wildcard_channels: census.wildcard_channels,
        published_messages: census.published,
        stored_messages: census.stored,
        memory_used_bytes: census.memory_used,
        delivered_messages: totals.delivered,
        disconnected_not_reading: totals.cut(Cause::SlowReader),
        disconnected_send_timeout: totals.cut(Cause::SendTimeout),
        connections_memory_bytes: delivery::held(),
        disconnected_memory: totals.cut(Cause::Memory),
        refused_bodies: totals.refused_bodies,
        refused_of_address: totals.crowded,
        disconnected_by_panic: totals.cut(Cause::Panic),
        log: sources.log_health().map(LogStatus::from),
        backplane: sources.backplane_health().map(BackplaneStatus::from),
        zones: sources.zones.load().iter().map(ZoneStatus::from).collect(),
    })
}

pub(super) async fn channels(State(sources): State<Sources>, Query(listing): Query<Listing>) -> Response {
    let Some(zone) = sources.zone(listing.zone.as_deref()) else { return no_zone() };
    let most = listing.limit.unwrap_or(USUAL).min(MOST);
    let found = zone.hub.list(listing.prefix.as_bytes(), Some(listing.after.into()), most);
    let shown = found.into_iter().map(|(key, info)| Listed {
        place: key.into(),
        channel: String::from_utf8_lossy(info.id.as_bytes()).into_owned(),
        published_messages: info.published,
        stored_messages: info.stored,
        subscribers: info.subscribers,
    });
    Json(shown.collect::<Vec<_>>()).into_response()
}
