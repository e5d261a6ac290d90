//! Padding by user agent: filler after short headers and messages, for clients that hold small bodies back.
//!
//! It computes how much filler follows how many bytes and what the filler is made of; whether a connection is padded at all
//! (its user agent, its mode) is decided by whoever makes the view.

use crate::model::Capabilities;

/// The rule that matched a user agent, with the measure of the whole configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PaddingRule {
    /// Least bytes of a header.
    pub header_min: usize,
    /// Least bytes of a message.
    pub message_min: usize,
    /// Largest minimum of the whole configuration (`Settings::largest_padding`).
    pub largest: usize,
}

/// Fillers come in steps of this many bytes.
const STEP: usize = 100;

impl PaddingRule {
    /// Bytes of filler after a header of this length.
    pub(super) fn after_header(&self, length: usize) -> usize {
        self.filler_size(self.header_min, length)
    }

    /// Bytes of filler after a message of this length.
    pub(super) fn after_message(&self, length: usize) -> usize {
        self.filler_size(self.message_min, length)
    }

    fn filler_size(&self, least: usize, length: usize) -> usize {
        if length >= least {
            return 0;
        }
        let step = (least - length) / STEP;
        if step == self.largest / STEP { self.largest } else { (step + 1).saturating_mul(STEP) }
    }
}

/// A filler of this many bytes: line breaks, for an event stream one comment, where the wire asks for them spaces.
pub(super) fn filler(size: usize, eventsource: bool, capabilities: &Capabilities) -> Vec<u8> {
    if capabilities.padding_is_spaces {
        return vec![b' '; size];
    }
    if !eventsource {
        return (0..size).map(|at| if (size - at).is_multiple_of(2) { b'\r' } else { b'\n' }).collect();
    }
    let mut filler = vec![b':'; size];
    let end = capabilities.event_line_end.as_bytes();
    if let Some(tail) = size.checked_sub(end.len()).and_then(|start| filler.get_mut(start..)) {
        tail.copy_from_slice(end);
    }
    filler
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Compat, Line};

    #[test]
    fn the_filler_size_follows_the_steps_of_the_module() {
        let first = PaddingRule { header_min: 500, message_min: 300, largest: 1040 };
        for (length, expected) in [(5, 300), (100, 300), (201, 100), (299, 100), (300, 0), (301, 0)] {
            assert_eq!(first.after_message(length), expected, "{length}");
        }
        assert_eq!(first.after_header(4), 500);
        let third = PaddingRule { header_min: 1040, message_min: 0, largest: 1040 };
        assert_eq!(third.after_header(4), 1040);
        assert_eq!(third.after_message(0), 0);
        assert_eq!(PaddingRule { header_min: 1024, message_min: 512, largest: 4097 }.after_header(4), 1100);
        assert_eq!(PaddingRule { header_min: 50, message_min: 0, largest: 50 }.after_header(4), 50);
    }

    #[test]
    fn the_filler_is_invisible_to_its_reader() {
        let filler =
            |size, eventsource, line| filler(size, eventsource, &Capabilities::of(Compat { line, strict: false }));
        assert_eq!(filler(4, false, Line::V05), b"\r\n\r\n");
        assert_eq!(filler(3, false, Line::V05), b"\n\r\n");
        assert_eq!(filler(4, true, Line::V05), b":::\n");
        assert_eq!(filler(4, true, Line::V040), b"::\r\n");
        assert_eq!(filler(1, true, Line::V05), b"\n");
        assert_eq!(filler(0, true, Line::V05), b"");
        assert_eq!(filler(3, false, Line::V034), b"   ");
    }
}
