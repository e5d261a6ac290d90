//! One HTTP/1 connection: request after request, answers in order, subscribers in between.
//!
//! A request that has arrived whole is answered without a task switch or a buffer of its own; only bodies still on their
//! way and questions to other servers take the slow path ([`super::patience`]). A waiting subscriber holds no buffer.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::access_log::Outcome;
use super::compression::Compression;
use super::context::Context;
use super::exchange::Exchange;
use super::gzip;
use super::limiter::Hold;
use super::listener_place::ListenerPlace;
use super::log_files::{OpenLines, open_lines};
use super::patience;
use super::peer::Peer;
use super::publish::{self, Begun};
use super::reply::{self, Body, Reply};
use super::request_head::{self, BodyLength, HeadLimits};
use super::site::{self, Routed};
use super::statistics;
use super::subscribe::{self, Plan};
use super::waiting::Waiter;
use super::websocket;
use crate::conf::Settings;
use crate::conf::settings::{Handler, Location, Mode, Server};
use crate::delivery::{Connection, Event, Flush, Manner};
use crate::model::Now;

/// Bytes a client may send ahead while it is a subscriber.
const AHEAD: usize = 64 * 1024;
/// How long a publisher waits before it looks again whether the workers have caught up.
const CATCH_UP: Duration = Duration::from_millis(1);
/// Bytes of answers that may wait for a client before more of its requests are answered.
const UNREAD: usize = 256 * 1024;
/// Bodies up to this many bytes are copied to go out with their head in one write.
const COPIED: usize = 256 * 1024;
/// How long a connection is read on after an answer that leaves request bytes behind, milliseconds.
const LINGER: u64 = 5_000;

/// What a connection carries from request to request.
pub struct Session {
    /// Who is at the other end.
    pub peer: Peer,
    /// The socket it came by.
    pub place: Rc<ListenerPlace>,
    /// Requests answered so far.
    pub requests: u64,
    /// Bytes that have been read and belong to the next request.
    pub ahead: Vec<u8>,
    /// Whether a message has been published since the last look at how far the workers are.
    pub(super) published: bool,
    /// Whether the bytes read ahead are part of a head whose time is running.
    reading_head: bool,
    /// The request that begins `ahead` has passed `limit_req`, after which it waits so many milliseconds.
    pub delayed: Option<u64>,
    /// The connection as `limit_conn` counts it while it is a subscriber.
    holds: Vec<Hold>,
    /// What is to be logged when the subscription ends.
    late: Option<Box<Late>>,
}

/// The access log lines of a subscriber, written when it ends.
struct Late {
    lines: OpenLines,
    began: Now,
    /// Whether the client has been sent something; one that leaves a waiting long-poll is logged as 499.
    answered: bool,
    status: u16,
}

impl Session {
    /// What a new connection carries; `ahead`: bytes of its first request that have been read already.
    pub fn new(peer: Peer, place: Rc<ListenerPlace>, ahead: Vec<u8>) -> Box<Self> {
        Box::new(Self {
            peer,
            place,
            requests: 0,
            ahead,
            published: false,
            delayed: None,
            holds: Vec::new(),
            reading_head: false,
            late: None,
        })
    }

    /// The default server of the socket, whose values count until a request has named one; `None` if a reload has taken the
    /// socket away.
    pub(super) fn default_server<'a>(&mut self, settings: &'a Settings) -> Option<&'a Arc<Server>> {
        self.peer.listener = self.place.index();
        settings.listeners.get(self.peer.listener).map(|listener| &listener.names.default)
    }

    /// Whether this is a publisher that is ahead of the workers.
    pub(super) fn must_wait(&mut self, context: &Context) -> bool {
        std::mem::take(&mut self.published) && context.worker.hub().is_congested()
    }

    /// How long the next bytes may take, milliseconds: between requests `keepalive_timeout`, for a whole head
    /// `client_header_timeout`; `None` while the time of a head is running already.
    fn patience(&mut self, context: &Context) -> Option<u64> {
        let settings = context.settings();
        let Some(server) = self.default_server(&settings) else { return Some(0) };
        if self.ahead.is_empty() {
            self.reading_head = false;
            let idle =
                if self.requests == 0 { server.client_header_timeout } else { server.root.core.keepalive_timeout };
            return Some(idle);
        }
        let running = std::mem::replace(&mut self.reading_head, true);
        (!running).then_some(server.client_header_timeout)
    }

    /// Counts a subscription off that is over, and writes its lines; `complete`: it ended as it should.
    pub(super) fn end_subscription(&mut self, context: &Context, complete: bool) {
        self.holds.clear();
        let Some(late) = self.late.take() else { return };
        let now = context.worker.now();
        let status = if complete || late.answered { late.status } else { 499 };
        let request_time = now.0.saturating_sub(late.began.0);
        context.logs.write(&late.lines, &Outcome { status, request_time, now, complete, ..Outcome::default() });
    }
}

/// What comes after the requests that were at hand.
pub(super) enum Next {
    /// Wait for more bytes.
    Read,
    /// Wait until the client has taken its answers, then answer the requests read ahead.
    Drain,
    /// The request that begins the unread bytes needs time.
    Slow,
    /// A stream or long-poll has begun; `close` says what follows its end.
    Subscribed { close: bool },
    /// A websocket has begun.
    WebSocket(Box<websocket::Session>),
    /// Leave it to the client to close; it is waited for.
    LeaveOpen,
    /// Close, after what waits is sent. `linger`: the client may still be sending.
    Close { linger: bool },
}

/// Serves a connection until it closes.
pub async fn serve(context: Rc<Context>, connection: Rc<Connection>, mut session: Box<Session>) {
    let _dismissal = Dismissal(&context, &connection);
    let mut next = answer_ahead(&context, &connection, &mut session);
    loop {
        next = match next {
            Next::Read if session.must_wait(&context) => {
                Box::pin(catch_up(&context)).await;
                Next::Read
            }
            Next::Read => {
                if wait_for_bytes(&context, &connection, &mut session).await {
                    read_and_answer(&context, &connection, &mut session)
                } else {
                    break;
                }
            }
            Next::Drain => {
                if !has_read(&connection, &mut session).await {
                    break;
                }
                answer_ahead(&context, &connection, &mut session)
            }
            Next::Slow => match Box::pin(patience::answer(&context, &connection, &mut session)).await {
                // What came with the body is there already: no event of the socket will tell of it.
                Next::Read => {
                    if session.must_wait(&context) {
                        Box::pin(catch_up(&context)).await;
                    }
                    answer_ahead(&context, &connection, &mut session)
                }
                next => next,
            },
            Next::Subscribed { close } => {
                let complete = wait_as_subscriber(&context, &connection, &mut session).await;
                session.end_subscription(&context, complete);
                match complete {
                    true if close || connection.is_closing() => Next::Close { linger: false },
                    true => answer_ahead(&context, &connection, &mut session),
                    false => break,
                }
            }
            Next::WebSocket(socket) => {
                Box::pin(websocket::serve(&context, &connection, &mut session, socket)).await;
                session.end_subscription(&context, true);
                Next::Close { linger: false }
            }
            Next::LeaveOpen => {
                if drained(&connection).await {
                    await_end(&context, &connection, LINGER).await;
                }
                break;
            }
            Next::Close { linger } => {
                close(&context, &connection, linger).await;
                break;
            }
        };
    }
}

/// Lets the connection go when its task ends, by a panic too: a subscriber must not stay behind.
struct Dismissal<'a>(&'a Context, &'a Rc<Connection>);

impl Drop for Dismissal<'_> {
    fn drop(&mut self) {
        self.0.worker.dismiss(self.1);
    }
}

/// Lets a publisher wait until no worker is far behind: its next message would only make their queues longer.
pub(super) async fn catch_up(context: &Context) {
    while context.worker.hub().is_congested() {
        tokio::time::sleep(CATCH_UP).await;
    }
}

/// Waits until the client has taken its answers; the time of a head that has begun starts anew after that.
async fn has_read(connection: &Connection, session: &mut Session) -> bool {
    session.reading_head = false;
    drained(connection).await
}

/// Waits for readable bytes; false when the connection is to be closed instead.
async fn wait_for_bytes(context: &Context, connection: &Rc<Connection>, session: &mut Session) -> bool {
    if connection.waiting() > UNREAD && !has_read(connection, session).await {
        return false;
    }
    if let Some(patience) = session.patience(context) {
        context.worker.set_deadline(connection, Some(patience));
    }
    loop {
        if connection.is_closing() && session.ahead.is_empty() && connection.waiting() == 0 {
            return false;
        }
        match connection.event(true, connection.is_closing()).await {
            Event::Readable => return true,
            Event::TimedOut | Event::Broken => return false,
            Event::Drained | Event::Ended => {}
        }
    }
}

/// Reads once and answers every request that is complete.
fn read_and_answer(context: &Rc<Context>, connection: &Rc<Connection>, session: &mut Session) -> Next {
    let mut input = context.lend_input();
    let next = match connection.try_read(&mut input) {
        Ok(0) => Next::Close { linger: false },
        Ok(read) if session.ahead.is_empty() => {
            let bytes = input.get(..read).unwrap_or_default();
            let (used, next) = answer_all(context, connection, session, bytes);
            session.ahead = bytes.get(used..).unwrap_or_default().to_vec();
            next
        }
        Ok(read) => {
            session.ahead.extend_from_slice(input.get(..read).unwrap_or_default());
            answer_ahead(context, connection, session)
        }
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Next::Read,
        Err(_) => Next::Close { linger: false },
    };
    context.return_input(input);
    next
}

/// Answers every complete request among the bytes read ahead.
pub(super) fn answer_ahead(context: &Rc<Context>, connection: &Rc<Connection>, session: &mut Session) -> Next {
    if session.ahead.is_empty() {
        return Next::Read;
    }
    let bytes = std::mem::take(&mut session.ahead);
    let (used, next) = answer_all(context, connection, session, &bytes);
    session.ahead = bytes.get(used..).unwrap_or_default().to_vec();
    next
}

/// Answers request after request; returns how many bytes were used and what comes next.
fn answer_all(
    context: &Rc<Context>,
    connection: &Rc<Connection>,
    session: &mut Session,
    bytes: &[u8],
) -> (usize, Next) {
    let mut out = context.lend_output();
    let mut used = 0;
    let next = loop {
        let rest = bytes.get(used..).unwrap_or_default();
        if rest.is_empty() {
            break Next::Read;
        }
        if out.len() + connection.waiting() > UNREAD {
            break Next::Drain;
        }
        let mut turn = Turn { context, connection, session: &mut *session, out: &mut out };
        match turn.answer(rest) {
            (taken, None) => used += taken,
            (taken, Some(next)) => {
                used += taken;
                break next;
            }
        }
    };
    if !out.is_empty() && context.worker.send(connection, &out) == Flush::Broken {
        connection.give_up();
    }
    context.return_output(out);
    (used, next)
}

/// One request in the making of its answer.
pub(super) struct Turn<'a> {
    pub context: &'a Rc<Context>,
    pub connection: &'a Rc<Connection>,
    pub session: &'a mut Session,
    pub out: &'a mut Vec<u8>,
}

impl Turn<'_> {
    /// Answers the request that begins `bytes`. `None`: look at the next one.
    fn answer(&mut self, bytes: &[u8]) -> (usize, Option<Next>) {
        let settings = self.context.settings();
        let Some(server) = self.session.default_server(&settings) else {
            return (0, Some(Next::Close { linger: false }));
        };
        let limits = HeadLimits::of(server, settings.compat.strict);
        let (head, length) = match request_head::parse(bytes, &limits) {
            Ok(Some(parsed)) => parsed,
            Ok(None) => return (0, Some(Next::Read)),
            Err(bad) => return (bytes.len(), Some(self.refuse(&settings, bytes, bad))),
        };
        let now = self.context.worker.now();
        let peer = self.session.peer.clone();
        let mut exchange = match Exchange::new(&settings, &peer, &head, now, self.session.requests + 1) {
            Ok(exchange) => exchange,
            Err(bad) => {
                let exchange = Exchange::refused(&settings, &peer, &head, now, self.session.requests + 1);
                return (bytes.len(), Some(self.refuse_with(exchange, bad)));
            }
        };
        let after = bytes.get(length..).unwrap_or_default();
        let body = match exchange.body {
            BodyLength::None => Some(&[][..]),
            BodyLength::Exact(body) => usize::try_from(body).ok().and_then(|body| after.get(..body)),
            BodyLength::Chunked => None,
        };
        let Some(body) = body else { return (0, Some(Next::Slow)) };
        let used = length + body.len();
        exchange.request_length = used as u64;
        exchange.limiter = Some(&self.context.limiter);
        match site::route(&mut exchange) {
            Routed::Authorize { .. } => {
                self.session.delayed = exchange.route.pace_known.then_some(0);
                (0, Some(Next::Slow))
            }
            Routed::Wait(milliseconds) => {
                self.session.delayed = Some(milliseconds);
                (0, Some(Next::Slow))
            }
            Routed::Drop => (used, Some(Next::Close { linger: false })),
            Routed::Serve(location)
                if location.handler == Handler::Statistics
                    && statistics::is_long(self.context, &exchange, location) =>
            {
                self.session.delayed = exchange.route.pace_known.then_some(0);
                (0, Some(Next::Slow))
            }
            Routed::Serve(location) => {
                self.session.requests += 1;
                (used, self.serve(&mut exchange, location, body))
            }
            Routed::Reply(reply) => {
                self.session.requests += 1;
                (used, self.reply(&exchange, reply, &[]))
            }
        }
    }

    /// Answers at a location whose handler is pushstreamd's own.
    pub(super) fn serve<'b>(
        &mut self,
        exchange: &mut Exchange<'b>,
        location: &'b Arc<Location>,
        body: &[u8],
    ) -> Option<Next> {
        let worker = &self.context.worker;
        match location.handler {
            Handler::Publisher { admin } => {
                let reply = match publish::begin(worker, exchange, location, admin) {
                    Begun::Reply(reply) => reply,
                    Begun::Body(job) => {
                        self.session.published = true;
                        publish::finish(worker, exchange, location, admin, &job, body.into())
                    }
                };
                self.reply(exchange, reply, &[])
            }
            Handler::Statistics => {
                let reply = statistics::answer(self.context, exchange, location);
                self.reply(exchange, reply, &[])
            }
            Handler::Subscriber(Mode::WebSocket) => self.websocket(exchange, location),
            Handler::Subscriber(_) => self.subscribe(exchange, location),
            Handler::StubStatus => {
                let reply = statistics::stub_status(worker.connections());
                self.reply(exchange, reply, &[])
            }
            Handler::Static | Handler::Foreign(_) => self.fail(exchange, location, 502),
        }
    }

    fn subscribe(&mut self, exchange: &mut Exchange<'_>, location: &Arc<Location>) -> Option<Next> {
        let own_chunks = exchange.has_own_chunks();
        let chunked = own_chunks || location.core.chunked_transfer_encoding && exchange.is_http11();
        match subscribe::plan(self.context, exchange, location, chunked) {
            Plan::Reply(reply, body) => self.reply(exchange, reply, &body),
            Plan::Stream(stream) => {
                let keep = self.keeps(exchange, location);
                let keep = stream.head.encode_head(exchange, location, keep, self.out).keep_alive;
                self.connection.set_send_timeout(location.core.send_timeout);
                self.connection.push(Bytes::copy_from_slice(self.out));
                self.out.clear();
                for piece in stream.pieces {
                    self.connection.push(piece);
                }
                if stream.held {
                    self.connection.hold();
                }
                let worker = &self.context.worker;
                worker.subscribe(self.connection, stream.view, stream.manner, &stream.registration, &stream.ending);
                self.begin_subscription(exchange, 200, true);
                Some(Next::Subscribed { close: !keep })
            }
            Plan::Wait(wait) => {
                let keep = self.keeps(exchange, location);
                self.connection.set_send_timeout(location.core.send_timeout);
                let view = wait.bodies.view.clone();
                let waiter =
                    Waiter::new(self.context, self.connection, exchange, location, &wait.heads, wait.bodies, keep);
                let keep = waiter.keeps_alive();
                let manner = Manner::LongPoll(Box::new(waiter));
                self.context.worker.subscribe(self.connection, view, manner, &wait.registration, &wait.ending);
                self.begin_subscription(exchange, 200, false);
                Some(Next::Subscribed { close: !keep })
            }
        }
    }

    fn websocket(&mut self, exchange: &mut Exchange<'_>, location: &Arc<Location>) -> Option<Next> {
        match websocket::begin(self.context, self.connection, exchange, location, self.out) {
            websocket::Begun::Reply(reply) => self.reply(exchange, reply, &[]),
            websocket::Begun::Open(session) => {
                self.begin_subscription(exchange, 200, true);
                Some(Next::WebSocket(session))
            }
            websocket::Begun::Refused => Some(Next::Close { linger: true }),
        }
    }

    /// Sends what the subscription starts with, in one write together with any answer before it.
    fn begin_subscription(&mut self, exchange: &mut Exchange<'_>, status: u16, answered: bool) {
        self.session.holds = std::mem::take(&mut exchange.holds);
        if !exchange.location.core.access_log.is_empty() {
            let lines = open_lines(exchange);
            self.session.late = Some(Box::new(Late { lines, began: exchange.now, answered, status }));
        }
        if !self.out.is_empty() {
            self.connection.push(Bytes::copy_from_slice(self.out));
            self.out.clear();
        }
        if self.context.worker.flush(self.connection) == Flush::Broken {
            self.connection.give_up();
        }
    }

    /// Appends a reply, with a body that is framed already if the reply is a stream.
    pub(super) fn reply(&mut self, exchange: &Exchange<'_>, mut reply: Reply, framed: &[u8]) -> Option<Next> {
        let location = exchange.location;
        if matches!(reply.body, Body::Full(_)) {
            gzip::apply(&mut reply, exchange, location);
        }
        let start = self.out.len();
        let sent = reply.encode_head(exchange, location, self.keeps(exchange, location), self.out);
        let head = self.out.len();
        let mut uncopied = Bytes::new();
        if sent.with_body {
            match &reply.body {
                Body::Full(body) if reply.gzip => {
                    let level = location.core.gzip.as_ref().map_or(1, |gzip| gzip.comp_level);
                    let compression = Compression { level, chunked: sent.chunked };
                    self.out.extend_from_slice(&compression.whole(body));
                }
                Body::Full(body) if body.len() > COPIED => uncopied = body.clone(),
                Body::Full(body) => self.out.extend_from_slice(body),
                _ => self.out.extend_from_slice(framed),
            }
        }
        if !location.core.access_log.is_empty() {
            let now = self.context.worker.now();
            let outcome = Outcome {
                status: reply.status_sent(exchange),
                bytes_sent: (self.out.len() + uncopied.len() - start) as u64,
                body_bytes_sent: (self.out.len() + uncopied.len() - head) as u64,
                request_time: now.0.saturating_sub(exchange.now.0),
                now,
                complete: true,
                sent_head: self.out.get(start..head).unwrap_or_default(),
            };
            self.context.logs.write(&open_lines(exchange), &outcome);
        }
        if !uncopied.is_empty() {
            // What was gathered goes first; the body follows as it is.
            self.connection.push(Bytes::from(std::mem::take(self.out)));
            self.connection.push(uncopied);
            if self.context.worker.flush(self.connection) == Flush::Broken {
                self.connection.give_up();
            }
        }
        match (sent.keep_alive, reply.left_open) {
            (true, _) => None,
            (false, false) => Some(Next::Close { linger: false }),
            (false, true) => Some(Next::LeaveOpen),
        }
    }

    fn keeps(&self, exchange: &Exchange<'_>, location: &Arc<Location>) -> bool {
        !self.connection.is_closing() && reply::keep_alive(exchange, location, self.session.requests)
    }
}

/// Sleeps while the subscription lasts; true when it has ended and everything is sent, false when the peer is gone.
async fn wait_as_subscriber(context: &Rc<Context>, connection: &Rc<Connection>, session: &mut Session) -> bool {
    loop {
        let listen = session.ahead.len() < AHEAD;
        match connection.event(listen, false).await {
            Event::Readable => {
                if !read_ahead(context, connection, session) {
                    context.worker.unsubscribe(connection);
                    return false;
                }
            }
            Event::Ended => return drained(connection).await,
            Event::Broken => return false,
            Event::TimedOut | Event::Drained => {}
        }
    }
}

/// Keeps what a client sends while it is a subscriber; false if it has closed its side.
fn read_ahead(context: &Context, connection: &Connection, session: &mut Session) -> bool {
    let mut input = context.lend_input();
    let open = match connection.try_read(&mut input) {
        Ok(0) => false,
        Ok(read) => {
            session.ahead.extend_from_slice(input.get(..read).unwrap_or_default());
            true
        }
        Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
    };
    context.return_input(input);
    open
}

/// Waits until everything has been sent; false if the peer is gone.
pub(super) async fn drained(connection: &Connection) -> bool {
    loop {
        match connection.event(false, true).await {
            Event::Drained => return true,
            Event::Broken => return false,
            _ => {}
        }
    }
}

/// Sends what waits and closes. A client that is still sending is read on for a while, or it would lose the answer to a
/// reset.
async fn close(context: &Context, connection: &Rc<Connection>, linger: bool) {
    if !drained(connection).await || !linger {
        connection.stream().close_notify();
        return;
    }
    connection.stream().shutdown_write();
    await_end(context, connection, LINGER).await;
}

/// Reads until the client closes, at most this many milliseconds.
pub(super) async fn await_end(context: &Context, connection: &Rc<Connection>, patience: u64) {
    context.worker.set_deadline(connection, Some(patience));
    while connection.event(true, false).await == Event::Readable {
        let mut input = context.lend_input();
        let read = connection.try_read(&mut input);
        context.return_input(input);
        match read {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}
