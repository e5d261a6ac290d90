//! One connection: its stream, what waits to be sent, and the bell of its task.
//!
//! The task of a connection sleeps in [`Connection::event`]; fan-out and deadlines work on the connection from outside and
//! ring the bell only when the task has something to decide. Nothing here knows what the bytes mean.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use super::address::Home;
use super::clock::clock;
use super::event::{Awaited, Event};
use super::ledger::{Holding, hold};
use super::outbox::Outbox;
use super::seat::{Place, Seat};
use super::source::Source;
use super::stream::Stream;
use super::subscribers::Subscriber;
use crate::hub::ChannelKey;
use crate::metrics::{Activity, Cause};
use crate::model::Tick;

/// How far a flush came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flush {
    /// Nothing waits.
    Done,
    /// The socket takes no more for now, or others are to have their turn.
    Pending,
    /// The peer is gone.
    Broken,
}

const ENDED: u8 = 1;
const TIMED_OUT: u8 = 2;
const BROKEN: u8 = 4;
const TOUCHED: u8 = 8;
pub(super) const CLOSING: u8 = 16;
const HELD: u8 = 32;
const FETCHED: u8 = 64;
pub(super) const GONE: u8 = 128;

/// Bytes that are fetched at a time: a peer that takes so many has made progress.
const FETCH: usize = 16 * 1024;
/// Bytes that sources make for one connection before others get their turn.
const TURN: usize = 256 * 1024;
/// Turns of a connection's own task without a pause.
const TURNS: usize = 4;

/// One connection of a worker.
pub struct Connection {
    stream: Stream,
    pub(super) outbox: RefCell<Outbox>,
    bell: RefCell<Option<Waker>>,
    pub(super) signs: Cell<u8>,
    pub(super) slot: Cell<u32>,
    /// Number of the zone it subscribes in, or did last.
    pub(super) zone: Cell<u16>,
    /// Until when the task waits at most (monotonic milliseconds; 0: without end).
    pub(super) deadline: Cell<u64>,
    /// Time of the entry in the worker's deadlines, 0 if there is none.
    pub(super) armed: Cell<u64>,
    /// When bytes last moved, or began to wait (monotonic milliseconds); 0 while nothing waits.
    pub(super) progress: Cell<u64>,
    /// Longest time without progress, milliseconds.
    pub(super) send_timeout: Cell<u32>,
    pub(super) subscriber: RefCell<Option<Subscriber>>,
    pub(super) activity: Cell<Activity>,
    /// When the oldest message of what was handed in last, and not yet sent, was published.
    pub(super) published: Cell<Tick>,
    /// Why the subscription ends, or the connection, if that is known.
    pub(super) cause: Cell<Option<Cause>>,
    place: Cell<Option<Place>>,
    pub(super) holding: Holding,
    /// Where it is counted for the client's address, if it is.
    home: Option<Box<Home>>,
}

impl Connection {
    /// A connection that is known to no worker yet.
    pub fn new(stream: Stream) -> Self {
        Self {
            stream,
            outbox: RefCell::default(),
            bell: RefCell::default(),
            signs: Cell::new(0),
            slot: Cell::new(0),
            zone: Cell::new(0),
            deadline: Cell::new(0),
            armed: Cell::new(0),
            progress: Cell::new(0),
            send_timeout: Cell::new(60_000),
            subscriber: RefCell::default(),
            activity: Cell::new(Activity::Fresh),
            published: Cell::default(),
            cause: Cell::new(None),
            place: Cell::new(None),
            holding: Holding::default(),
            home: None,
        }
    }

    /// The same with the seat that was taken for it at accept.
    pub fn seated(stream: Stream, seat: Seat) -> Self {
        Self { place: Cell::new(Some(seat.place)), home: seat.home, ..Self::new(stream) }
    }

    /// A stream of another connection: of the same address.
    pub fn beside(other: &Self, stream: Stream) -> Self {
        Self { home: other.home.as_ref().map(|home| Box::new(home.beside())), ..Self::new(stream) }
    }

    /// Bytes held for the client: what waits to be sent to it, what it has sent and nobody has dealt with, its compressor, its TLS
    /// session and its channels.
    pub(super) fn held(&self) -> usize {
        // Asked while the subscriber is being handed something too.
        let subscription = self.holding.subscription.get() as usize;
        self.outbox.borrow().held() + self.holding.input.get() + self.stream.held() + subscription
    }

    pub(super) fn hold_input(&self, bytes: usize) -> usize {
        self.holding.input.set(bytes);
        self.settle()
    }

    /// Counts what is held for the client's address, and returns how much that is; 0 where addresses are not counted.
    pub(super) fn settle(&self) -> usize {
        if self.is_broken() {
            self.holding.leaving.set(self.held());
        }
        self.home.as_ref().map_or(0, |home| home.share.set(self.held()))
    }

    /// What the connection is doing.
    pub fn activity(&self) -> Activity {
        self.activity.get()
    }

    /// Whether the connection is a subscriber.
    pub fn is_subscribed(&self) -> bool {
        self.subscriber.borrow().is_some()
    }

    pub(super) fn leave_seat(&self) {
        drop(self.place.take());
        drop(self.home.as_ref().and_then(|home| home.resident.take()));
    }

    /// The stream.
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Sets how long the peer may take nothing while bytes wait (`send_timeout`), milliseconds.
    pub fn set_send_timeout(&self, timeout: u64) {
        self.send_timeout.set(u32::try_from(timeout).unwrap_or(u32::MAX));
    }

    /// Reads what is there; `Ok(0)` is the peer's end.
    pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.try_read(buffer)
    }

    /// Adds bytes to what is to be sent.
    pub fn push(&self, bytes: Bytes) {
        self.outbox.borrow_mut().push(bytes);
    }

    /// Adds bytes that are this connection's alone.
    pub fn push_own(&self, bytes: impl Into<Bytes>) {
        self.push(hold(bytes));
    }

    /// Adds a source, which makes its bytes as they are taken.
    pub fn push_source(&self, source: Box<dyn Source>) {
        self.outbox.borrow_mut().push_source(source);
    }

    /// Bytes that wait to be sent; those that the stream, or whoever fetched them, holds back count as one.
    pub fn waiting(&self) -> usize {
        if self.is_held() {
            return 0;
        }
        let held_back = self.stream.holds_back() || self.signs.get() & FETCHED != 0;
        self.outbox.borrow().waiting() + usize::from(held_back)
    }

    /// What is held for the peer behind the piece that is being sent, bytes.
    pub(super) fn backlog(&self) -> usize {
        self.outbox.borrow().backlog()
    }

    /// Whether a source has yet to make bytes that go out before whatever is added now.
    pub(super) fn has_sources(&self) -> bool {
        self.outbox.borrow().has_sources()
    }

    /// Holds back what is in the outbox until something is handed to the subscriber.
    pub fn hold(&self) {
        self.signs.set(self.signs.get() | HELD);
    }

    fn is_held(&self) -> bool {
        self.signs.get() & HELD != 0
    }

    /// Sends bytes of the caller, copying only what the socket does not take at once.
    pub fn send(&self, bytes: &[u8]) -> Flush {
        let mut rest = bytes;
        if self.outbox.borrow().is_empty() {
            match self.stream.try_write(&[io::IoSlice::new(rest)]) {
                Ok(sent) => rest = rest.get(sent..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return Flush::Broken,
            }
            if rest.is_empty() {
                return self.flush();
            }
        }
        self.push_own(Bytes::copy_from_slice(rest));
        self.flush()
    }

    /// Sends what waits, as far as the socket takes it.
    pub fn flush(&self) -> Flush {
        if self.is_held() {
            return Flush::Done;
        }
        let mut outbox = self.outbox.borrow_mut();
        let (mut moved, mut made) = (false, 0);
        loop {
            let sources = outbox.has_sources();
            if sources && made >= TURN {
                return self.stuck(moved);
            }
            let Ok(front) = outbox.front() else { return Flush::Broken };
            if front.is_empty() {
                return match self.stream.try_flush() {
                    Ok(true) => {
                        self.stream.has_moved();
                        if self.signs.get() & FETCHED == 0 {
                            self.progress.set(0);
                        }
                        Flush::Done
                    }
                    Ok(false) => self.stuck(moved | self.stream.has_moved()),
                    Err(_) => Flush::Broken,
                };
            }
            match outbox.write(|slices| self.stream.try_write(slices)) {
                Ok(0) => return Flush::Broken,
                Ok(sent) => {
                    outbox.advance(sent);
                    moved = true;
                    made += if sources { sent } else { 0 };
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return self.stuck(moved | self.stream.has_moved());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Flush::Broken,
            }
        }
    }

    /// More waits than can be sent now: from here on, or from the last byte that moved, the peer has `send_timeout`.
    fn stuck(&self, moved: bool) -> Flush {
        if moved || self.progress.get() == 0 {
            self.progress.set(clock());
        }
        Flush::Pending
    }

    /// The next bytes of what waits, for whoever sends them in our place; empty if nothing waits. They stay until
    /// [`Connection::sent`] tells that they are gone.
    pub fn front(&self) -> Bytes {
        let front = self.outbox.borrow_mut().front().cloned();
        front.unwrap_or_else(|_| {
            self.give_up();
            Bytes::new()
        })
    }

    /// So many of the bytes at the front have been sent in our place. Of what was given up meanwhile nothing waits any more.
    pub fn sent(&self, bytes: usize) {
        if self.is_broken() {
            return;
        }
        let mut outbox = self.outbox.borrow_mut();
        outbox.advance(bytes);
        self.progress.set(if outbox.is_empty() { 0 } else { clock() });
    }

    /// Whoever sends in our place waits for the peer to take more. `moved`: it has taken something since this was said last.
    pub(super) fn waits_for_peer(&self, moved: bool) -> Flush {
        self.signs.set(self.signs.get() | FETCHED);
        self.stuck(moved)
    }

    /// Whoever sends in our place waits no more.
    pub fn has_sent_all(&self) {
        self.signs.set(self.signs.get() & !FETCHED);
        self.progress.set(0);
    }

    /// Takes some of what waits, for whoever sends it in our place and comes back when there is room for more. Until then
    /// it counts as waiting.
    pub fn fetch(&self) -> Option<Bytes> {
        let piece = Some(self.take(FETCH)).filter(|piece| !piece.is_empty());
        let fetched = if piece.is_some() { FETCHED } else { 0 };
        self.signs.set(self.signs.get() & !FETCHED | fetched);
        self.progress.set(if piece.is_some() { clock() } else { 0 });
        piece
    }

    /// Takes up to so many bytes of what waits, for whoever sends them at once; none if nothing waits any more.
    pub fn take(&self, most: usize) -> Bytes {
        let mut piece = self.front();
        piece.truncate(most);
        self.sent(piece.len());
        piece
    }

    /// Waits for the next event. What waits to be sent is sent meanwhile.
    pub async fn event(&self, awaited: Awaited) -> Event {
        poll_fn(|cx| self.poll_event(cx, awaited)).await
    }

    /// [`Connection::event`] as a poll.
    pub fn poll_event(&self, cx: &mut Context<'_>, awaited: Awaited) -> Poll<Event> {
        if let Some(event) = self.take_sign() {
            return Poll::Ready(event);
        }
        match self.poll_flush(cx) {
            Flush::Broken => return Poll::Ready(Event::Broken),
            Flush::Done if awaited.has_drained() => return Poll::Ready(Event::Drained),
            _ => {}
        }
        if awaited.has_input() && self.stream.poll_read_ready(cx).is_ready() {
            return Poll::Ready(Event::Readable);
        }
        self.listen(cx);
        Poll::Pending
    }

    /// Has the task woken when something happens to the connection.
    pub fn listen(&self, cx: &mut Context<'_>) {
        let mut bell = self.bell.borrow_mut();
        if !bell.as_ref().is_some_and(|bell| bell.will_wake(cx.waker())) {
            *bell = Some(cx.waker().clone());
        }
    }

    fn poll_flush(&self, cx: &mut Context<'_>) -> Flush {
        for _ in 0..TURNS {
            match self.flush() {
                Flush::Pending => match self.stream.poll_write_ready(cx) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(_)) => return Flush::Broken,
                    Poll::Pending => return Flush::Pending,
                },
                flush => return flush,
            }
        }
        // The socket takes whatever it gets, so others get their turn: those too whose sockets the runtime has yet to look at,
        // which it does only after running tasks that merely wake themselves many times.
        let yielded = pin!(tokio::task::yield_now()).poll(cx);
        debug_assert!(yielded.is_pending());
        Flush::Pending
    }

    fn take_sign(&self) -> Option<Event> {
        for (sign, event) in [(BROKEN, Event::Broken), (ENDED, Event::Ended), (TIMED_OUT, Event::TimedOut)] {
            if self.signs.get() & sign != 0 {
                // Broken is for good: every later wait says so again.
                if sign != BROKEN {
                    self.signs.set(self.signs.get() & !sign);
                }
                return Some(event);
            }
        }
        None
    }

    fn signal(&self, sign: u8) {
        self.signs.set(self.signs.get() | sign);
        self.wake();
    }

    /// Wakes the task, so that it looks at the connection anew.
    pub fn wake(&self) {
        if let Some(bell) = &*self.bell.borrow() {
            bell.wake_by_ref();
        }
    }

    pub(super) fn signal_ended(&self) {
        self.signal(ENDED);
    }

    pub(super) fn signal_timeout(&self) {
        self.signal(TIMED_OUT);
    }

    /// Gives the connection up: what waits is dropped, and the task is told.
    pub fn give_up(&self) {
        self.outbox.borrow_mut().clear();
        self.signal(BROKEN);
        self.settle();
    }

    /// Whether the connection has been given up.
    pub fn is_broken(&self) -> bool {
        self.signs.get() & BROKEN != 0
    }

    /// The keys of the channels the connection is subscribed to, one for each subscription.
    pub fn channel_keys(&self) -> Vec<ChannelKey> {
        self.subscriber.borrow().as_ref().map(Subscriber::keys).unwrap_or_default()
    }

    /// Marks the connection as having new bytes, published at some moment or none; false if it was marked already.
    pub(super) fn touch(&self, published: Tick) -> bool {
        let first = self.signs.get() & TOUCHED == 0;
        if self.published.get().is_none() {
            self.published.set(published);
        }
        self.signs.set((self.signs.get() | TOUCHED) & !HELD);
        first
    }

    pub(super) fn untouch(&self) {
        self.signs.set(self.signs.get() & !TOUCHED);
    }
}
