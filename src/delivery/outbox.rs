//! Bytes on their way to one client: a queue of shared pieces, empty (and without memory) when nothing waits.
//!
//! The pieces are the very bytes every other subscriber of the view gets; only the position within the first one is the
//! connection's own. The queue does not bound itself: whoever adds asks [`Outbox::len`] first.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes};

/// Most pieces that go into one vectored write.
const PIECES: usize = 64;

/// The queue of unsent bytes of a connection. The first piece stands in the queue itself: most of the time it is the only
/// one, and costs no allocation.
#[derive(Default)]
pub(super) struct Outbox {
    first: Bytes,
    #[expect(clippy::box_collection, reason = "a pointer where nearly always nothing is")]
    more: Option<Box<VecDeque<Bytes>>>,
    len: usize,
}

impl Outbox {
    /// Bytes that wait.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The first piece, as far as it has not been sent; empty if nothing waits.
    pub(super) fn first(&self) -> &Bytes {
        &self.first
    }

    /// Adds a piece behind all others. An empty piece is nothing.
    pub(super) fn push(&mut self, piece: Bytes) {
        if piece.is_empty() {
            return;
        }
        if self.is_empty() {
            self.len = piece.len();
            self.first = piece;
        } else {
            self.len += piece.len();
            self.more.get_or_insert_default().push_back(piece);
        }
    }

    /// Hands the pieces at the front to a vectored write.
    pub(super) fn write<T>(&self, write: impl FnOnce(&[IoSlice<'_>]) -> T) -> T {
        let Some(more) = &self.more else { return write(&[IoSlice::new(&self.first)]) };
        let mut slices = [IoSlice::new(&[]); PIECES];
        let mut count = 0;
        for (slot, piece) in slices.iter_mut().zip(std::iter::once(&self.first).chain(&**more)) {
            *slot = IoSlice::new(piece);
            count += 1;
        }
        write(slices.get(..count).unwrap_or_default())
    }

    /// Takes `sent` bytes off the front; gives the memory back when nothing is left.
    pub(super) fn advance(&mut self, mut sent: usize) {
        self.len = self.len.saturating_sub(sent);
        while sent >= self.first.len() {
            sent -= self.first.len();
            let Some(next) = self.more.as_mut().and_then(|more| more.pop_front()) else {
                self.clear();
                return;
            };
            self.first = next;
        }
        self.first.advance(sent);
    }

    /// Drops everything that waits.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(outbox: &Outbox) -> Vec<u8> {
        outbox.write(|slices| slices.iter().flat_map(|slice| slice.to_vec()).collect())
    }

    #[test]
    fn bytes_leave_in_order_over_any_split() {
        for step in 1..12 {
            let mut outbox = Outbox::default();
            for piece in ["ab", "", "cde", "f"] {
                outbox.push(Bytes::from_static(piece.as_bytes()));
            }
            let mut sent = Vec::new();
            while !outbox.is_empty() {
                let bytes = waiting(&outbox);
                assert_eq!(bytes.len(), outbox.len());
                let part = step.min(bytes.len());
                sent.extend_from_slice(&bytes[..part]);
                outbox.advance(part);
            }
            assert_eq!(sent, b"abcdef");
        }
    }

    #[test]
    fn an_emptied_outbox_keeps_no_memory() {
        let mut outbox = Outbox::default();
        outbox.push(Bytes::from_static(b"x"));
        outbox.push(Bytes::from_static(b"y"));
        outbox.advance(2);
        assert!(outbox.more.is_none());
    }
}
