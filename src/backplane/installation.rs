//! A zone that was read, on its way into the hub: what it holds is applied in order, some of it at a time.
//!
//! It does no I/O. In a hub that had served before, only what is new is published and what is gone is deleted: its subscribers miss nothing that is
//! stored. Invariant: once begun it is brought to its end; only then the hub is at the place of the snapshot.

use std::collections::{HashMap, HashSet, hash_map, hash_set};
use std::vec;

use super::record::{self, seq};
use super::snapshot::{Counts, Snapshot};
use crate::hub::Hub;
use crate::log::{ChannelMark, Entry, Marks, Published};
use crate::model::{ChannelId, Now, Stamp};

/// Channels of the hub looked at in one go.
const PAGE: usize = 2000;

/// What is yet to be applied.
pub(super) struct Installation {
    messages: vec::IntoIter<Published>,
    /// The first message of each channel.
    first: HashMap<ChannelId, u64>,
    channels: hash_map::IntoIter<ChannelId, Counts>,
    gone: hash_set::IntoIter<ChannelId>,
    marks: Option<Marks>,
    stamp: Stamp,
    inactivity: u32,
}

impl Installation {
    /// Nothing is applied yet.
    pub(super) fn new(snapshot: Snapshot, hub: &Hub) -> Self {
        let gone = gone_from(hub, &snapshot.channels).into_iter();
        let Snapshot { marks, channels, mut messages, stamp, .. } = snapshot;
        messages.sort_unstable_by_key(|published| published.message.seq);
        let marks = Some(record::marks(stamp, marks.published));
        let (messages, channels) = (messages.into_iter(), channels.into_iter());
        Self { messages, first: HashMap::new(), channels, gone, marks, stamp, inactivity: hub.terms().inactivity }
    }

    /// Applies about so many entries; whether there are more.
    pub(super) fn go_on(&mut self, hub: &Hub, count: usize) -> bool {
        (0..count).all(|_| self.apply_next(hub))
    }

    fn apply_next(&mut self, hub: &Hub) -> bool {
        if let Some(published) = self.messages.next() {
            self.first.entry(published.channel.clone()).or_insert(published.message.seq);
            hub.apply(Entry::Publish(published), Now::default());
        } else if let Some((channel, counts)) = self.channels.next() {
            self.mark(channel, counts, hub);
        } else if let Some(channel) = self.gone.next() {
            hub.apply(Entry::Deleted { channel, text: None }, Now::default());
        } else if let Some(marks) = self.marks.take() {
            hub.apply(Entry::Marks(marks), Now::default());
        } else {
            return false;
        }
        true
    }

    fn mark(&self, channel: ChannelId, counts: Counts, hub: &Hub) {
        let Counts { published, ahead, last } = counts;
        let expires = last.time.saturating_add(self.inactivity);
        let first = self.first.get(&channel).copied();
        // Of one that nobody has used for so long nothing but its counts is kept.
        if first.is_none() && expires < self.stamp.time && hub.find(std::slice::from_ref(&channel)).is_empty() {
            return;
        }
        let first_seq = first.unwrap_or_else(|| seq(self.stamp) + 1);
        let last_id = published + ahead;
        let mark = ChannelMark { channel, published, last_id, last, expires, first_seq };
        hub.apply(Entry::Channel(mark), Now::default());
    }
}

/// The channels with messages that the hub has and the zone has not.
fn gone_from(hub: &Hub, channels: &HashMap<ChannelId, Counts>) -> HashSet<ChannelId> {
    let mut gone = HashSet::new();
    let mut after = None;
    loop {
        let page = hub.list(b"", after, PAGE);
        after = page.last().map(|(key, _)| *key);
        let full = page.len() == PAGE;
        let left = page.into_iter().map(|(_, info)| info);
        gone.extend(left.filter(|info| info.stored > 0 && !channels.contains_key(&info.id)).map(|info| info.id));
        if !full {
            return gone;
        }
    }
}
