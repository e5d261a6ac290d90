//! The rules a client's frames are judged by: the module's, or those of RFC 6455.
//!
//! Judgements only, without state: the decoder gathers bytes and asks. Each violation names the farewell it earns.

use super::websocket_event::Event;
use super::websocket_frame::Farewell;
use crate::model::FrameRules;

pub(super) const CONTINUATION: u8 = 0x0;
pub(super) const TEXT: u8 = 0x1;
pub(super) const BINARY: u8 = 0x2;
pub(super) const CLOSE: u8 = 0x8;
pub(super) const PING: u8 = 0x9;
pub(super) const PONG: u8 = 0xA;

impl FrameRules {
    /// Judges opcode, flags and place of a frame by its first two bytes; `under_way`: fragments of a message came before,
    /// `deflate`: permessage-deflate was agreed on.
    pub(super) fn check_start(self, [first, second]: [u8; 2], under_way: bool, deflate: bool) -> Result<(), Farewell> {
        let (fin, opcode) = (first & 0x80 != 0, first & 0x0F);
        if self == FrameRules::OldModule {
            return Ok(());
        }
        if self == FrameRules::Module {
            let known = matches!(opcode, CONTINUATION | TEXT | CLOSE | PING | PONG);
            let misplaced = if under_way { fin && opcode != CONTINUATION } else { opcode == CONTINUATION };
            return if known && !misplaced { Ok(()) } else { Err(Farewell::Empty) };
        }
        let broken = |reason| Err(Farewell::Coded(1002, reason));
        let compressible = deflate && matches!(opcode, TEXT | BINARY);
        if first & 0x30 != 0 || (first & 0x40 != 0 && !compressible) {
            return broken("reserved bits are set");
        }
        match opcode {
            CONTINUATION if !under_way => broken("nothing to continue"),
            TEXT | BINARY if under_way => broken("a message is under way"),
            CLOSE | PING | PONG if !fin => broken("fragmented control frame"),
            CLOSE | PING | PONG if second & 0x7F > 125 => broken("control frame is too long"),
            CONTINUATION | TEXT | BINARY | CLOSE | PING | PONG => Ok(()),
            _ => broken("reserved opcode"),
        }
    }

    /// The farewell to a client whose message is larger than is taken.
    pub(super) fn too_large(self) -> Farewell {
        match self {
            FrameRules::OldModule | FrameRules::Module => Farewell::Empty,
            FrameRules::Rfc => Farewell::Coded(1009, "message is too big"),
        }
    }

    /// What a complete control frame means.
    pub(super) fn control_event(self, opcode: u8, payload: Vec<u8>) -> Result<Event, Farewell> {
        if self == FrameRules::OldModule {
            let close = Event::Close { code: None, reason: Vec::new() };
            return Ok(if opcode == CLOSE { close } else { Event::Pong });
        }
        if self == FrameRules::Module {
            if !is_module_utf8(&payload) {
                return Err(Farewell::Silent);
            }
            return Ok(match opcode {
                PING => Event::Ping(Vec::new()),
                PONG => Event::Pong,
                _ => Event::Close { code: None, reason: Vec::new() },
            });
        }
        match (opcode, &payload[..]) {
            (PING, _) => Ok(Event::Ping(payload)),
            (PONG, _) => Ok(Event::Pong),
            (_, []) => Ok(Event::Close { code: None, reason: Vec::new() }),
            (_, [high, low, reason @ ..]) => {
                let code = u16::from_be_bytes([*high, *low]);
                if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
                    return Err(Farewell::Coded(1002, "close code is not valid"));
                }
                std::str::from_utf8(reason).map_err(|_| bad_text())?;
                Ok(Event::Close { code: Some(code), reason: reason.to_vec() })
            }
            _ => Err(Farewell::Coded(1002, "close code is cut")),
        }
    }
}

/// Whether the module takes the bytes for UTF-8: shortest forms up to U+10FFFF, surrogates among them, and any byte from 0x80
/// on continues a character.
pub(super) fn is_module_utf8(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    while let Some((&first, tail)) = rest.split_first() {
        let (bits, more, least) = match first {
            0..0x80 => (first, 0, 0),
            0xC2..0xE0 => (first & 0x1F, 1, 0x80),
            0xE0..0xF0 => (first & 0x0F, 2, 0x800),
            0xF0..0xF8 => (first & 0x07, 3, 0x1_0000),
            _ => return false,
        };
        let Some((continued, tail)) = tail.split_at_checked(more) else { return false };
        let character = continued.iter().fold(u32::from(bits), |bits, byte| bits << 6 | u32::from(byte & 0x3F));
        if continued.iter().any(|&byte| byte < 0x80) || !(least..=0x10_FFFF).contains(&character) {
            return false;
        }
        rest = tail;
    }
    true
}

/// The farewell to a client whose text is not UTF-8 (RFC rules).
pub(super) fn bad_text() -> Farewell {
    Farewell::Coded(1007, "text is not valid UTF-8")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_module_lets_surrogates_pass_and_nothing_that_is_too_long_or_too_large() {
        for (bytes, expected) in [
            (&b"\xED\xA0\x80"[..], true),
            (b"a\xED\xBF\xBFz", true),
            (b"\xF4\x8F\xBF\xBF", true),
            (b"\xF4\x90\x80\x80", false),
            (b"\xC0\x80", false),
            (b"\xE0\x9F\xBF", false),
            (b"\xF0\x8F\xBF\xBF", false),
            (b"\xC3\x28", false),
            (b"\xC3", false),
            (b"\x80", false),
            (b"\xFF", false),
            (b"\x03\xE8", false),
        ] {
            assert_eq!(is_module_utf8(bytes), expected, "{bytes:x?}");
        }
    }

    proptest! {
        #[test]
        fn the_module_takes_all_that_is_utf_8(text in any::<String>()) {
            prop_assert!(is_module_utf8(text.as_bytes()));
        }
    }
}
