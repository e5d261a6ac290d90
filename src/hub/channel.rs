//! One live channel: its counters, its backlog and how many subscriptions each worker has on it.
//!
//! It does not know the subscribers themselves (each worker knows its own), nor limits, nor the time.

use smallvec::SmallVec;

use super::backlog::Backlog;
use crate::model::{ChannelId, Message, Stamp};

/// Names one channel for the life of the process: never reused, and growing in order of creation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct ChannelKey(u64);

impl From<u64> for ChannelKey {
    fn from(number: u64) -> Self {
        Self(number)
    }
}

impl From<ChannelKey> for u64 {
    fn from(key: ChannelKey) -> Self {
        key.0
    }
}

/// Where a channel stands in the index of due times.
#[derive(Clone, Copy, Default)]
pub(super) struct Filed {
    /// Sequence number of the message that expires first; 0 = none.
    pub(super) seq: u64,
    /// Its expiry second.
    pub(super) expires: u32,
    /// Second in the list of idle channels; 0 = not in it.
    pub(super) idle_at: u32,
}

/// A live channel.
pub(super) struct Channel {
    pub(super) id: ChannelId,
    pub(super) key: ChannelKey,
    /// Messages published so far.
    pub(super) published: u64,
    /// What ids are ahead of that count: 0 until a crash may have cost some of them.
    pub(super) skipped: u64,
    /// Stamp of the last message, stored or not.
    pub(super) last: Stamp,
    /// Second after which the channel may go if it has no message and no subscription.
    pub(super) expires: u32,
    pub(super) wildcard: bool,
    /// Whether this is the events channel: it never goes, and the zone's counters leave its messages out.
    pub(super) for_events: bool,
    /// Whether this node has told, among others, that it came.
    pub(super) announced: bool,
    /// Where the index of due times has this channel.
    pub(super) filed: Filed,
    pub(super) backlog: Backlog,
    pub(super) subscriptions: Subscriptions,
}

impl Channel {
    pub(super) fn new(id: ChannelId, key: ChannelKey, wildcard: bool, expires: u32) -> Self {
        Self {
            id,
            key,
            published: 0,
            skipped: 0,
            last: Stamp::default(),
            expires,
            wildcard,
            for_events: false,
            announced: false,
            filed: Filed::default(),
            backlog: Backlog::default(),
            subscriptions: Subscriptions::default(),
        }
    }

    /// The id of the last message.
    pub(super) fn last_id(&self) -> u64 {
        self.published + self.skipped
    }

    /// Takes over the counts that a message of an earlier process tells, unless a later one has told them.
    pub(super) fn advance(&mut self, count: u64, message: &Message) {
        if count >= self.published {
            self.published = count;
            self.skipped = message.id.cast_unsigned().saturating_sub(count);
            self.last = message.stamp;
        }
    }

    /// Whether nothing but its inactivity time keeps the channel.
    pub(super) fn is_idle(&self) -> bool {
        self.backlog.len() == 0 && self.subscriptions.total() == 0 && !self.for_events
    }
}

/// The number of subscriptions per worker; workers without any are not listed.
#[derive(Default)]
pub(super) struct Subscriptions(SmallVec<[(u32, u32); 2]>);

impl Subscriptions {
    pub(super) fn add(&mut self, worker: usize) {
        let worker = worker as u32;
        match self.0.iter_mut().find(|(at, _)| *at == worker) {
            Some((_, count)) => *count = count.saturating_add(1),
            None => self.0.push((worker, 1)),
        }
    }

    /// Takes one subscription of the worker away; false if it has none.
    pub(super) fn remove(&mut self, worker: usize) -> bool {
        let Some(index) = self.0.iter().position(|(at, _)| *at as usize == worker) else { return false };
        match self.0.get_mut(index) {
            Some((_, count)) if *count > 1 => *count -= 1,
            _ => {
                self.0.swap_remove(index);
            }
        }
        true
    }

    pub(super) fn total(&self) -> u32 {
        self.0.iter().fold(0, |sum, (_, count)| sum.saturating_add(*count))
    }

    /// The workers with at least one subscription.
    pub(super) fn workers(&self) -> impl Iterator<Item = usize> {
        self.0.iter().map(|(worker, _)| *worker as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subscriptions_are_counted_per_worker() {
        let mut subscriptions = Subscriptions::default();
        for worker in [3, 0, 3, 7] {
            subscriptions.add(worker);
        }
        assert_eq!(subscriptions.total(), 4);
        assert!(subscriptions.remove(0));
        assert!(!subscriptions.remove(0));
        assert!(subscriptions.remove(3));
        let mut workers: Vec<usize> = subscriptions.workers().collect();
        workers.sort_unstable();
        assert_eq!(workers, [3, 7]);
    }

    #[test]
    fn a_channel_stays_small() {
        assert!(size_of::<Channel>() <= 176, "{}", size_of::<Channel>());
    }
}
