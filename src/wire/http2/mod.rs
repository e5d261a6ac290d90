//! One HTTP/2 connection: its streams are requests that come by the service.
//!
//! hyper speaks the protocol; this file is about how long a connection lasts and how it ends.

mod task;
mod transport;

use std::cell::Cell;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll};

use hyper::rt::Executor;
use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use tokio::task::spawn_local;

use self::transport::Transport;
use super::listener_place::ListenerPlace;
use super::service::{self, Visit};
use crate::conf::settings::Server;
use crate::delivery::{Activity, Connection, Event, Seat, Stream};
use crate::request::peer::Peer;
use crate::wire::workbench::Workbench;

/// Streams a client may have open at once, as nginx has it.
const STREAMS: u32 = 128;
/// Bytes of a stream that may wait within HTTP/2; more wait in the outbox, where they are counted.
const STREAM_BUFFER: usize = 64 * 1024;
/// How long a client may take to close after it was told to, or to end a body that nobody wants, milliseconds.
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
    /// Stands for the connection in the worker: it counts, has the deadline, and is told to close.
    control: Rc<Connection>,
    requests: Cell<u64>,
    open: Cell<usize>,
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
    let mut builder = Builder::new(Local);
    builder
        .enable_connect_protocol()
        .auto_date_header(false)
        .max_concurrent_streams(STREAMS)
        .max_send_buf_size(STREAM_BUFFER)
        .max_header_list_size(head_limit(server));
    let control = bench.context.worker.enter(Connection::seated(Stream::Body, seat));
    bench.context.worker.set_deadline(&control, Some(server.client_header_timeout));
    drop(settings);
    let shared = Rc::new(Shared {
        bench,
        place,
        peer,
        control: Rc::clone(&control),
        requests: Cell::new(0),
        open: Cell::new(0),
    });
    let of_service = Rc::clone(&shared);
    let service = service_fn(move |request| {
        let shared = Rc::clone(&of_service);
        async move { service::answer(shared.begin(), request).await }
    });
    let mut connection = pin!(builder.serve_connection(Transport::new(stream, first), service));
    let mut leaving = false;
    let ended = std::future::poll_fn(|cx| {
        while let Some(leave) = shared.poll_leave(cx, leaving) {
            match leave {
                Leave::Now => return Poll::Ready(Ok(())),
                Leave::Soon => {
                    leaving = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
        connection.as_mut().poll(cx)
    });
    if let Err(error) = ended.await {
        tracing::info!("client closed or broke HTTP/2: {error}");
    }
    shared.bench.context.worker.dismiss(&control);
}

/// How a connection is to end.
enum Leave {
    /// When its streams are over.
    Soon,
    /// At once.
    Now,
}

impl Shared {
    /// Whether the connection is to end, now that something has happened to it from outside.
    fn poll_leave(&self, cx: &mut TaskContext<'_>, leaving: bool) -> Option<Leave> {
        if self.control.is_closing() && !leaving {
            // Nothing under way: the client is told so, and has a moment to take it.
            let patience = (self.open.get() == 0).then(|| self.goodbye());
            self.bench.context.worker.set_deadline(&self.control, patience);
            return Some(Leave::Soon);
        }
        loop {
            match self.control.poll_event(cx, false, false) {
                Poll::Pending => return None,
                Poll::Ready(Event::TimedOut) if self.open.get() > 0 => {}
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
        self.open.set(self.open.get() + 1);
        self.requests.set(self.requests.get() + 1);
        self.bench.context.worker.set_activity(&self.control, Activity::Carrying);
        self.bench.context.worker.set_deadline(&self.control, None);
        let (bench, peer, place) = (Rc::clone(&self.bench), Rc::clone(&self.peer), Rc::clone(&self.place));
        let visit = Visit::new(bench, peer, place, self.requests.get(), Box::new(OpenStream(Rc::clone(self))));
        task::belongs_to(visit.connection());
        visit
    }

    /// A stream is over; after the last one the connection may stay idle for a while.
    fn end(&self) {
        self.open.set(self.open.get().saturating_sub(1));
        if self.open.get() > 0 {
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

/// Runs what hyper starts on the worker's own thread.
#[derive(Clone, Copy)]
struct Local;

impl<F> Executor<F> for Local
where
    F: Future<Output: 'static> + 'static,
{
    fn execute(&self, future: F) {
        spawn_local(task::run(future));
    }
}
