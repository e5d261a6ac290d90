//! The subscribers of one worker: what each of them gets, and who listens to a channel.
//!
//! The hub knows how many subscriptions a channel has and on which workers; this table knows whose they are. A subscriber
//! remembers its place in the list of each of its channels, so that leaving costs the same however long the list is.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use hashbrown::HashMap;
use smallvec::SmallVec;

use super::connection::Connection;
use crate::hub::{ChannelKey, Fanout, Registration};
use crate::model::Now;
use crate::render::View;

/// What a waiting long-poll is answered with: complete answers, head and all, made by the floor that knows HTTP.
pub trait Waiting {
    /// The answer that carries a live message.
    fn message(&self, fanout: &Fanout, now: Now) -> Bytes;
    /// The answer that tells that a channel was deleted.
    fn deleted(&self, fanout: &Fanout, now: Now) -> Bytes;
    /// The answer when the time is over, or (`closing`) the server says farewell and closes the connection.
    fn timed_out(&self, now: Now, closing: bool) -> Bytes;
}

/// A body whose bytes are a subscriber's own (compressed), made from the rendered ones piece by piece.
pub trait Encoding {
    /// The bytes for a piece of the body.
    fn piece(&mut self, piece: &[u8]) -> Bytes;
    /// The bytes that end the body.
    fn end(&mut self) -> Bytes;
}

/// How a subscriber is served.
pub enum Manner {
    /// Message after message as the view renders them (streaming, eventsource, websocket), until the view's end.
    Stream,
    /// The same through an encoding.
    Encoded(Box<dyn Encoding>),
    /// One answer, then the subscription is over.
    LongPoll(Box<dyn Waiting>),
}

/// What a subscription starts with.
pub struct Ending {
    /// Milliseconds from now until the subscription ends by itself; `None`: never.
    pub ttl: Option<u64>,
    /// Milliseconds without a message after which a ping is sent; `None`: never.
    pub ping: Option<u64>,
}

/// The subscriber on a connection.
pub struct Subscriber {
    pub(super) view: Arc<View>,
    pub(super) manner: Manner,
    /// Its channels and its place in the list of each.
    pub(super) places: SmallVec<[(ChannelKey, u32); 1]>,
    /// Messages up to this one have been replayed or are none of its business.
    pub(super) seq: u64,
    /// Monotonic milliseconds; 0: no end.
    pub(super) ends_at: u64,
    /// Milliseconds; 0: no ping.
    pub(super) ping: u64,
    /// Monotonic milliseconds of the last message or ping.
    pub(super) last_sent: u64,
}

impl Subscriber {
    pub(super) fn new(
        view: Arc<View>,
        manner: Manner,
        registration: &Registration,
        ending: &Ending,
        clock: u64,
    ) -> Self {
        Self {
            view,
            manner,
            places: registration.keys.iter().map(|&key| (key, 0)).collect(),
            seq: registration.seq,
            ends_at: ending.ttl.map_or(0, |ttl| clock + ttl),
            ping: ending.ping.unwrap_or(0),
            last_sent: clock,
        }
    }

    pub(super) fn keys(&self) -> Vec<ChannelKey> {
        self.places.iter().map(|&(key, _)| key).collect()
    }

    /// When the subscriber wants to be looked at next (monotonic milliseconds), if ever.
    pub(super) fn due(&self) -> Option<u64> {
        let end = Some(self.ends_at).filter(|&at| at != 0);
        let ping = Some(self.last_sent + self.ping).filter(|_| self.ping != 0);
        end.into_iter().chain(ping).min()
    }

    /// Forgets the place in one list of a channel that is gone; true if no channel is left.
    pub(super) fn forget(&mut self, key: ChannelKey) -> bool {
        if let Some(index) = self.places.iter().position(|&(own, _)| own == key) {
            self.places.remove(index);
        }
        self.places.is_empty()
    }

    fn move_place(&mut self, key: ChannelKey, from: u32, to: u32) {
        if let Some(place) = self.places.iter_mut().find(|place| **place == (key, from)) {
            place.1 = to;
        }
    }
}

/// The worker's listeners by channel.
#[derive(Default)]
pub(super) struct Listeners {
    channels: HashMap<ChannelKey, Vec<Rc<Connection>>>,
}

impl Listeners {
    /// Who listens to a channel.
    pub(super) fn of(&self, key: ChannelKey) -> &[Rc<Connection>] {
        self.channels.get(&key).map(Vec::as_slice).unwrap_or_default()
    }

    /// Takes the whole list of a channel that is gone.
    pub(super) fn take(&mut self, key: ChannelKey) -> Vec<Rc<Connection>> {
        self.channels.remove(&key).unwrap_or_default()
    }

    /// Enters the subscriber of a connection in the lists of its channels.
    pub(super) fn join(&mut self, connection: &Rc<Connection>, subscriber: &mut Subscriber) {
        for (key, place) in &mut subscriber.places {
            let list = self.channels.entry(*key).or_insert_with(|| Vec::with_capacity(1));
            *place = list.len() as u32;
            list.push(Rc::clone(connection));
        }
    }

    /// Removes a subscriber, which has been taken from its connection, from all its lists.
    pub(super) fn leave(&mut self, subscriber: &mut Subscriber) {
        while let Some((key, place)) = subscriber.places.pop() {
            let Some(list) = self.channels.get_mut(&key) else { continue };
            if place as usize >= list.len() {
                continue;
            }
            list.swap_remove(place as usize);
            let from = list.len() as u32;
            if let Some(moved) = list.get(place as usize) {
                match moved.subscriber.borrow_mut().as_mut() {
                    Some(other) => other.move_place(key, from, place),
                    None => subscriber.move_place(key, from, place),
                }
            }
            if list.is_empty() {
                self.channels.remove(&key);
            } else if list.len() * 4 < list.capacity() {
                list.shrink_to(list.len() * 2);
            }
        }
    }
}
