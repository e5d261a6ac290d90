//! The subscriber's side: who may subscribe, what was missed, and from where live delivery goes on.
//!
//! It does not know modes beyond three kinds, nor connections. Reading what was missed and registering is one step under
//! the lock, so that no message falls between or comes twice.

use std::collections::HashMap;
use std::sync::Arc;

use smallvec::SmallVec;

use super::events::EventKind;
use super::registry::ChannelKey;
use super::slab::Slot;
use super::zone::ZoneState;
use crate::model::{ChannelId, Message, Now, Refusal, Replay, Requested};

/// A subscribe request.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// The worker that serves the connection.
    pub worker: usize,
    /// The channels, in the order of the path.
    pub path: &'a [Requested],
    /// Where the subscriber wants to go on.
    pub replay: &'a Replay,
    /// What to do with what was missed.
    pub kind: AskKind,
    /// `push_stream_authorized_channels_only`
    pub authorized_only: bool,
    /// `push_stream_wildcard_channel_max_qtd`; `None` leaves it to the zone's cap.
    pub wildcard_limit: Option<u32>,
    /// `push_stream_allow_connections_to_events_channel`
    pub events_allowed: bool,
}

/// When a subscribe request registers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AskKind {
    /// Always.
    Stream,
    /// Only if nothing was missed.
    LongPoll,
    /// Never.
    Poll,
}

/// The answer to a subscribe request.
#[derive(Debug)]
pub struct Answer {
    /// What was missed, in the order it is to be sent.
    pub missed: Vec<Missed>,
    /// Where the next request should go on after these messages.
    pub resume: Resume,
    /// The subscriptions, if any were made.
    pub subscription: Option<Registration>,
}

/// A message that was missed and its channel.
#[derive(Clone, Debug)]
pub struct Missed {
    /// The channel.
    pub channel: ChannelId,
    /// The message.
    pub message: Arc<Message>,
}

/// The values for `Last-Modified` and `Etag` of a polling answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Resume {
    /// Unix seconds; 0 = none.
    pub time: i64,
    /// Tag; `None` = none.
    pub tag: Option<i64>,
}

/// Subscriptions of one connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Registration {
    /// One key per channel of the path.
    pub keys: SmallVec<[ChannelKey; 1]>,
    /// Published messages up to this sequence number are no news for the connection.
    pub seq: u64,
}

/// A registration in the making.
#[derive(Default)]
struct Entry {
    keys: SmallVec<[ChannelKey; 1]>,
    /// Set by the events channel, from which on the events of the other subscriptions are news.
    seq: Option<u64>,
}

impl Resume {
    fn new(replay: &Replay) -> Self {
        Self { time: replay.time.unwrap_or(0).max(0), tag: replay.tag.filter(|tag| *tag >= 0) }
    }

    /// Moves on to a stamp if it is later.
    fn advance(&mut self, time: u32, tag: u32) {
        let stamp = (i64::from(time), Some(i64::from(tag)));
        if stamp > (self.time, self.tag) {
            (self.time, self.tag) = stamp;
        }
    }
}

impl ZoneState {
    pub(super) fn subscribe(&mut self, ask: &Ask<'_>, now: Now) -> Result<Answer, Refusal> {
        self.check_subscriber(ask)?;
        let ids = ask.path.iter().map(|requested| &requested.id);
        let slots = self.open_channels(ids, now, |zone, id| zone.open_channel(id, now))?;
        let mut answer = Answer { missed: Vec::new(), resume: Resume::new(ask.replay), subscription: None };
        if ask.kind == AskKind::Stream {
            // Channel after channel: the event of a subscription is history or news for the events channel, by its place
            // in the path.
            let mut entry = Entry::default();
            for (requested, &slot) in ask.path.iter().zip(&slots) {
                self.collect_missed(slot, requested, ask.replay, &mut answer);
                self.register(slot, ask.worker, &mut entry, now);
            }
            answer.subscription = Some(self.enter(ask.worker, entry));
        } else {
            for (requested, &slot) in ask.path.iter().zip(&slots) {
                self.collect_missed(slot, requested, ask.replay, &mut answer);
            }
            if ask.kind == AskKind::LongPoll && answer.missed.is_empty() {
                let mut entry = Entry::default();
                for &slot in &slots {
                    self.register(slot, ask.worker, &mut entry, now);
                }
                answer.subscription = Some(self.enter(ask.worker, entry));
            }
        }
        if self.options.merge_replay && slots.len() > 1 {
            answer.missed.sort_by_key(|missed| missed.message.seq);
        }
        Ok(answer)
    }

    /// The checks before anything is created.
    fn check_subscriber(&self, ask: &Ask<'_>) -> Result<(), Refusal> {
        if ask.path.is_empty() {
            return Err(Refusal::NoChannelId);
        }
        let count_repeated = self.options.exact_admission && ask.kind != AskKind::Poll && ask.path.len() > 1;
        let mut repeated: HashMap<&ChannelId, u32> = HashMap::new();
        let mut wildcards = 0;
        for Requested { id, .. } in ask.path {
            self.check_id(id)?;
            let wildcard = self.is_wildcard(id);
            wildcards += usize::from(wildcard);
            let channel = self.registry.find(id).and_then(|slot| self.registry.get(slot));
            if ask.authorized_only && !wildcard && channel.is_none_or(|channel| channel.backlog.len() == 0) {
                return Err(Refusal::NotAuthorized);
            }
            if let Some(most) = self.settings.max_subscribers_per_channel {
                let mut subscriptions = channel.map_or(0, |channel| channel.subscriptions.total());
                if count_repeated {
                    let earlier = repeated.entry(id).or_default();
                    subscriptions = subscriptions.saturating_add(*earlier);
                    *earlier += 1;
                }
                if subscriptions >= most {
                    return Err(Refusal::SubscribersLimit);
                }
            }
            if !ask.events_allowed && self.is_events_channel(id) {
                return Err(Refusal::EventsChannelForbidden);
            }
        }
        let limit = ask.wildcard_limit.or(self.settings.max_wildcard_channels);
        let too_many = limit.is_some_and(|limit| wildcards > limit as usize || wildcards == ask.path.len());
        if wildcards > 0 && too_many { Err(Refusal::TooManyWildcards) } else { Ok(()) }
    }

    fn collect_missed(&self, slot: Slot, requested: &Requested, replay: &Replay, answer: &mut Answer) {
        let Some(channel) = self.registry.get(slot) else { return };
        let before = answer.missed.len();
        let missed = channel.backlog.missed(requested.backtrack, replay);
        answer
            .missed
            .extend(missed.map(|message| Missed { channel: channel.id.clone(), message: Arc::clone(message) }));
        if answer.missed.len() > before {
            answer.resume.advance(channel.last.time, channel.last.tag);
        }
    }

    /// Adds one subscription to the channel and to the entry.
    fn register(&mut self, slot: Slot, worker: usize, entry: &mut Entry, now: Now) {
        let Some(channel) = self.registry.get_mut(slot) else { return };
        channel.expires = now.secs().saturating_add(self.settings.inactivity);
        channel.subscriptions.add(worker);
        entry.keys.push(channel.key);
        if channel.for_events {
            entry.seq.get_or_insert(self.stamps.last_seq());
        }
        let id = channel.id.clone();
        self.emit(EventKind::ClientSubscribed, &id, now);
    }

    /// Counts the connection whose subscriptions were all made.
    fn enter(&mut self, worker: usize, entry: Entry) -> Registration {
        if let Some(count) = self.connections.get_mut(worker) {
            *count += 1;
        }
        Registration { keys: entry.keys, seq: entry.seq.unwrap_or(self.stamps.last_seq()) }
    }

    /// Ends the subscriptions of one connection.
    pub(super) fn leave(&mut self, worker: usize, keys: &[ChannelKey], now: Now) {
        if let Some(count) = self.connections.get_mut(worker) {
            *count = count.saturating_sub(1);
        }
        for &key in keys {
            let Some(slot) = self.registry.find_key(key) else { continue };
            let Some(channel) = self.registry.get_mut(slot) else { continue };
            if !channel.subscriptions.remove(worker) {
                continue;
            }
            self.due.file(slot, channel);
            if self.events.is_some() {
                let id = channel.id.clone();
                self.emit(EventKind::ClientUnsubscribed, &id, now);
            }
        }
    }
}
