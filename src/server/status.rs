//! What the server says about itself to operators, on a listener of its own: `--status ADDRESS`.
//!
//! `/healthz` (`/health`) answers 200 while the process lives, `/readyz` until it is about to end; `/status` tells the counters as JSON, among them those no answer of the
//! module has: why subscribers were cut off, bytes of memory in use. `/channels?prefix=P&limit=N` lists channels. Reads only.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;
use tower_http::catch_panic::CatchPanicLayer;

use super::inherited::Inherited;
use super::listen::{self, Bound};
use super::now;
use super::worker_thread::Shared;
use crate::backplane::{self, Health};
use crate::conf::settings::ListenAddress;
use crate::delivery::{self, Tally};
use crate::hub::Hub;
use crate::log::HealthView;

/// Most channels of one listing, and how many there are where nothing is said.
const MOST: usize = 10_000;
const USUAL: usize = 100;
const BACKLOG: i32 = 64;

/// What the listener reads.
#[derive(Clone)]
struct Sources {
    hub: Arc<Hub>,
    tally: Arc<Tally>,
    leaving: Arc<AtomicBool>,
    backplane: Option<Arc<Health>>,
}

/// The answer of `/status`.
#[derive(Serialize)]
struct Status {
    version: &'static str,
    pid: u32,
    uptime_seconds: u64,
    connections: usize,
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
    /// The log, where there is one.
    log: Option<LogStatus>,
    /// The nodes and what they share, where it is shared.
    backplane: Option<BackplaneStatus>,
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
    entries_applied: u64,
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
            entries_applied: view.applied,
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
struct Listing {
    #[serde(default)]
    prefix: String,
    limit: Option<usize>,
}

#[derive(Serialize)]
struct Listed {
    channel: String,
    published_messages: u64,
    stored_messages: u32,
    subscribers: u32,
}

/// The listener, if there is to be one.
#[derive(Default)]
pub(super) struct Desk {
    bound: Option<Bound>,
    serving: Option<JoinHandle<io::Result<()>>>,
    leaving: Arc<AtomicBool>,
}

impl Desk {
    /// Binds the listener, so that a port in use is told at start; that of a predecessor is taken over.
    pub(super) fn bind(address: SocketAddr, inherited: &mut Inherited) -> io::Result<Self> {
        let place = ListenAddress::Ip(address);
        let bound = match inherited.take(&place) {
            Some(sockets) => Bound { address: place, sockets },
            None => Bound { address: place, sockets: vec![listen::bind_alone(address, BACKLOG)?] },
        };
        Ok(Self { bound: Some(bound), ..Self::default() })
    }

    /// Its socket, for a successor.
    pub(super) fn bound(&self) -> Option<&Bound> {
        self.bound.as_ref()
    }

    /// Answers from now on. To be called in a runtime.
    pub(super) fn open(&mut self, shared: &Shared, backplane: Option<Arc<Health>>) {
        let sources = Sources {
            hub: Arc::clone(&shared.hub),
            tally: Arc::clone(&shared.tally),
            leaving: Arc::clone(&self.leaving),
            backplane,
        };
        self.leaving.store(false, Ordering::Relaxed);
        let copies = self.bound.iter().flat_map(|bound| &bound.sockets).filter_map(|socket| socket.try_clone().ok());
        if let Some(socket) = copies.into_iter().next() {
            self.serving = Some(tokio::spawn(serve(socket.into(), sources)));
        }
    }

    /// Says that the server is about to end.
    pub(super) fn leave(&self) {
        self.leaving.store(true, Ordering::Relaxed);
    }

    /// Leaves new questions to a successor.
    pub(super) fn close(&mut self) {
        self.leave();
        if let Some(serving) = self.serving.take() {
            serving.abort();
        }
    }
}

async fn serve(listener: std::net::TcpListener, sources: Sources) -> io::Result<()> {
    let router = Router::new()
        .route("/health", get(health))
        .route("/healthz", get(health))
        .route("/readyz", get(ready))
        .route("/status", get(status))
        .route("/channels", get(channels))
        .layer(CatchPanicLayer::new())
        .with_state(sources);
    axum::serve(tokio::net::TcpListener::from_std(listener)?, router).await
}

/// That the process serves, and what is wrong with it all the same.
async fn health(State(sources): State<Sources>) -> String {
    match sources.hub.log_health().and_then(|log| log.gap) {
        None => "ok\n".to_owned(),
        Some(gap) => format!("ok\nthe log has a gap: {gap}\n"),
    }
}

/// Whether balancers may send more.
async fn ready(State(sources): State<Sources>) -> (StatusCode, String) {
    if sources.leaving.load(Ordering::Relaxed) {
        return (StatusCode::SERVICE_UNAVAILABLE, "leaving\n".to_owned());
    }
    match sources.backplane.as_ref().and_then(|backplane| backplane.unready()) {
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
        None => (StatusCode::OK, "ready\n".to_owned()),
    }
}

async fn status(State(sources): State<Sources>) -> Json<Status> {
    let census = sources.hub.census(now());
    let tally = &sources.tally;
    Json(Status {
        version: env!("CARGO_PKG_VERSION"),
        pid: std::process::id(),
        uptime_seconds: census.uptime,
        connections: tally.connections.load(Ordering::Relaxed),
        subscribers: census.subscribers,
        subscribers_by_worker: census.by_worker,
        channels: census.channels,
        wildcard_channels: census.wildcard_channels,
        published_messages: census.published,
        stored_messages: census.stored,
        memory_used_bytes: census.memory_used,
        delivered_messages: tally.deliveries.load(Ordering::Relaxed),
        disconnected_not_reading: tally.too_slow.load(Ordering::Relaxed),
        disconnected_send_timeout: tally.send_timeouts.load(Ordering::Relaxed),
        connections_memory_bytes: delivery::held(),
        disconnected_memory: tally.over_memory.load(Ordering::Relaxed),
        refused_bodies: tally.refused_bodies.load(Ordering::Relaxed),
        refused_of_address: tally.crowded_addresses.load(Ordering::Relaxed),
        disconnected_by_panic: tally.panics.load(Ordering::Relaxed),
        log: sources.hub.log_health().map(LogStatus::from),
        backplane: sources.backplane.as_ref().map(|backplane| backplane.view().into()),
    })
}

async fn channels(State(sources): State<Sources>, Query(listing): Query<Listing>) -> Json<Vec<Listed>> {
    let most = listing.limit.unwrap_or(USUAL).min(MOST);
    let found = sources.hub.list(listing.prefix.as_bytes(), None, most);
    let shown = found.into_iter().map(|(_, info)| Listed {
        channel: String::from_utf8_lossy(info.id.as_bytes()).into_owned(),
        published_messages: info.published,
        stored_messages: info.stored,
        subscribers: info.subscribers,
    });
    Json(shown.collect())
}
