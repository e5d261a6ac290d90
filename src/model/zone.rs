//! The limits and texts of all channels, as the zone-wide directives of a configuration say them.
//!
//! Values only: where they come from and what is checked about them is the business of `conf/zone`.

/// The zone-wide directives. `None` = unlimited / feature off.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Zone {
    /// `push_stream_shared_memory_size` in bytes.
    pub memory: u64,
    /// `push_stream_channel_deleted_message_text`
    pub deleted_text: Box<[u8]>,
    /// `push_stream_channel_inactivity_time`, seconds.
    pub inactivity: u32,
    /// `push_stream_ping_message_text`
    pub ping_text: Box<[u8]>,
    /// `push_stream_timeout_with_body`
    pub timeout_with_body: bool,
    /// `push_stream_message_ttl`, seconds.
    pub message_ttl: u32,
    /// `push_stream_max_subscribers_per_channel`
    pub max_subscribers_per_channel: Option<u32>,
    /// `push_stream_max_messages_stored_per_channel`
    pub max_messages_per_channel: Option<u32>,
    /// `push_stream_max_channel_id_length`, bytes.
    pub max_channel_id_length: Option<usize>,
    /// `push_stream_max_number_of_channels`
    pub max_channels: Option<u32>,
    /// `push_stream_max_number_of_wildcard_channels`
    pub max_wildcard_channels: Option<u32>,
    /// `push_stream_wildcard_channel_prefix`; empty = feature off.
    pub wildcard_prefix: Box<[u8]>,
    /// `push_stream_events_channel_id`; empty = feature off.
    pub events_channel_id: Box<[u8]>,
    /// `push_stream_unknown_channel_grace`, seconds; 0 = feature off.
    pub unknown_grace: u32,
}

#[cfg(test)]
impl Zone {
    /// A zone without limits, texts or features.
    pub(crate) fn bare(memory: u64, inactivity: u32, message_ttl: u32) -> Self {
        Self { memory, inactivity, message_ttl, ..Self::default() }
    }
}
