//! The turns that fail: errors of nginx itself, and requests that cannot be understood.
//!
//! An `error_page` may lead anywhere, also to a handler of ours. Invariant: nobody waits on the way to an error page.

use std::sync::Arc;

use super::connection::Next;
use super::turn::Turn;
use crate::conf::Settings;
use crate::conf::settings::Location;
use crate::request::head::{BadHead, RequestHead};
use crate::site::error_page;
use crate::site::exchange::Exchange;
use crate::site::phases::{self, Routed};

impl Turn<'_> {
    /// Answers an error of nginx itself; an `error_page` may lead to a handler of ours.
    pub(super) fn fail<'b>(
        &mut self,
        exchange: &mut Exchange<'b>,
        location: &'b Arc<Location>,
        status: u16,
    ) -> Option<Next> {
        match phases::failed(exchange, location, status) {
            Routed::Reply(reply) => self.reply(exchange, reply, &[]),
            Routed::Serve(location) => self.serve(exchange, location, &[]),
            Routed::Drop => Some(Next::Close { linger: false }),
            // Nobody waits on the way to an error page.
            Routed::Wait(_) | Routed::Authorize { .. } => {
                let reply = error_page::plain(exchange, status);
                self.reply(exchange, reply, &[])
            }
        }
    }

    /// Answers a request that cannot be understood, and closes.
    pub(super) fn refuse(&mut self, settings: &Settings, bytes: &[u8], bad: BadHead) -> Next {
        let peer = self.session.peer.clone();
        let head = RequestHead::unreadable(bytes);
        let exchange =
            Exchange::unreadable(settings, &peer, &head, self.bench.context.worker.now(), self.session.requests + 1);
        self.refuse_with(exchange, bad)
    }

    pub(super) fn refuse_with(&mut self, mut exchange: Exchange<'_>, bad: BadHead) -> Next {
        let location = exchange.location;
        self.fail(&mut exchange, location, bad.status());
        Next::Close { linger: true }
    }
}
