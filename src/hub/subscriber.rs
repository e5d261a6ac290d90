//! The subscriber's side: who may subscribe, what was missed, and from where live delivery goes on.
//!
//! It does not know modes beyond three kinds, nor connections. Reading what was missed and registering is one step under
//! the lock, so that no message falls between or comes twice.

use std::collections::HashMap;

use smallvec::SmallVec;

use super::clock::Moment;
use super::events::EventKind;
use super::history::History;
use super::publisher::{Created, Slots};
use super::registry::ChannelKey;
use super::slab::Slot;
use super::zone::ZoneState;
use crate::model::{ChannelId, Now, Refusal, Replay, Requested, Stamp};

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

impl<'a> Ask<'a> {
    /// What no location restricts: any channel may be made, and the events channel is closed.
    pub fn unrestricted(worker: usize, path: &'a [Requested], replay: &'a Replay, kind: AskKind) -> Self {
        Self { worker, path, replay, kind, authorized_only: false, wildcard_limit: None, events_allowed: false }
    }
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
    pub history: History,
    /// Where the next request should go on after these messages.
    pub resume: Resume,
    /// The subscriptions, if any were made.
    pub subscription: Option<Registration>,
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

/// What the checks of several channels add up to.
#[derive(Default)]
pub(super) struct Checked {
    wildcards: usize,
    /// How often an id came, where that counts.
    repeated: HashMap<ChannelId, u32>,
}

/// A registration in the making.
#[derive(Default)]
pub(super) struct Entry {
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

impl Answer {
    pub(super) fn new(ask: &Ask<'_>, merged: bool) -> Self {
        Self { history: History::new(merged), resume: Resume::new(ask.replay), subscription: None }
    }
}

impl ZoneState {
    /// Answers a request all at once.
    pub(super) fn subscribe(&mut self, ask: &Ask<'_>, now: Now) -> Result<Answer, Refusal> {
        let mut checked = Checked::default();
        self.check_subscriber(ask, ask.path, &mut checked)?;
        self.check_wildcards(ask, &checked)?;
        let mut created = Created::new();
        let slots = self.open_requested(ask.path, &mut created, now);
        self.conclude(&created, slots.is_err(), now);
        let slots = slots?;
        let mut answer = Answer::new(ask, self.capabilities.merge_replay);
        let mut entry = Entry::default();
        for (place, (requested, &slot)) in ask.path.iter().zip(&slots).enumerate() {
            let until = self.clock.last();
            self.collect_missed(slot, (place, requested), ask.replay, until, &mut answer);
            if ask.kind == AskKind::Stream {
                // Channel after channel: the event of a subscription is history or news for the events channel, by its place
                // in the path.
                self.register(slot, ask.worker, &mut entry, now);
            }
        }
        if ask.kind == AskKind::LongPoll && answer.history.is_empty() {
            for &slot in &slots {
                self.register(slot, ask.worker, &mut entry, now);
            }
        }
        if !entry.keys.is_empty() {
            answer.subscription = Some(self.enter(ask.worker, entry));
        }
        self.read_page(&mut answer.history);
        Ok(answer)
    }

    /// Opens the channels of a request.
    pub(super) fn open_requested(
        &mut self,
        path: &[Requested],
        created: &mut Created,
        now: Now,
    ) -> Result<Slots, Refusal> {
        path.iter().map(|requested| self.open_channel(&requested.id, created, now)).collect()
    }

    /// The checks of channels before anything is created.
    pub(super) fn check_subscriber(
        &self,
        ask: &Ask<'_>,
        path: &[Requested],
        checked: &mut Checked,
    ) -> Result<(), Refusal> {
        self.check_joined()?;
        let count_repeated = self.capabilities.exact_admission && ask.kind != AskKind::Poll && ask.path.len() > 1;
        for Requested { id, .. } in path {
            self.check_id(id)?;
            let wildcard = self.is_wildcard(id);
            checked.wildcards += usize::from(wildcard);
            let channel = self.registry.find(id).and_then(|slot| self.registry.get(slot));
            let unknown = channel.is_none_or(|channel| channel.backlog.len() == 0);
            if ask.authorized_only && !wildcard && unknown && !self.may_be_forgotten(id) {
                return Err(Refusal::NotAuthorized);
            }
            if let Some(most) = self.settings.max_subscribers_per_channel {
                let mut subscriptions = channel.map_or(0, |channel| channel.subscriptions.total());
                if count_repeated {
                    let earlier = checked.repeated.entry(id.clone()).or_default();
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
        Ok(())
    }

    /// The check of all channels together, which comes after those of each.
    pub(super) fn check_wildcards(&self, ask: &Ask<'_>, checked: &Checked) -> Result<(), Refusal> {
        let limit = ask.wildcard_limit.or(self.settings.max_wildcard_channels);
        let wildcards = checked.wildcards;
        let too_many = limit.is_some_and(|limit| wildcards > limit as usize || wildcards == ask.path.len());
        if wildcards > 0 && too_many { Err(Refusal::TooManyWildcards) } else { Ok(()) }
    }

    /// Adds what was missed of a channel up to a moment.
    pub(super) fn collect_missed(
        &self,
        slot: Slot,
        (place, requested): (usize, &Requested),
        replay: &Replay,
        until: Moment,
        answer: &mut Answer,
    ) {
        let Some(channel) = self.registry.get(slot) else { return };
        let backlog = &channel.backlog;
        let Some(first) = backlog.first_missed(requested.backtrack, replay, until.seq) else { return };
        answer.history.add((slot, channel.key), &channel.id, place, first, until.seq);
        let last = if channel.last <= until.stamp {
            channel.last
        } else {
            backlog.last_until(until.seq).map_or(Stamp::default(), |message| message.stamp)
        };
        answer.resume.advance(last.time, last.tag);
    }

    /// Adds one subscription to the channel and to the entry.
    pub(super) fn register(&mut self, slot: Slot, worker: usize, entry: &mut Entry, now: Now) {
        let Some(channel) = self.registry.get_mut(slot) else { return };
        channel.expires = now.secs().saturating_add(self.settings.inactivity);
        channel.subscriptions.add(worker);
        entry.keys.push(channel.key);
        if channel.for_events {
            entry.seq.get_or_insert(self.clock.last().seq);
        }
        let id = channel.id.clone();
        self.emit(EventKind::ClientSubscribed, &id, now);
    }

    /// Counts the connection whose subscriptions were all made.
    pub(super) fn enter(&mut self, worker: usize, entry: Entry) -> Registration {
        if let Some(count) = self.connections.get_mut(worker) {
            *count += 1;
        }
        Registration { keys: entry.keys, seq: entry.seq.unwrap_or(self.clock.last().seq) }
    }

    /// Counts a connection off.
    pub(super) fn exit(&mut self, worker: usize) {
        if let Some(count) = self.connections.get_mut(worker) {
            *count = count.saturating_sub(1);
        }
    }

    /// Ends subscriptions of one connection.
    pub(super) fn leave(&mut self, worker: usize, keys: &[ChannelKey], now: Now) {
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
