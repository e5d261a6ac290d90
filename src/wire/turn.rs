//! One request in the making of its answer: read, sent through the site, handed to its verb, answered.
//!
//! Decides nothing that a verb or the site decides; it puts what they say into the output and tells the connection what
//! comes next.

use crate::wire::reply_head;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;

use super::connection::Next;
use super::session::Session;
use super::waiting::Waiter;
use super::websocket::write_head;
use crate::conf::settings::{Handler, Location, Mode};
use crate::delivery::{Connection, Flush, Manner};
use crate::push::compression::Compression;
use crate::push::publish::{self, Begun};
use crate::push::statistics;
use crate::push::subscribe::{self, Plan};
use crate::push::websocket;
use crate::request::head::{self, BodyLength, HeadLimits};
use crate::request::reply::{Body, Reply};
use crate::site::access_log::Outcome;
use crate::site::exchange::Exchange;
use crate::site::gzip;
use crate::site::log_files::open_lines;
use crate::site::phases::{self, Routed};
use crate::wire::workbench::Workbench;

/// Bodies up to this many bytes are copied to go out with their head in one write.
const COPIED: usize = 256 * 1024;

/// One request in the making of its answer.
pub(super) struct Turn<'a> {
    pub bench: &'a Rc<Workbench>,
    pub connection: &'a Rc<Connection>,
    pub session: &'a mut Session,
    pub out: &'a mut Vec<u8>,
}

impl Turn<'_> {
    /// Answers the request that begins `bytes`. `None`: look at the next one.
    pub(super) fn answer(&mut self, bytes: &[u8]) -> (usize, Option<Next>) {
        let settings = self.bench.context.settings();
        let Some(server) = self.session.default_server(&settings) else {
            return (0, Some(Next::Close { linger: false }));
        };
        let limits = HeadLimits::of(server, settings.compat.strict);
        let (head, length) = match head::parse(bytes, &limits) {
            Ok(Some(parsed)) => parsed,
            Ok(None) => return (0, Some(Next::Read)),
            Err(bad) => return (bytes.len(), Some(self.refuse(&settings, bytes, bad))),
        };
        let now = self.bench.context.worker.now();
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
        exchange.limiter = Some(&self.bench.context.limiter);
        match phases::route(&mut exchange) {
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
                    && statistics::is_long(&self.bench.context, &exchange, location) =>
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
        let worker = &self.bench.context.worker;
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
                let reply = statistics::answer(&self.bench.context, exchange, location);
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
        match subscribe::plan(&self.bench.context, exchange, location, chunked) {
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
                let worker = &self.bench.context.worker;
                worker.subscribe(self.connection, stream.view, stream.manner, stream.admission, &stream.ending);
                self.begin_subscription(exchange, 200, true);
                Some(Next::Subscribed { close: !keep })
            }
            Plan::Wait(wait) => {
                let keep = self.keeps(exchange, location);
                self.connection.set_send_timeout(location.core.send_timeout);
                let view = wait.bodies.view.clone();
                let waiter =
                    Waiter::new(self.bench, self.connection, exchange, location, &wait.heads, wait.bodies, keep);
                let keep = waiter.keeps_alive();
                let manner = Manner::LongPoll(Box::new(waiter));
                self.bench.context.worker.subscribe(self.connection, view, manner, wait.admission, &wait.ending);
                self.begin_subscription(exchange, 200, false);
                Some(Next::Subscribed { close: !keep })
            }
        }
    }

    fn websocket(&mut self, exchange: &mut Exchange<'_>, location: &Arc<Location>) -> Option<Next> {
        let opening = match websocket::begin(&self.bench.context, exchange, location) {
            websocket::Begun::Reply(reply) => return self.reply(exchange, reply, &[]),
            websocket::Begun::Refused(switching, frame) => {
                write_head(&switching, self.out);
                self.connection.push(Bytes::from(std::mem::take(self.out)));
                self.connection.push(frame);
                return Some(Next::Close { linger: true });
            }
            websocket::Begun::Open(opening) => opening,
        };
        let websocket::Opening { switching, pieces, view, admission, ending, session } = *opening;
        write_head(&switching, self.out);
        self.connection.push(Bytes::from(std::mem::take(self.out)));
        for piece in pieces {
            self.connection.push(piece);
        }
        self.connection.set_send_timeout(location.core.send_timeout);
        self.bench.context.worker.subscribe(self.connection, view, Manner::Stream, admission, &ending);
        self.begin_subscription(exchange, 200, true);
        Some(Next::WebSocket(Box::new(session)))
    }

    /// Sends what the subscription starts with, in one write together with any answer before it.
    fn begin_subscription(&mut self, exchange: &mut Exchange<'_>, status: u16, answered: bool) {
        self.session.begin_subscription(exchange, status, answered);
        if !self.out.is_empty() {
            self.connection.push(Bytes::copy_from_slice(self.out));
            self.out.clear();
        }
        if self.bench.context.worker.flush(self.connection) == Flush::Broken {
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
            let now = self.bench.context.worker.now();
            let outcome = Outcome {
                status: exchange.status_sent(&reply),
                bytes_sent: (self.out.len() + uncopied.len() - start) as u64,
                body_bytes_sent: (self.out.len() + uncopied.len() - head) as u64,
                request_time: now.0.saturating_sub(exchange.now.0),
                now,
                complete: true,
                sent_head: self.out.get(start..head).unwrap_or_default(),
            };
            self.bench.context.logs.write(&open_lines(exchange), &outcome);
        }
        if !uncopied.is_empty() {
            // What was gathered goes first; the body follows as it is.
            self.connection.push(Bytes::from(std::mem::take(self.out)));
            self.connection.push(uncopied);
            if self.bench.context.worker.flush(self.connection) == Flush::Broken {
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
        !self.connection.is_closing() && reply_head::keep_alive(exchange, location, self.session.requests)
    }
}
