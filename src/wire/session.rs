//! What a connection carries from request to request: its peer, the bytes read ahead, and what a subscription leaves to be done
//! at its end.

use std::rc::Rc;
use std::time::Instant;

use super::elapsed::milliseconds_since;
use super::listener_place::ListenerPlace;
use crate::conf::Settings;
use crate::conf::settings::Listener;
use crate::delivery::{Caller, Connection, LocalZone};
use crate::metrics::Activity;
use crate::push::context::Context;
use crate::request::peer::Peer;
use crate::site::access_log::Outcome;
use crate::site::exchange::Exchange;
use crate::site::limiter::Hold;
use crate::site::log_context::About;
use crate::site::log_files::{OpenLines, open_lines};

/// What a connection carries from request to request.
pub struct Session {
    /// Who is at the other end.
    pub peer: Rc<Peer>,
    /// The socket it came by.
    pub place: Rc<ListenerPlace>,
    /// Requests answered so far.
    pub requests: u64,
    /// Bytes that have been read and belong to the next request.
    pub ahead: Vec<u8>,
    /// Whether bytes of further requests have been thrown away: what is kept of them ends in the middle.
    pub(super) overrun: bool,
    /// Where messages have been published since the last look at how far the workers are.
    published: Published,
    /// Whether the bytes read ahead are part of a head whose time is running.
    pub(super) reading_head: bool,
    /// The request of that head counts already, as it does in nginx from its first byte.
    pub(super) head_counted: bool,
    /// What is left to be done when the subscription ends: nothing for most.
    late: Option<Box<Late>>,
}

/// The zones in which a connection has published.
#[derive(Clone, Copy)]
enum Published {
    Nowhere,
    In(u16),
    InSeveral,
}

/// What is kept until a subscription ends, for what has to be done then.
struct Late {
    /// The connection as `limit_conn` counts it while it is a subscriber.
    holds: Vec<Hold>,
    /// Its lines of the access logs, if there are any.
    lines: Option<OpenLines>,
    began: Instant,
    /// Whether the client has been sent something; one that leaves a waiting long-poll is logged as 499.
    answered: bool,
}

impl Session {
    /// What a new connection carries; `ahead`: bytes of its first request that have been read already.
    #[expect(clippy::unnecessary_box_returns, reason = "it lives in a box from the beginning to the end")]
    pub fn new(peer: Rc<Peer>, place: Rc<ListenerPlace>, ahead: Vec<u8>) -> Box<Self> {
        Box::new(Self {
            peer,
            place,
            requests: 0,
            ahead,
            overrun: false,
            published: Published::Nowhere,
            reading_head: false,
            head_counted: false,
            late: None,
        })
    }

    /// The socket in the settings in force, whose default server's values count until a request has named another; `None` if
    /// a reload has taken the socket away.
    pub(super) fn listener<'s>(&self, settings: &'s Settings) -> Option<&'s Listener> {
        settings.listeners.get(self.place.index())
    }

    /// What the connection is doing while it waits for bytes.
    pub(super) fn waits_as(&self) -> Activity {
        match (self.ahead.is_empty(), self.requests) {
            (true, 0) => Activity::Fresh,
            (true, _) => Activity::Idle,
            (false, _) => Activity::Reading,
        }
    }

    /// Notes that a request publishes in this zone.
    pub(super) fn note_published(&mut self, zone: u16) {
        self.published = match self.published {
            Published::Nowhere => Published::In(zone),
            Published::In(other) if other == zone => Published::In(zone),
            _ => Published::InSeveral,
        };
    }

    /// A zone whose workers this publisher is ahead of; asked again and again until there is none.
    pub(super) fn must_wait(&mut self, context: &Context) -> Option<Rc<LocalZone>> {
        let zone = match self.published {
            Published::Nowhere => None,
            Published::In(zone) => Some(context.worker.zone(zone)).filter(|zone| zone.hub().is_congested()),
            Published::InSeveral => context.worker.congested_zone(),
        };
        if zone.is_none() {
            self.published = Published::Nowhere;
        }
        zone
    }

    /// How long the next bytes may take, milliseconds: between requests `keepalive_timeout`, for a whole head
    /// `client_header_timeout`; `None` while the time of a head is running already.
    pub(super) fn patience(&mut self, context: &Context) -> Option<u64> {
        let settings = context.settings();
        let Some(server) = self.listener(&settings).map(|listener| &listener.names.default) else { return Some(0) };
        if self.ahead.is_empty() {
            self.reading_head = false;
            let idle =
                if self.requests == 0 { server.client_header_timeout } else { server.root.core.keepalive_timeout };
            return Some(idle);
        }
        let running = std::mem::replace(&mut self.reading_head, true);
        (!running).then_some(server.client_header_timeout)
    }

    /// Notes what has to be counted off and logged when the subscription that begins now on the connection is over.
    pub(super) fn begin_subscription(
        &mut self,
        context: &Context,
        exchange: &mut Exchange<'_>,
        connection: &Rc<Connection>,
        answered: bool,
    ) {
        if !exchange.settings.log_lines.untold_ends {
            context.worker.remember(connection, || caller(exchange));
        }
        connection.set_send_timeout(exchange.location.core.send_timeout);
        let holds = std::mem::take(&mut exchange.holds);
        let lines = (!exchange.location.core.access_log.is_empty()).then(|| open_lines(exchange));
        if !holds.is_empty() || lines.is_some() {
            self.late = Some(Box::new(Late { holds, lines, began: exchange.began, answered }));
        }
    }

    /// Counts a subscription off that is over, and writes its lines; `complete`: it ended as it should.
    pub(super) fn end_subscription(&mut self, context: &Context, complete: bool) {
        let Some(late) = self.late.take() else { return };
        let Late { holds, lines, began, answered } = *late;
        drop(holds);
        let Some(lines) = lines else { return };
        let now = context.worker.now();
        let status = if complete || answered { 200 } else { 499 };
        let request_time = milliseconds_since(began);
        context.logs.write(&lines, &Outcome { status, request_time, now, complete, ..Outcome::default() });
    }
}

/// Who begins to subscribe.
fn caller(exchange: &Exchange<'_>) -> Caller {
    let About { connection, client, server, request, host, channels, .. } = About::of(exchange);
    Caller { connection, client, server, request, host, channels }
}

#[cfg(test)]
mod tests {
    use super::Session;

    #[test]
    fn what_an_idle_connection_carries_stays_small() {
        assert!(size_of::<Session>() <= 64, "{}", size_of::<Session>());
    }
}
