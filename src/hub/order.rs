//! A hub that is led: the order of its zone is made elsewhere, and what is published comes back as entries.
//!
//! It does not know where that is. What a publisher hands in is checked here as any publish is, and given to the [`Order`];
//! nothing changes until the entry comes back through `restore`, in the same order on every node. The clock of such a hub is made of
//! entries alone. Invariant: before it has joined it serves nobody.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use super::clock::Clock;
use super::registry::ChannelKey;
use super::sweep::Janitor;
use super::zone::ZoneState;
use super::{ChannelInfo, Hub};
use crate::model::{ChannelId, Draft, Refusal, Replay, Stamp};

/// Seconds by which a client may be ahead of this node, having seen more on another one. With a tag its place comes from a server;
/// without, a few seconds more may come from the client's own clock.
const AHEAD: i64 = 600;
const AHEAD_BY_CLOCK: i64 = 5;

/// What became of something that was handed in: how many messages were published or channels deleted, or why none was.
pub type Outcome = Result<usize, Refusal>;

/// Hears an outcome, once, on any thread.
pub type Told = Box<dyn FnOnce(Outcome) + Send>;

/// Hears the numbers of channels, once, on any thread.
pub type Found = Box<dyn FnOnce(Vec<ChannelInfo>) + Send>;

/// What the zone grants its messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Terms {
    /// Seconds a stored message lives.
    pub ttl: u32,
    /// Most messages stored in a channel.
    pub most: Option<u32>,
    /// Seconds a channel lives without messages and subscribers.
    pub inactivity: u32,
}

/// Where the order of a zone is made. It calls back when the entry has come back and was applied.
pub trait Order: Send + Sync {
    /// Takes one message per channel.
    fn publish(&self, ids: Vec<ChannelId>, draft: Draft, terms: Terms, told: Told);

    /// Takes a deletion.
    fn delete(&self, ids: Vec<ChannelId>, text: Option<Box<[u8]>>, told: Told);

    /// Tells when this node has applied what there is in the zone now, or that it cannot be known.
    fn catch_up(&self, told: Told);

    /// Whether so much waits that a publisher who can wait with the next message should.
    fn is_full(&self) -> bool;

    /// Whether nothing waits.
    fn is_idle(&self) -> bool;

    /// How many other nodes there are, and their subscriber connections.
    fn others(&self) -> (usize, u64);

    /// Asks the other nodes for the numbers of channels; those of one that several have come several times.
    fn ask(&self, ids: &[ChannelId], found: Found);
}

impl Hub {
    /// Has the order made elsewhere, from now on and for good. Nobody is served until [`Hub::join`].
    pub fn follow(&self, order: Arc<dyn Order>) {
        let mut state = self.state.lock();
        state.clock = Clock::led();
        state.joining = true;
        drop(state);
        // A second order would be a mistake; the first one stays.
        let _ = self.order.set(order);
    }

    /// Serves from now on: what the zone holds was applied.
    pub fn join(&self) {
        let mut state = self.state.lock();
        let now = state.clock.present();
        state.started = now;
        state.janitor = Janitor::new(now);
        state.janitor.message_published(now);
        state.joining = false;
    }

    /// Refuses questions before it has joined: an empty hub knows of no channel.
    pub fn check_joined(&self) -> Result<(), Refusal> {
        self.state.lock().check_joined()
    }

    /// Whether the order is made elsewhere.
    pub fn is_led(&self) -> bool {
        self.order.get().is_some()
    }

    /// Where a client was on another node, if this one has not come that far: served now, it would be told as news what it has seen.
    pub fn behind(&self, replay: &Replay) -> Option<Stamp> {
        if !self.is_led() {
            return None;
        }
        let seen = self.state.lock().clock.seen();
        let ahead = if replay.tag.is_some() { AHEAD } else { AHEAD_BY_CLOCK };
        let time = replay.time.filter(|time| *time <= i64::from(seen.time) + ahead)?;
        let tag = replay.tag.unwrap_or(0).clamp(0, i64::from(u32::MAX));
        let there = Stamp { time: u32::try_from(time).ok()?, tag: tag as u32 };
        (there > seen).then_some(there)
    }

    /// Whether it has come so far.
    pub fn has_come_to(&self, there: Stamp) -> bool {
        self.state.lock().clock.seen() >= there
    }

    /// Whether an event id is asked for that none of these channels has: one that is gone, or one that has not come here yet.
    pub fn misses_event(&self, ids: &[ChannelId], replay: &Replay) -> bool {
        let Some(wanted) = replay.event_id.as_deref() else { return false };
        let state = self.state.lock();
        let mut channels = ids.iter().filter_map(|id| state.registry.get(state.registry.find(id)?));
        !channels.any(|channel| channel.backlog.event(wanted).is_some())
    }

    /// Tells when this node has applied what there is in the zone now, or that it cannot be known.
    pub fn catch_up(&self, told: Told) {
        match self.order.get() {
            Some(order) => order.catch_up(told),
            None => told(Ok(0)),
        }
    }

    /// The stamp of the last message.
    pub fn last_stamp(&self) -> Stamp {
        self.state.lock().clock.last().stamp
    }

    /// Whether there are other nodes.
    pub fn has_others(&self) -> bool {
        self.order.get().is_some_and(|order| order.others().0 > 0)
    }

    /// Subscriber connections of other nodes.
    pub fn subscribers_elsewhere(&self) -> u64 {
        self.order.get().map_or(0, |order| order.others().1)
    }

    /// The numbers of the channels that exist on any node, in the order asked for; subscriptions are those of all nodes.
    pub fn find_everywhere(&self, ids: Vec<ChannelId>, found: Found) {
        let here = self.find(&ids);
        let Some(order) = self.order.get() else { return found(here) };
        let asked = ids.clone();
        order.ask(&asked, Box::new(move |elsewhere| found(merged(&ids, here, elsewhere))));
    }

    /// What the zone grants.
    pub fn terms(&self) -> Terms {
        self.state.lock().terms()
    }

    /// Hands a publish in that was admitted.
    pub fn hand_in(&self, ids: Vec<ChannelId>, draft: Draft, told: Told) {
        let Some(order) = self.order.get() else { return told(Err(Refusal::Away)) };
        let state = self.state.lock();
        let admitted = state.check_open().and_then(|()| state.admit_copies(&draft, ids.len()));
        let terms = state.terms();
        drop(state);
        match admitted {
            Ok(()) => order.publish(ids, draft, terms, told),
            Err(refusal) => told(Err(refusal)),
        }
    }

    /// Hands a publish in for the subscriptions of a connection; the events channel and deleted channels are left out.
    pub fn hand_in_to(&self, keys: &[ChannelKey], draft: Draft, told: Told) {
        let state = self.state.lock();
        let slots =
            keys.iter().filter_map(|key| state.registry.find_key(*key)).filter(|slot| Some(*slot) != state.events);
        let ids: Vec<ChannelId> = slots.filter_map(|slot| Some(state.registry.get(slot)?.id.clone())).collect();
        drop(state);
        if ids.is_empty() { told(Ok(0)) } else { self.hand_in(ids, draft, told) }
    }

    /// Hands a deletion in that was admitted.
    pub fn hand_in_delete(&self, ids: Vec<ChannelId>, text: Option<Box<[u8]>>, told: Told) {
        match self.order.get() {
            Some(order) => order.delete(ids, text, told),
            None => told(Err(Refusal::Away)),
        }
    }
}

/// Events that are to be handed in.
pub(super) struct Outgoing {
    channel: ChannelId,
    drafts: Vec<Draft>,
    terms: Terms,
}

impl Outgoing {
    /// Hands them in. While nothing can be published there, nothing can be told.
    pub(super) fn hand_in(self, order: &dyn Order) {
        for draft in self.drafts {
            order.publish(vec![self.channel.clone()], draft, self.terms, Box::new(drop));
        }
    }
}

impl ZoneState {
    /// Takes the events that wait.
    pub(super) fn take_outgoing(&mut self) -> Option<Outgoing> {
        if self.outgoing.is_empty() {
            return None;
        }
        let channel = ChannelId::new(&self.settings.events_channel_id);
        Some(Outgoing { channel, drafts: std::mem::take(&mut self.outgoing), terms: self.terms() })
    }

    fn terms(&self) -> Terms {
        Terms {
            ttl: self.settings.message_ttl,
            most: self.settings.max_messages_per_channel,
            inactivity: self.settings.inactivity,
        }
    }
}

/// What several nodes know of channels: each counts its own subscriptions, and has what it has applied of the rest.
fn merged(ids: &[ChannelId], here: Vec<ChannelInfo>, elsewhere: Vec<ChannelInfo>) -> Vec<ChannelInfo> {
    let mut known: HashMap<ChannelId, ChannelInfo> = here.into_iter().map(|info| (info.id.clone(), info)).collect();
    for info in elsewhere {
        match known.entry(info.id.clone()) {
            Entry::Vacant(place) => {
                place.insert(info);
            }
            Entry::Occupied(mut place) => {
                let all = place.get_mut();
                all.published = all.published.max(info.published);
                all.stored = all.stored.max(info.stored);
                all.subscribers = all.subscribers.saturating_add(info.subscribers);
            }
        }
    }
    ids.iter().filter_map(|id| known.get(id).cloned()).collect()
}

#[cfg(test)]
mod tests;
