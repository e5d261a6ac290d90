//! The door of the log into the hub: entries, applied in order, give the hub that wrote them.
//!
//! It does not know where they come from: a disk at the start, where messages that live long come after younger ones; or, while
//! it serves, where the order of the zone is made (`order`). Each may come twice. Subscribers are told of what is new; at a start
//! there are none.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::Hub;
use super::registry::ChannelKey;
use super::slab::Slot;
use super::zone::ZoneState;
use crate::log::{ChannelMark, Entry, Marks, Published};
use crate::model::{ChannelId, Message, Now, Stamp, Tick};

/// How far ids jump after a crash: more than one channel publishes within the time that a crash may cost.
const SKIPPED: u64 = 10_000;

/// Seconds after a crash in which a new channel may be an old one that the crash made unknown.
const UNKNOWN: u32 = 3600;

/// What is known while entries are applied.
#[derive(Default)]
pub(super) struct Restore {
    marks: Marks,
    /// The channels told since a walk began.
    told: Option<HashSet<ChannelKey>>,
    /// Messages older than what their channel holds, by sequence number.
    late: HashMap<ChannelKey, BTreeMap<u64, Arc<Message>>>,
}

impl Hub {
    /// Begins a restore. `time` is the last one that the process before may have handed out: what expired by then is left out,
    /// and pushes nothing out, whatever the wall clock shows.
    pub fn restore_begins(&self, time: u32) {
        self.state.lock().clock.raise(time, Stamp::default(), 0);
    }

    /// Applies one entry; whether a message that it publishes is news, or a channel that it deletes was there. After those of a disk, [`Hub::restored`] must follow.
    pub fn apply(&self, entry: Entry, wall: Now) -> bool {
        self.apply_timed(entry, wall, Tick::default())
    }

    /// The same with a message that was handed in at this moment.
    pub fn apply_timed(&self, entry: Entry, wall: Now, at: Tick) -> bool {
        self.locked(wall, |state, now| state.apply(entry, now, at))
    }

    /// Ends a restore. `clean` says whether the process before has written everything; if not, stamps and ids go on behind any
    /// that it may have handed out.
    pub fn restored(&self, clean: bool, wall: Now) {
        self.locked(wall, |state, _| state.restored(clean, wall));
    }
}

impl ZoneState {
    fn apply(&mut self, entry: Entry, now: Now, at: Tick) -> bool {
        match entry {
            Entry::Publish(published) => return self.apply_publish(published, now, at),
            Entry::Kept(published) => self.apply_kept(&published, now),
            Entry::Gone { channel, seq } => self.apply_gone(&channel, seq),
            Entry::Channel(mark) => self.apply_mark(&mark, now),
            Entry::Deleted { channel, text } => return self.delete(&[channel], text.as_deref(), now) > 0,
            Entry::Marks(marks) if self.clock.is_led() => {
                self.clock.raise(marks.time, marks.last, marks.seq);
                self.counters.published = self.counters.published.max(marks.published);
            }
            Entry::Marks(marks) => {
                let before = &mut self.restore.marks;
                *before = Marks {
                    // What was ahead for the case of a crash was not needed.
                    time: if marks.clean { marks.time } else { before.time.max(marks.time) },
                    last: before.last.max(marks.last),
                    seq: before.seq.max(marks.seq),
                    published: 0,
                    skipped: before.skipped.max(marks.skipped),
                    unknown_until: before.unknown_until.max(marks.unknown_until),
                    clean: marks.clean,
                };
                self.counters.published = self.counters.published.max(marks.published);
            }
            Entry::WalkBegan => self.restore.told = Some(HashSet::new()),
            Entry::WalkEnded => self.end_walk(),
        }
        false
    }

    /// The channel of an entry, created if it is missing.
    fn restored_channel(&mut self, id: &ChannelId, now: Now) -> Option<Slot> {
        let slot = self.registry.find(id).unwrap_or_else(|| self.create(id, now));
        let key = self.registry.get(slot)?.key;
        if let Some(told) = &mut self.restore.told {
            told.insert(key);
        }
        Some(slot)
    }

    fn apply_publish(&mut self, published: Published, now: Now, at: Tick) -> bool {
        if published.message.seq <= self.clock.last().seq {
            return false;
        }
        let Published { channel, count, stored, mut message } = published;
        self.clock.raise(message.stamp.time, message.stamp, message.seq);
        let Some(slot) = self.restored_channel(&channel, now) else { return false };
        let inactivity = self.settings.inactivity;
        let Some(channel) = self.registry.get_mut(slot) else { return false };
        channel.expires = message.stamp.time.saturating_add(inactivity);
        self.counters.published += u64::from(!channel.for_events);
        if !self.clock.is_led() {
            channel.advance(count, &message);
            if stored && message.expires > now.secs() {
                self.store(slot, message);
            }
            self.trim(slot, now);
            return true;
        }
        // The order of the zone has the last word on the counts, also where it has lost some.
        channel.published = count;
        channel.skipped = message.id.cast_unsigned().saturating_sub(count);
        channel.last = message.stamp;
        let now = self.clock.present();
        self.janitor.message_published(now);
        let expires = channel.backlog.settled(message.expires);
        if let Some(own) = Arc::get_mut(&mut message) {
            own.expires = expires;
        }
        if stored && expires > now.secs() {
            self.store(slot, Arc::clone(&message));
        } else {
            self.pass_by(&message, now);
        }
        self.tell_subscribers(slot, message, at);
        self.trim(slot, now);
        true
    }

    fn apply_kept(&mut self, published: &Published, now: Now) {
        let message = &published.message;
        // Its first record may have been lost in a gap.
        self.clock.raise(message.stamp.time, message.stamp, message.seq);
        let Some(slot) = self.restored_channel(&published.channel, now) else { return };
        let Some(channel) = self.registry.get_mut(slot) else { return };
        channel.advance(published.count, message);
        if message.expires <= now.secs() {
            return;
        }
        let newest = channel.backlog.newest().map_or(0, |newest| newest.seq);
        if message.seq > newest {
            self.store(slot, Arc::clone(message));
            self.trim(slot, now);
        } else {
            let late = self.restore.late.entry(channel.key).or_default();
            late.insert(message.seq, Arc::clone(message));
        }
    }

    fn apply_mark(&mut self, mark: &ChannelMark, now: Now) {
        let Some(slot) = self.restored_channel(&mark.channel, now) else { return };
        self.drop_until(slot, mark.first_seq.saturating_sub(1), now);
        let Some(channel) = self.registry.get_mut(slot) else { return };
        channel.published = mark.published;
        channel.skipped = mark.last_id.saturating_sub(mark.published);
        // An order that has lost its end knows less than is here: who is told what is here must not be told it again.
        channel.last = channel.last.max(mark.last);
        channel.expires = mark.expires;
        self.due.file(slot, channel);
    }

    fn apply_gone(&mut self, id: &ChannelId, seq: u64) {
        let Some(slot) = self.registry.find(id).filter(|&slot| Some(slot) != self.events) else { return };
        if self
            .registry
            .get(slot)
            .is_some_and(|channel| channel.backlog.newest().is_none_or(|newest| newest.seq <= seq))
        {
            self.forget_restored(slot);
        } else {
            self.drop_until(slot, seq, self.clock.present());
        }
    }

    /// Drops the messages of a channel up to a sequence number.
    fn drop_until(&mut self, slot: Slot, seq: u64, now: Now) {
        let Some(key) = self.registry.get(slot).map(|channel| channel.key) else { return };
        if let Some(late) = self.restore.late.get_mut(&key) {
            *late = late.split_off(&(seq + 1));
        }
        self.drop_messages(slot, now, |backlog| {
            let first = backlog.starting_at(0).next()?;
            if first.seq <= seq { backlog.pop_oldest() } else { None }
        });
    }

    fn forget_restored(&mut self, slot: Slot) {
        let Some(channel) = self.take_out(slot) else { return };
        self.restore.late.remove(&channel.key);
        if !channel.for_events {
            self.counters.stored = self.counters.stored.saturating_sub(channel.backlog.len() as u64);
        }
        self.bury(channel);
    }

    /// Lets go of the channels that a walk over all that lived has not told.
    fn end_walk(&mut self) {
        let Some(told) = self.restore.told.take() else { return };
        let untold = self.registry.after(None).filter(|(key, channel)| !told.contains(key) && !channel.for_events);
        let slots: Vec<Slot> = untold.filter_map(|(key, _)| self.registry.find_key(key)).collect();
        for slot in slots {
            self.forget_restored(slot);
        }
    }

    fn restored(&mut self, clean: bool, wall: Now) {
        let Restore { marks, late, .. } = std::mem::take(&mut self.restore);
        self.clock.raise(marks.time, marks.last, marks.seq);
        // Times without a message were handed out too.
        self.clock.raise(marks.time, Stamp { time: marks.time, tag: 0 }, 0);
        let now = self.clock.tick(wall);
        for (key, late) in late {
            if let Some(slot) = self.registry.find_key(key) {
                self.merge(slot, late, now);
            }
        }
        let begun = marks.time > 0 || self.clock.last().seq > 0;
        let crashed = begun && !clean;
        self.journal.complete = begun && clean;
        let ahead = if crashed { SKIPPED } else { 0 };
        let until = if crashed { now.secs().saturating_add(UNKNOWN) } else { marks.unknown_until };
        self.journal.skip(marks.skipped + ahead, until);
        let channels: Vec<Slot> =
            self.registry.after(None).filter_map(|(key, _)| self.registry.find_key(key)).collect();
        for slot in channels {
            self.drop_restored_expired(slot, now);
            let Some(channel) = self.registry.get_mut(slot) else { continue };
            if crashed {
                // Of what it had after the crash before, nothing may be known.
                channel.skipped = (channel.skipped + ahead).max(marks.skipped + ahead);
            }
            // Nobody could subscribe while there was no server.
            channel.expires = channel.expires.max(now.secs().saturating_add(self.settings.inactivity));
            self.due.file(slot, channel);
        }
        if self.clock.last().seq > 0 {
            self.janitor.message_published(now);
        }
    }

    /// Puts messages that came late where they belong.
    fn merge(&mut self, slot: Slot, mut late: BTreeMap<u64, Arc<Message>>, now: Now) {
        let Some(channel) = self.registry.get_mut(slot) else { return };
        let (bytes, count) = (channel.backlog.bytes(), channel.backlog.len() as u64);
        while let Some(message) = channel.backlog.pop_oldest() {
            late.insert(message.seq, message);
        }
        self.budget.remove_messages(bytes);
        self.journal.messages -= count;
        if !channel.for_events {
            self.counters.stored = self.counters.stored.saturating_sub(count);
        }
        for message in late.into_values() {
            self.store(slot, message);
        }
        loop {
            let before = self.registry.get(slot).map_or(0, |channel| channel.backlog.len());
            self.trim(slot, now);
            if self.registry.get(slot).map_or(0, |channel| channel.backlog.len()) == before {
                return;
            }
        }
    }

    /// Drops what has expired while entries were applied.
    fn drop_restored_expired(&mut self, slot: Slot, now: Now) {
        let expired =
            |channel: &super::channel::Channel| channel.backlog.earliest().is_some_and(|(at, _)| at <= now.secs());
        while self.registry.get(slot).is_some_and(expired) {
            self.drop_earliest(slot, now);
        }
    }
}
