//! The client's side of a websocket: frames written as asked, right or wrong, and read as they come.

use super::wire::{Client, request};

/// The fields of a handshake.
const OFFER: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// An open websocket.
pub struct Socket {
    /// The connection below.
    pub wire: Client,
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
    pub fn open(mut wire: Client, target: &str, first: &[u8]) -> Self {
        wire.send([request("GET", target, OFFER).as_bytes(), first].concat());
        let head = wire.head();
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        Self { wire }
    }

    /// Sends a masked frame, which the server may not want any more.
    pub fn send(&mut self, first: u8, payload: &[u8]) {
        self.wire.try_send(&masked(first, payload));
    }

    /// The next frame; it must come.
    pub fn frame(&mut self) -> Frame {
        let [first, length] = self.wire.take(2)[..] else { unreachable!() };
        assert_eq!(first & 0x70, 0, "reserved bits");
        assert_eq!(length & 0x80, 0, "a server does not mask");
        let length = match length {
            126 => u64::from(u16::from_be_bytes(self.wire.take(2).try_into().unwrap())),
            127 => u64::from_be_bytes(self.wire.take(8).try_into().unwrap()),
            short => u64::from(short),
        };
        Frame { first, payload: self.wire.take(usize::try_from(length).unwrap()) }
    }
}

/// A frame as a client sends it.
pub fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [1, 2, 3, 4];
    let mut out = vec![first];
    match payload.len() {
        short @ 0..126 => out.push(0x80 | short as u8),
        medium @ 126..65536 => {
            out.push(0xFE);
            out.extend_from_slice(&(medium as u16).to_be_bytes());
        }
        long => {
            out.push(0xFF);
            out.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&MASK);
    out.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    out
}
