//! The memory a zone may use (`push_stream_shared_memory_size`), and what it uses.
//!
//! It does not know messages or channels, only bytes. Messages may be evicted to make room, channels may not.

use super::backlog::MESSAGE_OVERHEAD;
use crate::model::Refusal;

/// Bytes a channel takes besides its id: the channel, its places in the tables and the counts of references.
const CHANNEL_OVERHEAD: u64 = 288;

/// The budget and its use.
pub(super) struct Budget {
    limit: u64,
    messages: u64,
    channels: u64,
}

impl Budget {
    pub(super) fn new(limit: u64) -> Self {
        Self { limit, messages: 0, channels: 0 }
    }

    pub(super) fn used(&self) -> u64 {
        self.messages + self.channels
    }

    /// Whether stored messages must go.
    pub(super) fn is_exceeded(&self) -> bool {
        self.used() > self.limit
    }

    /// Whether messages of that many bytes may be stored. Where full memory refuses, a sixteenth is left for channels, so
    /// that subscribers of new channels are still served when publishers are not.
    pub(super) fn admit_messages(&self, bytes: u64, refuse_when_full: bool) -> Result<(), Refusal> {
        let fits = if refuse_when_full {
            self.used().saturating_add(bytes) <= self.limit - self.limit / 16
        } else {
            self.channels.saturating_add(bytes) <= self.limit
        };
        if fits { Ok(()) } else { Err(Refusal::MemoryFull) }
    }

    /// Whether a channel with an id of that length may be created.
    pub(super) fn admit_channel(&self, id: usize, refuse_when_full: bool) -> Result<(), Refusal> {
        let used = if refuse_when_full { self.used() } else { self.channels };
        if used.saturating_add(channel_cost(id)) <= self.limit { Ok(()) } else { Err(Refusal::MemoryFull) }
    }

    /// Bytes of texts, names and ids alone, given how many messages and channels there are.
    pub(super) fn texts(&self, messages: u64, channels: u64) -> u64 {
        self.used().saturating_sub(messages * MESSAGE_OVERHEAD + channels * CHANNEL_OVERHEAD)
    }

    pub(super) fn add_channel(&mut self, id: usize) {
        self.channels += channel_cost(id);
    }

    pub(super) fn remove_channel(&mut self, id: usize) {
        self.channels = self.channels.saturating_sub(channel_cost(id));
    }

    pub(super) fn add_messages(&mut self, bytes: u64) {
        self.messages += bytes;
    }

    pub(super) fn remove_messages(&mut self, bytes: u64) {
        self.messages = self.messages.saturating_sub(bytes);
    }
}

fn channel_cost(id: usize) -> u64 {
    CHANNEL_OVERHEAD + id as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusing_budget_keeps_room_for_channels() {
        let mut budget = Budget::new(16_000);
        budget.add_messages(15_000);
        assert_eq!(budget.admit_messages(1, true), Err(Refusal::MemoryFull));
        assert_eq!(budget.admit_channel(4, true), Ok(()));
        budget.add_messages(1_000);
        assert_eq!(budget.admit_channel(4, true), Err(Refusal::MemoryFull));
    }

    #[test]
    fn an_evicting_budget_refuses_only_what_could_never_fit() {
        let mut budget = Budget::new(16_000);
        budget.add_messages(16_000);
        assert_eq!(budget.admit_messages(16_000, false), Ok(()));
        assert_eq!(budget.admit_messages(16_001, false), Err(Refusal::MemoryFull));
        budget.add_channel(100);
        assert_eq!(budget.admit_messages(16_000, false), Err(Refusal::MemoryFull));
        assert!(budget.is_exceeded());
    }
}
