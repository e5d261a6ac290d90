//! A long-poll that waits on HTTP/1: its answers as bytes, head and all.

use std::rc::{Rc, Weak};

use bytes::Bytes;

use super::waiting_head::WaitingHead;
use crate::conf::settings::Location;
use crate::delivery::{Connection, Waiting};
use crate::hub::Fanout;
use crate::model::{Now, Stamp};
use crate::push::subscribe::{PollBodies, PollHeads};
use crate::request::reply::Body;
use crate::site::exchange::Exchange;
use crate::wire::workbench::Workbench;

/// The answers of one waiting long-poll.
pub(super) struct Waiter {
    bodies: PollBodies,
    /// Head of an answer with a body.
    full: Rc<WaitingHead>,
    /// Head of the 304; `None` where a timeout has a body.
    empty: Option<Rc<WaitingHead>>,
    keep_alive: bool,
    /// The connection, where an answer with a body ends it and one without does not (chunks of its own).
    ends: Option<Weak<Connection>>,
}

impl Waiter {
    /// Prepares the heads; `keep`: the connection stays open after the answer.
    pub(super) fn new(
        bench: &Workbench,
        connection: &Rc<Connection>,
        exchange: &Exchange<'_>,
        location: &Location,
        heads: &PollHeads,
        bodies: PollBodies,
        keep: bool,
    ) -> Self {
        let shared = |body: Body, keep: bool| {
            let head = heads.head(body, Some(0), Some(0));
            bench.share(WaitingHead::new(&head, exchange, location, keep))
        };
        let full = shared(Body::Stream, keep);
        let keeps = full.framing.keep_alive;
        // One answer decides for the other, except where chunks of the module's own making end the connection.
        let empty = (!exchange.settings.zone.timeout_with_body)
            .then(|| shared(Body::HeaderOnly, if exchange.settings.capabilities.own_chunks { keep } else { keeps }));
        let keep_alive = empty.as_ref().map_or(keeps, |empty| empty.framing.keep_alive);
        let ends = (keep_alive && !keeps).then(|| Rc::downgrade(connection));
        Self { bodies, full, empty, keep_alive, ends }
    }

    /// Whether the connection stays open after the answer, if that does not end it.
    pub(super) fn keeps_alive(&self) -> bool {
        self.keep_alive
    }

    /// An answer with a body.
    fn full(&self, now: Now, stamp: Stamp, body: &[u8]) -> Bytes {
        if let Some(connection) = self.ends.as_ref().and_then(Weak::upgrade) {
            connection.close_soon();
        }
        Self::answer(&self.full, now, stamp, false, body)
    }

    fn answer(head: &WaitingHead, now: Now, stamp: Stamp, closing: bool, body: &[u8]) -> Bytes {
        let mut out = Vec::with_capacity(head.bytes().len() + 16 + body.len());
        head.write(now, stamp, closing, &mut out);
        out.extend_from_slice(body);
        out.into()
    }
}

impl Waiting for Waiter {
    fn message(&self, fanout: &Fanout, now: Now) -> Bytes {
        self.full(now, fanout.seen, &self.bodies.message(&fanout.id, &fanout.message))
    }

    fn deleted(&self, fanout: &Fanout, now: Now) -> Bytes {
        self.full(now, fanout.seen, &self.bodies.deletion(&fanout.id, &fanout.message))
    }

    fn timed_out(&self, now: Now, seen: Stamp, closing: bool) -> Bytes {
        if let Some(head) = &self.empty {
            return Self::answer(head, now, seen, closing, b"");
        }
        let body = self.bodies.timeout().unwrap_or_default();
        Self::answer(&self.full, now, seen, closing, &body)
    }
}
