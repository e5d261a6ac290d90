//! Accepting: a new socket becomes a connection with a task.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::task::spawn_local;

use super::greeting::{self, Greeted, GreetingError};
use super::listen::errno_text;
use super::log::{ALERT, CRIT};
use super::tls::TlsSite;
use crate::conf::Settings;
use crate::conf::settings::Listener;
use crate::delivery::{Connection, Seat, Stream, Worker};
use crate::request::peer::{Peer, PeerAddress};
use crate::site::access;
use crate::wire::{self, ListenerPlace, Session, Workbench};

/// Pause after an error that will not go away at once (no file descriptors left), as nginx makes it.
const PAUSE: Duration = Duration::from_millis(500);

/// What every accepted connection needs.
pub(super) struct Door {
    /// Where its requests are answered.
    pub bench: Rc<Workbench>,
    /// TLS of the settings in force.
    pub tls: RefCell<Arc<TlsSite>>,
    /// Counts connections.
    pub numbers: Arc<AtomicU64>,
}

/// Accepts TCP connections for ever.
pub(super) async fn tcp(door: Rc<Door>, place: Rc<ListenerPlace>, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, remote)) => greet_tcp(&door, &place, stream, PeerAddress::Ip(remote)),
            Err(error) => pause_after(&error).await,
        }
    }
}

/// Accepts connections of a unix socket for ever.
pub(super) async fn unix(door: Rc<Door>, place: Rc<ListenerPlace>, listener: UnixListener) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let peer = door.peer(PeerAddress::Unix, PeerAddress::Unix);
                greet(&door, &place, Stream::Unix(stream), peer);
            }
            Err(error) => pause_after(&error).await,
        }
    }
}

fn greet_tcp(door: &Rc<Door>, place: &Rc<ListenerPlace>, stream: TcpStream, remote: PeerAddress) {
    // Messages are small and must not wait for one another's acknowledgement.
    let _ = stream.set_nodelay(true);
    let local = match stream.local_addr() {
        Ok(local) => PeerAddress::Ip(local),
        Err(_) => return,
    };
    greet(door, place, Stream::Tcp(stream), door.peer(remote, local));
}

impl Door {
    fn peer(&self, remote: PeerAddress, local: PeerAddress) -> Peer {
        let connection = self.numbers.fetch_add(1, Ordering::Relaxed) + 1;
        Peer { remote, local, tls: None, proxy: None, connection }
    }
}

/// Takes a connection in. From here on it has one of `worker_connections`, however long its greeting takes.
fn greet(door: &Rc<Door>, place: &Rc<ListenerPlace>, stream: Stream, peer: Peer) {
    let (bench, place) = (Rc::clone(&door.bench), Rc::clone(place));
    let settings = bench.context.settings();
    let worker = &bench.context.worker;
    let Some(listener) = settings.listeners.get(place.index()) else { return };
    let seat = if is_full(&bench) { None } else { seat(worker, listener, &peer) };
    let Some(seat) = seat else {
        worker.counts().turned_away.add(1);
        // Best effort: on a new socket there is room for so little. TLS clients have not been greeted and are just let go.
        if !listener.ssl {
            let _ = stream.try_write(&[io::IoSlice::new(wire::OVERLOADED)]);
        }
        return;
    };
    if listener.ssl || listener.http2 || listener.proxy_protocol {
        spawn_local(greet_first(bench, Arc::clone(&door.tls.borrow()), place, stream, peer, seat));
        return;
    }
    let connection = worker.enter(Connection::seated(stream, seat));
    spawn_local(wire::serve(bench, connection, Session::new(Rc::new(peer), place, Vec::new())));
}

/// Greets a client that has more to say before its first request, and has it served by a task of its own: what the greeting
/// needed is not kept for as long as the connection lasts.
async fn greet_first(
    bench: Rc<Workbench>,
    tls: Arc<TlsSite>,
    place: Rc<ListenerPlace>,
    stream: Stream,
    peer: Peer,
    seat: Seat,
) {
    let Some(greeted) = greet_in_time(bench.context.settings(), place.index(), tls, stream, peer).await else { return };
    let Greeted { stream, peer, first, http2 } = greeted;
    if http2 {
        spawn_local(wire::serve_http2(bench, stream, place, Rc::new(peer), first, seat));
    } else {
        let connection = bench.context.worker.enter(Connection::seated(stream, seat));
        spawn_local(wire::serve(bench, connection, Session::new(Rc::new(peer), place, first)));
    }
}

async fn greet_in_time(
    settings: Arc<Settings>,
    index: usize,
    tls: Arc<TlsSite>,
    stream: Stream,
    peer: Peer,
) -> Option<Greeted> {
    let listener = settings.listeners.get(index)?;
    let patience = Duration::from_millis(listener.names.default.client_header_timeout);
    match tokio::time::timeout(patience, greeting::greet(listener, index, &tls, stream, peer)).await {
        Ok(Ok(greeted)) => Some(greeted),
        Ok(Err(error @ GreetingError::Proxy(_))) => {
            tracing::error!("{error}");
            None
        }
        Ok(Err(error)) => {
            tracing::info!("{error}");
            None
        }
        Err(_) => {
            tracing::info!("client timed out before its first request");
            None
        }
    }
}

/// A seat for a connection, if its address may have another.
fn seat(worker: &Worker, listener: &Listener, peer: &Peer) -> Option<Seat> {
    static SAID: AtomicU64 = AtomicU64::new(0);
    let counted = worker.counts_addresses() && !access::is_proxy(&listener.names.default, &peer.remote);
    let Some(address) = peer.remote.ip().filter(|_| counted) else { return Some(worker.seat()) };
    let seat = worker.seat_of(address);
    if seat.is_err() {
        worker.counts().crowded.add(1);
        if is_new(&SAID, worker) {
            tracing::warn!("push stream module: {address} has as many connections as one address may have");
        }
    }
    seat.ok()
}

/// Whether it is another second than when this was asked last: what many clients do at once is said once.
fn is_new(said: &AtomicU64, worker: &Worker) -> bool {
    let second = worker.now().0 / 1000;
    said.swap(second, Ordering::Relaxed) != second
}

/// Whether `worker_connections`, taken over all workers, are in use. Said once a second at most.
fn is_full(bench: &Workbench) -> bool {
    static SAID: AtomicU64 = AtomicU64::new(0);
    let worker = &bench.context.worker;
    let most = bench.context.settings().process.worker_connections.saturating_mul(worker.workers());
    let full = worker.connections_everywhere() >= most;
    if full && is_new(&SAID, worker) {
        tracing::error!(target: ALERT, "{most} worker_connections are not enough");
    }
    full
}

async fn pause_after(error: &io::Error) {
    match error.kind() {
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted => {}
        _ => {
            tracing::error!(target: CRIT, "accept() failed ({})", errno_text(error));
            tokio::time::sleep(PAUSE).await;
        }
    }
}
