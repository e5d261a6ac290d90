//! The requests of the load program, and the URLs a server under measurement must have.
//!
//! `POST /pub?id=CHANNEL` stores a message, `POST /note?id=CHANNEL` does not; subscribers come to `/sub/CHANNEL`,
//! `/ev/CHANNEL`, `/lp/CHANNEL` and `/ws/CHANNEL`. Bodies hold [`MARK`] once, at their end, and nothing else a server
//! sends holds it.

use clap::ValueEnum;

/// The byte that ends every message.
pub(crate) const MARK: u8 = b'!';

/// How subscribers are served.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Transport {
    LongPoll,
    Streaming,
    EventSource,
    WebSocket,
}

impl Transport {
    pub(crate) const ALL: [Self; 4] = [Self::LongPoll, Self::Streaming, Self::EventSource, Self::WebSocket];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::LongPoll => "long-poll",
            Self::Streaming => "streaming",
            Self::EventSource => "eventsource",
            Self::WebSocket => "websocket",
        }
    }

    /// The request that subscribes.
    pub(crate) fn request(self, channel: &str) -> Vec<u8> {
        let (place, fields) = match self {
            Self::LongPoll => ("lp", ""),
            Self::Streaming => ("sub", ""),
            Self::EventSource => ("ev", "Accept: text/event-stream\r\n"),
            Self::WebSocket => (
                "ws",
                "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                 Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
            ),
        };
        format!("GET /{place}/{channel} HTTP/1.1\r\nHost: load\r\n{fields}\r\n").into_bytes()
    }
}

/// The poll after an answer with these validators.
pub(crate) fn next_poll(channel: &str, modified: &[u8], tag: &[u8]) -> Vec<u8> {
    let mut request = format!("GET /lp/{channel} HTTP/1.1\r\nHost: load\r\nIf-Modified-Since: ").into_bytes();
    request.extend_from_slice(modified);
    request.extend_from_slice(b"\r\nIf-None-Match: ");
    request.extend_from_slice(tag);
    request.extend_from_slice(b"\r\n\r\n");
    request
}

/// The request that publishes.
pub(crate) fn publish(place: &str, channel: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let mut request =
        format!("POST /{place}?id={channel} HTTP/1.1\r\nHost: load\r\nContent-Length: {length}\r\n\r\n").into_bytes();
    request.extend_from_slice(body);
    request
}

/// A message of `size` bytes.
pub(crate) fn message(size: usize) -> Vec<u8> {
    let mut message = vec![b'm'; size];
    if let Some(last) = message.last_mut() {
        *last = MARK;
    }
    message
}

/// Messages (their ends) among bytes of any framing.
pub(crate) fn count(bytes: &[u8]) -> usize {
    memchr::memchr_iter(MARK, bytes).count()
}
