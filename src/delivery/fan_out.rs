//! Fan-out: what the notes of the hub bring is appended to each outbox, and each touched connection is written to once.
//!
//! It does not know when to do so, nor what the bytes of a long-poll are. Invariant: a message reaches a subscriber at most
//! once, in order, or the subscriber is given up.

use std::rc::Rc;

use bytes::Bytes;

use super::connection::{Connection, Flush};
use super::ledger::hold;
use super::local_zone::LocalZone;
use super::parting::Cut;
use super::source::{SharedEncoding, Unencoded, What};
use super::subscribers::{Manner, Subscriber};
use super::worker::Worker;
use crate::hub::{Fanout, Note};
use crate::metrics::{Cause, tick};
use crate::model::Tick;
use crate::render::View;

/// Connections flushed before others get their turn.
const SLICE: usize = 128;
/// Bytes of an answer that are not counted.
const SMALL: usize = 2 * 1024;

impl Worker {
    /// Takes all notes and appends what they bring.
    pub(super) fn deliver_notes(&self) {
        let mut at = 0;
        while let Some(zone) = self.zone_at(at) {
            if zone.has_news() {
                self.deliver_notes_of(&zone);
            }
            at += 1;
        }
    }

    fn deliver_notes_of(&self, zone: &LocalZone) {
        let mut notes = std::mem::take(&mut *self.notes.borrow_mut());
        let seen = zone.hub().take_notes(self.index(), &mut notes, self.now());
        for note in notes.drain(..) {
            match note {
                Note::Message(fanout) => self.deliver(zone, &fanout),
                Note::Deleted(fanout) => self.deliver_deleted(zone, &fanout),
            }
        }
        *self.notes.borrow_mut() = notes;
        zone.seen.set(seen);
    }

    fn deliver(&self, zone: &LocalZone, fanout: &Fanout) {
        let (clock, now) = (self.clock(), self.now());
        let (mut answered, mut broken) = (Vec::new(), Vec::new());
        let mut rendered = Rendered::default();
        let listeners = zone.listeners.borrow();
        let list = listeners.of(fanout.channel);
        self.published.set(fanout.at);
        let mut handed = 0;
        self.for_each(list, |connection| {
            #[cfg(test)]
            crate::model::provoked::reach("delivery");
            if connection.is_broken() {
                broken.push(Rc::clone(connection));
                return;
            }
            let mut subscriber = connection.subscriber.borrow_mut();
            let Some(subscriber) = subscriber.as_mut().filter(|subscriber| fanout.message.seq > subscriber.seq) else {
                return;
            };
            handed += 1;
            match &mut subscriber.manner {
                Manner::Stream => {
                    subscriber.last_sent = clock;
                    self.hand(connection, rendered.of(&subscriber.view, fanout));
                }
                Manner::Encoded(encoding) => {
                    subscriber.last_sent = clock;
                    self.hand_encoded(connection, encoding, What::Piece(rendered.of(&subscriber.view, fanout)));
                }
                Manner::LongPoll(waiting) => {
                    let answer = counted(waiting.message(fanout, now));
                    // Never a second answer, even if the connection stands in the list twice.
                    subscriber.seq = u64::MAX;
                    self.hand(connection, answer);
                    answered.push(Rc::clone(connection));
                }
            }
        });
        drop(listeners);
        self.published.take();
        self.counts.delivered.add(handed);
        for connection in answered {
            self.end(&connection, Cause::Answered);
        }
        // A connection that was given up leaves the lists at once: it may stand in one thousands of times, and its task has yet to
        // learn of it.
        for connection in broken {
            self.unsubscribe(&connection);
        }
    }

    fn deliver_deleted(&self, zone: &LocalZone, fanout: &Fanout) {
        let now = self.now();
        let list = zone.listeners.borrow_mut().take(fanout.channel);
        let mut rendered = Rendered::default();
        self.for_each(&list, |connection| {
            let mut guard = connection.subscriber.borrow_mut();
            let Some(subscriber) = guard.as_mut() else { return };
            // Whoever stands in the list several times is told as often, and all at once.
            let times = zone.listeners.borrow_mut().forget(subscriber, fanout.channel);
            if times == 0 {
                return;
            }
            let last = subscriber.is_alone();
            let over = last || matches!(subscriber.manner, Manner::LongPoll(_));
            match &mut subscriber.manner {
                Manner::Stream => {
                    let told = rendered.of(&subscriber.view, fanout);
                    (0..times).for_each(|_| self.hand(connection, told.clone()));
                }
                Manner::Encoded(encoding) => {
                    let told = rendered.of(&subscriber.view, fanout);
                    (0..times).for_each(|_| self.hand_encoded(connection, encoding, What::Piece(told.clone())));
                }
                Manner::LongPoll(waiting) => self.hand(connection, counted(waiting.deleted(fanout, now))),
            }
            if last {
                self.hand_end(connection, subscriber);
            }
            drop(guard);
            if over {
                self.end(connection, Cause::Deleted);
            }
        });
    }

    /// Appends bytes for a connection; one that does not read is given up.
    pub(super) fn hand(&self, connection: &Rc<Connection>, bytes: Bytes) {
        if !bytes.is_empty() && self.takes_more(connection) {
            connection.push(bytes);
            self.touch(connection);
        }
    }

    /// Appends bytes through the encoding of a connection: at once, or once what is before them has been encoded.
    pub(super) fn hand_encoded(&self, connection: &Rc<Connection>, encoding: &SharedEncoding, what: What) {
        if connection.has_sources() {
            if self.takes_more(connection) {
                connection.push_source(Box::new(Unencoded::new(encoding, what)));
                self.touch(connection);
            }
            return;
        }
        let bytes = match what {
            What::Piece(piece) => encoding.borrow_mut().piece(&piece),
            _ => encoding.borrow_mut().end(),
        };
        self.hand(connection, hold(bytes));
    }

    /// Whether there is room for another message; a connection without it is given up.
    fn takes_more(&self, connection: &Connection) -> bool {
        if connection.is_broken() {
            return false;
        }
        let held = connection.backlog();
        if held > self.budget {
            self.cut(connection, Cut::SlowReader { waiting: held, budget: self.budget });
            connection.give_up();
            return false;
        }
        true
    }

    fn touch(&self, connection: &Rc<Connection>) {
        if connection.touch(self.published.get()) {
            self.touched.borrow_mut().push(Rc::clone(connection));
        }
    }

    /// Appends what ends a stream: footer and end of the body.
    pub(super) fn hand_end(&self, connection: &Rc<Connection>, subscriber: &mut Subscriber) {
        let view = &subscriber.view;
        match &mut subscriber.manner {
            Manner::Stream => {
                self.hand(connection, view.footer().clone());
                self.hand(connection, self.last_bytes(view));
            }
            Manner::Encoded(encoding) => {
                self.hand_encoded(connection, encoding, What::Piece(view.footer().clone()));
                self.hand_encoded(connection, encoding, What::End);
            }
            Manner::LongPoll(_) => {}
        }
    }

    /// Flushes some of the touched connections; true if there are more.
    pub(super) fn flush_slice(&self) -> bool {
        let slice = {
            let mut touched = self.touched.borrow_mut();
            let keep = touched.len().saturating_sub(SLICE);
            touched.split_off(keep)
        };
        let mut written = 0;
        self.for_each(&slice, |connection| {
            connection.untouch();
            match self.flush(connection) {
                Flush::Done => written += u32::from(!connection.published.get().is_none()),
                // The task must wait for the socket, or somebody else sends what waits.
                Flush::Pending => {
                    if !connection.stream().is_body() {
                        connection.published.take();
                    }
                    connection.wake();
                }
                Flush::Broken => connection.give_up(),
            }
        });
        if written > 0 {
            self.time(&slice);
        }
        !self.touched.borrow().is_empty()
    }
}

impl Worker {
    /// For a connection whose bytes somebody else sends: counts how long its messages were on their way, if the last of them have
    /// just been taken. `waited`: they had to wait for the client first, and are not counted, as where a socket takes no more.
    pub fn count_taken(&self, connection: &Connection, waited: bool) {
        let published =
            if waited || connection.outbox.borrow().is_empty() { connection.published.take() } else { Tick::default() };
        if !waited && let Some(passed) = published.until(tick_if(published)) {
            self.counts.delay.observe(passed);
        }
    }

    /// Counts how long the messages of these connections were on their way, by one look at the clock.
    fn time(&self, written: &[Rc<Connection>]) {
        let now = tick();
        for connection in written {
            if let Some(passed) = connection.published.take().until(now) {
                self.counts.delay.observe(passed);
            }
        }
    }
}

/// The time, where there is something to be timed.
fn tick_if(published: Tick) -> Tick {
    if published.is_none() { published } else { tick() }
}

/// The answer of a long-poll. A connection has one at most: a small one costs no more than the connection does.
fn counted(answer: Bytes) -> Bytes {
    if answer.len() > SMALL { hold(answer) } else { answer }
}

/// The bytes of one fan-out for the view that was used last: most lists hold one view only.
#[derive(Default)]
struct Rendered(Option<(u32, Bytes)>);

impl Rendered {
    fn of(&mut self, view: &View, fanout: &Fanout) -> Bytes {
        if let Some((number, bytes)) = &self.0
            && *number == view.number()
        {
            return bytes.clone();
        }
        let bytes = fanout.rendered(view.number(), || hold(view.message(fanout.id.as_bytes(), &fanout.message)));
        self.0 = Some((view.number(), bytes.clone()));
        bytes
    }
}
