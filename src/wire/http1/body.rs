//! The body of a request on HTTP/1: one reader, begun once, that reads it from its first byte to its last, whatever is
//! answered meanwhile.
//!
//! Knows framings and a limit; nothing of verdicts or sockets. Invariant: the bytes it takes are those of the body, however the
//! input is split; once it has failed, body and next request cannot be told apart any more, so it fails for good.

use std::sync::Arc;

use super::chunked_body::{BadChunk, ChunkedBody};
use crate::request::head::BodyLength;

/// Room that is made for a body before its bytes have come, at most.
const ROOM: usize = 64 * 1024;

/// A body on its way.
pub(super) struct RequestBody {
    framing: Framing,
    text: Text,
}

/// The body so far.
enum Text {
    Gathered(Vec<u8>),
    /// It came in one piece.
    Whole(Arc<[u8]>),
    /// Nobody wants it.
    Forgotten,
}

enum Framing {
    /// Bytes that are still to come, bytes in all, and the limit (0: none).
    Exact {
        missing: u64,
        length: u64,
        limit: u64,
    },
    Chunked(ChunkedBody),
}

impl RequestBody {
    pub(super) fn new(length: BodyLength) -> Self {
        let framing = match length {
            BodyLength::None => Framing::Exact { missing: 0, length: 0, limit: 0 },
            BodyLength::Exact(length) => Framing::Exact { missing: length, length, limit: 0 },
            BodyLength::Chunked => Framing::Chunked(ChunkedBody::new(0)),
        };
        Self { framing, text: Text::Gathered(Vec::new()) }
    }

    /// Most bytes; 0 = no limit. What has come counts.
    pub(super) fn set_limit(&mut self, most: u64) {
        match &mut self.framing {
            Framing::Exact { limit, .. } => *limit = most,
            Framing::Chunked(decoder) => decoder.set_limit(most),
        }
    }

    /// From now on the body is read and forgotten, up to this many bytes.
    pub(super) fn forget(&mut self, most: u64) {
        self.text = Text::Forgotten;
        self.set_limit(most);
    }

    /// Takes the bytes of the body off the front of `input`; true when it is complete.
    pub(super) fn take(&mut self, input: &mut &[u8]) -> Result<bool, BadChunk> {
        let used = match &mut self.framing {
            Framing::Exact { length, limit, .. } if *limit != 0 && *length > *limit => return Err(BadChunk::TooLarge),
            Framing::Exact { missing, length, .. } => {
                let part = input.len().min(usize::try_from(*missing).unwrap_or(usize::MAX));
                let bytes = input.get(..part).unwrap_or_default();
                match &mut self.text {
                    Text::Gathered(_) if part as u64 == *length => self.text = Text::Whole(bytes.into()),
                    Text::Gathered(text) => {
                        if text.capacity() == 0 {
                            text.reserve_exact(part.max(ROOM.min(*missing as usize)));
                        }
                        text.extend_from_slice(bytes);
                    }
                    Text::Whole(_) | Text::Forgotten => {}
                }
                *missing -= part as u64;
                part
            }
            Framing::Chunked(decoder) => match &mut self.text {
                Text::Gathered(text) => decoder.feed(input, text)?,
                Text::Whole(_) | Text::Forgotten => decoder.feed(input, &mut Vec::new())?,
            },
        };
        *input = input.get(used..).unwrap_or_default();
        Ok(self.is_complete())
    }

    /// Bytes of it that are held.
    pub(super) fn held(&self) -> usize {
        match &self.text {
            Text::Gathered(text) => text.capacity(),
            Text::Whole(text) => text.len(),
            Text::Forgotten => 0,
        }
    }

    /// Whether what comes of it is kept.
    pub(super) fn is_kept(&self) -> bool {
        !matches!(self.text, Text::Forgotten)
    }

    pub(super) fn is_complete(&self) -> bool {
        match &self.framing {
            Framing::Exact { missing, .. } => *missing == 0,
            Framing::Chunked(decoder) => decoder.is_done(),
        }
    }

    /// Hands the body out.
    pub(super) fn take_text(&mut self) -> Arc<[u8]> {
        match std::mem::replace(&mut self.text, Text::Gathered(Vec::new())) {
            Text::Gathered(text) => text.into(),
            Text::Whole(text) => text,
            Text::Forgotten => Arc::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a reader of `length` makes of `wire` in these pieces: body, rest, outcome.
    fn read(length: BodyLength, limit: u64, wire: &[u8], cuts: &[usize]) -> (Vec<u8>, Vec<u8>, Result<bool, BadChunk>) {
        let mut body = RequestBody::new(length);
        body.set_limit(limit);
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut % (wire.len() + 1)).collect();
        cuts.sort_unstable();
        let mut ahead: Vec<u8> = Vec::new();
        let mut last = 0;
        let mut outcome = Ok(false);
        for end in cuts.into_iter().chain([wire.len()]) {
            ahead.extend_from_slice(&wire[last..end]);
            last = end;
            let mut rest = &ahead[..];
            if !matches!(outcome, Ok(true)) {
                outcome = body.take(&mut rest);
            }
            ahead = rest.to_vec();
        }
        let text = if outcome.is_err() { Vec::new() } else { body.take_text().to_vec() };
        (text, if outcome.is_err() { Vec::new() } else { ahead }, outcome)
    }

    proptest! {
        #[test]
        fn the_split_does_not_matter(
            exact in prop::option::of(0u64..30),
            limit in 0u64..20,
            wire in "([0-3]\r\n[a0\r\n]{0,3}\r\n){0,4}(0\r\n\r\n)?[A-Z]{0,9}",
            cuts in proptest::collection::vec(any::<usize>(), 0..6),
        ) {
            let length = exact.map_or(BodyLength::Chunked, BodyLength::Exact);
            prop_assert_eq!(read(length, limit, wire.as_bytes(), &cuts), read(length, limit, wire.as_bytes(), &[]));
        }

        #[test]
        fn a_body_nobody_wants_ends_where_a_wanted_one_does(
            parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..9), 0..5),
            forgotten_at in any::<prop::sample::Index>(),
        ) {
            let mut wire = Vec::new();
            for part in &parts {
                wire.extend_from_slice(format!("{:x}\r\n", part.len()).as_bytes());
                wire.extend_from_slice(part);
                wire.extend_from_slice(b"\r\n");
            }
            wire.extend_from_slice(b"0\r\n\r\nGET /next");
            let at = forgotten_at.index(wire.len());
            let mut body = RequestBody::new(BodyLength::Chunked);
            let mut first = &wire[..at];
            let done = body.take(&mut first).unwrap();
            body.forget(1000);
            let mut rest = [first, &wire[at..]].concat();
            if !done {
                let mut input = &rest[..];
                prop_assert!(body.take(&mut input).unwrap());
                rest = input.to_vec();
            }
            prop_assert_eq!(rest, b"GET /next");
        }
    }
}
