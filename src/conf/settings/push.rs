//! What the directives of the module come to at a location.

use std::sync::Arc;

use super::Regex;
use crate::conf::variable::Complex;

/// Location-level directives of the module, inherited values filled in.
#[derive(Clone, Debug)]
pub struct Push {
    /// `push_stream_channels_path`, or a 0.3.x `$push_stream_channel(s)_path|id` variable.
    pub channels_path: Option<ChannelsPath>,
    /// `push_stream_store_messages`
    pub store_messages: bool,
    /// `push_stream_channel_info_on_publish`
    pub channel_info_on_publish: bool,
    /// `push_stream_authorized_channels_only`
    pub authorized_channels_only: bool,
    /// `push_stream_header_template(_file)`, as written.
    pub header_template: Arc<[u8]>,
    /// `push_stream_message_template`, as written.
    pub message_template: Arc<[u8]>,
    /// `push_stream_footer_template`, as written.
    pub footer_template: Arc<[u8]>,
    /// `push_stream_wildcard_channel_max_qtd`, defaulted from the zone cap.
    pub wildcard_channel_max_qtd: Option<u32>,
    /// `push_stream_ping_message_interval`
    pub ping_message_interval: Option<u64>,
    /// `push_stream_subscriber_connection_ttl`
    pub subscriber_connection_ttl: Option<u64>,
    /// `push_stream_longpolling_connection_ttl`, defaulted from the above.
    pub longpolling_connection_ttl: Option<u64>,
    /// `push_stream_websocket_allow_publish`
    pub websocket_allow_publish: bool,
    /// `push_stream_websocket_deflate`
    pub websocket_deflate: bool,
    /// `push_stream_websocket_max_message_size`; 0: any.
    pub websocket_max_message_size: u64,
    /// `push_stream_last_received_message_time`
    pub last_received_message_time: Option<Complex>,
    /// `push_stream_last_received_message_tag`
    pub last_received_message_tag: Option<Complex>,
    /// `push_stream_last_event_id`
    pub last_event_id: Option<Complex>,
    /// `push_stream_user_agent`
    pub user_agent: Option<Complex>,
    /// `push_stream_padding_by_user_agent`, in order.
    pub paddings: Arc<[Padding]>,
    /// `push_stream_allowed_origins`
    pub allowed_origins: Option<Complex>,
    /// `push_stream_allow_connections_to_events_channel`
    pub allow_connections_to_events_channel: bool,
    /// 0.3.x `push_stream_eventsource_support` on a location whose mode is not eventsource.
    pub eventsource_support: bool,
    /// 0.3.x `push_stream_content_type`.
    pub content_type: Option<Box<str>>,
    /// 0.3.x `push_stream_keepalive`: `Some(false)` closes after every publisher/statistics answer.
    pub keepalive: Option<bool>,
}

/// Source of the channel path of a location.
#[derive(Clone, Debug)]
pub struct ChannelsPath {
    /// The value.
    pub value: Complex,
    /// Percent-decode the expanded value (0.4.0 and later).
    pub decode: bool,
    /// Split at `/` and read `.bN` (false: 0.3.x `$push_stream_channel_id`, one id taken verbatim).
    pub split: bool,
}

/// One rule of `push_stream_padding_by_user_agent`.
#[derive(Debug)]
pub struct Padding {
    /// Matched, unanchored, against the user agent.
    pub agent: Regex,
    /// Least bytes of a header.
    pub header_min: usize,
    /// Least bytes of a message.
    pub message_min: usize,
}
