//! What the frames of a websocket client come to.

use super::websocket_frame::Farewell;

/// What a client sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A whole text message, possibly empty; valid UTF-8 by the rules of the RFC.
    Text(Vec<u8>),
    /// A whole binary message (never by the module's rules, which take it as a violation).
    Binary(Vec<u8>),
    /// A ping; the pong carries this payload.
    Ping(Vec<u8>),
    /// A pong.
    Pong,
    /// The client closes; its code is to be echoed. The last event.
    Close {
        /// The code, if one was given and is to be echoed.
        code: Option<u16>,
        /// The reason, valid UTF-8.
        reason: Vec<u8>,
    },
    /// The client broke the rules: send the farewell and close. The last event.
    Violation(Farewell),
}
