//! The hub's side of the log: what it tells of itself while it changes, and what the writer may ask of it.
//!
//! It does not know disks. An entry is queued under the hub's lock, in the order of the changes; that costs a move and a count
//! of references, never I/O. Without a log nothing is queued.

use std::collections::HashSet;
use std::sync::Arc;

use super::Hub;
use super::channel::Channel;
use super::registry::ChannelKey;
use super::zone::ZoneState;
use crate::log::{
    Bell, ChannelMark, Entry, HealthView, LogError, Marks, Memory, OpenLog, Published, Queue, Restored, Taken,
    WalkPlace,
};
use crate::model::{Durability, Message, Now};

/// Bytes of entries that may wait for the writer.
const QUEUE: usize = 64 << 20;
/// Messages and channels in one page of a walk.
const PAGE: usize = 256;
/// Bytes that the record of a message or a channel needs besides its texts.
const RECORD: u64 = 40;

/// What the hub keeps for the log.
#[derive(Default)]
pub(super) struct Journal {
    queue: Option<Queue>,
    /// Messages stored in live channels, the events channel included.
    pub(super) messages: u64,
    /// How far ids are ahead of counts after crashes, and up to which second: those of channels created until then are.
    skipped: u64,
    until: u32,
    /// Whether every channel of the process before was found.
    pub(super) complete: bool,
}

impl Journal {
    /// Queues an entry, if there is a log. `seq` is the sequence number of the last publish.
    pub(super) fn tell(&mut self, seq: u64, entry: impl FnOnce() -> Entry) {
        if let Some(queue) = &mut self.queue {
            queue.push(entry(), seq);
        }
    }

    /// Whom to wake for what was queued, once the lock is released.
    pub(super) fn take_sleeper(&mut self) -> Option<Arc<Bell>> {
        self.queue.as_mut().and_then(Queue::take_sleeper)
    }

    /// Bytes of entries that wait for the writer.
    pub(super) fn waiting(&self) -> u64 {
        self.queue.as_ref().map_or(0, |queue| queue.bytes() as u64)
    }

    /// What is added to the ids of a channel that is created now.
    pub(super) fn skipped(&self, now: Now) -> u64 {
        if now.secs() < self.until { self.skipped } else { 0 }
    }

    /// Takes over what ids are ahead; a channel that is created up to that second may be an old one that became unknown.
    pub(super) fn skip(&mut self, skipped: u64, until: u32) {
        self.skipped = skipped;
        self.until = until;
    }
}

impl Channel {
    /// Its counts as an entry. `seq` is the sequence number of the last publish of the hub.
    pub(super) fn mark(&self, seq: u64) -> Entry {
        Entry::Channel(ChannelMark {
            channel: self.id.clone(),
            published: self.published,
            last_id: self.last_id(),
            last: self.last,
            expires: self.expires,
            first_seq: self.backlog.starting_at(0).next().map_or(seq + 1, |oldest| oldest.seq),
        })
    }

    /// One of its messages as an entry.
    fn kept(&self, message: &Arc<Message>) -> Entry {
        Entry::Kept(Published {
            channel: self.id.clone(),
            count: message.id.cast_unsigned().saturating_sub(self.skipped),
            stored: true,
            message: Arc::clone(message),
        })
    }

    /// Whether the record of a stored message tells its counts.
    fn is_told_by_messages(&self) -> bool {
        self.backlog.newest().is_some_and(|newest| newest.id.cast_unsigned() == self.last_id())
    }
}

impl ZoneState {
    fn marks(&self) -> Marks {
        let last = self.clock.last();
        let now = self.clock.present();
        Marks {
            time: now.secs(),
            last: last.stamp,
            seq: last.seq,
            published: self.counters.published,
            skipped: self.journal.skipped,
            unknown_until: self.journal.until,
            clean: false,
        }
    }

    fn keep(&mut self, old: &[Entry]) {
        let Some(queue) = &mut self.journal.queue else { return };
        let seq = self.clock.last().seq;
        let mut told: HashSet<ChannelKey> = HashSet::new();
        for entry in old {
            let Some(id) = entry.channel() else { continue };
            let Some(channel) = self.registry.find(id).and_then(|slot| self.registry.get(slot)) else { continue };
            if let Entry::Publish(published) | Entry::Kept(published) = entry
                && let Some(message) = channel.backlog.with_seq(published.message.seq)
            {
                queue.push_asked(channel.kept(message));
            }
            if !channel.is_told_by_messages() && told.insert(channel.key) {
                queue.push_asked(channel.mark(seq));
            }
        }
    }

    fn walk(&mut self, place: WalkPlace, from_seq: u64) -> Option<WalkPlace> {
        let queue = self.journal.queue.as_mut()?;
        let seq = self.clock.last().seq;
        let mut left = PAGE;
        // The channel whose messages did not fit the page before, if it is still there.
        let begun = place.seq.and_then(|_| self.registry.find_key(ChannelKey::from(place.channel)));
        let begun = begun.and_then(|slot| self.registry.get(slot)).map(|channel| (channel, place.seq));
        let others = self.registry.after(Some(ChannelKey::from(place.channel))).map(|(_, channel)| (channel, None));
        for (channel, told) in begun.into_iter().chain(others) {
            if told.is_none() {
                queue.push_asked(channel.mark(seq));
                left -= 1;
            }
            let first = told.map_or(from_seq, |told| from_seq.max(told + 1));
            for message in channel.backlog.starting_at(first) {
                if left == 0 {
                    return Some(WalkPlace { channel: channel.key.into(), seq: Some(message.seq - 1) });
                }
                queue.push_asked(channel.kept(message));
                left -= 1;
            }
            if left == 0 {
                return Some(WalkPlace { channel: channel.key.into(), seq: None });
            }
        }
        None
    }
}

impl Hub {
    /// Fills the hub from a log, with what was written after an end of it, and keeps that log from then on. `wall` is asked what the
    /// wall clock shows.
    pub fn take_up(
        self: &Arc<Self>,
        mut log: OpenLog,
        after: u64,
        sync: Durability,
        wall: impl Fn() -> Now,
    ) -> Result<Restored, LogError> {
        let restored = if log.is_blank() { Restored::default() } else { self.read(&mut log, after, wall)? };
        self.keep_log();
        self.log.store(Some(Arc::new(log.start(Arc::clone(self) as _, sync)?)));
        Ok(restored)
    }

    /// Takes over what was written to a log after an end of it.
    pub fn read(&self, log: &mut OpenLog, after: u64, wall: impl Fn() -> Now) -> Result<Restored, LogError> {
        self.restore_begins(log.last_time());
        let restored = log.restore_after(after, &mut |entry| {
            self.apply(entry, wall());
        })?;
        self.restored(restored.is_clean(), wall());
        Ok(restored)
    }

    /// The sequence number of the last publish.
    pub fn last_seq(&self) -> u64 {
        self.state.lock().clock.last().seq
    }

    /// Begins to queue entries for a log. What was restored is in the log already.
    pub fn keep_log(&self) {
        self.state.lock().journal.queue = Some(Queue::new(QUEUE));
    }

    /// The state of the log, if there is one.
    pub fn log_health(&self) -> Option<HealthView> {
        self.log.load().as_ref().map(|log| log.health().view())
    }

    /// Whether answers have to wait until changes are on the medium.
    pub fn answers_wait(&self) -> bool {
        self.log.load().as_ref().is_some_and(|log| log.sync() == Durability::Always)
    }

    /// If answers have to wait until changes are on the medium: calls back when all changes up to now are, or will not be.
    /// Otherwise the callback is given back.
    pub fn when_durable<F: FnOnce(bool) + Send + 'static>(&self, callback: F) -> Option<F> {
        let log = self.log.load();
        let Some(log) = log.as_ref().filter(|log| log.sync() == Durability::Always) else { return Some(callback) };
        let position = self.state.lock().journal.queue.as_ref().map_or(0, Queue::position);
        log.when_synced(position, callback);
        None
    }

    /// Calls back when all changes up to now are on the medium (true), or will not be, or there is no log (false).
    pub fn when_synced(&self, callback: impl FnOnce(bool) + Send + 'static) {
        let Some(log) = &*self.log.load() else { return callback(false) };
        let position = self.state.lock().journal.queue.as_ref().map_or(0, Queue::position);
        log.when_synced(position, callback);
    }

    /// Writes what is queued and gives the directory up. What changes later is lost with the process. Returns how far the log
    /// is written, for [`crate::log::OpenLog::restore_after`] if it is taken up again.
    pub fn close_log(&self) -> Option<u64> {
        let log = self.log.swap(None)?;
        let end = log.close();
        self.state.lock().journal.queue = None;
        end
    }
}

impl Memory for Hub {
    fn take(&self, into: &mut Vec<Entry>) -> Taken {
        let mut state = self.state.lock();
        let marks = state.marks();
        state.journal.queue.as_mut().map_or_else(Taken::default, |queue| queue.take(into, marks))
    }

    fn rings_for_entries(&self, bell: &Arc<Bell>) -> bool {
        // Without a queue nothing comes.
        self.state.lock().journal.queue.as_mut().is_none_or(|queue| queue.rings(bell))
    }

    fn keep(&self, old: &[Entry]) {
        self.state.lock().keep(old);
    }

    fn walk(&self, place: WalkPlace, from_seq: u64) -> Option<WalkPlace> {
        self.state.lock().walk(place, from_seq)
    }

    fn live_bytes(&self) -> u64 {
        let state = self.state.lock();
        let channels = u64::from(state.counters.channels) + u64::from(state.counters.wildcard_channels);
        state.budget.texts(state.journal.messages, channels) + (state.journal.messages + channels) * RECORD
    }
}
