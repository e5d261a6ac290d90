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

    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    pub(super) fn used(&self) -> u64 {
        self.messages + self.channels
    }

    /// Whether stored messages must go.
    pub(super) fn is_exceeded(&self) -> bool {
        self.used() > self.limit
    }

    /// Whether messages of that many bytes may be stored, at the cost of others.
    pub(super) fn admit_messages(&self, bytes: u64) -> Result<(), Refusal> {
        if self.channels.saturating_add(bytes) <= self.limit { Ok(()) } else { Err(Refusal::MemoryFull) }
    }

    /// Whether a channel with an id of that length may be created, at the cost of messages.
    pub(super) fn admit_channel(&self, id: usize) -> Result<(), Refusal> {
        self.admit_messages(channel_cost(id))
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
    fn a_budget_refuses_only_what_could_never_fit() {
        let mut budget = Budget::new(16_000);
        budget.add_messages(16_000);
        assert_eq!(budget.admit_messages(16_000), Ok(()));
        assert_eq!(budget.admit_messages(16_001), Err(Refusal::MemoryFull));
        budget.add_channel(100);
        assert_eq!(budget.admit_messages(16_000), Err(Refusal::MemoryFull));
        assert!(budget.is_exceeded());
    }
}
