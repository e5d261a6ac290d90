//! HTTP/2 by hand: the frames of a client that knows its server, every field literal, no window ever short.

/// What a client sends first.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// `END_STREAM`
const END: u8 = 1;
/// `END_HEADERS`
const WHOLE: u8 = 4;
/// Bytes of a frame's head.
const HEAD: usize = 9;

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [length.get(1..).unwrap_or_default(), &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// `SETTINGS` with the window of each stream.
pub(crate) fn settings(window: u32) -> Vec<u8> {
    frame(4, 0, 0, &[&4_u16.to_be_bytes()[..], &window.to_be_bytes()].concat())
}

/// The first bytes of a client whose windows are as wide as they can be.
pub(crate) fn opening() -> Vec<u8> {
    const WIDEST: u32 = 0x7FFF_FFFF;
    [PREFACE, &settings(WIDEST), &frame(8, 0, 0, &(WIDEST - 65_535).to_be_bytes())].concat()
}

/// A GET.
pub(crate) fn get(stream: u32, path: &str) -> Vec<u8> {
    frame(1, WHOLE | END, stream, &fields("GET", path))
}

/// A POST with its body.
pub(crate) fn post(stream: u32, path: &str, body: &[u8]) -> Vec<u8> {
    [frame(1, WHOLE, stream, &fields("POST", path)), frame(0, END, stream, body)].concat()
}

fn fields(method: &str, path: &str) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in [(":method", method), (":scheme", "http"), (":path", path), (":authority", "t")] {
        block.extend_from_slice(&[0, name.len() as u8]);
        block.extend_from_slice(name.as_bytes());
        block.push(value.len() as u8);
        block.extend_from_slice(value.as_bytes());
    }
    block
}

/// What a server has sent, frame by frame.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Arrived {
    /// Heads of answers.
    pub(crate) heads: usize,
    /// Streams that ended well.
    pub(crate) ended: usize,
    /// Resets of streams, and goodbyes.
    pub(crate) refused: usize,
    /// Bytes of bodies.
    pub(crate) body: Vec<u8>,
}

impl Arrived {
    /// Takes the whole frames off the front of `bytes`.
    pub(crate) fn take(bytes: &mut Vec<u8>) -> Self {
        let mut arrived = Self::default();
        let mut rest = &bytes[..];
        while let Some((&[high, middle, low, kind, flags, ..], _)) = rest.split_first_chunk::<HEAD>() {
            let end = HEAD + u32::from_be_bytes([0, high, middle, low]) as usize;
            let Some(payload) = rest.get(HEAD..end) else { break };
            match kind {
                0 => arrived.body.extend_from_slice(payload),
                1 => arrived.heads += 1,
                3 | 7 => arrived.refused += 1,
                _ => {}
            }
            arrived.ended += usize::from(kind < 2 && flags & END != 0);
            rest = rest.get(end..).unwrap_or_default();
        }
        let taken = bytes.len() - rest.len();
        bytes.drain(..taken);
        arrived
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_frames_are_taken_and_the_rest_is_kept() {
        let whole = [frame(4, 0, 0, b""), frame(1, WHOLE, 1, b"x"), frame(0, END, 1, b"abc")].concat();
        let part = frame(0, 0, 3, b"de");
        for cut in 0..part.len() {
            let mut bytes = [&whole, &part[..cut]].concat();
            let arrived = Arrived { heads: 1, ended: 1, refused: 0, body: b"abc".to_vec() };
            assert_eq!(Arrived::take(&mut bytes), arrived);
            assert_eq!(bytes, part[..cut]);
        }
    }
}
