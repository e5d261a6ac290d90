//! A long-poll that waits for its response: the head goes to the one who waits for it, the body into the outbox.

use std::cell::RefCell;
use std::rc::Rc;

use bytes::Bytes;
use hyper::Response;

use super::response::LateHead;
use crate::conf::settings::Location;
use crate::delivery::Waiting;
use crate::hub::Fanout;
use crate::model::{Now, Stamp};
use crate::push::subscribe::{PollBodies, PollHeads};
use crate::request::reply::Body;
use crate::site::exchange::Exchange;

/// Where the head of the response is put before the poll is over.
pub(super) type HeadSlot = Rc<RefCell<Option<Response<()>>>>;

/// The answers of one waiting long-poll.
pub(super) struct Waiter {
    bodies: PollBodies,
    /// Head of an answer with a body.
    full: LateHead,
    /// Head of the 304; `None` where a timeout has a body.
    empty: Option<LateHead>,
    slot: HeadSlot,
}

impl Waiter {
    pub(super) fn new(exchange: &Exchange<'_>, location: &Location, heads: &PollHeads, bodies: PollBodies) -> Self {
        let head = |body: Body| LateHead::new(&heads.head(body, Some(0), Some(0)), exchange, location);
        let empty = (!exchange.settings.zone.timeout_with_body).then(|| head(Body::HeaderOnly));
        Self { bodies, full: head(Body::Stream), empty, slot: HeadSlot::default() }
    }

    /// Where the head will be.
    pub(super) fn slot(&self) -> HeadSlot {
        Rc::clone(&self.slot)
    }

    fn answer(&self, head: &LateHead, now: Now, stamp: Stamp, body: Vec<u8>) -> Bytes {
        *self.slot.borrow_mut() = Some(head.at(now, stamp));
        body.into()
    }
}

impl Waiting for Waiter {
    fn message(&self, fanout: &Fanout, now: Now) -> Bytes {
        self.answer(&self.full, now, fanout.seen, self.bodies.message(&fanout.id, &fanout.message))
    }

    fn deleted(&self, fanout: &Fanout, now: Now) -> Bytes {
        self.answer(&self.full, now, fanout.seen, self.bodies.deletion(&fanout.id, &fanout.message))
    }

    fn timed_out(&self, now: Now, seen: Stamp, _closing: bool) -> Bytes {
        match &self.empty {
            Some(head) => self.answer(head, now, seen, Vec::new()),
            None => self.answer(&self.full, now, seen, self.bodies.timeout().unwrap_or_default()),
        }
    }
}
