//! The head of a client's frame: gathered byte by byte, then read as opcode, length and mask.
//!
//! It judges nothing: whether a head is allowed where it stands is the decoder's business.

/// A frame head under way.
#[derive(Debug, Default)]
pub(super) struct Head {
    bytes: [u8; 14],
    filled: usize,
}

/// What a complete head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HeadValues {
    /// The byte of flags and opcode.
    pub(super) first: u8,
    /// The announced length of the payload.
    pub(super) length: u64,
    /// The mask; zero where the frame is not masked.
    pub(super) mask: [u8; 4],
}

impl Head {
    /// Whether no byte of a head has arrived.
    pub(super) fn is_empty(&self) -> bool {
        self.filled == 0
    }

    /// Takes the next byte; the first two are returned once both are there, and only then.
    pub(super) fn push(&mut self, byte: u8) -> Option<[u8; 2]> {
        if let Some(slot) = self.bytes.get_mut(self.filled) {
            *slot = byte;
            self.filled += 1;
        }
        let [first, second, ..] = self.bytes;
        (self.filled == 2).then_some([first, second])
    }

    /// Whether all bytes of the head are there.
    pub(super) fn is_complete(&self) -> bool {
        let [_, second, ..] = self.bytes;
        let mask = if second & 0x80 == 0 { 0 } else { 4 };
        self.filled >= 2 && self.filled >= 2 + extended_length(second) + mask
    }

    /// Reads a complete head and begins anew.
    pub(super) fn take(&mut self) -> HeadValues {
        let [first, second, rest @ ..] = std::mem::take(self).bytes;
        let (extended, key) = rest.split_at(extended_length(second));
        let length = match second & 0x7F {
            short @ 0..=125 => u64::from(short),
            _ => extended.iter().fold(0, |length, byte| length << 8 | u64::from(*byte)),
        };
        let mask = key.first_chunk().filter(|_| second & 0x80 != 0).copied().unwrap_or_default();
        HeadValues { first, length, mask }
    }
}

/// Bytes that follow the second byte to hold a longer length.
fn extended_length(second: u8) -> usize {
    match second & 0x7F {
        126 => 2,
        127 => 8,
        _ => 0,
    }
}

/// Takes the mask off payload bytes of which the first is number `at` of its frame.
pub(super) fn unmask(bytes: &mut [u8], mut mask: [u8; 4], at: usize) {
    mask.rotate_left(at % 4);
    for group in bytes.chunks_mut(4) {
        for (byte, key) in group.iter_mut().zip(mask) {
            *byte ^= key;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_complete_when_length_and_mask_are_there() {
        for (bytes, length, mask) in [
            (&[0x81, 0x05][..], 5, [0; 4]),
            (&[0x81, 0x85, 1, 2, 3, 4], 5, [1, 2, 3, 4]),
            (&[0x81, 0x7E, 1, 0], 256, [0; 4]),
            (&[0x81, 0xFE, 1, 0, 9, 8, 7, 6], 256, [9, 8, 7, 6]),
            (&[0x81, 0xFF, 0, 0, 0, 1, 0, 0, 0, 2, 9, 8, 7, 6], (1 << 32) + 2, [9, 8, 7, 6]),
        ] {
            let mut head = Head::default();
            for (place, byte) in bytes.iter().enumerate() {
                assert!(!head.is_complete());
                assert_eq!(head.push(*byte), (place == 1).then_some([bytes[0], bytes[1]]));
            }
            assert!(head.is_complete());
            assert_eq!(head.take(), HeadValues { first: 0x81, length, mask });
            assert!(head.is_empty());
        }
    }

    #[test]
    fn the_mask_goes_on_where_the_last_bytes_ended() {
        let mut whole = *b"some payload";
        let mask = [1, 20, 3, 40];
        unmask(&mut whole, mask, 0);
        let (first, second) = whole.split_at_mut(7);
        unmask(first, mask, 0);
        unmask(second, mask, 7);
        assert_eq!(&whole, b"some payload");
    }
}
