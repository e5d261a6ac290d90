//! The client's side of a websocket: frames written as asked, right or wrong, and read as they come.

use super::wire::{Wire, request};

/// The fields of a handshake.
const OFFER: [&str; 4] = [
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version: 13",
];

/// An open websocket.
pub struct Socket {
    /// The connection below.
    pub wire: Wire,
}

/// A frame of the server.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame {
    /// First byte: FIN and opcode.
    pub first: u8,
    /// Payload.
    pub payload: Vec<u8>,
}

impl Frame {
    /// A text frame.
    pub fn text(text: &str) -> Self {
        Self { first: 0x81, payload: text.as_bytes().to_vec() }
    }

    /// The code of a close frame.
    pub fn code(&self) -> Option<u16> {
        Some(u16::from_be_bytes([*self.payload.first()?, *self.payload.get(1)?]))
    }
}

impl Socket {
    /// Opens a websocket; `first` goes out in the same write as the handshake.
    pub fn open(mut wire: Wire, target: &str, first: &[u8]) -> Self {
        let mut bytes = request(&format!("GET {target}"), &OFFER, b"");
        bytes.extend_from_slice(first);
        wire.send(bytes);
        let head = wire.head();
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        Self { wire }
    }

    /// Sends a masked frame.
    pub fn send(&mut self, first: u8, payload: &[u8]) {
        self.wire.try_send(&frame(first, payload));
    }

    /// The next frame; it must come.
    pub fn frame(&mut self) -> Frame {
        let [first, length] = self.wire.take(2)[..] else { unreachable!() };
        let length = match length {
            126 => u64::from(u16::from_be_bytes(self.wire.take(2).try_into().unwrap())),
            127 => u64::from_be_bytes(self.wire.take(8).try_into().unwrap()),
            short => u64::from(short),
        };
        Frame { first, payload: self.wire.take(usize::try_from(length).unwrap()) }
    }
}

/// The bytes of a masked frame.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        short @ 0..=125 => bytes.push(0x80 | u8::try_from(short).unwrap()),
        long => {
            bytes.push(0x80 | 127);
            bytes.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    let mask = [0x11, 0x22, 0x33, 0x44];
    bytes.extend_from_slice(&mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}
