//! The slow path: a request whose body is still on its way.
//!
//! Its head gets a buffer of its own, which lives until the answer is given. The decisions are those of the fast path, in
//! the same order: channels are created and errors told before the body is read.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::chunked_body::{BadChunk, ChunkedBody};
use super::connection::Next;
use super::session::Session;
use super::turn::Turn;
use crate::conf::settings::{Handler, Location};
use crate::delivery::{Connection, Event, Flush};
use crate::push::publish::{self, Begun};
use crate::push::statistics;
use crate::request::head::{self, BodyLength, HeadLimits};
use crate::request::reply::Reply;
use crate::site::authorization::{self, Settled};
use crate::site::exchange::Exchange;
use crate::site::phases;
use crate::wire::workbench::Workbench;

/// Bytes of an unwanted body that are read away to save the connection; a longer one costs it.
const UNWANTED: u64 = 1024 * 1024;

/// Answers the request that begins the bytes read ahead, however long its body takes.
pub(super) async fn answer(bench: &Rc<Workbench>, connection: &Rc<Connection>, session: &mut Session) -> Next {
    let settings = bench.context.settings();
    let buffer = std::mem::take(&mut session.ahead);
    let Some(server) = session.default_server(&settings) else { return Next::Close { linger: false } };
    let limits = HeadLimits::of(server, settings.compat.strict);
    // It was understood before, or it would not be here.
    let Ok(Some((head, length))) = head::parse(&buffer, &limits) else { return Next::Close { linger: false } };
    session.requests += 1;
    let peer = session.peer.clone();
    let now = bench.context.worker.now();
    let Ok(mut exchange) = Exchange::new(&settings, &peer, &head, now, session.requests) else {
        return Next::Close { linger: false };
    };
    let mut body = Incoming::new(exchange.body, buffer.get(length..).unwrap_or_default().to_vec());
    // The connection's deadline is for reading; what follows has timeouts of its own.
    bench.context.worker.set_deadline(connection, None);
    let mut request = Request { bench, connection, session };
    exchange.limiter = Some(&bench.context.limiter);
    let delayed = request.session.delayed.take();
    if let Some(milliseconds) = delayed {
        // `limit_req` has judged the request already.
        exchange.route.pace_known = true;
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
    }
    let routed = phases::route(&mut exchange);
    let settled = authorization::settle(&mut exchange, routed).await;
    let next = request.act(&mut exchange, settled, &mut body).await;
    session.ahead = body.rest;
    next
}

struct Request<'a> {
    bench: &'a Rc<Workbench>,
    connection: &'a Rc<Connection>,
    session: &'a mut Session,
}

impl Request<'_> {
    async fn act<'b>(&mut self, exchange: &mut Exchange<'b>, settled: Settled<'b>, body: &mut Incoming) -> Next {
        match settled {
            Settled::Drop => Next::Close { linger: false },
            Settled::Reply(reply) => self.reply_and_discard(exchange, reply, body).await,
            Settled::Serve(location) => match location.handler {
                Handler::Publisher { admin } => self.publish(exchange, location, admin, body).await,
                Handler::Statistics => {
                    let reply = statistics::answer_patiently(&self.bench.context, exchange, location).await;
                    self.reply_and_discard(exchange, reply, body).await
                }
                _ => self.serve_without_body(exchange, location, body).await,
            },
        }
    }

    async fn publish<'b>(
        &mut self,
        exchange: &mut Exchange<'b>,
        location: &'b Arc<Location>,
        admin: bool,
        body: &mut Incoming,
    ) -> Next {
        let worker = &self.bench.context.worker;
        let job = match publish::begin(worker, exchange, location, admin) {
            Begun::Reply(reply) => return self.reply_and_discard(exchange, reply, body).await,
            Begun::Body(job) => job,
        };
        if !body.is_complete() && expects_continue(exchange) {
            worker.send(self.connection, b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        let limit = location.core.client_max_body_size;
        match self.read(body, limit, location.core.client_body_timeout).await {
            Ok(text) => {
                self.session.published = true;
                let reply = publish::finish(worker, exchange, location, admin, &job, text.into());
                self.reply(exchange, reply)
            }
            Err(Some(bad)) => {
                exchange.route.close = true;
                let mut out = Vec::new();
                let mut turn =
                    Turn { bench: self.bench, connection: self.connection, session: self.session, out: &mut out };
                turn.fail(exchange, location, bad.status());
                self.send(&out);
                Next::Close { linger: true }
            }
            Err(None) => Next::Close { linger: false },
        }
    }

    /// A request whose body nobody wants: it is read away first, as what follows may be a subscription.
    async fn serve_without_body<'b>(
        &mut self,
        exchange: &mut Exchange<'b>,
        location: &'b Arc<Location>,
        body: &mut Incoming,
    ) -> Next {
        match self.read(body, UNWANTED, location.core.client_body_timeout).await {
            Ok(_) => {}
            Err(_) => return Next::Close { linger: true },
        }
        let mut out = Vec::new();
        let mut turn = Turn { bench: self.bench, connection: self.connection, session: self.session, out: &mut out };
        let next = turn.serve(exchange, location, &[]);
        self.send(&out);
        next.unwrap_or(Next::Read)
    }

    async fn reply_and_discard(&mut self, exchange: &mut Exchange<'_>, reply: Reply, body: &mut Incoming) -> Next {
        body.set_limit(UNWANTED);
        // What has come of the body is looked at first: a broken one is answered for what it is.
        if body.take_in() == Err(BadChunk::Malformed) {
            let location = exchange.location;
            let mut reply = phases::error_reply(exchange, location, BadChunk::Malformed.status());
            reply.close = true;
            self.reply(exchange, reply);
            return Next::Close { linger: true };
        }
        let next = self.reply(exchange, reply);
        match next {
            Next::Close { .. } => return Next::Close { linger: !body.is_complete() },
            Next::LeaveOpen => return next,
            _ => {}
        }
        let timeout = exchange.location.core.client_body_timeout;
        match self.read(body, UNWANTED, timeout).await {
            Ok(_) => next,
            Err(_) => Next::Close { linger: true },
        }
    }

    fn reply(&mut self, exchange: &Exchange<'_>, reply: Reply) -> Next {
        let mut out = Vec::new();
        let mut turn = Turn { bench: self.bench, connection: self.connection, session: self.session, out: &mut out };
        let next = turn.reply(exchange, reply, &[]);
        self.send(&out);
        next.unwrap_or(Next::Read)
    }

    fn send(&self, bytes: &[u8]) {
        if !bytes.is_empty() && self.bench.context.worker.send(self.connection, bytes) == Flush::Broken {
            self.connection.give_up();
        }
    }

    /// Reads the body to its end. `Err(None)`: the client is gone or too slow.
    async fn read(&self, body: &mut Incoming, limit: u64, timeout: u64) -> Result<Vec<u8>, Option<BadChunk>> {
        body.set_limit(limit);
        loop {
            if body.take_in()? {
                return Ok(std::mem::take(&mut body.text));
            }
            self.bench.context.worker.set_deadline(self.connection, Some(timeout));
            if self.connection.event(true, false).await != Event::Readable {
                return Err(None);
            }
            let mut input = self.bench.lend_input();
            let read = self.connection.try_read(&mut input);
            if let Ok(read) = read {
                body.rest.extend_from_slice(input.get(..read).unwrap_or_default());
            }
            self.bench.return_input(input);
            match read {
                Ok(0) => return Err(None),
                Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => return Err(None),
                _ => {}
            }
        }
    }
}

fn expects_continue(exchange: &Exchange<'_>) -> bool {
    exchange.is_http11()
        && exchange.head.header("expect").is_some_and(|value| value.eq_ignore_ascii_case(b"100-continue"))
}

/// A body on its way.
struct Incoming {
    framing: Framing,
    /// The body so far.
    text: Vec<u8>,
    /// Bytes that have been read and not been looked at; behind the body: the next request.
    rest: Vec<u8>,
}

enum Framing {
    /// Bytes that are still to come, and the limit.
    Exact(u64, u64),
    Chunked(ChunkedBody),
}

impl Incoming {
    fn new(length: BodyLength, rest: Vec<u8>) -> Self {
        let framing = match length {
            BodyLength::None => Framing::Exact(0, 0),
            BodyLength::Exact(length) => Framing::Exact(length, 0),
            BodyLength::Chunked => Framing::Chunked(ChunkedBody::new(0)),
        };
        Self { framing, text: Vec::new(), rest }
    }

    /// Most bytes; 0 = no limit.
    fn set_limit(&mut self, most: u64) {
        match &mut self.framing {
            Framing::Exact(_, limit) => *limit = most,
            Framing::Chunked(decoder) => decoder.set_limit(most),
        }
    }

    /// Moves what has been read into the body; true when it is complete.
    fn take_in(&mut self) -> Result<bool, BadChunk> {
        let used = match &mut self.framing {
            Framing::Exact(missing, limit) => {
                if *limit != 0 && (self.text.len() as u64).saturating_add(*missing) > *limit {
                    return Err(BadChunk::TooLarge);
                }
                let part = self.rest.len().min(usize::try_from(*missing).unwrap_or(usize::MAX));
                self.text.extend_from_slice(self.rest.get(..part).unwrap_or_default());
                *missing -= part as u64;
                part
            }
            Framing::Chunked(decoder) => decoder.feed(&self.rest, &mut self.text)?,
        };
        self.rest.drain(..used);
        Ok(self.is_complete())
    }

    fn is_complete(&self) -> bool {
        match &self.framing {
            Framing::Exact(missing, _) => *missing == 0,
            Framing::Chunked(decoder) => decoder.is_done(),
        }
    }
}
