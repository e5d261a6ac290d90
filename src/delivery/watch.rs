//! Time: what is due on the connections of a worker is done, and the end of all of them is said.
//!
//! It knows deadlines, pings, ends and peers that take nothing, not what is sent. One entry a connection says when to look
//! at it next.

use std::rc::Rc;
use std::sync::atomic::Ordering;

use super::connection::Connection;
use super::subscribers::{Manner, Subscriber};
use super::worker::Worker;

impl Worker {
    /// Looks at all connections that are due.
    pub(super) fn look_at_deadlines(&self) {
        let clock = self.clock();
        loop {
            let slot = self.deadlines.borrow_mut().pop(clock);
            let Some(slot) = slot else { return };
            let connection = self.connections.borrow().get(slot as usize).cloned();
            self.for_each(connection.as_slice(), |connection| {
                connection.armed.set(0);
                self.look_at(connection, clock);
            });
        }
    }

    /// Does what is due on a connection and sets its next deadline.
    fn look_at(&self, connection: &Rc<Connection>, clock: u64) {
        let mut next = u64::MAX;
        if connection.waiting() > 0 {
            match connection.progress.get() {
                0 => connection.progress.set(clock),
                since if clock >= since + u64::from(connection.send_timeout.get()) => {
                    self.tally.send_timeouts.fetch_add(1, Ordering::Relaxed);
                    tracing::info!("push stream module: client timed out");
                    connection.give_up();
                    return;
                }
                _ => {}
            }
            next = connection.progress.get() + u64::from(connection.send_timeout.get());
        }
        match self.look_at_subscriber(connection, clock) {
            Some(at) => next = next.min(at),
            None if connection.deadline.get() != 0 => {
                if connection.deadline.get() <= clock {
                    connection.deadline.set(0);
                    connection.signal_timeout();
                } else {
                    next = next.min(connection.deadline.get());
                }
            }
            None => {}
        }
        if next != u64::MAX {
            self.arm(connection, next);
        }
    }

    /// Ping or end, as is due; returns when the subscriber is due again.
    fn look_at_subscriber(&self, connection: &Rc<Connection>, clock: u64) -> Option<u64> {
        let mut guard = connection.subscriber.borrow_mut();
        let subscriber = guard.as_mut()?;
        if subscriber.ends_at != 0 && subscriber.ends_at <= clock {
            self.say_farewell(connection, subscriber);
            drop(guard);
            self.end(connection);
            return None;
        }
        if subscriber.ping != 0 && subscriber.last_sent + subscriber.ping <= clock {
            subscriber.last_sent = clock;
            let ping = match &mut subscriber.manner {
                Manner::Encoded(encoding) => encoding.piece(subscriber.view.ping()),
                _ => subscriber.view.ping().clone(),
            };
            self.hand(connection, ping);
        }
        subscriber.due()
    }

    fn say_farewell(&self, connection: &Rc<Connection>, subscriber: &mut Subscriber) {
        match &subscriber.manner {
            Manner::LongPoll(waiting) => {
                self.hand(connection, waiting.timed_out(self.now(), self.seen.get(), connection.is_closing()));
            }
            _ => self.hand_end(connection, subscriber),
        }
    }

    /// Ends every subscription with the words its mode has for it, and has every connection closed.
    pub fn farewell(&self) {
        // What was published before is delivered first, not taken for seen.
        self.deliver_notes();
        let connections: Vec<_> =
            self.connections.borrow().iter().map(|(_, connection)| Rc::clone(connection)).collect();
        self.for_each(&connections, |connection| {
            connection.close_soon();
            let mut guard = connection.subscriber.borrow_mut();
            if let Some(subscriber) = guard.as_mut() {
                self.say_farewell(connection, subscriber);
            }
            drop(guard);
            self.end(connection);
            connection.wake();
        });
        while self.flush_slice() {}
    }
}
