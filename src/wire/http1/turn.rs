//! One request of HTTP/1 on its way to its answer: verdict after verdict, body and answer in between.
//!
//! Decides nothing that the engine decides; it gives it the body it asks for, spells its answers into the output, and tells the
//! connection what comes next. Invariant: what follows a request is looked at only when its body has been read to the end.

use std::rc::Rc;

use bytes::Bytes;

use super::body::RequestBody;
use super::chunked_body::BadChunk;
use super::next::Next;
use super::spelled::Spelled;
use super::waiting::Waiter;
use super::websocket;
use crate::delivery::{Connection, Flush, Manner, Source};
use crate::push::compression::Compression;
use crate::push::engine::{self, Job, Patience, UNWANTED, Verdict};
use crate::push::subscribe::{Stream, Wait};
use crate::push::websocket::{ClosedAtOnce, Opening};
use crate::request::head::BodyLength;
use crate::request::reply::{Body, Reply};
use crate::site::access_log::SentHead;
use crate::site::exchange::Exchange;
use crate::site::log_context;
use crate::site::{gzip, phases};
use crate::wire::file_source;
use crate::wire::log::{self, Sent};
use crate::wire::logged_source::{HeadText, LastingHead};
use crate::wire::reply_head::{Framing, keep_alive, write_head};
use crate::wire::session::Session;
use crate::wire::workbench::Workbench;

/// Bodies up to this many bytes are copied to go out with their head in one write.
const COPIED: usize = 256 * 1024;

/// A request while its answer is made.
pub(super) struct Turn<'a, 's> {
    pub bench: &'a Rc<Workbench>,
    pub connection: &'a Rc<Connection>,
    pub session: &'a mut Session,
    pub out: &'a mut Vec<u8>,
    pub exchange: &'a mut Exchange<'s>,
    pub body: &'a mut RequestBody,
}

/// How far a turn has come.
pub(super) enum Step<'s> {
    /// To its end; `None`: look at the next request.
    Done(Option<Next>),
    /// More of the body has to come.
    Body(Job<'s>),
    /// Time has to pass.
    Patience(Patience),
}

impl<'s> Turn<'_, 's> {
    /// Goes on from a verdict with what has come of the body, which is taken off the front of `input`.
    pub(super) fn advance(&mut self, verdict: Verdict<'s>, input: &mut &[u8]) -> Step<'s> {
        Step::Done(match verdict {
            Verdict::Body(job) => return self.read_body(job, input),
            Verdict::Patience(patience) => return Step::Patience(patience),
            Verdict::Reply(mut reply) => self.answer(&mut reply, input),
            Verdict::LongReply(reply, body) => self.reply_from(&reply, |_| body),
            Verdict::Stream(stream) => Some(self.stream(*stream)),
            Verdict::Wait(wait) => Some(self.wait(*wait)),
            Verdict::WebSocket(opening) => Some(self.websocket(*opening)),
            Verdict::Farewell(closed) => Some(self.farewell(closed)),
            Verdict::Drop => Some(Next::Close { linger: false }),
        })
    }

    /// Takes what has come of a body, and goes on when that is all of it.
    fn read_body(&mut self, job: Job<'s>, input: &mut &[u8]) -> Step<'s> {
        self.expect_no_less();
        self.body.set_limit(job.limit());
        let before = input.len();
        let taken = self.body.take(input);
        self.exchange.request_length += (before - input.len()) as u64;
        let verdict = match taken {
            Ok(false) if self.body.is_kept() && self.bench.context.worker.is_short_of_memory() => {
                self.bench.context.worker.count_refused_body();
                self.body.forget(UNWANTED);
                engine::fail_job(&self.bench.context, self.exchange, &job, 503)
            }
            Ok(false) => return Step::Body(job),
            Ok(true) => {
                if job.publishes() {
                    self.session.note_published(self.exchange.server.zone);
                }
                let text = self.body.take_text();
                engine::resume(&self.bench.context, self.exchange, job, text)
            }
            Err(bad) => {
                tell(self.exchange, bad);
                self.body.forget(UNWANTED);
                engine::fail_job(&self.bench.context, self.exchange, &job, bad.status())
            }
        };
        self.advance(verdict, input)
    }

    /// Tells a client that waits for it to send its body.
    fn expect_no_less(&mut self) {
        let exchange = &mut *self.exchange;
        let expects = !std::mem::replace(&mut exchange.route.expect_known, true)
            && exchange.is_http11()
            && exchange.head.header("expect").is_some_and(|value| value.eq_ignore_ascii_case(b"100-continue"));
        if expects {
            self.out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
    }

    /// Answers a request, whose body is of no interest any more, and sees to it that it is read to its end.
    fn answer(&mut self, reply: &mut Reply, input: &mut &[u8]) -> Option<Next> {
        let failed = self.exchange.route.body_discarded;
        if !failed && !self.body.is_complete() {
            self.expect_no_less();
        }
        let before = input.len();
        // A body that has been read to its end was not unwanted, however long it is.
        let taken = if self.body.is_complete() {
            Ok(true)
        } else {
            self.body.forget(UNWANTED);
            self.body.take(input)
        };
        self.exchange.request_length += (before - input.len()) as u64;
        if let Err(bad) = taken {
            self.exchange.route.close = true;
            if bad == BadChunk::Malformed && !failed {
                // A broken body is answered for what it is.
                tell(self.exchange, bad);
                let location = self.exchange.location;
                *reply = phases::error_reply(self.exchange, location, bad.status());
            }
        }
        let next = self.reply(reply);
        let unread = !matches!(taken, Ok(true));
        match next {
            Some(Next::Close { .. }) if unread => Some(Next::Close { linger: true }),
            None if unread => {
                let timeout = self.exchange.location.core.client_body_timeout;
                Some(Next::Forget { body: Box::new(self.take_body()), timeout })
            }
            next => next,
        }
    }

    fn take_body(&mut self) -> RequestBody {
        std::mem::replace(self.body, RequestBody::new(BodyLength::None))
    }

    fn stream(&mut self, stream: Stream) -> Next {
        let location = self.exchange.location;
        let head = stream.head;
        let keep = write_head(&head, self.exchange, location, self.keeps(), &mut Spelled::new(self.out)).keep_alive;
        self.push_out();
        stream.feed.begin(&self.bench.context.worker, self.connection);
        if stream.held {
            self.connection.hold();
        }
        self.begin_subscription(true);
        Next::Subscribed { close: !keep }
    }

    fn wait(&mut self, wait: Wait) -> Next {
        let location = self.exchange.location;
        let view = wait.bodies.view.clone();
        let keep = self.keeps();
        let waiter = Waiter::new(self.bench, self.connection, self.exchange, location, &wait.heads, wait.bodies, keep);
        let keep = waiter.keeps_alive();
        let manner = Manner::LongPoll(Box::new(waiter));
        self.bench.context.worker.subscribe(self.connection, view, manner, wait.admission, &wait.ending);
        self.begin_subscription(false);
        Next::Subscribed { close: !keep }
    }

    fn websocket(&mut self, opening: Opening) -> Next {
        let Opening { switching, feed, session } = opening;
        websocket::write_head(&switching, self.out);
        self.push_out();
        feed.begin(&self.bench.context.worker, self.connection);
        self.begin_subscription(true);
        Next::WebSocket(Box::new(session))
    }

    fn farewell(&mut self, closed: ClosedAtOnce) -> Next {
        websocket::write_head(&closed.switching, self.out);
        self.push_out();
        self.connection.push(closed.frame);
        self.flush();
        Next::Close { linger: true }
    }

    /// Puts what is to be sent into the outbox, where more will follow.
    fn push_out(&mut self) {
        self.connection.push_own(Bytes::copy_from_slice(self.out));
        self.out.clear();
    }

    /// Sends what the subscription starts with, in one write together with any answer before it.
    fn begin_subscription(&mut self, answered: bool) {
        self.session.begin_subscription(&self.bench.context, self.exchange, self.connection, answered);
        if !self.out.is_empty() {
            self.push_out();
        }
        self.flush();
    }

    fn flush(&self) {
        if self.bench.context.worker.flush(self.connection) == Flush::Broken {
            self.connection.give_up();
        }
    }

    /// Sends a reply whose body is made as it is taken. It is logged when it is over.
    fn reply_from(&mut self, reply: &Reply, body: impl FnOnce(Framing) -> Box<dyn Source>) -> Option<Next> {
        let location = self.exchange.location;
        let start = self.out.len();
        let sent = write_head(reply, self.exchange, location, self.keeps(), &mut Spelled::new(self.out));
        let head = self.out.get(start..).unwrap_or_default();
        let head = LastingHead { bytes: head.len(), is: HeadText::Spelled(head.to_vec()) };
        let source = log::at_end(&self.bench.context, self.exchange, reply, head, body(sent), sent.with_body);
        self.connection.set_send_timeout(location.core.send_timeout);
        self.push_out();
        if let Some(source) = source {
            self.connection.push_source(source);
        }
        self.flush();
        next_after(sent, reply)
    }

    /// Appends a reply.
    fn reply(&mut self, reply: &mut Reply) -> Option<Next> {
        let exchange = &*self.exchange;
        let location = exchange.location;
        self.connection.set_send_timeout(location.core.send_timeout);
        if matches!(reply.body, Body::Full(_) | Body::File(_)) {
            gzip::apply(reply, exchange, location);
        }
        if let Body::File(part) = &reply.body {
            return self.reply_from(reply, |framing| file_source::of(part, reply, framing, location));
        }
        let start = self.out.len();
        let sent = write_head(reply, exchange, location, self.keeps(), &mut Spelled::new(self.out));
        let head = self.out.len();
        let mut uncopied = Bytes::new();
        if sent.with_body {
            match &reply.body {
                Body::Full(body) if reply.gzip => {
                    let level = location.core.gzip.as_ref().map_or(1, |gzip| gzip.comp_level);
                    let compression = Compression { level, chunked: sent.chunked };
                    self.out.extend_from_slice(&compression.whole(body));
                }
                Body::Full(body) | Body::Framed(body) if body.len() > COPIED => uncopied = body.clone(),
                Body::Full(body) | Body::Framed(body) => self.out.extend_from_slice(body),
                Body::File(_) | Body::HeaderOnly | Body::Absent | Body::Stream => {}
            }
        }
        let sent_head = SentHead::Spelled(self.out.get(start..head).unwrap_or_default());
        let body_bytes = self.out.len() + uncopied.len() - head;
        let told = Sent { head: sent_head, head_bytes: head - start, body_bytes };
        log::write(&self.bench.context, exchange, reply, told);
        if !uncopied.is_empty() {
            // What was gathered goes first; the body follows as it is.
            self.connection.push_own(std::mem::take(self.out));
            self.connection.push_own(uncopied);
            self.flush();
        }
        next_after(sent, reply)
    }

    /// Whether the connection may serve another request after this one.
    fn keeps(&self) -> bool {
        !self.connection.is_closing() && keep_alive(self.exchange, self.exchange.location, self.session.requests)
    }
}

/// What comes after a reply; `None`: the next request.
fn next_after(sent: Framing, reply: &Reply) -> Option<Next> {
    match (sent.keep_alive, reply.left_open) {
        (true, _) => None,
        (false, false) => Some(Next::Close { linger: false }),
        (false, true) => Some(Next::LeaveOpen),
    }
}

fn tell(exchange: &Exchange<'_>, bad: BadChunk) {
    match bad {
        BadChunk::Malformed => log_context::refuse(exchange, "bad_request", format_args!("{bad}")),
        BadChunk::TooLarge => log_context::error(exchange, format_args!("{bad}")),
    }
}
