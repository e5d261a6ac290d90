//! The stored messages of one channel, oldest first, and the choice of those a subscriber has missed.
//!
//! It does not know caps, budgets or the time. Sequence numbers and stamps grow from front to back. Expiry times do too within a
//! run; a ttl that a reload made shorter begins a new run. Nothing here takes time in proportion to the messages stored.

use std::collections::{BTreeSet, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use crate::model::{EventTags, Message, Replay};

/// Bytes one stored message takes besides its text and event names: the message, its count of references, its place in
/// the backlog and what the allocator adds to each.
pub(super) const MESSAGE_OVERHEAD: u64 = 136;

/// Most runs of one channel: as many reloads with a shorter ttl each, while messages of the longer ones live.
const MOST_RUNS: usize = 8;

/// Bytes an event id takes besides itself: its place in the index.
const EVENT_OVERHEAD: u64 = 32;

/// Bytes a stored message is taken to occupy. Text that several messages share counts with each.
pub(super) fn message_cost(text: usize, event: Option<&EventTags>) -> u64 {
    let length = |name: Option<&Box<[u8]>>| name.map_or(0, |name| name.len() as u64);
    let id = event.and_then(|event| event.id.as_ref());
    let kind = event.and_then(|event| event.kind.as_ref());
    MESSAGE_OVERHEAD + text as u64 + length(kind) + length(id) + id.map_or(0, |_| EVENT_OVERHEAD)
}

fn cost(message: &Message) -> u64 {
    message_cost(message.text.len(), message.event.as_deref())
}

/// Messages whose sequence numbers, stamps and expiry times all grow.
type Run = VecDeque<Arc<Message>>;

/// The stored messages of a channel.
#[derive(Default)]
pub(super) struct Backlog {
    /// The oldest run; all there is, for most channels.
    oldest: Run,
    bytes: u64,
    rare: Option<Box<Rare>>,
}

/// What most channels do without.
#[derive(Default)]
struct Rare {
    /// The runs after the oldest one, none of them empty.
    later: VecDeque<Run>,
    /// Where event ids stand.
    events: Option<EventIndex>,
}

/// Hash of event id and sequence number of each message that has one: the first message of an id is found whatever is stored.
#[derive(Default)]
struct EventIndex {
    entries: BTreeSet<(u64, u64)>,
    hasher: RandomState,
}

impl Backlog {
    pub(super) fn len(&self) -> usize {
        self.runs().map(VecDeque::len).sum()
    }

    /// Bytes the stored messages are taken to occupy.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// When a message that is to expire at `expires` really will, if it is pushed next: later than that only after very many reloads.
    pub(super) fn settled(&self, expires: u32) -> u32 {
        let runs = 1 + self.rare.as_ref().map_or(0, |rare| rare.later.len());
        if runs < MOST_RUNS { expires } else { expires.max(self.newest().map_or(0, |newest| newest.expires)) }
    }

    pub(super) fn push(&mut self, message: Arc<Message>) {
        self.bytes += cost(&message);
        if let Some(id) = message.event_id() {
            self.rare.get_or_insert_default().events.get_or_insert_default().add(id, message.seq);
        }
        let begins = self.newest().is_some_and(|newest| newest.expires > message.expires);
        let rare = self.rare.as_mut().map(|rare| &mut rare.later);
        match (begins, rare.and_then(VecDeque::back_mut)) {
            (true, _) => self.rare.get_or_insert_default().later.push_back(Run::from([message])),
            (false, Some(run)) => run.push_back(message),
            (false, None) => self.oldest.push_back(message),
        }
    }

    /// Takes the oldest message out.
    pub(super) fn pop_oldest(&mut self) -> Option<Arc<Message>> {
        self.pop(0)
    }

    /// Takes out the message that expires first (of several, the oldest).
    pub(super) fn pop_earliest(&mut self) -> Option<Arc<Message>> {
        self.pop(self.earliest_run()?)
    }

    /// Expiry second and sequence number of the message that expires first.
    pub(super) fn earliest(&self) -> Option<(u32, u64)> {
        let message = self.runs().nth(self.earliest_run()?)?.front()?;
        Some((message.expires, message.seq))
    }

    fn earliest_run(&self) -> Option<usize> {
        if self.rare.is_none() {
            return (!self.oldest.is_empty()).then_some(0);
        }
        let fronts = self.runs().enumerate().filter_map(|(place, run)| Some((run.front()?, place)));
        fronts.min_by_key(|(message, _)| (message.expires, message.seq)).map(|(_, place)| place)
    }

    /// Takes out the first message of a run.
    fn pop(&mut self, place: usize) -> Option<Arc<Message>> {
        let later = self.rare.as_mut().map(|rare| &mut rare.later);
        let run = match place.checked_sub(1) {
            None => &mut self.oldest,
            Some(place) => later?.get_mut(place)?,
        };
        let message = run.pop_front()?;
        // A channel that was busy once must not keep the room of its busiest hour.
        if run.capacity() > 16 && run.len() * 4 < run.capacity() {
            run.shrink_to(run.len() * 2);
        }
        let emptied = run.is_empty();
        self.bytes = self.bytes.saturating_sub(cost(&message));
        if let Some(rare) = &mut self.rare {
            if let (Some(id), Some(events)) = (message.event_id(), &mut rare.events) {
                events.remove(id, message.seq);
            }
            if emptied {
                match place.checked_sub(1) {
                    None => self.oldest = rare.later.pop_front().unwrap_or_default(),
                    Some(place) => drop(rare.later.remove(place)),
                }
            }
            if rare.later.is_empty() && rare.events.as_ref().is_none_or(|events| events.entries.is_empty()) {
                self.rare = None;
            }
        }
        Some(message)
    }

    fn runs(&self) -> impl Iterator<Item = &Run> {
        std::iter::once(&self.oldest).chain(self.rare.iter().flat_map(|rare| &rare.later))
    }

    /// The youngest message.
    pub(super) fn newest(&self) -> Option<&Arc<Message>> {
        let later = self.rare.as_ref().and_then(|rare| rare.later.back());
        later.unwrap_or(&self.oldest).back()
    }

    /// The messages from a sequence number on.
    pub(super) fn starting_at(&self, seq: u64) -> impl Iterator<Item = &Arc<Message>> {
        self.runs().flat_map(move |run| run.range(run.partition_point(|message| message.seq < seq)..))
    }

    /// The messages before a sequence number, newest first.
    pub(super) fn backwards(&self, before: u64) -> impl Iterator<Item = &Arc<Message>> {
        let count = before.checked_sub(1).map_or(0, |until| self.count_until(until));
        (0..count).rev().filter_map(|place| self.at(place))
    }

    /// The last message up to a sequence number.
    pub(super) fn last_until(&self, until: u64) -> Option<&Arc<Message>> {
        self.at(self.count_until(until).checked_sub(1)?)
    }

    /// Sequence number of the first message up to `until` that a subscriber of this channel has missed; all after it were
    /// missed too.
    ///
    /// A backtrack goes before the replay values; without either nothing is missed.
    pub(super) fn first_missed(&self, backtrack: u32, replay: &Replay, until: u64) -> Option<u64> {
        let first = if backtrack > 0 {
            self.at(self.count_until(until).saturating_sub(backtrack as usize))
        } else {
            self.after_what_was_received(replay)
        };
        first.map(|message| message.seq).filter(|seq| *seq <= until)
    }

    /// The first message after the one the client names.
    fn after_what_was_received(&self, replay: &Replay) -> Option<&Arc<Message>> {
        let by_stamp = replay.time.filter(|time| *time >= 0).and_then(|time| self.at_or_after(time, replay.tag));
        if let Some(wanted) = &replay.event_id {
            let found = self.event(wanted);
            if let Some(seq) = found.filter(|seq| by_stamp.is_none_or(|first| *seq <= first.seq)) {
                return self.starting_at(seq + 1).next();
            }
        }
        let first = by_stamp?;
        let (time, tag) = (i64::from(first.stamp.time), i64::from(first.stamp.tag));
        let last_received = replay.time == Some(time) && replay.tag == Some(tag);
        if last_received { self.starting_at(first.seq + 1).next() } else { by_stamp }
    }

    /// The sequence number of the first message with an event id.
    pub(super) fn event(&self, id: &[u8]) -> Option<u64> {
        let events = self.rare.as_ref()?.events.as_ref()?;
        events.seqs(id).find(|seq| self.with_seq(*seq).is_some_and(|message| message.event_id() == Some(id)))
    }

    /// The first message at or after a stamp; without a tag the messages of that second count as received.
    fn at_or_after(&self, time: i64, tag: Option<i64>) -> Option<&Arc<Message>> {
        let tag = tag.filter(|tag| *tag >= 0);
        self.at(self.count(|message| {
            let at = i64::from(message.stamp.time);
            at < time || (at == time && tag.is_none_or(|tag| i64::from(message.stamp.tag) < tag))
        }))
    }

    /// The message with a sequence number.
    pub(super) fn with_seq(&self, seq: u64) -> Option<&Arc<Message>> {
        self.starting_at(seq).next().filter(|message| message.seq == seq)
    }

    /// How many messages there are up to a sequence number.
    fn count_until(&self, until: u64) -> usize {
        self.count(|message| message.seq <= until)
    }

    /// How many messages come before the first that is not `early`; all early ones stand before all others.
    fn count(&self, early: impl Fn(&Message) -> bool) -> usize {
        let mut count = 0;
        for run in self.runs() {
            if run.back().is_some_and(|last| !early(last)) {
                return count + run.partition_point(|message| early(message));
            }
            count += run.len();
        }
        count
    }

    /// The message at a place, counted from the oldest.
    fn at(&self, mut place: usize) -> Option<&Arc<Message>> {
        for run in self.runs() {
            match run.get(place) {
                Some(message) => return Some(message),
                None => place -= run.len(),
            }
        }
        None
    }
}

impl EventIndex {
    fn add(&mut self, id: &[u8], seq: u64) {
        self.entries.insert((self.hasher.hash_one(id), seq));
    }

    fn remove(&mut self, id: &[u8], seq: u64) {
        self.entries.remove(&(self.hasher.hash_one(id), seq));
    }

    /// Where an id may stand, the oldest place first.
    fn seqs(&self, id: &[u8]) -> impl Iterator<Item = u64> {
        let hash = self.hasher.hash_one(id);
        self.entries.range((hash, 0)..=(hash, u64::MAX)).map(|&(_, seq)| seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Stamp;
    use proptest::prelude::*;

    fn message(seq: u64, time: u32, tag: u32, event: Option<&str>, expires: u32) -> Arc<Message> {
        let event = event.map(|id| Arc::new(EventTags { id: Some(id.as_bytes().into()), kind: None }));
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
        let first = backlog.first_missed(backtrack, replay, u64::MAX);
        first.into_iter().flat_map(|seq| backlog.starting_at(seq)).map(|m| m.id).collect()
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
        fn messages_expire_in_order_after_any_change_of_ttl(
            ttls in prop::collection::vec((0u32..2, 1u32..40), 1..60),
            drops in prop::collection::vec(any::<bool>(), 0..60),
        ) {
            let mut b = Backlog::default();
            let mut model: Vec<(u32, u64)> = Vec::new();
            let mut drops = drops.into_iter();
            for (n, (step, ttl)) in ttls.into_iter().enumerate() {
                let wanted = 100 + n as u32 * step + ttl;
                let expires = b.settled(wanted);
                prop_assert!(expires >= wanted && b.runs().count() <= MOST_RUNS);
                b.push(message(n as u64 + 1, 10 + n as u32, 1, Some("e"), expires));
                model.push((expires, n as u64 + 1));
                match drops.next() {
                    Some(true) => prop_assert_eq!(b.pop_oldest().map(|m| m.seq), Some(model.remove(0).1)),
                    Some(false) => {
                        let first = *model.iter().min().unwrap();
                        prop_assert_eq!(b.earliest(), Some(first));
                        model.retain(|entry| *entry != first);
                        prop_assert_eq!(b.pop_earliest().map(|m| m.seq), Some(first.1));
                    }
                    None => {}
                }
                prop_assert_eq!(b.starting_at(0).map(|m| m.seq).collect::<Vec<_>>(), model.iter().map(|e| e.1).collect::<Vec<_>>());
                prop_assert_eq!((b.len(), b.earliest()), (model.len(), model.iter().min().copied()));
                let second = model.get(1).map(|entry| entry.1);
                prop_assert_eq!(b.first_missed(0, &event("e"), u64::MAX), second);
            }
        }

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
