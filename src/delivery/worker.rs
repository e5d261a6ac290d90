//! A worker: its connections, its subscribers, and the two things that happen to them from outside: notes and time.
//!
//! A publish posts a note to each worker that has subscribers of the channel. The worker takes ALL its notes, appends the
//! rendered bytes to each outbox, and only then writes to each touched connection once: many messages in flight cost one
//! write a subscriber. Long lists are flushed in slices, so that new connections and new notes get their turn.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use slab::Slab;
use tokio::sync::Notify;

use super::connection::{Connection, Flush};
use super::deadlines::Deadlines;
use super::subscribers::{Ending, Listeners, Manner, Subscriber};
use crate::hub::{Fanout, Hub, Note, Registration};
use crate::model::Now;
use crate::render::View;

/// Connections flushed before others get their turn.
const SLICE: usize = 128;

/// What happens at all workers; but for `connections` only ever counted up.
#[derive(Debug, Default)]
pub struct Tally {
    /// Connections that are open.
    pub connections: AtomicUsize,
    /// Subscribers cut off because they did not read: over the byte budget.
    pub too_slow: AtomicU64,
    /// Connections cut off because the peer took nothing for `send_timeout`.
    pub send_timeouts: AtomicU64,
    /// Messages handed to subscribers.
    pub deliveries: AtomicU64,
}

/// The state of one worker thread.
pub struct Worker {
    index: usize,
    hub: Arc<Hub>,
    tally: Arc<Tally>,
    /// Most bytes that may wait for one subscriber when another message is added.
    budget: usize,
    started: Instant,
    connections: RefCell<Slab<Rc<Connection>>>,
    listeners: RefCell<Listeners>,
    deadlines: RefCell<Deadlines>,
    touched: RefCell<Vec<Rc<Connection>>>,
    notes: RefCell<Vec<Note>>,
    bell: Arc<Notify>,
    /// Until when the worker's loop sleeps (monotonic milliseconds); 0 while it is awake.
    sleeps_until: Cell<u64>,
}

impl Worker {
    /// The worker number `index` of `hub`, whose waker it becomes.
    pub fn new(index: usize, hub: Arc<Hub>, tally: Arc<Tally>, budget: usize) -> Self {
        let bell = Arc::new(Notify::new());
        let waker = Arc::clone(&bell);
        hub.set_waker(index, Box::new(move || waker.notify_one()));
        Self {
            index,
            hub,
            tally,
            budget,
            started: Instant::now(),
            connections: RefCell::default(),
            listeners: RefCell::default(),
            deadlines: RefCell::default(),
            touched: RefCell::default(),
            notes: RefCell::default(),
            bell,
            sleeps_until: Cell::new(0),
        }
    }

    /// Number of the worker.
    pub fn index(&self) -> usize {
        self.index
    }

    /// The hub.
    pub fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    /// Wall-clock time.
    pub fn now(&self) -> Now {
        Now(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64))
    }

    /// Monotonic milliseconds since the worker began.
    pub fn clock(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    /// Connections that are open.
    pub fn connections(&self) -> usize {
        self.connections.borrow().len()
    }

    /// Connections that are open at all workers.
    pub fn connections_everywhere(&self) -> usize {
        self.tally.connections.load(Ordering::Relaxed)
    }

    /// Takes a connection in.
    pub fn enter(&self, connection: Connection) -> Rc<Connection> {
        let connection = Rc::new(connection);
        let slot = self.connections.borrow_mut().insert(Rc::clone(&connection));
        connection.slot.set(slot as u32);
        self.tally.connections.fetch_add(1, Ordering::Relaxed);
        connection
    }

    /// Lets a connection go, with its subscription if it has one.
    pub fn dismiss(&self, connection: &Rc<Connection>) {
        self.unsubscribe(connection);
        self.disarm(connection);
        if self.connections.borrow_mut().try_remove(connection.slot.get() as usize).is_some() {
            self.tally.connections.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Sends bytes of the connection's own task.
    pub fn send(&self, connection: &Rc<Connection>, bytes: &[u8]) -> Flush {
        self.guarded(connection, connection.send(bytes))
    }

    /// Sends what waits on a connection.
    pub fn flush(&self, connection: &Rc<Connection>) -> Flush {
        self.guarded(connection, connection.flush())
    }

    /// Watches the progress of a connection that could not send everything.
    fn guarded(&self, connection: &Rc<Connection>, flush: Flush) -> Flush {
        if flush == Flush::Pending {
            self.arm(connection, self.clock() + u64::from(connection.send_timeout.get()));
        }
        flush
    }

    /// Sets (or with `None` lifts) the deadline of a connection's own task, milliseconds from now.
    pub fn set_deadline(&self, connection: &Rc<Connection>, after: Option<u64>) {
        let at = after.map_or(0, |after| self.clock() + after);
        connection.deadline.set(at);
        if at != 0 {
            self.arm(connection, at);
        }
    }

    /// Makes the connection a subscriber. Whatever it missed must be in its outbox already.
    pub fn subscribe(
        &self,
        connection: &Rc<Connection>,
        view: Arc<View>,
        manner: Manner,
        registration: &Registration,
        ending: &Ending,
    ) {
        connection.deadline.set(0);
        let mut subscriber = Subscriber::new(view, manner, registration, ending, self.clock());
        self.listeners.borrow_mut().join(connection, &mut subscriber);
        let due = subscriber.due();
        *connection.subscriber.borrow_mut() = Some(subscriber);
        if let Some(at) = due {
            self.arm(connection, at);
        }
    }

    /// Ends the subscription of a connection without a word to the peer. False if there was none.
    pub fn unsubscribe(&self, connection: &Rc<Connection>) -> bool {
        let Some(mut subscriber) = connection.subscriber.borrow_mut().take() else { return false };
        let keys = subscriber.keys();
        self.listeners.borrow_mut().leave(&mut subscriber);
        self.hub.leave(self.index, &keys, self.now());
        true
    }

    /// Ends a subscription whose last bytes are in the outbox.
    fn end(&self, connection: &Rc<Connection>) {
        if self.unsubscribe(connection) {
            connection.signal_ended();
        }
    }

    /// Serves notes and deadlines for ever.
    pub async fn run(&self) {
        loop {
            // Awake: whoever sets a deadline need not ring.
            self.sleeps_until.set(0);
            self.work().await;
            let first = self.deadlines.borrow().first();
            self.sleeps_until.set(first.unwrap_or(u64::MAX));
            match first {
                None => self.bell.notified().await,
                Some(at) => {
                    let pause = Duration::from_millis(at.saturating_sub(self.clock()));
                    let _ = tokio::time::timeout(pause, self.bell.notified()).await;
                }
            }
        }
    }

    /// Takes all notes, looks at all deadlines that are due, and sends what came of it.
    async fn work(&self) {
        self.deliver_notes();
        self.look_at_deadlines();
        while self.flush_slice() {
            tokio::task::yield_now().await;
            self.deliver_notes();
        }
    }

    fn deliver_notes(&self) {
        let mut notes = std::mem::take(&mut *self.notes.borrow_mut());
        self.hub.take_notes(self.index, &mut notes);
        for note in notes.drain(..) {
            match note {
                Note::Message(fanout) => self.deliver(&fanout),
                Note::Deleted(fanout) => self.deliver_deleted(&fanout),
            }
        }
        *self.notes.borrow_mut() = notes;
    }

    fn deliver(&self, fanout: &Fanout) {
        let (clock, now) = (self.clock(), self.now());
        let mut answered = Vec::new();
        let mut rendered = Rendered::default();
        let listeners = self.listeners.borrow();
        let list = listeners.of(fanout.channel);
        self.tally.deliveries.fetch_add(list.len() as u64, Ordering::Relaxed);
        for connection in list {
            let mut subscriber = connection.subscriber.borrow_mut();
            let Some(subscriber) = subscriber.as_mut().filter(|subscriber| fanout.message.seq > subscriber.seq) else {
                continue;
            };
            match &mut subscriber.manner {
                Manner::Stream => {
                    subscriber.last_sent = clock;
                    self.hand(connection, rendered.of(&subscriber.view, fanout));
                }
                Manner::Encoded(encoding) => {
                    subscriber.last_sent = clock;
                    self.hand(connection, encoding.piece(&rendered.of(&subscriber.view, fanout)));
                }
                Manner::LongPoll(waiting) => {
                    let answer = waiting.message(fanout, now);
                    // Never a second answer, even if the connection stands in the list twice.
                    subscriber.seq = u64::MAX;
                    self.hand(connection, answer);
                    answered.push(Rc::clone(connection));
                }
            }
        }
        drop(listeners);
        for connection in answered {
            self.end(&connection);
        }
    }

    fn deliver_deleted(&self, fanout: &Fanout) {
        let now = self.now();
        let list = self.listeners.borrow_mut().take(fanout.channel);
        let mut rendered = Rendered::default();
        for connection in &list {
            let mut guard = connection.subscriber.borrow_mut();
            let Some(subscriber) = guard.as_mut() else { continue };
            let last = subscriber.forget(fanout.channel);
            let over = last || matches!(subscriber.manner, Manner::LongPoll(_));
            match &mut subscriber.manner {
                Manner::Stream => self.hand(connection, rendered.of(&subscriber.view, fanout)),
                Manner::Encoded(encoding) => {
                    self.hand(connection, encoding.piece(&rendered.of(&subscriber.view, fanout)));
                }
                Manner::LongPoll(waiting) => self.hand(connection, waiting.deleted(fanout, now)),
            }
            if last {
                self.hand_end(connection, subscriber);
            }
            drop(guard);
            if over {
                self.end(connection);
            }
        }
    }

    /// Appends bytes for a connection; one that does not read is given up.
    fn hand(&self, connection: &Rc<Connection>, bytes: Bytes) {
        if bytes.is_empty() || connection.is_broken() {
            return;
        }
        let waiting = connection.waiting();
        if waiting > self.budget {
            self.tally.too_slow.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(waiting, budget = self.budget, "push stream module: subscriber does not read, disconnected");
            connection.give_up();
            return;
        }
        connection.push(bytes);
        if connection.touch() {
            self.touched.borrow_mut().push(Rc::clone(connection));
        }
    }

    /// Appends what ends a stream: footer and end of the body.
    fn hand_end(&self, connection: &Rc<Connection>, subscriber: &mut Subscriber) {
        let view = &subscriber.view;
        match &mut subscriber.manner {
            Manner::Stream => {
                self.hand(connection, view.footer().clone());
                self.hand(connection, Bytes::from_static(view.end()));
            }
            Manner::Encoded(encoding) => {
                let footer = encoding.piece(view.footer());
                self.hand(connection, footer);
                self.hand(connection, encoding.end());
            }
            Manner::LongPoll(_) => {}
        }
    }

    /// Flushes some of the touched connections; true if there are more.
    fn flush_slice(&self) -> bool {
        let mut slice = {
            let mut touched = self.touched.borrow_mut();
            let keep = touched.len().saturating_sub(SLICE);
            touched.split_off(keep)
        };
        for connection in slice.drain(..) {
            connection.untouch();
            match self.flush(&connection) {
                Flush::Done => {}
                // The task must wait for the socket.
                Flush::Pending => connection.wake(),
                Flush::Broken => connection.give_up(),
            }
        }
        !self.touched.borrow().is_empty()
    }

    fn look_at_deadlines(&self) {
        let clock = self.clock();
        loop {
            let slot = self.deadlines.borrow_mut().pop(clock);
            let Some(slot) = slot else { return };
            let connection = self.connections.borrow().get(slot as usize).cloned();
            if let Some(connection) = connection {
                connection.armed.set(0);
                self.look_at(&connection, clock);
            }
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
                self.hand(connection, waiting.timed_out(self.now(), connection.is_closing()));
            }
            _ => self.hand_end(connection, subscriber),
        }
    }

    /// Ends every subscription with the words its mode has for it, and has every connection closed.
    pub fn farewell(&self) {
        let connections: Vec<_> =
            self.connections.borrow().iter().map(|(_, connection)| Rc::clone(connection)).collect();
        for connection in connections {
            connection.close_soon();
            let mut guard = connection.subscriber.borrow_mut();
            if let Some(subscriber) = guard.as_mut() {
                self.say_farewell(&connection, subscriber);
            }
            drop(guard);
            self.end(&connection);
            connection.wake();
        }
        while self.flush_slice() {}
    }

    fn arm(&self, connection: &Rc<Connection>, at: u64) {
        let armed = connection.armed.get();
        if armed != 0 && armed <= at {
            return;
        }
        self.disarm(connection);
        let at = self.deadlines.borrow_mut().arm(at, connection.slot.get());
        connection.armed.set(at);
        if at < self.sleeps_until.get() {
            self.bell.notify_one();
        }
    }

    fn disarm(&self, connection: &Rc<Connection>) {
        if connection.armed.get() != 0 {
            self.deadlines.borrow_mut().disarm(connection.armed.replace(0), connection.slot.get());
        }
    }
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
        let bytes = fanout.rendered(view.number(), || view.message(fanout.id.as_bytes(), &fanout.message));
        self.0 = Some((view.number(), bytes.clone()));
        bytes
    }
}
