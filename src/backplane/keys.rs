//! The names of the keys of a zone.
//!
//! All of them hold the zone's name in braces, so that a cluster keeps them in one slot: a script may touch them all.

use crate::model::ChannelId;

/// The names.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    /// The marks of the zone: a hash.
    pub(super) zone: String,
    /// The entries: a stream.
    pub(super) log: String,
    /// The nodes: a hash.
    pub(super) nodes: String,
    prefix: String,
}

impl Keys {
    /// Those of a zone, whose name holds nothing that means something in a pattern.
    pub(super) fn new(zone: &str) -> Self {
        let prefix = format!("{{pushstreamd.{zone}}}");
        let name = |word: &str| format!("{prefix}:{word}");
        Self { zone: name("zone"), log: name("log"), nodes: name("nodes"), prefix }
    }

    /// The counts of a channel: a string.
    pub(super) fn counts(&self, channel: &[u8]) -> Vec<u8> {
        [self.prefix.as_bytes(), b":c:", channel].concat()
    }

    /// The stored messages of a channel: a stream.
    pub(super) fn messages(&self, channel: &[u8]) -> Vec<u8> {
        [self.prefix.as_bytes(), b":m:", channel].concat()
    }

    /// Where nodes ask.
    pub(super) fn questions(&self) -> String {
        format!("{}:ask", self.prefix)
    }

    /// Where a node is answered.
    pub(super) fn answers(&self, node: &str) -> String {
        format!("{}:answer:{node}", self.prefix)
    }

    /// What is nowhere.
    pub(super) fn nothing(&self) -> String {
        format!("{}:nothing", self.prefix)
    }

    /// The pattern of all counts.
    pub(super) fn all_counts(&self) -> String {
        // Braces mean nothing in a pattern of Redis.
        format!("{}:c:*", self.prefix)
    }

    /// The channel whose counts stand under a key.
    pub(super) fn channel(&self, counts: &[u8]) -> Option<ChannelId> {
        counts.strip_prefix(self.prefix.as_bytes())?.strip_prefix(b":c:").map(ChannelId::new)
    }
}
