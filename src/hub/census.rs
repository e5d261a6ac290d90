//! The numbers of a zone and of its channels (what the statistics show), read from counters that are always right.
//!
//! It does not know formats. Nothing is added up over channels here; a listing is read in bounded batches.

use super::registry::ChannelKey;
use super::zone::ZoneState;
use crate::model::{ChannelId, Now};

/// The numbers of a zone.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Census {
    /// When all this was so, seconds since the epoch by the hub's clock.
    pub time: u32,
    /// Live channels that are not wildcard channels; the events channel is one of them.
    pub channels: u32,
    /// Live wildcard channels.
    pub wildcard_channels: u32,
    /// Messages published since the hub was made, events left out.
    pub published: u64,
    /// Messages stored, events left out; those of a deleted channel until the next pass of the janitor.
    pub stored: u64,
    /// Messages dropped within the last seconds.
    pub messages_in_trash: u64,
    /// Channels deleted since the last pass of the janitor.
    pub channels_in_delete: u32,
    /// Channels gone within the last seconds.
    pub channels_in_trash: u32,
    /// Subscriber connections.
    pub subscribers: u64,
    /// Seconds since the hub was made.
    pub uptime: u64,
    /// Subscriber connections of each worker.
    pub by_worker: Vec<u64>,
    /// Bytes in use of the memory budget.
    pub memory_used: u64,
    /// The memory budget.
    pub memory_limit: u64,
    /// Bytes of changes that wait for the log's writer.
    pub log_backlog: u64,
}

impl Census {
    /// Adds the numbers of another zone of the same process.
    pub fn add(&mut self, other: &Self) {
        self.time = self.time.max(other.time);
        self.channels += other.channels;
        self.wildcard_channels += other.wildcard_channels;
        self.published += other.published;
        self.stored += other.stored;
        self.messages_in_trash += other.messages_in_trash;
        self.channels_in_delete += other.channels_in_delete;
        self.channels_in_trash += other.channels_in_trash;
        self.subscribers += other.subscribers;
        self.uptime = self.uptime.max(other.uptime);
        self.by_worker.resize(self.by_worker.len().max(other.by_worker.len()), 0);
        for (sum, count) in self.by_worker.iter_mut().zip(&other.by_worker) {
            *sum += count;
        }
        self.memory_used += other.memory_used;
        self.memory_limit += other.memory_limit;
        self.log_backlog += other.log_backlog;
    }
}

/// The numbers of a channel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChannelInfo {
    /// The channel.
    pub id: ChannelId,
    /// Messages published.
    pub published: u64,
    /// Messages stored.
    pub stored: u32,
    /// Subscriptions.
    pub subscribers: u32,
}

impl From<&super::channel::Channel> for ChannelInfo {
    fn from(channel: &super::channel::Channel) -> Self {
        Self {
            id: channel.id.clone(),
            published: channel.published,
            stored: u32::try_from(channel.backlog.len()).unwrap_or(u32::MAX),
            subscribers: channel.subscriptions.total(),
        }
    }
}

/// A part of a listing.
pub(super) struct Page {
    pub(super) found: Vec<(ChannelKey, ChannelInfo)>,
    /// The last channel looked at; `None` when there are no more.
    pub(super) last: Option<ChannelKey>,
}

impl ZoneState {
    pub(super) fn census(&self, now: Now) -> Census {
        Census {
            time: now.secs(),
            channels: self.counters.channels,
            wildcard_channels: self.counters.wildcard_channels,
            published: self.counters.published,
            stored: self.counters.stored,
            messages_in_trash: self.trash.messages.total(),
            channels_in_delete: self.trash.deleted.len() as u32,
            channels_in_trash: self.trash.channels.total() as u32,
            subscribers: self.connections.iter().sum(),
            uptime: u64::from(now.secs().saturating_sub(self.started.secs())),
            by_worker: self.connections.to_vec(),
            memory_used: self.budget.used(),
            memory_limit: self.budget.limit(),
            log_backlog: self.journal.waiting(),
        }
    }

    pub(super) fn find(&self, ids: &[ChannelId], found: &mut Vec<ChannelInfo>) {
        found.extend(ids.iter().filter_map(|id| self.registry.get(self.registry.find(id)?)).map(ChannelInfo::from));
    }

    /// Looks at up to `batch` channels created after `after` and finds up to `most` whose id begins with `prefix`.
    pub(super) fn page(&self, prefix: &[u8], after: Option<ChannelKey>, batch: usize, most: usize) -> Page {
        let mut page = Page { found: Vec::new(), last: None };
        for (looked_at, (key, channel)) in self.registry.after(after).enumerate() {
            if looked_at == batch || page.found.len() == most {
                return page;
            }
            page.last = Some(key);
            if channel.id.as_bytes().starts_with(prefix) {
                page.found.push((key, channel.into()));
            }
        }
        page.last = None;
        page
    }
}
