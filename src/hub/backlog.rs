//! The stored messages of one channel, oldest first, and the choice of those a subscriber has missed.
//!
//! It does not know caps, budgets or the time. Sequence numbers and stamps grow from front to back; expiry times do too
//! unless a reload made the ttl shorter, which `disordered` tells.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::model::{Message, Replay};

/// Bytes one stored message takes besides its text and event names: the message, its count of references, its place in
/// the backlog and what the allocator adds to each.
pub(super) const MESSAGE_OVERHEAD: u64 = 120;

/// Bytes a stored message is taken to occupy.
pub(super) fn message_cost(text: usize, event_bytes: usize) -> u64 {
    MESSAGE_OVERHEAD + text as u64 + event_bytes as u64
}

fn cost(message: &Message) -> u64 {
    let event = message.event_id().map_or(0, <[u8]>::len) + message.event_type().map_or(0, <[u8]>::len);
    message_cost(message.text.len(), event)
}

/// The stored messages of a channel.
#[derive(Default)]
pub(super) struct Backlog {
    messages: VecDeque<Arc<Message>>,
    bytes: u64,
    /// Whether a message may expire before an older one.
    disordered: bool,
}

impl Backlog {
    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    /// Bytes the stored messages are taken to occupy.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn push(&mut self, message: Arc<Message>) {
        self.disordered |= self.messages.back().is_some_and(|last| last.expires > message.expires);
        self.bytes += cost(&message);
        self.messages.push_back(message);
    }

    /// Takes the oldest message out.
    pub(super) fn pop_oldest(&mut self) -> Option<Arc<Message>> {
        self.remove(0)
    }

    /// Takes out the message that expires first (of several, the oldest).
    pub(super) fn pop_earliest(&mut self) -> Option<Arc<Message>> {
        self.remove(self.earliest_index()?)
    }

    /// Expiry second and sequence number of the message that expires first.
    pub(super) fn earliest(&self) -> Option<(u32, u64)> {
        let message = self.messages.get(self.earliest_index()?)?;
        Some((message.expires, message.seq))
    }

    fn earliest_index(&self) -> Option<usize> {
        if !self.disordered {
            return (!self.messages.is_empty()).then_some(0);
        }
        (0..self.messages.len()).min_by_key(|&index| self.messages.get(index).map(|m| (m.expires, m.seq)))
    }

    fn remove(&mut self, index: usize) -> Option<Arc<Message>> {
        let message = self.messages.remove(index)?;
        self.bytes = self.bytes.saturating_sub(cost(&message));
        if self.messages.is_empty() {
            self.disordered = false;
        }
        // A channel that was busy once must not keep the room of its busiest hour.
        if self.messages.capacity() > 16 && self.messages.len() * 4 < self.messages.capacity() {
            self.messages.shrink_to(self.messages.len() * 2);
        }
        Some(message)
    }

    /// The messages a subscriber of this channel has missed, oldest first.
    ///
    /// A backtrack goes before the replay values; without either nothing is missed.
    pub(super) fn missed(&self, backtrack: u32, replay: &Replay) -> impl Iterator<Item = &Arc<Message>> {
        let start = if backtrack > 0 {
            self.messages.len().saturating_sub(backtrack as usize)
        } else {
            self.resume_index(replay)
        };
        self.messages.range(start.min(self.messages.len())..)
    }

    /// Index of the first message after the one the client names; the length of the backlog if it names none.
    fn resume_index(&self, replay: &Replay) -> usize {
        let by_stamp = replay.time.filter(|time| *time >= 0).map(|time| self.at_or_after(time, replay.tag));
        let first = by_stamp.unwrap_or(self.messages.len());
        if let Some(wanted) = &replay.event_id {
            let named = |message: &Arc<Message>| message.event_id() == Some(wanted);
            if let Some(found) = self.messages.iter().take(first.saturating_add(1)).position(named) {
                return found + 1;
            }
        }
        let last_received = |message: &&Arc<Message>| {
            replay.time == Some(i64::from(message.stamp.time)) && replay.tag == Some(i64::from(message.stamp.tag))
        };
        if self.messages.get(first).as_ref().is_some_and(last_received) { first + 1 } else { first }
    }

    /// Index of the first message at or after a stamp; without a tag the messages of that second count as received.
    fn at_or_after(&self, time: i64, tag: Option<i64>) -> usize {
        let tag = tag.filter(|tag| *tag >= 0);
        self.messages.partition_point(|message| {
            let at = i64::from(message.stamp.time);
            at < time || (at == time && tag.is_none_or(|tag| i64::from(message.stamp.tag) < tag))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{EventTags, Stamp};
    use proptest::prelude::*;

    fn message(seq: u64, time: u32, tag: u32, event: Option<&str>, expires: u32) -> Arc<Message> {
        let event = event.map(|id| Box::new(EventTags { id: Some(id.as_bytes().into()), kind: None }));
        let stamp = Stamp { time, tag };
        Arc::new(Message { id: seq as i64, seq, stamp, expires, binary: false, text: (*b"x").into(), event })
    }

    fn backlog(messages: &[(u32, u32, Option<&str>)]) -> Backlog {
        let mut backlog = Backlog::default();
        for (n, &(time, tag, event)) in messages.iter().enumerate() {
            backlog.push(message(n as u64 + 1, time, tag, event, time + 10));
        }
        backlog
    }

    fn missed(backlog: &Backlog, backtrack: u32, replay: &Replay) -> Vec<i64> {
        backlog.missed(backtrack, replay).map(|m| m.id).collect()
    }

    fn since(time: i64, tag: Option<i64>) -> Replay {
        Replay { time: Some(time), tag, event_id: None }
    }

    fn event(id: &str) -> Replay {
        Replay { event_id: Some(id.as_bytes().into()), ..Replay::default() }
    }

    const NONE: &[i64] = &[];

    #[test]
    fn history_follows_the_table_of_the_protocol() {
        // Two messages in second 10, three in 11, one in 12.
        let b = backlog(&[(10, 1, None), (10, 2, None), (11, 1, None), (11, 2, None), (11, 3, None), (12, 1, None)]);
        for (backtrack, replay, expected) in [
            (0, Replay::default(), NONE),
            (0, since(0, None), &[1, 2, 3, 4, 5, 6]),
            (0, since(10, None), &[3, 4, 5, 6]),
            (0, since(11, None), &[6]),
            (0, since(11, Some(0)), &[3, 4, 5, 6]),
            (0, since(11, Some(1)), &[4, 5, 6]),
            (0, since(11, Some(3)), &[6]),
            (0, since(11, Some(9)), &[6]),
            (0, since(11, Some(-1)), &[6]),
            (0, since(12, Some(1)), NONE),
            (0, since(72, None), NONE),
            (0, since(-5, None), NONE),
            (0, Replay { tag: Some(1), ..Replay::default() }, NONE),
            (1, since(10, None), &[6]),
            (4, Replay::default(), &[3, 4, 5, 6]),
            (u32::MAX, Replay::default(), &[1, 2, 3, 4, 5, 6]),
        ] {
            assert_eq!(missed(&b, backtrack, &replay), expected, "{backtrack} {replay:?}");
        }
    }

    #[test]
    fn an_event_id_starts_after_its_first_message_or_at_the_stamp_whichever_comes_first() {
        let b = backlog(&[(10, 1, Some("a")), (10, 2, Some("b")), (11, 1, Some("b")), (12, 1, Some(""))]);
        let both = |id: &str, time, tag| Replay { time: Some(time), tag, ..event(id) };
        for (replay, expected) in [
            (event("a"), &[2, 3, 4][..]),
            (event("b"), &[3, 4]),
            (event(""), NONE),
            (event("nobody"), NONE),
            (both("nobody", 11, Some(0)), &[3, 4]),
            (both("b", 0, None), &[1, 2, 3, 4]),
            (both("b", 11, Some(1)), &[3, 4]),
            (both("a", 9, None), &[2, 3, 4]),
        ] {
            assert_eq!(missed(&b, 0, &replay), expected, "{replay:?}");
        }
    }

    #[test]
    fn an_older_message_that_lives_longer_does_not_hide_a_younger_one_that_expired() {
        let mut b = Backlog::default();
        b.push(message(1, 10, 1, None, 1000));
        b.push(message(2, 11, 1, None, 20));
        b.push(message(3, 12, 1, None, 21));
        assert_eq!(b.earliest(), Some((20, 2)));
        assert_eq!(b.pop_earliest().map(|m| m.id), Some(2));
        assert_eq!(b.earliest(), Some((21, 3)));
        b.pop_earliest();
        assert_eq!(b.earliest(), Some((1000, 1)));
        assert_eq!(b.bytes(), MESSAGE_OVERHEAD + 1);
        b.pop_oldest();
        assert_eq!((b.earliest(), b.bytes(), b.len()), (None, 0, 0));
    }

    /// The rule of the protocol, word by word.
    fn naive(messages: &[Arc<Message>], backtrack: u32, replay: &Replay) -> Vec<i64> {
        if backtrack > 0 {
            let skip = messages.len().saturating_sub(backtrack as usize);
            return messages.iter().skip(skip).map(|m| m.id).collect();
        }
        let time = replay.time.unwrap_or(-1);
        let tag = replay.tag.unwrap_or(-1);
        let mut started = false;
        let mut out = Vec::new();
        for m in messages {
            if !started && replay.event_id.is_some() && m.event_id() == replay.event_id.as_deref() {
                started = true;
                continue;
            }
            let (at, at_tag) = (i64::from(m.stamp.time), i64::from(m.stamp.tag));
            if !started && time >= 0 && (at > time || (at == time && tag >= 0 && at_tag >= tag)) {
                started = true;
                if at == time && at_tag == tag {
                    continue;
                }
            }
            if started {
                out.push(m.id);
            }
        }
        out
    }

    proptest! {
        #[test]
        fn missed_is_what_the_rule_says(
            steps in prop::collection::vec((0u32..3, prop::option::of(0u8..3)), 0..12),
            backtrack in 0u32..4,
            time in prop::option::of(-1i64..16),
            tag in prop::option::of(-1i64..6),
            wanted in prop::option::of(0u8..3),
        ) {
            let mut b = Backlog::default();
            let mut all = Vec::new();
            let (mut now, mut next_tag) = (5, 0);
            for (n, (step, event)) in steps.into_iter().enumerate() {
                next_tag = if step == 0 { next_tag + 1 } else { 1 };
                now += step;
                let m = message(n as u64 + 1, now, next_tag, event.map(|e| ["a", "b", "c"][e as usize]), now + 5);
                all.push(Arc::clone(&m));
                b.push(m);
            }
            let event_id = wanted.map(|e| ["a", "b", "c"][e as usize].as_bytes().into());
            let replay = Replay { time, tag, event_id };
            prop_assert_eq!(missed(&b, backtrack, &replay), naive(&all, backtrack, &replay));
        }
    }
}
