//! Those who subscribe without HTTP: to the hub they are the subscribers of one more worker.
//!
//! Invariant: whoever subscribes is in the table before the first note is taken that could be for it; a message that its
//! history holds is not handed to it again.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::sync::mpsc::{Sender, channel};

use super::failure::Error;
use super::message::{Message, Start};
use super::now;
use super::subscription::{End, Shared, Subscription};
use crate::hub::{Ask, AskKind, ChannelKey, Fanout, Hub, Note};
use crate::model::parse_channel_path;

/// Messages that may wait for a subscriber.
const WAITING: usize = 1024;
/// Bytes of text that may wait for a subscriber when one more message is added to them.
const WAITING_BYTES: usize = 8 * 1024 * 1024;

/// The subscribers.
pub(super) struct Subscriptions {
    hub: Arc<Hub>,
    /// Their number among the hub's workers.
    worker: usize,
    bell: Arc<Notify>,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    next: u64,
    subscribers: HashMap<u64, Subscriber>,
    channels: HashMap<ChannelKey, Vec<u64>>,
}

struct Subscriber {
    /// Its channels, as often as it asked for them.
    keys: Vec<ChannelKey>,
    /// Messages up to this one are its history's business.
    seq: u64,
    messages: Sender<Message>,
    shared: Arc<Shared>,
}

impl Subscriber {
    /// Hands a message over; false if there is no room for it.
    fn hand_over(&self, message: &Message) -> bool {
        let size = message.text.len();
        // Only the reader makes it less.
        let waiting = self.shared.waiting.load(Ordering::Relaxed);
        if waiting > 0 && waiting + size > WAITING_BYTES {
            return false;
        }
        self.shared.waiting.fetch_add(size, Ordering::Relaxed);
        self.messages.try_send(message.clone()).is_ok()
    }
}

impl Subscriptions {
    pub(super) fn new(hub: Arc<Hub>, worker: usize) -> Arc<Self> {
        let bell = Arc::new(Notify::new());
        let waker = Arc::clone(&bell);
        hub.set_waker(worker, Box::new(move || waker.notify_one()));
        Arc::new(Self { hub, worker, bell, table: Mutex::default() })
    }

    /// Subscribes to a path of channels.
    pub(super) fn subscribe(self: &Arc<Self>, channels: &str, start: Start) -> Result<Subscription, Error> {
        let path = parse_channel_path(channels.as_bytes());
        let replay = start.into_replay();
        let ask = Ask { events_allowed: true, ..Ask::unrestricted(self.worker, &path, &replay, AskKind::Stream) };
        // Held until the subscriber is in it: a note that comes meanwhile waits.
        let mut table = self.table.lock();
        let answer = self.hub.subscribe(&ask, now())?;
        let (messages, live) = channel(WAITING);
        let shared = Arc::<Shared>::default();
        let number = table.next;
        table.next += 1;
        if let Some(registration) = answer.subscription {
            let keys = registration.keys.to_vec();
            for key in &keys {
                table.channels.entry(*key).or_default().push(number);
            }
            let shared = Arc::clone(&shared);
            table.subscribers.insert(number, Subscriber { keys, seq: registration.seq, messages, shared });
        }
        drop(table);
        Ok(Subscription::new(Arc::clone(self), number, answer.history, live, shared))
    }

    pub(super) fn hub(&self) -> &Hub {
        &self.hub
    }

    /// Lets a subscriber go.
    pub(super) fn leave(&self, number: u64) {
        let Some(subscriber) = self.table.lock().remove(number) else { return };
        self.hub.leave(self.worker, &subscriber.keys, now());
    }

    /// Hands out messages for as long as the thread lasts.
    pub(super) async fn deliver(self: Arc<Self>) {
        let mut notes = Vec::new();
        loop {
            self.bell.notified().await;
            let mut over = Vec::new();
            {
                let mut table = self.table.lock();
                self.hub.take_notes(self.worker, &mut notes, now());
                for note in notes.drain(..) {
                    match note {
                        Note::Message(fanout) => table.hand_out(&fanout, &mut over),
                        Note::Deleted(fanout) => table.forget(fanout.channel, &mut over),
                    }
                }
            }
            // Their streams end: nothing is left that could send to them.
            for number in over {
                self.leave(number);
            }
        }
    }
}

impl Table {
    /// Hands a message to the subscribers of its channel; those who have no room for it are over.
    fn hand_out(&mut self, fanout: &Fanout, over: &mut Vec<u64>) {
        let Some(listeners) = self.channels.get(&fanout.channel) else { return };
        let message = Message::of(fanout.id.as_bytes(), &fanout.message);
        for number in listeners {
            let Some(subscriber) = self.subscribers.get(number) else { continue };
            // Behind a message that found no room there may be some for the next: that would be a gap.
            let goes_on = subscriber.shared.end.get().is_none();
            if goes_on && fanout.message.seq > subscriber.seq && !subscriber.hand_over(&message) {
                tracing::warn!("push stream module: subscriber does not read, disconnected");
                let _ = subscriber.shared.end.set(End::TooSlow);
                over.push(*number);
            }
        }
    }

    /// Takes the channel of all its subscribers; those who have no other are over.
    fn forget(&mut self, key: ChannelKey, over: &mut Vec<u64>) {
        for number in self.channels.remove(&key).unwrap_or_default() {
            let Some(subscriber) = self.subscribers.get_mut(&number) else { continue };
            subscriber.keys.retain(|own| *own != key);
            if subscriber.keys.is_empty() {
                // Whoever was too slow before has ended by that.
                let _ = subscriber.shared.end.set(End::Deleted);
                over.push(number);
            }
        }
    }

    fn remove(&mut self, number: u64) -> Option<Subscriber> {
        let subscriber = self.subscribers.remove(&number)?;
        for key in &subscriber.keys {
            if let Some(listeners) = self.channels.get_mut(key) {
                listeners.retain(|other| *other != number);
                if listeners.is_empty() {
                    self.channels.remove(key);
                }
            }
        }
        Some(subscriber)
    }
}
