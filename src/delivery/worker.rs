//! A worker: its connections, its subscribers, and the loop that serves the two things that happen to them from outside:
//! notes (`fan_out`) and time (`watch`).
//!
//! Of each zone of the process it has its part ([`LocalZone`]); connections belong to none, only their subscriptions do.
//!
//! A publish posts a note to each worker that has subscribers of the channel. The worker takes ALL its notes, appends the
//! rendered bytes to each outbox, and only then writes to each touched connection once: many messages in flight cost one
//! write a subscriber. Long lists are flushed in slices, so that new connections and new notes get their turn.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use hashbrown::HashMap;
use slab::Slab;
use tokio::sync::Notify;

use super::address::{AddressBounds, Addresses, TooMany};
use super::admission::Admission;
use super::clock::{clock, wall};
use super::connection::{Connection, Flush, GONE};
use super::deadlines::Deadlines;
use super::departure::Departure;
use super::local_zone::LocalZone;
use super::parting::{Cut, Known};
use super::seat::{Seat, Seats};
use super::subscribers::{Ending, Manner, Subscriber};
use super::traffic;
use crate::hub::{Hub, Note};
use crate::metrics::{Activity, Cause, Counts, Tally};
use crate::model::{ALERT, Now, Tick};
use crate::render::View;

/// The state of one worker thread.
pub struct Worker {
    index: usize,
    /// The zone that is always there, the only one of most processes.
    first: Rc<LocalZone>,
    /// Those after it, by number. They become more, never fewer.
    others: RefCell<Vec<Rc<LocalZone>>>,
    tally: Arc<Tally>,
    pub(super) counts: Arc<Counts>,
    /// Most bytes that may be held for one subscriber, behind the piece that is being sent, when another message is added.
    pub(super) budget: usize,
    pub(super) connections: RefCell<Slab<Rc<Connection>>>,
    pub(super) deadlines: RefCell<Deadlines>,
    /// Who subscribers are, by the slot of their connection, while anybody wants to know.
    pub(super) callers: RefCell<HashMap<u32, Known>>,
    pub(super) touched: RefCell<Vec<Rc<Connection>>>,
    pub(super) notes: RefCell<Vec<Note>>,
    /// When the message that is being handed out was published.
    pub(super) published: Cell<Tick>,
    bell: Arc<Notify>,
    seats: Rc<Seats>,
    /// What the connection of the request that is being decided counts as.
    asking: Cell<Activity>,
    /// Most bytes that may be held for all connections of the process; 0: any amount.
    pub(super) memory: Cell<usize>,
    pub(super) address_bounds: Cell<AddressBounds>,
    addresses: Arc<Addresses>,
    /// How the worker leaves, if it does.
    pub(super) departure: Cell<Option<Departure>>,
    /// Until when the worker's loop sleeps (monotonic milliseconds); 0 while it is awake.
    sleeps_until: Cell<u64>,
}

impl Worker {
    /// The worker number `index` of `hub`, that of its first zone, whose waker it becomes.
    pub fn new(index: usize, hub: Arc<Hub>, tally: Arc<Tally>, budget: usize) -> Self {
        let bell = Arc::new(Notify::new());
        let counts = tally.of(index);
        traffic::count_for(&counts);
        Self {
            index,
            first: Rc::new(LocalZone::new(0, index, hub, &bell)),
            others: RefCell::default(),
            seats: Seats::new(Arc::clone(&counts)),
            memory: Cell::new(0),
            address_bounds: Cell::default(),
            addresses: Arc::default(),
            departure: Cell::new(None),
            asking: Cell::new(Activity::Writing),
            tally,
            counts,
            budget,
            connections: RefCell::default(),
            deadlines: RefCell::default(),
            callers: RefCell::default(),
            touched: RefCell::default(),
            notes: RefCell::default(),
            published: Cell::default(),
            bell,
            sleeps_until: Cell::new(0),
        }
    }

    /// The same, whose clients' addresses are counted together with those of other workers.
    #[must_use]
    pub fn with_addresses(self, addresses: Arc<Addresses>) -> Self {
        Self { addresses, ..self }
    }

    /// Number of the worker.
    pub fn index(&self) -> usize {
        self.index
    }

    /// How many workers there are.
    pub fn workers(&self) -> usize {
        self.first.hub().workers()
    }

    /// Serves these zones, in the order of their numbers; those it serves already are the first of them.
    pub fn serve_zones(&self, hubs: &[Arc<Hub>]) {
        let mut others = self.others.borrow_mut();
        let known = others.len() + 1;
        for (number, hub) in hubs.iter().enumerate().skip(known) {
            let number = u16::try_from(number).unwrap_or(u16::MAX);
            others.push(Rc::new(LocalZone::new(number, self.index, Arc::clone(hub), &self.bell)));
        }
    }

    /// The zone with this number. Settings that name one come to a worker that serves it.
    pub fn zone(&self, number: u16) -> Rc<LocalZone> {
        let zone = self.zone_at(number.into());
        debug_assert!(zone.is_some(), "zone {number} is not served");
        zone.unwrap_or_else(|| Rc::clone(&self.first))
    }

    /// The zone of the subscription on a connection.
    pub fn zone_of(&self, connection: &Connection) -> Rc<LocalZone> {
        self.zone(connection.zone.get())
    }

    /// A zone that has many notes for its workers, if there is one.
    pub fn congested_zone(&self) -> Option<Rc<LocalZone>> {
        (0..).map_while(|number| self.zone_at(number)).find(|zone| zone.hub().is_congested())
    }

    pub(super) fn zone_at(&self, number: usize) -> Option<Rc<LocalZone>> {
        match number.checked_sub(1) {
            None => Some(Rc::clone(&self.first)),
            Some(at) => self.others.borrow().get(at).cloned(),
        }
    }

    /// The hub of the first zone.
    #[cfg(test)]
    pub(crate) fn hub(&self) -> &Arc<Hub> {
        self.first.hub()
    }

    /// What all workers count.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// What this worker counts.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Wall-clock time.
    #[expect(clippy::unused_self, reason = "time is asked of the worker, as all that is not an argument")]
    pub fn now(&self) -> Now {
        wall()
    }

    /// Monotonic milliseconds.
    #[expect(clippy::unused_self, reason = "as above")]
    pub fn clock(&self) -> u64 {
        clock()
    }

    /// Connections that are open, from accept on.
    pub fn connections(&self) -> usize {
        self.seats.taken()
    }

    /// Connections and streams of HTTP/2 that were taken in and not let go.
    #[cfg(test)]
    pub(crate) fn entered(&self) -> usize {
        self.connections.borrow().len()
    }

    /// Connections that are open at all workers.
    pub fn connections_everywhere(&self) -> usize {
        self.tally.connections() as usize
    }

    /// Bytes that wait for all peers.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.connections.borrow().iter().map(|(_, connection)| connection.waiting()).sum()
    }

    /// A seat for a connection that was accepted.
    pub fn seat(&self) -> Seat {
        self.seats.take()
    }

    /// A seat for a connection of this address, if the address may have another; it is counted.
    pub fn seat_of(&self, address: IpAddr) -> Result<Seat, TooMany> {
        let resident = self.addresses.enter(address, self.address_bounds.get())?;
        Ok(self.seats.take_for(Some(resident)))
    }

    pub(super) fn ring(&self) {
        self.bell.notify_one();
    }

    /// Takes a connection in.
    pub fn enter(&self, connection: Connection) -> Rc<Connection> {
        let connection = Rc::new(connection);
        let slot = self.connections.borrow_mut().insert(Rc::clone(&connection));
        connection.slot.set(slot as u32);
        self.counts.begin(connection.activity());
        if self.departure.get().is_some() {
            connection.close_soon();
        }
        connection
    }

    /// Whether the worker has let a connection go. Streams of HTTP/2 may outlive theirs for a moment; it counts for nothing then.
    #[expect(clippy::unused_self, reason = "the worker lets go")]
    pub(super) fn has_let_go(&self, connection: &Connection) -> bool {
        connection.signs.get() & GONE != 0
    }

    /// Notes what a connection is doing from now on.
    pub fn set_activity(&self, connection: &Connection, activity: Activity) {
        if self.has_let_go(connection) {
            return;
        }
        let before = connection.activity.replace(activity);
        if before != activity {
            self.counts.end(before);
            self.counts.begin(activity);
        }
    }

    /// Counts a request, of which a part may be all that ever comes.
    pub fn count_request(&self) {
        self.counts.requests.add(1);
    }

    /// A request that has come by this connection is looked at.
    pub fn begin_request(&self, connection: &Connection) {
        self.asking.set(connection.activity());
    }

    /// What the connection of the request that is being decided counts as.
    pub fn asking(&self) -> Activity {
        self.asking.get()
    }

    /// Lets a connection go, with its subscription if it has one, before anybody can see that it is closed.
    pub fn dismiss(&self, connection: &Rc<Connection>) {
        self.unsubscribe(connection);
        self.disarm(connection);
        connection.hold_input(0);
        if self.connections.borrow_mut().try_remove(connection.slot.get() as usize).is_some() {
            self.counts.end(connection.activity());
            connection.signs.set(connection.signs.get() | GONE);
            connection.leave_seat();
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

    /// Watches a connection whose bytes somebody else sends, and whose peer takes no more for now. `moved`: it has taken
    /// something since this was said last.
    pub fn wait_for_peer(&self, connection: &Rc<Connection>, moved: bool) {
        self.guarded(connection, connection.waits_for_peer(moved));
    }

    /// Watches the progress of a connection that could not send everything.
    fn guarded(&self, connection: &Rc<Connection>, flush: Flush) -> Flush {
        let held = connection.settle();
        if flush == Flush::Pending {
            self.bound_address(connection, held);
            self.call_for_relief();
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
        admission: Admission,
        ending: &Ending,
    ) {
        let Some((registration, zone)) = admission.take() else { return };
        connection.zone.set(zone.number());
        connection.deadline.set(0);
        // Whatever was noted before is no cause of this subscription's end.
        connection.take_cause();
        let mut subscriber = Subscriber::new(view, manner, &registration, ending, self.clock());
        zone.listeners.borrow_mut().join(connection, &mut subscriber);
        self.counts.begin_subscription(subscriber.mode());
        if self.departure.get().is_some() {
            subscriber.ends_at = self.clock().max(1);
        }
        let due = subscriber.due();
        let state = subscriber.state() as u32;
        connection.holding.subscription.set(state);
        *connection.subscriber.borrow_mut() = Some(subscriber);
        if let Some(at) = due {
            self.arm(connection, at);
        }
        if state > 0 {
            let of_address = connection.settle();
            self.bound_address(connection, of_address);
            self.call_for_relief();
        }
    }

    /// Ends the subscription of a connection without a word to the peer. False if there was none.
    pub fn unsubscribe(&self, connection: &Rc<Connection>) -> bool {
        let Some(mut subscriber) = connection.subscriber.borrow_mut().take() else { return false };
        connection.holding.subscription.set(0);
        let keys = subscriber.keys();
        let cause = connection.take_cause();
        self.counts.end_subscription(subscriber.mode(), cause);
        self.tell_parting(connection, cause);
        let zone = self.zone_of(connection);
        zone.listeners.borrow_mut().leave(&mut subscriber);
        zone.hub().leave(self.index, &keys, self.now());
        // What it took is given back, and counts no more for what the client has.
        drop(subscriber);
        connection.settle();
        true
    }

    /// Ends a subscription whose last bytes are in the outbox.
    pub(super) fn end(&self, connection: &Rc<Connection>, cause: Cause) {
        connection.ends_by(cause);
        if self.unsubscribe(connection) {
            connection.signal_ended();
        }
    }

    /// Ends the subscription of a connection by its last bytes.
    pub fn end_behind(&self, connection: &Rc<Connection>, last: Bytes) {
        connection.push(last);
        if self.unsubscribe(connection) {
            connection.signal_ended();
        }
    }

    /// Counts a connection that a panic has ended. What it was has been told by whoever hears of panics first.
    pub fn count_panic(&self, connection: &Connection) {
        self.cut(connection, Cut::Panic);
    }

    /// Serves notes and deadlines for ever. A panic that nothing else has fenced costs what was being delivered, not the worker.
    pub async fn serve(&self) {
        loop {
            let mut serving = pin!(self.run());
            let outcome = poll_fn(|task| {
                let polled = catch_unwind(AssertUnwindSafe(|| serving.as_mut().poll(task)));
                polled.map_or_else(|_| Poll::Ready(Err(())), |polled| polled.map(Ok))
            });
            if outcome.await.is_ok() {
                return;
            }
            tracing::error!(target: ALERT, "delivery begins anew after a panic");
            tokio::task::yield_now().await;
        }
    }

    async fn run(&self) {
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
        self.relieve();
    }

    pub(super) fn arm(&self, connection: &Rc<Connection>, at: u64) {
        let armed = connection.armed.get();
        if armed != 0 && armed <= at || self.has_let_go(connection) {
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
