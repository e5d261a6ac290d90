//! How a worker leaves: everything that was published is handed out first, then its connections end one after another.
//!
//! Does not know why it leaves or when it may be over; whoever tells it has closed the hub to publishers before, so that no
//! message comes behind a farewell. Invariant: a subscriber is told farewell behind the last message that was acknowledged.

use std::collections::BTreeSet;
use std::rc::Rc;

use bytes::Bytes;

use super::connection::Connection;
use super::subscribers::{Manner, Subscriber};
use super::worker::Worker;
use crate::metrics::{Activity, Cause};
use crate::render::{View, websocket_frame};

/// How long a client may take for its first or its last request, milliseconds.
const LAST_CHANCE: u64 = 1_000;

/// How a departure is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Departure {
    /// The code in the close frame of websockets; `None`: no code, as the module does it.
    pub close_code: Option<u16>,
}

impl Worker {
    /// Begins to leave. Connections between requests are closed, others when the answer under way is complete; whoever
    /// subscribes from now on is told farewell at once. Returns the subscribers, for [`Worker::say_farewell_to`].
    pub fn depart(&self, departure: Departure) -> Vec<Rc<Connection>> {
        self.departure.set(Some(departure));
        self.hand_out();
        let mut subscribers = Vec::new();
        for connection in self.all() {
            connection.close_soon();
            if connection.is_subscribed() {
                subscribers.push(connection);
                continue;
            }
            if connection.activity() == Activity::Fresh {
                // Its request may be on the way.
                self.set_deadline(&connection, Some(LAST_CHANCE));
            }
            connection.wake();
        }
        subscribers
    }

    /// Whether a request is under way, or may be.
    pub fn is_busy(&self) -> bool {
        self.connections.borrow().iter().any(|(_, connection)| {
            let busy = matches!(connection.activity(), Activity::Fresh | Activity::Reading | Activity::Writing);
            busy && !connection.is_subscribed()
        })
    }

    /// Whether the worker leaves.
    pub fn is_departing(&self) -> bool {
        self.departure.get().is_some()
    }

    /// How long a client may still take for a request, milliseconds, where it may take `usual` otherwise.
    pub fn patience(&self, usual: u64) -> u64 {
        if self.is_departing() { usual.min(LAST_CHANCE) } else { usual }
    }

    /// Stays after all. Who was told farewell is gone.
    pub fn stay(&self) {
        self.departure.set(None);
    }

    /// Closes the connections that are between requests, and has those whose request is under way closed after its answer;
    /// subscribers stay.
    pub fn close_idle(&self) {
        for connection in self.all() {
            let busy = matches!(connection.activity(), Activity::Reading | Activity::Writing);
            if connection.activity() == Activity::Idle || busy && !connection.is_subscribed() {
                connection.close_soon();
                connection.wake();
            }
        }
    }

    /// Ends every subscription with the words its mode has for it, and has every connection closed.
    pub fn farewell(&self, cause: Cause) {
        self.hand_out();
        let connections = self.all();
        for connection in &connections {
            connection.close_soon();
        }
        self.say_farewell_to(&connections, cause);
        for connection in &connections {
            connection.wake();
        }
    }

    /// Has the connections of those who subscribe in these zones closed after what they are told last. Returns them, for
    /// [`Worker::say_farewell_to`].
    pub fn let_go_of(&self, zones: &BTreeSet<u16>) -> Vec<Rc<Connection>> {
        self.hand_out();
        let mut subscribers = self.all();
        subscribers.retain(|connection| connection.is_subscribed() && zones.contains(&connection.zone.get()));
        for connection in &subscribers {
            connection.close_soon();
        }
        subscribers
    }

    /// Ends the subscriptions of these connections.
    pub fn say_farewell_to(&self, connections: &[Rc<Connection>], cause: Cause) {
        self.for_each(connections, |connection| {
            let mut guard = connection.subscriber.borrow_mut();
            if let Some(subscriber) = guard.as_mut() {
                self.say_farewell(connection, subscriber);
            }
            drop(guard);
            self.end(connection, cause);
        });
        while self.flush_slice() {}
    }

    pub(super) fn say_farewell(&self, connection: &Rc<Connection>, subscriber: &mut Subscriber) {
        match &subscriber.manner {
            Manner::LongPoll(waiting) => {
                let answer =
                    waiting.timed_out(self.now(), self.zone_of(connection).seen.get(), connection.is_closing());
                self.hand(connection, answer);
            }
            _ => self.hand_end(connection, subscriber),
        }
    }

    /// Hands out everything that has been published, as far as the sockets take it: it is delivered, not taken for seen.
    fn hand_out(&self) {
        self.deliver_notes();
        while self.flush_slice() {}
    }

    fn all(&self) -> Vec<Rc<Connection>> {
        self.connections.borrow().iter().map(|(_, connection)| Rc::clone(connection)).collect()
    }

    /// The last bytes of a stream that the view frames.
    pub(super) fn last_bytes(&self, view: &View) -> Bytes {
        match self.departure.get().and_then(|departure| departure.close_code) {
            Some(code) if view.is_websocket() => websocket_frame::close(Some(code), b"").into(),
            _ => Bytes::from_static(view.end()),
        }
    }
}
