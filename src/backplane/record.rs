//! An entry as it stands in the stream: what the script has given it, then what the node has made of it.
//!
//! `NUMBER EPOCH P TIME TAG COUNT ID EXPIRES NODE OPERATION LENGTH\n`, the channel and the codec's bytes of the message without what the script
//! gives; `NUMBER EPOCH D TIME TAG NODE OPERATION LENGTH\n`, the same of a deletion; `NUMBER EPOCH M TIME TAG PUBLISHED\n`, the time; `NUMBER EPOCH
//! E TIME TAG COUNT SKIPPED ZONE BEFORE\n`, that another server process goes on behind the epoch BEFORE. Any bytes may be read: what is none of
//! these is an error.

use std::sync::Arc;

use thiserror::Error;

use crate::log::{self, CodecError, Entry, Marks, Published};
use crate::model::{ChannelId, Draft, Message, Stamp};

/// Why bytes are no entry of a stream.
#[derive(Debug, Error)]
pub(super) enum RecordError {
    /// Their head says nothing that is known.
    #[error("an entry that cannot be read")]
    Head,
    /// What follows is not what the codec writes.
    #[error("a message that cannot be read: {0}")]
    Body(#[from] CodecError),
}

/// An entry of the stream.
#[derive(Debug)]
pub(super) struct Record {
    /// Counted from 1 without a gap; 0 in what is stored with a channel.
    pub(super) number: u64,
    /// The name of its epoch.
    pub(super) epoch: Box<str>,
    /// The last stamp of the zone then.
    pub(super) stamp: Stamp,
    /// What it says.
    pub(super) what: What,
}

/// What an entry says.
#[derive(Debug)]
pub(super) enum What {
    /// A change, and who has asked for it.
    Change(Entry, Origin),
    /// The time.
    Time(Marks),
    /// Another server process goes on.
    Epoch(Epoch),
}

/// An operation of a node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Origin {
    pub(super) node: Box<str>,
    pub(super) number: u64,
}

/// The life of one server process.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Epoch {
    pub(super) number: u64,
    pub(super) skipped: u64,
    /// Names the zone since it was last begun from nothing.
    pub(super) zone: Box<str>,
    /// The epoch before it; `-`: none.
    pub(super) before: Box<str>,
}

/// The place of a stamp in the order of all messages: it grows as stamps grow, and is the same on every node.
pub(super) fn seq(stamp: Stamp) -> u64 {
    (u64::from(stamp.time) << 32) | u64::from(stamp.tag)
}

/// What the codec writes of a message before it has a place.
pub(super) fn message_payload(draft: Draft) -> Vec<u8> {
    let Draft { text, event, store, binary, at: _ } = draft;
    let message = Message { id: 0, seq: 0, stamp: Stamp::default(), expires: 0, binary, text, event };
    let published = Published { channel: ChannelId::new(b""), count: 0, stored: store, message: Arc::new(message) };
    encoded(&Entry::Publish(published))
}

/// What the codec writes of a deletion.
pub(super) fn deletion_payload(text: Option<Box<[u8]>>) -> Vec<u8> {
    encoded(&Entry::Deleted { channel: ChannelId::new(b""), text })
}

fn encoded(entry: &Entry) -> Vec<u8> {
    let mut out = Vec::new();
    log::encode(entry, &mut out);
    out
}

impl Record {
    /// The entry that these bytes are.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, RecordError> {
        let end = memchr::memchr(b'\n', bytes).ok_or(RecordError::Head)?;
        let (head, body) = bytes.split_at_checked(end).ok_or(RecordError::Head)?;
        let mut words = Words(std::str::from_utf8(head).map_err(|_| RecordError::Head)?.split(' '));
        let number = words.number()?;
        let epoch = words.word()?.into();
        let kind = words.word()?;
        let stamp = Stamp { time: words.number()?, tag: words.number()? };
        let body = body.get(1..).unwrap_or_default();
        let what = match kind {
            "P" => {
                let (count, id, expires) = (words.number()?, words.number()?, words.number()?);
                let (origin, channel, payload) = words.origin(body)?;
                let Entry::Publish(Published { stored, message, .. }) = log::decode(payload)? else {
                    return Err(RecordError::Head);
                };
                let draft = Arc::try_unwrap(message).map_err(|_| RecordError::Head)?;
                let message = Arc::new(Message { id, seq: seq(stamp), stamp, expires, ..draft });
                What::Change(Entry::Publish(Published { channel, count, stored, message }), origin)
            }
            "D" => {
                let (origin, channel, payload) = words.origin(body)?;
                let Entry::Deleted { text, .. } = log::decode(payload)? else { return Err(RecordError::Head) };
                What::Change(Entry::Deleted { channel, text }, origin)
            }
            "M" => What::Time(marks(stamp, words.number()?)),
            "E" => {
                let (number, skipped) = (words.number()?, words.number()?);
                What::Epoch(Epoch { number, skipped, zone: words.word()?.into(), before: words.word()?.into() })
            }
            _ => return Err(RecordError::Head),
        };
        Ok(Self { number, epoch, stamp, what })
    }
}

/// That no stamp up to this one will be given again.
pub(super) fn marks(stamp: Stamp, published: u64) -> Marks {
    Marks { time: stamp.time, last: stamp, seq: seq(stamp), published, ..Marks::default() }
}

/// The words of a head.
struct Words<'a>(std::str::Split<'a, char>);

impl<'a> Words<'a> {
    fn word(&mut self) -> Result<&'a str, RecordError> {
        self.0.next().filter(|word| !word.is_empty()).ok_or(RecordError::Head)
    }

    fn number<T: std::str::FromStr>(&mut self) -> Result<T, RecordError> {
        self.word()?.parse().map_err(|_| RecordError::Head)
    }

    /// Who asked for it, the channel, and the bytes of the codec.
    fn origin<'b>(&mut self, body: &'b [u8]) -> Result<(Origin, ChannelId, &'b [u8]), RecordError> {
        let origin = Origin { node: self.word()?.into(), number: self.number()? };
        let (channel, payload) = body.split_at_checked(self.number()?).ok_or(RecordError::Head)?;
        Ok((origin, ChannelId::new(channel), payload))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::EventTags;

    #[test]
    fn a_message_is_read_with_what_the_script_gave_it() {
        let event = Some(Arc::new(EventTags { id: Some((*b"e").into()), kind: None }));
        let draft = Draft { text: (*b"a\nb\0").into(), event, store: true, binary: true, ..Draft::default() };
        let bytes = [b"7 x P 100 2 5 10005 130 n1 42 3\n".as_slice(), b"c\nd", &message_payload(draft)].concat();
        let record = Record::read(&bytes).unwrap();
        assert_eq!((record.number, record.stamp), (7, Stamp { time: 100, tag: 2 }));
        let What::Change(Entry::Publish(published), origin) = record.what else { panic!() };
        assert_eq!((&*origin.node, origin.number), ("n1", 42));
        assert_eq!((published.channel.as_bytes(), published.count, published.stored), (&b"c\nd"[..], 5, true));
        let message = published.message;
        assert_eq!((message.id, message.seq, message.expires), (10005, (100 << 32) | 2, 130));
        assert!(message.binary && message.event_id() == Some(b"e") && *message.text == *b"a\nb\0");
    }

    #[test]
    fn deletions_times_and_epochs_are_read() {
        let bytes = [b"1 x D 9 0 n 3 1\nc".as_slice(), &deletion_payload(Some((*b"bye").into()))].concat();
        let What::Change(Entry::Deleted { channel, text }, _) = Record::read(&bytes).unwrap().what else { panic!() };
        assert_eq!((channel.as_bytes(), text.as_deref()), (&b"c"[..], Some(&b"bye"[..])));
        let What::Time(marks) = Record::read(b"2 x M 9 4 77\n").unwrap().what else { panic!() };
        assert_eq!((marks.time, marks.last, marks.published), (9, Stamp { time: 9, tag: 4 }, 77));
        let What::Epoch(epoch) = Record::read(b"3 y E 9 4 2 10000 z x\n").unwrap().what else { panic!() };
        assert_eq!(epoch, Epoch { number: 2, skipped: 10000, zone: "z".into(), before: "x".into() });
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(
            head in "[0-9PDME a-z-]{0,40}",
            body in prop::collection::vec(any::<u8>(), 0..60),
        ) {
            let _ = Record::read(&[head.as_bytes(), b"\n", &body].concat());
            let _ = Record::read(&body);
        }
    }
}
