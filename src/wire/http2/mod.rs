//! One HTTP/2 connection: its streams are requests that come by the service.
//!
//! The h2 crate speaks the protocol; this file is about how long a connection lasts and how it ends.

mod burden;
mod request_body;
mod stream;
mod transport;
mod tunnel;
mod window;

use std::cell::Cell;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll, ready};

use bytes::Bytes;
use h2::server::{Builder, Connection as Http2};
use tokio::task::spawn_local;

use self::burden::Burden;
use self::transport::Transport;
use super::listener_place::ListenerPlace;
use super::service::Visit;
use crate::conf::settings::Server;
use crate::delivery::{Awaited, Connection, Event, Seat, Stream};
use crate::metrics::Activity;
use crate::request::peer::Peer;
use crate::wire::workbench::Workbench;

/// Streams a client may have open at once, as nginx has it.
const STREAMS: u32 = 128;
/// Bytes of a stream that may wait within HTTP/2, for a socket that is busy; more wait in the outbox.
const STREAM_BUFFER: usize = 32 * 1024;
/// Bytes of a body that a client may send before they are wanted, as nginx has it.
const STREAM_WINDOW: u32 = 64 * 1024;
/// The same for all streams of a connection.
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// How long a client may take to close after it was told to, or to end a body that nobody wants (milliseconds).
const LINGER: u64 = 5_000;
/// The same where the server leaves.
const GOODBYE: u64 = 250;

/// The preface a client begins HTTP/2 with.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What the streams of a connection share.
struct Shared {
    bench: Rc<Workbench>,
    place: Rc<ListenerPlace>,
    peer: Rc<Peer>,
    /// Stands for the connection in the worker: it counts, has the deadlines, and is told to close.
    control: Rc<Connection>,
    /// Bytes that HTTP/2 has been given and the socket has not taken.
    held: Rc<Cell<usize>>,
    /// What HTTP/2 takes beside that, and how many streams are open.
    burden: Rc<Burden>,
    requests: Cell<u64>,
}

/// Serves an HTTP/2 connection until it closes; `first`: bytes that were read from the stream already.
pub async fn serve_http2(
    bench: Rc<Workbench>,
    stream: Stream,
    place: Rc<ListenerPlace>,
    peer: Rc<Peer>,
    first: Vec<u8>,
    seat: Seat,
) {
    let settings = bench.context.settings();
    let Some(listener) = settings.listeners.get(place.index()) else { return };
    let server = &listener.names.default;
    let mut builder = Builder::new();
    builder
        .enable_connect_protocol()
        .max_concurrent_streams(STREAMS)
        .max_send_buffer_size(STREAM_BUFFER)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(head_limit(server));
    let worker = Rc::clone(&bench.context.worker);
    let held = Rc::new(Cell::new(0));
    let control = worker.enter(Connection::seated(Stream::Carrier(Rc::clone(&held)), seat));
    control.set_send_timeout(server.root.core.send_timeout);
    worker.set_deadline(&control, Some(server.client_header_timeout));
    drop(settings);
    let burden = Burden::new(Rc::clone(&worker), Rc::clone(&control));
    let transport = Transport::new(stream, first, Rc::clone(&burden), Rc::clone(&held));
    let shared = Rc::new(Shared { bench, place, peer, control, held, burden, requests: Cell::new(0) });
    let _dismissal = Dismissal(&shared);
    let mut handshake = pin!(builder.handshake(transport));
    let begun = std::future::poll_fn(|cx| {
        if shared.poll_leave(cx, false).is_some() { Poll::Ready(None) } else { handshake.as_mut().poll(cx).map(Some) }
    });
    let ended = match begun.await {
        None => Ok(()),
        Some(Ok(mut connection)) => shared.serve(&mut connection).await,
        Some(Err(error)) => Err(error),
    };
    if let Err(error) = ended {
        tracing::info!("client closed or broke HTTP/2: {error}");
    }
}

/// Lets the connection go when its task ends, by a panic too.
struct Dismissal<'a>(&'a Shared);

impl Drop for Dismissal<'_> {
    fn drop(&mut self) {
        self.0.bench.context.worker.dismiss(&self.0.control);
    }
}

/// How a connection is to end.
enum Leave {
    /// When its streams are over.
    Soon,
    /// At once.
    Now,
}

impl Shared {
    /// Serves stream after stream until the connection is over.
    async fn serve(self: &Rc<Self>, connection: &mut Http2<Transport, Bytes>) -> Result<(), h2::Error> {
        let mut leaving = false;
        std::future::poll_fn(|cx| {
            loop {
                while let Some(leave) = self.poll_leave(cx, leaving) {
                    match leave {
                        Leave::Now => return Poll::Ready(Ok(())),
                        Leave::Soon => {
                            leaving = true;
                            connection.graceful_shutdown();
                        }
                    }
                }
                match ready!(connection.poll_accept(cx)) {
                    Some(Ok((request, respond))) => {
                        let head = self.burden.take_head(&request);
                        spawn_local(stream::serve(self.begin(), request, head, respond, Rc::clone(&self.held)));
                    }
                    Some(Err(error)) => return Poll::Ready(Err(error)),
                    None => return Poll::Ready(Ok(())),
                }
            }
        })
        .await
    }

    /// Whether the connection is to end, now that something has happened to it from outside.
    fn poll_leave(&self, cx: &mut TaskContext<'_>, leaving: bool) -> Option<Leave> {
        if self.control.is_closing() && !leaving {
            // Nothing under way: the client is told so, and has a moment to take it.
            let patience = (self.burden.streams() == 0).then(|| self.goodbye());
            self.bench.context.worker.set_deadline(&self.control, patience);
            return Some(Leave::Soon);
        }
        loop {
            match self.control.poll_event(cx, Awaited::Nothing) {
                Poll::Pending => return None,
                Poll::Ready(Event::TimedOut) if self.burden.streams() > 0 => {}
                Poll::Ready(Event::TimedOut) if leaving => return Some(Leave::Now),
                Poll::Ready(Event::TimedOut) => {
                    self.bench.context.worker.set_deadline(&self.control, Some(LINGER));
                    return Some(Leave::Soon);
                }
                Poll::Ready(Event::Broken) => return Some(Leave::Now),
                Poll::Ready(_) => {}
            }
        }
    }

    /// A stream begins.
    fn begin(self: &Rc<Self>) -> Visit {
        self.burden.set_streams(self.burden.streams() + 1);
        self.requests.set(self.requests.get() + 1);
        self.bench.context.worker.set_activity(&self.control, Activity::Carrying);
        self.bench.context.worker.set_deadline(&self.control, None);
        let (bench, peer, place) = (Rc::clone(&self.bench), Rc::clone(&self.peer), Rc::clone(&self.place));
        let guard = Box::new(OpenStream(Rc::clone(self)));
        Visit::new(bench, peer, place, self.requests.get(), Some(&self.control), guard)
    }

    /// A stream is over; after the last one the connection may stay idle for a while.
    fn end(&self) {
        self.burden.set_streams(self.burden.streams().saturating_sub(1));
        if self.burden.streams() > 0 {
            return;
        }
        self.bench.context.worker.set_activity(&self.control, Activity::Idle);
        let settings = self.bench.context.settings();
        let Some(listener) = settings.listeners.get(self.place.index()) else { return self.close_soon() };
        let core = &listener.names.default.root.core;
        if self.control.is_closing() {
            self.bench.context.worker.set_deadline(&self.control, Some(self.goodbye()));
        } else if self.requests.get() >= core.keepalive_requests {
            self.close_soon();
        } else {
            self.bench.context.worker.set_deadline(&self.control, Some(core.keepalive_timeout));
        }
    }

    /// How long a client may take to close after it was told to, milliseconds.
    fn goodbye(&self) -> u64 {
        if self.bench.context.worker.is_departing() { GOODBYE } else { LINGER }
    }

    fn close_soon(&self) {
        self.control.close_soon();
        self.control.wake();
    }
}

/// A stream that is open; dropping it ends it.
struct OpenStream(Rc<Shared>);

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.end();
    }
}

fn head_limit(server: &Server) -> u32 {
    let (count, size) = server.large_client_header_buffers;
    u32::try_from(count.saturating_mul(size)).unwrap_or(u32::MAX)
}
