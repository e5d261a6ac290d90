//! Bytes on their way to one client: a queue of shared pieces, empty (and without memory) when nothing waits.
//!
//! The pieces are the very bytes every other subscriber of the view gets; only the position within the first one is the
//! connection's own. The queue does not bound itself: whoever adds asks [`Outbox::len`] first.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes};

/// Most pieces that go into one vectored write.
const PIECES: usize = 64;

/// The queue of unsent bytes of a connection.
#[derive(Default)]
pub(super) struct Outbox {
    pieces: VecDeque<Bytes>,
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

    /// The first piece, as far as it has not been sent.
    pub(super) fn first(&self) -> Option<&Bytes> {
        self.pieces.front()
    }

    /// Adds a piece behind all others. An empty piece is nothing.
    pub(super) fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.len += piece.len();
            self.pieces.push_back(piece);
        }
    }

    /// Fills `slices` with the first pieces and returns how many there are.
    pub(super) fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>; PIECES]) -> usize {
        let mut count = 0;
        for (slot, piece) in slices.iter_mut().zip(&self.pieces) {
            *slot = IoSlice::new(piece);
            count += 1;
        }
        count
    }

    /// Room for [`Outbox::slices`].
    pub(super) fn empty_slices<'a>() -> [IoSlice<'a>; PIECES] {
        [IoSlice::new(&[]); PIECES]
    }

    /// Takes `sent` bytes off the front; gives the memory back when nothing is left.
    pub(super) fn advance(&mut self, mut sent: usize) {
        self.len = self.len.saturating_sub(sent);
        while let Some(first) = self.pieces.front_mut() {
            if sent < first.len() {
                first.advance(sent);
                return;
            }
            sent -= first.len();
            self.pieces.pop_front();
        }
        self.pieces = VecDeque::new();
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
        let mut slices = Outbox::empty_slices();
        let count = outbox.slices(&mut slices);
        slices[..count].iter().flat_map(|slice| slice.to_vec()).collect()
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
        outbox.advance(1);
        assert_eq!(outbox.pieces.capacity(), 0);
    }
}
