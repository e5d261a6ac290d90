//! Entries as bytes: a version, a kind, fields. The same bytes go to a disk and between machines.
//!
//! It does not know files, lengths of records or checksums. Reading takes any bytes: what is not exactly what `encode`
//! writes is an error, never a panic and never an allocation larger than the bytes read.

use std::sync::Arc;

use thiserror::Error;

use super::entry::{ChannelMark, Entry, Marks, Published};
use crate::model::{ChannelId, EventTags, Message, Stamp};

/// The format written, and the newest one read.
pub const FORMAT: u32 = 1;

const VERSION: u8 = FORMAT as u8;

const PUBLISH: u8 = 1;
const KEPT: u8 = 2;
const GONE: u8 = 3;
const CHANNEL: u8 = 4;
const MARKS: u8 = 5;
const WALK_BEGAN: u8 = 6;
const WALK_ENDED: u8 = 7;
/// Between machines alone; a disk is told of what has gone ([`GONE`]).
const DELETED: u8 = 8;

const STORED: u8 = 1;
const BINARY: u8 = 2;
const EVENT: u8 = 4;
const EVENT_ID: u8 = 8;
const EVENT_TYPE: u8 = 16;

/// Why bytes are no entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum CodecError {
    /// A version this one does not know.
    #[error("an entry of format {0}")]
    Version(u8),
    /// They end too early, go on too long, or say what no entry says.
    #[error("not an entry")]
    Malformed,
}

/// Whether bytes may begin an entry: a cheap look before an expensive one.
pub(super) fn may_begin(bytes: &[u8]) -> bool {
    matches!(bytes, [VERSION, PUBLISH..=DELETED, ..])
}

/// Appends an entry.
pub fn encode(entry: &Entry, out: &mut Vec<u8>) {
    out.push(VERSION);
    match entry {
        Entry::Publish(published) => {
            out.push(PUBLISH);
            write_published(published, out);
        }
        Entry::Kept(published) => {
            out.push(KEPT);
            write_published(published, out);
        }
        Entry::Gone { channel, seq } => {
            out.push(GONE);
            write_bytes(channel.as_bytes(), out);
            write_number(*seq, out);
        }
        Entry::Deleted { channel, text } => {
            out.push(DELETED);
            write_bytes(channel.as_bytes(), out);
            out.push(u8::from(text.is_some()));
            write_bytes(text.as_deref().unwrap_or_default(), out);
        }
        Entry::Channel(mark) => {
            out.push(CHANNEL);
            write_bytes(mark.channel.as_bytes(), out);
            write_number(mark.published, out);
            write_number(mark.last_id, out);
            write_stamp(mark.last, out);
            write_number(mark.expires.into(), out);
            write_number(mark.first_seq, out);
        }
        Entry::Marks(marks) => {
            out.push(MARKS);
            write_number(marks.time.into(), out);
            write_stamp(marks.last, out);
            write_number(marks.seq, out);
            write_number(marks.published, out);
            write_number(marks.skipped, out);
            write_number(marks.unknown_until.into(), out);
            out.push(u8::from(marks.clean));
        }
        Entry::WalkBegan => out.push(WALK_BEGAN),
        Entry::WalkEnded => out.push(WALK_ENDED),
    }
}

fn write_published(published: &Published, out: &mut Vec<u8>) {
    let message = &*published.message;
    let event = message.event.as_deref();
    let id = event.and_then(|event| event.id.as_deref());
    let kind = event.and_then(|event| event.kind.as_deref());
    let flag = |set: bool, flag: u8| if set { flag } else { 0 };
    out.push(
        flag(published.stored, STORED)
            | flag(message.binary, BINARY)
            | flag(event.is_some(), EVENT)
            | flag(id.is_some(), EVENT_ID)
            | flag(kind.is_some(), EVENT_TYPE),
    );
    write_bytes(published.channel.as_bytes(), out);
    write_number(published.count, out);
    write_number(message.id.cast_unsigned(), out);
    write_number(message.seq, out);
    write_stamp(message.stamp, out);
    write_number(message.expires.into(), out);
    for text in [id, kind].into_iter().flatten() {
        write_bytes(text, out);
    }
    write_bytes(&message.text, out);
}

fn write_stamp(stamp: Stamp, out: &mut Vec<u8>) {
    write_number(stamp.time.into(), out);
    write_number(stamp.tag.into(), out);
}

fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    write_number(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// Seven bits a byte, the lowest first; the top bit says that more follow.
fn write_number(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// The entry that these bytes are.
pub fn decode(bytes: &[u8]) -> Result<Entry, CodecError> {
    let mut reader = Reader(bytes);
    match reader.byte()? {
        VERSION => {}
        version => return Err(CodecError::Version(version)),
    }
    let entry = match reader.byte()? {
        PUBLISH => Entry::Publish(reader.published()?),
        KEPT => Entry::Kept(reader.published()?),
        GONE => Entry::Gone { channel: reader.channel()?, seq: reader.number()? },
        CHANNEL => Entry::Channel(ChannelMark {
            channel: reader.channel()?,
            published: reader.number()?,
            last_id: reader.number()?,
            last: reader.stamp()?,
            expires: reader.short()?,
            first_seq: reader.number()?,
        }),
        MARKS => Entry::Marks(Marks {
            time: reader.short()?,
            last: reader.stamp()?,
            seq: reader.number()?,
            published: reader.number()?,
            skipped: reader.number()?,
            unknown_until: reader.short()?,
            clean: reader.flag()?,
        }),
        WALK_BEGAN => Entry::WalkBegan,
        WALK_ENDED => Entry::WalkEnded,
        DELETED => Entry::Deleted {
            channel: reader.channel()?,
            text: match (reader.flag()?, reader.bytes()?) {
                (true, text) => Some(text.into()),
                (false, []) => None,
                (false, _) => return Err(CodecError::Malformed),
            },
        },
        _ => return Err(CodecError::Malformed),
    };
    if reader.0.is_empty() { Ok(entry) } else { Err(CodecError::Malformed) }
}

/// What is left to be read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Result<u8, CodecError> {
        let (&byte, rest) = self.0.split_first().ok_or(CodecError::Malformed)?;
        self.0 = rest;
        Ok(byte)
    }

    fn number(&mut self) -> Result<u64, CodecError> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            // The tenth byte has one bit to give; a last byte of zero says nothing that a shorter number would not.
            if (shift == 63 && bits > 1) || (byte == 0 && shift > 0) {
                return Err(CodecError::Malformed);
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(CodecError::Malformed)
    }

    fn flag(&mut self) -> Result<bool, CodecError> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(CodecError::Malformed),
        }
    }

    fn short(&mut self) -> Result<u32, CodecError> {
        u32::try_from(self.number()?).map_err(|_| CodecError::Malformed)
    }

    fn bytes(&mut self) -> Result<&'a [u8], CodecError> {
        let length = usize::try_from(self.number()?).map_err(|_| CodecError::Malformed)?;
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(CodecError::Malformed)?;
        self.0 = rest;
        Ok(bytes)
    }

    fn channel(&mut self) -> Result<ChannelId, CodecError> {
        self.bytes().map(ChannelId::new)
    }

    fn stamp(&mut self) -> Result<Stamp, CodecError> {
        Ok(Stamp { time: self.short()?, tag: self.short()? })
    }

    fn published(&mut self) -> Result<Published, CodecError> {
        let flags = self.byte()?;
        let named = flags & (EVENT_ID | EVENT_TYPE) != 0;
        if flags >= 32 || (named && flags & EVENT == 0) {
            return Err(CodecError::Malformed);
        }
        let channel = self.channel()?;
        let count = self.number()?;
        let id = self.number()?.cast_signed();
        let seq = self.number()?;
        let stamp = self.stamp()?;
        let expires = self.short()?;
        let event = if flags & EVENT == 0 {
            None
        } else {
            let mut text = |flag| if flags & flag == 0 { Ok(None) } else { self.bytes().map(|text| Some(text.into())) };
            Some(Arc::new(EventTags { id: text(EVENT_ID)?, kind: text(EVENT_TYPE)? }))
        };
        let text = self.bytes()?.into();
        let message = Arc::new(Message { id, seq, stamp, expires, binary: flags & BINARY != 0, text, event });
        Ok(Published { channel, count, stored: flags & STORED != 0, message })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::any_entry;
    use super::*;

    fn encoded(entry: &Entry) -> Vec<u8> {
        let mut out = Vec::new();
        encode(entry, &mut out);
        out
    }

    proptest! {
        #[test]
        fn an_entry_is_read_back_as_it_was(entry in any_entry()) {
            let read = decode(&encoded(&entry)).unwrap();
            prop_assert_eq!(format!("{read:?}"), format!("{entry:?}"));
        }

        #[test]
        fn an_entry_cut_short_or_followed_by_more_is_none(entry in any_entry(), more in any::<u8>()) {
            let bytes = encoded(&entry);
            for cut in 0..bytes.len() {
                prop_assert_eq!(decode(&bytes[..cut]).map(drop), Err(CodecError::Malformed));
            }
            let longer = [bytes, vec![more]].concat();
            prop_assert_eq!(decode(&longer).map(drop), Err(CodecError::Malformed));
        }

        #[test]
        fn bytes_that_are_read_are_those_that_would_be_written(
            mut bytes in prop::collection::vec(prop_oneof![any::<u8>(), 0..4u8], 0..60),
            kind in 0..10u8,
        ) {
            bytes.splice(0..0, [VERSION, kind]);
            if let Ok(entry) = decode(&bytes) {
                prop_assert!(may_begin(&bytes));
                prop_assert_eq!(encoded(&entry), bytes);
            }
        }

        #[test]
        fn every_flipped_bit_gives_another_entry_or_none(entry in any_entry()) {
            let bytes = encoded(&entry);
            for bit in 0..bytes.len() * 8 {
                let mut flipped = bytes.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                if let Ok(read) = decode(&flipped) {
                    prop_assert_eq!(encoded(&read), flipped);
                }
            }
        }
    }

    #[test]
    fn a_version_of_the_future_is_told_apart() {
        assert_eq!(decode(&[2, WALK_BEGAN]).map(drop), Err(CodecError::Version(2)));
    }

    #[test]
    fn a_small_message_costs_about_thirty_bytes() {
        let stamp = Stamp { time: 1_700_000_000, tag: 3 };
        let text = vec![b'x'; 100].into();
        let message = Message { id: 12, seq: 1 << 20, stamp, expires: 1_700_000_030, binary: false, text, event: None };
        let published = Published { channel: "a".into(), count: 12, stored: true, message: Arc::new(message) };
        assert!(encoded(&Entry::Publish(published)).len() <= 125);
    }
}
