//! A long-poll that waits on HTTP/1: its answers as bytes, head and all.

use std::rc::Rc;

use bytes::Bytes;

use super::context::Context;
use super::exchange::Exchange;
use super::reply::Body;
use super::subscribe::{PollBodies, PollHeads};
use super::waiting_head::WaitingHead;
use crate::conf::settings::Location;
use crate::delivery::Waiting;
use crate::hub::Fanout;
use crate::model::{Now, Stamp};

/// The answers of one waiting long-poll.
pub(super) struct Waiter {
    bodies: PollBodies,
    /// Head of an answer with a body.
    full: Rc<WaitingHead>,
    /// Head of the 304; `None` where a timeout has a body.
    empty: Option<Rc<WaitingHead>>,
    keep_alive: bool,
}

impl Waiter {
    /// Prepares the heads; `keep`: the connection stays open after the answer.
    pub(super) fn new(
        context: &Context,
        exchange: &Exchange<'_>,
        location: &Location,
        heads: &PollHeads,
        bodies: PollBodies,
        keep: bool,
    ) -> Self {
        let mut keep_alive = keep;
        let mut shared = |body: Body| {
            let head = heads.head(body, None, None);
            let head = WaitingHead::new(head, exchange.settings.compat.line, exchange, location, keep_alive);
            keep_alive = head.framing.keep_alive;
            context.share(head)
        };
        let full = shared(Body::Stream);
        let empty = (!exchange.settings.zone.timeout_with_body).then(|| shared(Body::HeaderOnly));
        Self { bodies, full, empty, keep_alive }
    }

    /// Whether the connection stays open after the answer.
    pub(super) fn keeps_alive(&self) -> bool {
        self.keep_alive
    }

    fn answer(head: &WaitingHead, now: Now, stamp: Stamp, body: &[u8]) -> Bytes {
        let mut out = Vec::with_capacity(head.bytes().len() + 16 + body.len());
        head.write(now, stamp, &mut out);
        out.extend_from_slice(body);
        out.into()
    }
}

/// The stamp of an answer without a stored message: now, with tag 0, from where a client misses nothing.
fn fresh(now: Now) -> Stamp {
    Stamp { time: now.secs(), tag: 0 }
}

impl Waiting for Waiter {
    fn message(&self, fanout: &Fanout, now: Now) -> Bytes {
        Self::answer(&self.full, now, fanout.message.stamp, &self.bodies.message(&fanout.id, &fanout.message))
    }

    fn deleted(&self, fanout: &Fanout, now: Now) -> Bytes {
        Self::answer(&self.full, now, fresh(now), &self.bodies.message(&fanout.id, &fanout.message))
    }

    fn timed_out(&self, now: Now, closing: bool) -> Bytes {
        let (head, body) = match &self.empty {
            Some(head) => (head, Vec::new()),
            None => (&self.full, self.bodies.timeout().unwrap_or_default()),
        };
        let answer = Self::answer(head, now, fresh(now), &body);
        if closing { closed(&answer) } else { answer }
    }
}

/// The same answer on a connection that is closed after it.
fn closed(answer: &[u8]) -> Bytes {
    const KEPT: &[u8] = b"\r\nConnection: keep-alive\r\n";
    match memchr::memmem::find(answer, KEPT) {
        Some(at) => {
            let (before, after) = answer.split_at(at);
            [before, b"\r\nConnection: close\r\n", after.get(KEPT.len()..).unwrap_or_default()].concat().into()
        }
        None => Bytes::copy_from_slice(answer),
    }
}
