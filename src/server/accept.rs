//! Accepting: a new socket becomes a connection with a task.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::task::spawn_local;

use crate::delivery::{Connection, Stream};
use crate::http::{self, Context, ListenerPlace, Peer, PeerAddress, Session};

/// Pause after an error that will not go away at once (no file descriptors left).
const PAUSE: Duration = Duration::from_millis(100);

/// Accepts TCP connections for ever.
pub(super) async fn tcp(
    context: Rc<Context>,
    place: Rc<ListenerPlace>,
    listener: TcpListener,
    number: impl Fn() -> u64,
) {
    loop {
        match listener.accept().await {
            Ok((stream, remote)) => {
                let remote = PeerAddress::Ip(remote);
                greet_tcp(&context, &place, stream, remote, number());
            }
            Err(error) => pause_after(&error).await,
        }
    }
}

/// Accepts connections of a unix socket for ever.
pub(super) async fn unix(
    context: Rc<Context>,
    place: Rc<ListenerPlace>,
    listener: UnixListener,
    number: impl Fn() -> u64,
) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let peer = peer(&place, PeerAddress::Unix, PeerAddress::Unix, number());
                greet(&context, &place, Stream::Unix(stream), peer);
            }
            Err(error) => pause_after(&error).await,
        }
    }
}

fn greet_tcp(context: &Rc<Context>, place: &Rc<ListenerPlace>, stream: TcpStream, remote: PeerAddress, number: u64) {
    // Messages are small and must not wait for one another's acknowledgement.
    let _ = stream.set_nodelay(true);
    let local = match stream.local_addr() {
        Ok(local) => PeerAddress::Ip(local),
        Err(_) => return,
    };
    greet(context, place, Stream::Tcp(stream), peer(place, remote, local, number));
}

fn peer(place: &ListenerPlace, remote: PeerAddress, local: PeerAddress, connection: u64) -> Peer {
    Peer { remote, local, listener: place.index(), tls: None, proxy: None, connection }
}

fn greet(context: &Rc<Context>, place: &Rc<ListenerPlace>, stream: Stream, peer: Peer) {
    let connection = context.worker.enter(Connection::new(stream));
    let session = Session::new(peer, Rc::clone(place));
    spawn_local(http::serve(Rc::clone(context), connection, session));
}

async fn pause_after(error: &io::Error) {
    match error.kind() {
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted => {}
        _ => {
            tracing::error!("accept() failed: {error}");
            tokio::time::sleep(PAUSE).await;
        }
    }
}
