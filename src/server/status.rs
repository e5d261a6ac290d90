//! What the server says about itself to operators, on a listener of its own: `--status ADDRESS`.
//!
//! `/health` answers 200 while the process serves; `/status` tells the counters as JSON, among them those no answer of the
//! module has: why subscribers were cut off, bytes of memory in use. `/channels?prefix=P&limit=N` lists channels. Reads only.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::{Query, State};
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use socket2::{Domain, Protocol, Socket, Type};
use tower_http::catch_panic::CatchPanicLayer;

use super::now;
use crate::delivery::Tally;
use crate::hub::Hub;

/// Most channels of one listing, and how many there are where nothing is said.
const MOST: usize = 10_000;
const USUAL: usize = 100;
const BACKLOG: i32 = 64;

/// What the listener reads.
#[derive(Clone)]
pub(super) struct Sources {
    pub hub: Arc<Hub>,
    pub tally: Arc<Tally>,
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
    /// Connections ended by a mistake of the server.
    disconnected_by_panic: u64,
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

/// Binds the listener, so that a port in use is told at start. A successor binds it beside its predecessor.
pub(super) fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Answers until the process ends.
pub(super) async fn serve(listener: std::net::TcpListener, sources: Sources) -> io::Result<()> {
    let router = Router::new()
        .route("/health", get(|| async { "ok\n" }))
        .route("/status", get(status))
        .route("/channels", get(channels))
        .layer(CatchPanicLayer::new())
        .with_state(sources);
    axum::serve(tokio::net::TcpListener::from_std(listener)?, router).await
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
        disconnected_by_panic: tally.panics.load(Ordering::Relaxed),
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
