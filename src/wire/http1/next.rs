//! What a connection does next.

use super::body::RequestBody;
use crate::push::websocket;

/// What comes after the requests that were at hand.
pub(super) enum Next {
    /// Answer the requests that have been read ahead.
    Answer,
    /// Wait for more bytes.
    Read,
    /// Wait until the client has taken its answers, then answer the requests read ahead.
    Drain,
    /// Read the rest of a body that nobody wants, then answer the request behind it.
    Forget { body: Box<RequestBody>, timeout: u64 },
    /// A stream or long-poll has begun; `close` says what follows its end.
    Subscribed { close: bool },
    /// A websocket has begun.
    WebSocket(Box<websocket::Session>),
    /// Leave it to the client to close; it is waited for.
    LeaveOpen,
    /// Close, after what waits is sent. `linger`: the client may still be sending.
    Close { linger: bool },
}
