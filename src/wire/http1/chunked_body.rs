//! A request body in chunks, taken apart as it comes.
//!
//! Knows the chunked coding and a limit; nothing of requests or sockets. Invariant: however the input is split, the
//! same bytes come out, and no length on the wire is trusted for an allocation.

use thiserror::Error;

/// Longest size line (with extensions) and longest trailer block.
const MAX_LINE: usize = 8192;

/// Why a body cannot be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BadChunk {
    /// Not the chunked coding.
    #[error("client sent invalid chunked body")]
    Malformed,
    /// More than `client_max_body_size`.
    #[error("client intended to send too large chunked body")]
    TooLarge,
}

impl BadChunk {
    /// The status that answers it.
    pub fn status(self) -> u16 {
        match self {
            Self::Malformed => 400,
            Self::TooLarge => 413,
        }
    }
}

/// The decoder of one body, from its first byte to its last, whatever has been answered meanwhile.
#[derive(Debug)]
pub struct ChunkedBody {
    state: State,
    /// Bytes of the current chunk that are still to come.
    remaining: u64,
    /// Bytes of the body so far, those of the current chunk included.
    total: u64,
    /// Most bytes; 0 = no limit.
    limit: u64,
    /// Bytes of the current size line or trailer block.
    line: usize,
    /// What was wrong: from there on nothing can be told from a request.
    failed: Option<BadChunk>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    SizeStart,
    Size,
    Extension,
    SizeEnd,
    Data,
    DataReturn,
    DataEnd,
    TrailerStart,
    Trailer,
    TrailerEnd,
    Done,
}

impl ChunkedBody {
    /// A decoder that refuses more than `limit` bytes (`client_max_body_size`; 0 = no limit).
    pub fn new(limit: u64) -> Self {
        Self { state: State::SizeStart, remaining: 0, total: 0, limit, line: 0, failed: None }
    }

    /// Changes the limit of a body that is on its way; what has come of it counts.
    pub fn set_limit(&mut self, limit: u64) {
        self.limit = limit;
    }

    /// Whether the end of the body has come.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Takes input, appends body bytes to `out`, and tells how many bytes of the input belonged to the body: all of them
    /// unless it is done.
    ///
    /// After an error every further call fails with it.
    pub fn feed(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<usize, BadChunk> {
        let fed = match self.failed {
            Some(bad) => Err(bad),
            None => self.decode(input, out),
        };
        self.failed = fed.err();
        fed
    }

    fn decode(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<usize, BadChunk> {
        if self.is_over_limit() {
            return Err(BadChunk::TooLarge);
        }
        let mut at = 0;
        while self.state != State::Done {
            if self.state == State::Data {
                let rest = input.get(at..).unwrap_or_default();
                let take = usize::try_from(self.remaining).unwrap_or(usize::MAX).min(rest.len());
                out.extend_from_slice(rest.get(..take).unwrap_or_default());
                at += take;
                self.remaining -= take as u64;
                if self.remaining > 0 {
                    break;
                }
                self.state = State::DataReturn;
            }
            let Some(&byte) = input.get(at) else { break };
            at += 1;
            self.state = self.step(byte)?;
        }
        Ok(at)
    }

    /// Takes one byte of what surrounds the data.
    fn step(&mut self, byte: u8) -> Result<State, BadChunk> {
        self.line += 1;
        if self.line > MAX_LINE {
            return Err(BadChunk::Malformed);
        }
        Ok(match (self.state, byte) {
            (State::SizeStart, byte) => {
                self.remaining = 0;
                self.digit(byte)?;
                State::Size
            }
            (State::Size, b';' | b' ' | b'\t') => State::Extension,
            (State::Size | State::Extension, b'\r') => State::SizeEnd,
            (State::Size | State::Extension | State::SizeEnd, b'\n') => self.begin_data()?,
            (State::Size, byte) => {
                self.digit(byte)?;
                State::Size
            }
            (State::Extension, _) => State::Extension,
            (State::DataReturn, b'\r') => State::DataEnd,
            (State::DataReturn | State::DataEnd, b'\n') => {
                self.line = 0;
                State::SizeStart
            }
            (State::TrailerStart, b'\r') => State::TrailerEnd,
            (State::TrailerStart | State::TrailerEnd, b'\n') => State::Done,
            (State::Trailer, b'\n') => State::TrailerStart,
            (State::TrailerStart | State::Trailer, _) => State::Trailer,
            _ => return Err(BadChunk::Malformed),
        })
    }

    fn digit(&mut self, byte: u8) -> Result<(), BadChunk> {
        let digit = (byte as char).to_digit(16).ok_or(BadChunk::Malformed)?;
        let size = self.remaining.checked_mul(16).and_then(|size| size.checked_add(u64::from(digit)));
        self.remaining = size.filter(|&size| i64::try_from(size).is_ok()).ok_or(BadChunk::Malformed)?;
        Ok(())
    }

    /// The size line is complete.
    fn begin_data(&mut self) -> Result<State, BadChunk> {
        self.line = 0;
        if self.remaining == 0 {
            return Ok(State::TrailerStart);
        }
        self.total = self.total.saturating_add(self.remaining);
        if self.is_over_limit() {
            return Err(BadChunk::TooLarge);
        }
        Ok(State::Data)
    }

    fn is_over_limit(&self) -> bool {
        self.limit != 0 && self.total > self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decode(input: &[u8], limit: u64, piece: usize) -> Result<(Vec<u8>, usize, bool), BadChunk> {
        let mut body = ChunkedBody::new(limit);
        let (mut out, mut used) = (Vec::new(), 0);
        for piece in input.chunks(piece) {
            used += body.feed(piece, &mut out)?;
            if body.is_done() {
                break;
            }
        }
        Ok((out, used, body.is_done()))
    }

    #[test]
    fn chunks_are_joined_and_what_follows_is_left() {
        let wire = b"5\r\nhello\r\n6;ext=1\r\n world\r\n0\r\nTrailer: x\r\n\r\nGET /";
        for piece in 1..wire.len() {
            assert_eq!(decode(wire, 0, piece), Ok((b"hello world".to_vec(), wire.len() - 5, true)), "{piece}");
        }
    }

    #[test]
    fn bare_line_feeds_and_an_empty_body_are_accepted() {
        assert_eq!(decode(b"0\n\n", 0, 9), Ok((vec![], 3, true)));
        assert_eq!(decode(b"A\n0123456789\n0\r\n\r\n", 10, 9).unwrap().0.len(), 10);
    }

    #[test]
    fn bad_and_oversized_bodies_are_refused() {
        for wire in ["x\r\n", "\r\n", "5\r\nhelloX", "fffffffffffffffff\r\n", "-1\r\n", "5 \rX"] {
            assert_eq!(decode(wire.as_bytes(), 0, 99), Err(BadChunk::Malformed), "{wire:?}");
        }
        assert_eq!(decode(b"6\r\nhello\r\n", 5, 99), Err(BadChunk::TooLarge));
        assert_eq!(decode(b"3\r\nabc\r\n3\r\n", 5, 99), Err(BadChunk::TooLarge));
        let endless = [b"0\r\n".to_vec(), vec![b'x'; 9000]].concat();
        assert_eq!(decode(&endless, 0, 99), Err(BadChunk::Malformed));
    }

    #[test]
    fn a_limit_set_on_the_way_neither_forgets_nor_forgives() {
        let mut body = ChunkedBody::new(0);
        let mut out = Vec::new();
        // The size line alone, as a client may send it: what follows is data still.
        assert_eq!(body.feed(b"5\r\n", &mut out), Ok(3));
        body.set_limit(9);
        assert_eq!(body.feed(b"0\r\n\r\n\r\n9\r\n", &mut out), Err(BadChunk::TooLarge));
        assert_eq!(out, b"0\r\n\r\n");
        assert_eq!(body.feed(b"0\r\n\r\n", &mut out), Err(BadChunk::TooLarge));
        let mut done = ChunkedBody::new(0);
        assert_eq!(done.feed(b"0\r\n\r\n", &mut out), Ok(5));
        done.set_limit(9);
        assert!(done.is_done());
    }

    proptest! {
        #[test]
        fn the_split_does_not_matter(wire in "([0-3]\r?\n[a\r\n]{0,3}\r?\n?){0,4}(0\r\n\r\n)?", piece in 1usize..8) {
            prop_assert_eq!(decode(wire.as_bytes(), 4, piece), decode(wire.as_bytes(), 4, usize::MAX));
        }

        #[test]
        fn no_input_panics(wire in proptest::collection::vec(any::<u8>(), 0..200), piece in 1usize..50) {
            let _ = decode(&wire, 100, piece);
        }
    }
}
