//! Frames that go to a websocket client: never masked, always whole.
//!
//! Bytes only; when a frame is sent, and what follows it, is the connection's business. A control frame never holds more
//! than the 125 bytes RFC 6455 allows.

/// Most bytes of a control frame's payload.
const CONTROL_MAX: usize = 125;

/// A ping without payload.
pub const PING: [u8; 2] = [0x89, 0x00];

/// A close frame without code.
pub const CLOSE: [u8; 2] = [0x88, 0x00];

/// `FIN` and the text opcode.
const TEXT: u8 = 0x81;

/// The binary opcode.
const BINARY: u8 = 0x02;

/// `RSV1`: the message is compressed.
const COMPRESSED: u8 = 0x40;

/// How the server takes its leave of a client that broke the rules. The TCP connection is closed in every case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Farewell {
    /// Without a frame.
    Silent,
    /// With a close frame that holds no code.
    Empty,
    /// With a close frame that says why.
    Coded(u16, &'static str),
}

impl Farewell {
    /// The bytes to send before the connection is closed.
    pub fn frame(self) -> Vec<u8> {
        match self {
            Self::Silent => Vec::new(),
            Self::Empty => CLOSE.to_vec(),
            Self::Coded(code, reason) => close(Some(code), reason.as_bytes()),
        }
    }
}

/// Appends a text frame.
pub fn write_text(payload: &[u8], out: &mut Vec<u8>) {
    write_frame(TEXT, payload, out);
}

/// Appends a text frame whose payload is compressed.
pub(super) fn write_compressed_text(payload: &[u8], out: &mut Vec<u8>) {
    write_frame(TEXT | COMPRESSED, payload, out);
}

/// Makes a binary frame of the text frame that begins `frame`.
pub(super) fn make_binary(frame: &mut [u8]) {
    if let Some(first) = frame.first_mut() {
        *first = (*first & 0xF0) | BINARY;
    }
}

/// A pong that answers a ping with this payload.
pub fn pong(payload: &[u8]) -> Vec<u8> {
    control(0x8A, &[payload])
}

/// A close frame; without a code it holds nothing.
pub fn close(code: Option<u16>, reason: &[u8]) -> Vec<u8> {
    match code {
        Some(code) => control(0x88, &[&code.to_be_bytes(), reason]),
        None => CLOSE.to_vec(),
    }
}

/// The close frame of a refused subscription: code 1008, and as reason what an HTTP client would have been told.
pub fn refusal(status: u16, explain: &str) -> Vec<u8> {
    close(Some(1008), format!("{{\"http_status\": {status}, \"explain\":\"{explain}\"}}").as_bytes())
}

fn control(opcode: u8, payload: &[&[u8]]) -> Vec<u8> {
    let mut payload = payload.concat();
    payload.truncate(CONTROL_MAX);
    let mut out = Vec::with_capacity(payload.len() + 2);
    write_frame(opcode, &payload, &mut out);
    out
}

fn write_frame(first: u8, payload: &[u8], out: &mut Vec<u8>) {
    out.reserve(payload.len() + 10);
    out.push(first);
    match payload.len() {
        length @ 0..=125 => out.push(length as u8),
        length @ 126..=0xFFFF => {
            out.push(126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            out.push(127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_takes_7_16_or_64_bits() {
        for (length, head) in [
            (0usize, &[0x81, 0][..]),
            (125, &[0x81, 125]),
            (126, &[0x81, 126, 0, 126]),
            (65535, &[0x81, 126, 0xFF, 0xFF]),
            (65536, &[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let mut frame = Vec::new();
            write_text(&vec![b'x'; length], &mut frame);
            assert_eq!(&frame[..head.len()], head, "{length}");
            assert_eq!(frame.len(), head.len() + length);
        }
    }

    #[test]
    fn a_refusal_is_told_in_the_close_frame() {
        let frame = refusal(403, "Subscriber could not create channels.");
        assert_eq!(&frame[..4], [0x88, (frame.len() - 2) as u8, 0x03, 0xF0]);
        assert_eq!(&frame[4..], br#"{"http_status": 403, "explain":"Subscriber could not create channels."}"#);
    }

    #[test]
    fn control_frames_stay_within_125_bytes() {
        assert_eq!(pong(&[b'x'; 200]).len(), 127);
        assert_eq!(close(Some(1000), &[b'x'; 200]).len(), 127);
        assert_eq!(close(None, b"ignored"), CLOSE);
        assert_eq!(Farewell::Silent.frame(), b"");
        assert_eq!(Farewell::Coded(1002, "").frame(), [0x88, 2, 0x03, 0xEA]);
    }
}
