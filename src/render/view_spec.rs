//! What a view is made of: templates, framing, padding, and what the wire has. Values only.

use super::padding::PaddingRule;
use crate::model::Capabilities;

/// What stands around each body on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Framing {
    /// Chunks of HTTP/1.1.
    Chunked,
    /// Nothing: HTTP/1.0, chunking switched off, or a body that another layer frames (HTTP/2, gzip).
    Plain,
    /// One text frame per body.
    WebSocket,
    /// One text frame per body, compressed where that makes it smaller (permessage-deflate).
    WebSocketDeflate,
}

/// How a message is written into its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The template alone (streaming, polling, long-polling).
    Text,
    /// The event stream format.
    EventSource,
    /// The template alone, in a frame; pings are ping frames.
    WebSocket,
}

/// What a view is made of; templates as written in the configuration.
#[derive(Clone, Debug)]
pub struct ViewSpec<'a> {
    /// `push_stream_header_template`
    pub header: &'a [u8],
    /// `push_stream_message_template`
    pub message: &'a [u8],
    /// `push_stream_footer_template`
    pub footer: &'a [u8],
    /// `push_stream_ping_message_text`
    pub ping_text: &'a [u8],
    /// How a message is written.
    pub kind: Kind,
    /// What stands around it.
    pub framing: Framing,
    /// The padding rule of the user agent; ignored on websockets, to be left out for polling and long-polling.
    pub padding: Option<PaddingRule>,
    /// What the wire has that is spoken.
    pub capabilities: &'a Capabilities,
}
