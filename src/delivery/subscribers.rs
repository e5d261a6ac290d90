//! The subscribers of one worker: what each of them gets, and who listens to a channel.
//!
//! The hub knows how many subscriptions a channel has and on which workers; this table knows whose they are. A subscriber
//! remembers its place in the list of each of its channels, so that leaving costs the same however long the list is.

use std::borrow::Borrow;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use hashbrown::HashMap;
use smallvec::SmallVec;

use super::connection::Connection;
use super::ledger;
use super::source::SharedEncoding;
use crate::hub::{ChannelKey, Fanout, Registration};
use crate::metrics::Mode;
use crate::model::{Now, Stamp};
use crate::render::{Kind, View};

/// What a waiting long-poll is answered with: complete answers, head and all, made by the floor that knows HTTP.
pub trait Waiting {
    /// The answer that carries a live message.
    fn message(&self, fanout: &Fanout, now: Now) -> Bytes;
    /// The answer that tells that a channel was deleted.
    fn deleted(&self, fanout: &Fanout, now: Now) -> Bytes;
    /// The answer when the time is over, or (`closing`) the server says farewell and closes the connection; what the client has
    /// seen ends with `seen`.
    fn timed_out(&self, now: Now, seen: Stamp, closing: bool) -> Bytes;
}

/// How a subscriber is served.
pub enum Manner {
    /// Message after message as the view renders them (streaming, eventsource, websocket), until the view's end.
    Stream,
    /// The same through an encoding.
    Encoded(SharedEncoding),
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

/// Where a subscriber stands in the list of a channel.
#[derive(Clone, Copy)]
struct Place {
    key: ChannelKey,
    at: u32,
    /// Which of its channels it is.
    order: u32,
}

/// The places of a subscriber, of which the first stands in the subscriber itself. Those of one that has several are in the ledger,
/// as many as there were, for as long as it has any.
struct Places(SmallVec<[Place; 1]>);

impl Places {
    fn new(keys: &[ChannelKey]) -> Self {
        let mut places = SmallVec::with_capacity(keys.len());
        places.extend((0..).zip(keys).map(|(order, &key)| Place { key, at: 0, order }));
        let places = Self(places);
        ledger::enter(places.held());
        places
    }

    /// Memory that they take here and in the lists of the channels, which grow by doubling.
    fn held(&self) -> usize {
        let places = if self.0.spilled() { self.0.capacity() } else { 0 };
        places * (size_of::<Place>() + 2 * size_of::<Listener>())
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        ledger::give_back(self.held());
    }
}

/// The subscriber on a connection.
pub struct Subscriber {
    pub(super) view: Arc<View>,
    pub(super) manner: Manner,
    /// Its place in the list of each of its channels.
    places: Places,
    /// Messages up to this sequence number have been replayed or are none of its business.
    pub(super) seq: u64,
    /// Monotonic milliseconds; 0: no end.
    pub(super) ends_at: u64,
    /// Milliseconds; 0: no ping.
    pub(super) ping: u64,
    /// Monotonic milliseconds of the last message or ping.
    pub(super) last_sent: u64,
}

impl Subscriber {
    /// Memory that it takes for its channels, and for its encoding if it has one.
    pub(super) fn state(&self) -> usize {
        let encoding = match &self.manner {
            Manner::Encoded(encoding) => encoding.as_ref().borrow().state(),
            Manner::Stream | Manner::LongPoll(_) => 0,
        };
        self.places.held() + encoding
    }

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
            places: Places::new(&registration.keys),
            seq: registration.seq,
            ends_at: ending.ttl.map_or(0, |ttl| clock + ttl),
            ping: ending.ping.unwrap_or(0),
            last_sent: clock,
        }
    }

    /// How it is served.
    pub(super) fn mode(&self) -> Mode {
        match (&self.manner, self.view.kind()) {
            (Manner::LongPoll(_), _) => Mode::LongPolling,
            (_, Kind::Text) => Mode::Streaming,
            (_, Kind::EventSource) => Mode::EventSource,
            (_, Kind::WebSocket) => Mode::WebSocket,
        }
    }

    /// The keys of its channels, in the order in which it asked for them.
    pub(super) fn keys(&self) -> Vec<ChannelKey> {
        let mut places = self.places.0.clone();
        if !places.is_sorted_by_key(|place| place.order) {
            places.sort_unstable_by_key(|place| place.order);
        }
        places.iter().map(|place| place.key).collect()
    }

    /// Whether no channel is left.
    pub(super) fn is_alone(&self) -> bool {
        self.places.0.is_empty()
    }

    /// When the subscriber wants to be looked at next (monotonic milliseconds), if ever.
    pub(super) fn due(&self) -> Option<u64> {
        let end = Some(self.ends_at).filter(|&at| at != 0);
        let ping = Some(self.last_sent + self.ping).filter(|_| self.ping != 0);
        end.into_iter().chain(ping).min()
    }

    /// Stands elsewhere in the list of one of its channels from now on.
    fn stand_at(&mut self, place: u32, at: u32) {
        if let Some(place) = self.places.0.get_mut(place as usize) {
            place.at = at;
        }
    }
}

/// The worker's listeners by channel.
#[derive(Default)]
pub(super) struct Listeners {
    channels: HashMap<ChannelKey, Vec<Listener>>,
}

/// A connection in the list of a channel.
pub(super) struct Listener {
    connection: Rc<Connection>,
    /// Which of the places of its subscriber it stands for.
    place: u32,
}

impl Borrow<Rc<Connection>> for Listener {
    fn borrow(&self) -> &Rc<Connection> {
        &self.connection
    }
}

impl Listeners {
    /// Who listens to a channel.
    pub(super) fn of(&self, key: ChannelKey) -> &[Listener] {
        self.channels.get(&key).map(Vec::as_slice).unwrap_or_default()
    }

    /// Whether nobody listens to anything.
    pub(super) fn is_empty(&self) -> bool {
        self.channels.is_empty()
    }

    /// Takes the whole list of a channel that is gone.
    pub(super) fn take(&mut self, key: ChannelKey) -> Vec<Listener> {
        self.channels.remove(&key).unwrap_or_default()
    }

    /// Enters the subscriber of a connection in the lists of its channels.
    pub(super) fn join(&mut self, connection: &Rc<Connection>, subscriber: &mut Subscriber) {
        for (index, place) in (0..).zip(&mut subscriber.places.0) {
            // Most channels have one listener.
            let list = self.channels.entry(place.key).or_insert_with(|| Vec::with_capacity(1));
            place.at = list.len() as u32;
            list.push(Listener { connection: Rc::clone(connection), place: index });
        }
    }

    /// Removes a subscriber, which has been taken from its connection, from all its lists.
    pub(super) fn leave(&mut self, subscriber: &mut Subscriber) {
        while let Some(Place { key, at, .. }) = subscriber.places.0.pop() {
            let Some(list) = self.channels.get_mut(&key) else { continue };
            if (at as usize) < list.len() {
                list.swap_remove(at as usize);
            }
            if let Some(moved) = list.get(at as usize) {
                match moved.connection.subscriber.borrow_mut().as_mut() {
                    Some(other) => other.stand_at(moved.place, at),
                    None => subscriber.stand_at(moved.place, at),
                }
            }
            if list.is_empty() {
                self.channels.remove(&key);
            } else if list.len() * 4 < list.capacity() {
                list.shrink_to(list.len() * 2);
            }
        }
    }

    /// Forgets the places of a subscriber in the list of a channel that is gone; how many there were.
    pub(super) fn forget(&mut self, subscriber: &mut Subscriber, key: ChannelKey) -> usize {
        let before = subscriber.places.0.len();
        for index in (0..before).rev() {
            if subscriber.places.0.get(index).is_none_or(|place| place.key != key) {
                continue;
            }
            subscriber.places.0.swap_remove(index);
            // All behind it are of other channels.
            let Some(moved) = subscriber.places.0.get(index) else { continue };
            let list = self.channels.get_mut(&moved.key);
            if let Some(listener) = list.and_then(|list| list.get_mut(moved.at as usize)) {
                listener.place = index as u32;
            }
        }
        before - subscriber.places.0.len()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;
    use smallvec::smallvec;

    use super::*;
    use crate::delivery::Stream;
    use crate::hub::{Ask, AskKind, Hub};
    use crate::model::{Capabilities, Replay, Zone, parse_channel_path};
    use crate::render::{Framing, ViewSpec};

    fn view() -> Arc<View> {
        Arc::new(View::new(&ViewSpec {
            header: b"",
            message: b"~text~",
            footer: b"",
            ping_text: b"",
            kind: Kind::Text,
            framing: Framing::Plain,
            padding: None,
            capabilities: &Capabilities::default(),
        }))
    }

    pub(in crate::delivery) fn zone() -> Zone {
        Zone::bare(1 << 20, 30, 30)
    }

    /// Keys of real channels, as only a hub can make them.
    fn keys(count: usize) -> Vec<ChannelKey> {
        let hub = Hub::new(zone(), Capabilities::default(), 1, Now(0), None);
        let path = (0..count).map(|n| n.to_string()).collect::<Vec<_>>().join("/");
        let (path, replay) = (parse_channel_path(path.as_bytes()), Replay::default());
        let ask = Ask::unrestricted(0, &path, &replay, AskKind::Stream);
        hub.subscribe(&ask, Now(0)).unwrap().subscription.unwrap().keys.to_vec()
    }

    /// Every subscriber stands in the lists exactly where it remembers to stand.
    fn assert_places(listeners: &Listeners, connections: &[Rc<Connection>]) {
        let mut places = 0;
        for connection in connections {
            let subscriber = connection.subscriber.borrow();
            let own = subscriber.iter().flat_map(|subscriber| &subscriber.places.0);
            for (index, place) in own.enumerate() {
                let list = &listeners.channels[&place.key];
                assert!(Rc::ptr_eq(&list[place.at as usize].connection, connection));
                assert_eq!(list[place.at as usize].place as usize, index);
                places += 1;
            }
        }
        assert_eq!(places, listeners.channels.values().map(Vec::len).sum::<usize>());
        let subscribers = connections.iter().map(|connection| connection.subscriber.borrow());
        let held: usize = subscribers.filter_map(|subscriber| Some(subscriber.as_ref()?.state())).sum();
        assert_eq!(ledger::held(), held);
    }

    proptest! {
        #[test]
        fn subscribers_know_their_places_through_any_coming_and_going(
            steps in proptest::collection::vec((0usize..9, proptest::collection::vec(0usize..3, 1..4)), 1..60),
        ) {
            let (keys, view) = (keys(3), view());
            let connections: Vec<_> = (0..8).map(|_| Rc::new(Connection::new(Stream::Body))).collect();
            let mut listeners = Listeners::default();
            for (who, channels) in steps {
                let Some(connection) = connections.get(who) else {
                    // A channel is gone; whose only one it was leaves.
                    let gone = keys[channels[0]];
                    for Listener { connection, .. } in listeners.take(gone) {
                        let mut subscriber = connection.subscriber.borrow_mut();
                        let Some(present) = subscriber.as_mut() else { continue };
                        let expected: Vec<_> = present.keys().into_iter().filter(|key| *key != gone).collect();
                        let times = present.keys().len() - expected.len();
                        assert_eq!(listeners.forget(present, gone), times);
                        assert!(present.keys() == expected, "in the order they had");
                        if present.is_alone() {
                            *subscriber = None;
                        }
                    }
                    assert_places(&listeners, &connections);
                    continue;
                };
                let present = connection.subscriber.borrow_mut().take();
                if let Some(mut subscriber) = present {
                    listeners.leave(&mut subscriber);
                } else {
                    let mut registration = Registration { keys: smallvec![], seq: 0 };
                    registration.keys.extend(channels.iter().map(|&channel| keys[channel]));
                    let ending = Ending { ttl: None, ping: None };
                    let mut subscriber = Subscriber::new(Arc::clone(&view), Manner::Stream, &registration, &ending, 0);
                    listeners.join(connection, &mut subscriber);
                    *connection.subscriber.borrow_mut() = Some(subscriber);
                }
                assert_places(&listeners, &connections);
            }
        }
    }
}
