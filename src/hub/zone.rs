//! All that stands under the hub's lock, and the few moves every other file is made of: create, append, drop, evict.
//!
//! It does not know who asks: the rules for publishers stand in `publisher`, those for subscribers in `subscriber`.
//! Counters, budget and index agree with the channels whenever a move is done.

use std::collections::VecDeque;
use std::sync::Arc;

use super::backlog::Backlog;
use super::budget::Budget;
use super::channel::Channel;
use super::clock::Clock;
use super::due::DueIndex;
use super::events::EventKind;
use super::fanout::{Fanout, Note};
use super::journal::Journal;
use super::notes::Notes;
use super::registry::Registry;
use super::restore::Restore;
use super::shared_memory::{SharedMemory, Taken};
use super::slab::Slot;
use super::sweep::{BATCH, Janitor, take_one};
use super::trash::{DeletedChannel, Trash};
use crate::log::{Entry, Published};
use crate::model::{Capabilities, ChannelId, Draft, Message, Now, Refusal, Stamp, Tick, Zone};

/// The state of a zone.
pub(super) struct ZoneState {
    pub(super) settings: Zone,
    pub(super) capabilities: Capabilities,
    pub(super) registry: Registry,
    pub(super) due: DueIndex,
    pub(super) budget: Budget,
    /// Memory as the module counts it, where full memory refuses.
    pub(super) shared: Option<SharedMemory>,
    pub(super) clock: Clock,
    pub(super) counters: Counters,
    pub(super) trash: Trash,
    pub(super) notes: Notes,
    pub(super) janitor: Janitor,
    /// Subscriber connections per worker.
    pub(super) connections: Box<[u64]>,
    pub(super) events: Option<Slot>,
    /// Channels that went with so many subscriptions of which the events channel has yet to tell.
    untold: VecDeque<(ChannelId, u32)>,
    /// Events that are to be handed in where the order is made.
    pub(super) outgoing: Vec<Draft>,
    pub(super) started: Now,
    pub(super) journal: Journal,
    pub(super) restore: Restore,
    pub(super) garbage: Garbage,
    /// Nothing more is taken from publishers: it could not be kept.
    pub(super) closed: bool,
    /// Whether it has not yet come to where the others of its zone are: nobody is served.
    pub(super) joining: bool,
    /// Publishes to very many channels that are under way.
    pub(super) in_parts: usize,
}

/// The zone-wide numbers that are not sums of something smaller.
#[derive(Default)]
pub(super) struct Counters {
    pub(super) channels: u32,
    pub(super) wildcard_channels: u32,
    pub(super) published: u64,
    pub(super) stored: u64,
}

impl Counters {
    /// The count a channel belongs to.
    pub(super) fn of_kind(&mut self, wildcard: bool) -> &mut u32 {
        if wildcard { &mut self.wildcard_channels } else { &mut self.channels }
    }
}

/// What must be freed, but not under the lock.
#[derive(Default)]
pub(super) struct Garbage {
    messages: Vec<Arc<Message>>,
    channels: Vec<Channel>,
}

impl Garbage {
    pub(super) fn add(&mut self, message: Arc<Message>) {
        self.messages.push(message);
    }

    /// Messages in it, about: what it takes to free it.
    pub(super) fn len(&self) -> usize {
        self.messages.len() + self.channels.iter().map(|channel| channel.backlog.len()).sum::<usize>()
    }
}

impl ZoneState {
    pub(super) fn new(
        settings: Zone,
        capabilities: Capabilities,
        workers: usize,
        wall: Now,
        floor: Option<Stamp>,
    ) -> Self {
        let mut clock = Clock::new(wall, floor);
        let now = clock.tick(wall);
        let mut state = Self {
            budget: Budget::new(settings.memory),
            shared: capabilities.refuse_when_full.then(|| SharedMemory::new(settings.memory)),
            settings,
            capabilities,
            registry: Registry::new(),
            due: DueIndex::default(),
            clock,
            counters: Counters::default(),
            trash: Trash::default(),
            notes: Notes::new(workers),
            janitor: Janitor::new(now),
            connections: vec![0; workers].into(),
            events: None,
            outgoing: Vec::new(),
            untold: VecDeque::new(),
            started: now,
            journal: Journal::default(),
            restore: Restore::default(),
            garbage: Garbage::default(),
            closed: false,
            joining: false,
            in_parts: 0,
        };
        state.establish_events_channel(now);
        state
    }

    /// Takes new settings; the memory size stays.
    pub(super) fn reconfigure(&mut self, settings: Zone, capabilities: Capabilities, now: Now) {
        let memory = self.settings.memory;
        self.settings = Zone { memory, ..settings };
        self.capabilities = capabilities;
        self.establish_events_channel(now);
    }

    /// Makes the channel named in the settings the events channel, and only that one.
    fn establish_events_channel(&mut self, now: Now) {
        let id = ChannelId::new(&self.settings.events_channel_id);
        let wanted = !id.as_bytes().is_empty();
        let slot = wanted.then(|| self.registry.find(&id).unwrap_or_else(|| self.create(&id, now)));
        if slot == self.events {
            return;
        }
        for (slot, for_events) in [(self.events, false), (slot, true)] {
            let Some(slot) = slot else { continue };
            let Some(channel) = self.registry.get_mut(slot) else { continue };
            channel.for_events = for_events;
            let stored = channel.backlog.len() as u64;
            let counted = self.counters.stored;
            self.counters.stored = if for_events { counted.saturating_sub(stored) } else { counted + stored };
            self.due.file(slot, channel);
        }
        self.events = slot;
    }

    /// Whether an id stands for a wildcard channel.
    pub(super) fn is_wildcard(&self, id: &ChannelId) -> bool {
        let prefix = &self.settings.wildcard_prefix;
        !prefix.is_empty() && id.as_bytes().starts_with(prefix)
    }

    /// Creates a channel that does not exist, if limits and memory allow; the event is up to the caller.
    pub(super) fn admit_channel(&mut self, id: &ChannelId, now: Now) -> Result<Slot, Refusal> {
        let wildcard = self.is_wildcard(id);
        let cap = if wildcard { self.settings.max_wildcard_channels } else { self.settings.max_channels };
        if cap.is_some_and(|cap| *self.counters.of_kind(wildcard) >= cap) {
            return Err(Refusal::TooManyChannels);
        }
        self.admit_channel_memory(id)?;
        Ok(self.create(id, now))
    }

    /// Creates a channel that does not exist, without a look at limits.
    pub(super) fn create(&mut self, id: &ChannelId, now: Now) -> Slot {
        let wildcard = self.is_wildcard(id);
        let expires = now.secs().saturating_add(self.settings.inactivity);
        let key = self.registry.next_key();
        *self.counters.of_kind(wildcard) += 1;
        self.budget.add_channel(id.as_bytes().len());
        self.hold_channel(id);
        let slot = self.registry.insert(Channel::new(id.clone(), key, wildcard, expires));
        if let Some(channel) = self.registry.get_mut(slot) {
            channel.skipped = self.journal.skipped(now);
            let seq = self.clock.last().seq;
            self.journal.tell(seq, || channel.mark(seq));
            self.due.file(slot, channel);
        }
        slot
    }

    /// Takes a channel out of the live ones; its messages are no longer in the budget but still counted as stored.
    pub(super) fn take_out(&mut self, slot: Slot) -> Option<Channel> {
        let channel = self.registry.remove(slot)?;
        self.due.forget(&channel);
        let count = self.counters.of_kind(channel.wildcard);
        *count = count.saturating_sub(1);
        self.budget.remove_channel(channel.id.as_bytes().len());
        self.budget.remove_messages(channel.backlog.bytes());
        self.journal.messages -= channel.backlog.len() as u64;
        let seq = self.clock.last().seq;
        self.journal.tell(seq, || Entry::Gone { channel: channel.id.clone(), seq });
        Some(channel)
    }

    /// Gives a draft its place as the channel's newest message: stamp, backlog, trim, notes. The caller has made sure that
    /// there is room.
    pub(super) fn append(&mut self, slot: Slot, draft: Draft, now: Now) {
        let Some(channel) = self.registry.get_mut(slot) else { return };
        let (seq, stamp) = self.clock.next(self.capabilities.first_tag);
        channel.published += 1;
        channel.last = stamp;
        channel.expires = now.secs().saturating_add(self.settings.inactivity);
        let message = Arc::new(Message {
            id: channel.last_id() as i64,
            seq,
            stamp,
            expires: channel.backlog.settled(stamp.time.saturating_add(self.settings.message_ttl)),
            binary: draft.binary,
            text: draft.text,
            event: draft.event,
        });
        if !channel.for_events {
            self.counters.published += 1;
        }
        self.janitor.message_published(now);
        self.journal.tell(seq, || {
            let (channel, count, message) = (channel.id.clone(), channel.published, Arc::clone(&message));
            Entry::Publish(Published { channel, count, stored: draft.store, message })
        });
        if draft.store {
            self.store(slot, Arc::clone(&message));
        } else {
            self.pass_by(&message, now);
        }
        self.tell_subscribers(slot, message, draft.at);
        self.trim(slot, now);
    }

    /// Counts a message that is not stored.
    pub(super) fn pass_by(&mut self, message: &Message, now: Now) {
        let held = self.held_by(message);
        self.hold(held);
        self.trash.messages.add(1, held, now);
    }

    /// Posts a message, handed in at some moment, to the workers that have subscribers of its channel.
    pub(super) fn tell_subscribers(&mut self, slot: Slot, message: Arc<Message>, at: Tick) {
        let Some(channel) = self.registry.get(slot) else { return };
        if channel.subscriptions.total() > 0 {
            let stamp = message.stamp;
            let fanout = Arc::new(Fanout::new(channel.key, channel.id.clone(), message, stamp, at));
            for worker in channel.subscriptions.workers() {
                self.notes.post(worker, Note::Message(Arc::clone(&fanout)));
            }
        }
    }

    /// Stores a message as the channel's newest one. [`ZoneState::trim`] must follow, which files the channel too.
    pub(super) fn store(&mut self, slot: Slot, message: Arc<Message>) {
        let held = self.held_by(&message);
        self.hold(held);
        let Some(channel) = self.registry.get_mut(slot) else { return };
        let before = channel.backlog.bytes();
        channel.backlog.push(message);
        self.budget.add_messages(channel.backlog.bytes() - before);
        self.journal.messages += 1;
        self.counters.stored += u64::from(!channel.for_events);
    }

    /// Frees a channel that was taken out, without the lock.
    pub(super) fn bury(&mut self, channel: Channel) {
        self.garbage.channels.push(channel);
    }

    /// Drops the oldest messages of a channel above the cap; a batch of them, after a reload with a much smaller one.
    pub(super) fn trim(&mut self, slot: Slot, now: Now) {
        let cap = self.settings.max_messages_per_channel.map_or(usize::MAX, |cap| cap as usize);
        let mut left = BATCH;
        self.drop_messages(slot, now, |backlog| {
            let one = backlog.len() > cap && take_one(&mut left);
            one.then(|| backlog.pop_oldest()).flatten()
        });
    }

    /// Drops the message of the channel that expires first.
    pub(super) fn drop_earliest(&mut self, slot: Slot, now: Now) {
        let mut one = true;
        self.drop_messages(slot, now, |backlog| if std::mem::take(&mut one) { backlog.pop_earliest() } else { None });
    }

    /// Drops what `next` takes out of the backlog, until it takes nothing.
    pub(super) fn drop_messages(
        &mut self,
        slot: Slot,
        now: Now,
        mut next: impl FnMut(&mut Backlog) -> Option<Arc<Message>>,
    ) {
        let Some(channel) = self.registry.get_mut(slot) else { return };
        let before = channel.backlog.bytes();
        let mut dropped = 0;
        let mut held = Taken::default();
        while let Some(message) = next(&mut channel.backlog) {
            held += SharedMemory::held_by(self.shared.as_ref(), &message);
            self.garbage.messages.push(message);
            dropped += 1;
        }
        self.budget.remove_messages(before - channel.backlog.bytes());
        self.journal.messages -= dropped as u64;
        if !channel.for_events {
            self.counters.stored = self.counters.stored.saturating_sub(dropped as u64);
        }
        self.trash.messages.add(dropped, held, now);
        self.due.file(slot, channel);
    }

    /// Does a batch of what an act has left to do; whether there is more. Tells of the subscriptions that ended with a channel,
    /// and drops messages, those that expire first (without a change of ttl: the oldest) first, until memory suffices.
    pub(super) fn settle(&mut self, now: Now) -> bool {
        let mut left = BATCH;
        while let Some((id, count)) = self.untold.front_mut() {
            if !take_one(&mut left) {
                return true;
            }
            *count = count.saturating_sub(1);
            let (id, last) = (id.clone(), *count == 0);
            if last {
                self.untold.pop_front();
            }
            self.emit(EventKind::ClientUnsubscribed, &id, now);
        }
        while !self.capabilities.refuse_when_full && self.budget.is_exceeded() {
            let Some((_, slot)) = self.due.first_expiring() else { return false };
            if !take_one(&mut left) {
                return true;
            }
            self.drop_earliest(slot, now);
        }
        false
    }

    /// Lets go of a channel that the janitor found idle.
    pub(super) fn destroy(&mut self, slot: Slot, now: Now) {
        let Some(channel) = self.take_out(slot) else { return };
        self.trash.channels.add(1, self.held_by_channel(&channel.id), now);
        self.emit_destroyed(&channel.id, channel.announced, now);
        self.garbage.channels.push(channel);
    }

    /// Deletes a channel: its subscribers are told and are subscribers no more.
    pub(super) fn delete_channel(&mut self, slot: Slot, text: &[u8], now: Now) {
        let Some(mut channel) = self.take_out(slot) else { return };
        let subscriptions = channel.subscriptions.total();
        if subscriptions > 0 {
            let mut message = Message::pseudo(Message::DELETED, text);
            if self.capabilities.deletion_has_time {
                message.stamp.time = now.secs();
            }
            let seen = self.seen();
            let fanout =
                Arc::new(Fanout::new(channel.key, channel.id.clone(), Arc::new(message), seen, Tick::default()));
            for worker in channel.subscriptions.workers() {
                self.notes.post(worker, Note::Deleted(Arc::clone(&fanout)));
            }
        }
        let stored = channel.backlog.len();
        let waits = if self.capabilities.deleted_stay_stored { stored } else { 0 };
        self.forget_stored(stored - waits, now);
        let kept = if self.shared.is_some() { std::mem::take(&mut channel.backlog) } else { Backlog::default() };
        self.trash.deleted.push(DeletedChannel {
            id: channel.id.clone(),
            announced: channel.announced,
            stored: waits,
            kept,
        });
        if subscriptions > 0 && self.events.is_some() {
            self.untold.push_back((channel.id.clone(), subscriptions));
        }
        self.garbage.channels.push(channel);
    }

    /// What a client has seen that is told of nothing but this moment; with tag 0 in any case where 0.3.x is followed.
    pub(super) fn seen(&self) -> Stamp {
        let seen = self.clock.seen();
        if self.capabilities.first_tag == 0 { Stamp { tag: 0, ..seen } } else { seen }
    }

    /// Counts messages that are stored no longer as trash.
    pub(super) fn forget_stored(&mut self, count: usize, now: Now) {
        self.counters.stored = self.counters.stored.saturating_sub(count as u64);
        self.trash.messages.add(count, Taken::default(), now);
    }

    /// Undoes a creation, unless the channel is used meanwhile.
    pub(super) fn undo_create(&mut self, slot: Slot) {
        if self.registry.get(slot).is_some_and(|channel| channel.is_idle() && channel.published == 0) {
            let held = self.take_out(slot).map(|channel| self.held_by_channel(&channel.id));
            self.let_go(held.unwrap_or_default());
        }
    }
}
