//! What the tests of the log share: entries of any kind, a hub that is too simple to be wrong, a disk that fails on order.

mod crash;
mod faults;
mod power;
mod size;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use proptest::prelude::*;

use super::*;
use crate::model::{ChannelId, Durability, EventTags, Message, Stamp};

pub(super) fn published(channel: &str, seq: u64, text: &[u8]) -> Published {
    let stamp = Stamp { time: 1000, tag: seq as u32 };
    let message = Message { id: seq as i64, seq, stamp, expires: 1030, binary: false, text: text.into(), event: None };
    Published { channel: channel.into(), count: seq, stored: true, message: Arc::new(message) }
}

fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..12)
}

fn any_number() -> impl Strategy<Value = u64> {
    prop_oneof![0..3u64, 126..130u64, any::<u64>(), Just(u64::MAX)]
}

fn any_stamp() -> impl Strategy<Value = Stamp> {
    (any::<u32>(), 0..200u32).prop_map(|(time, tag)| Stamp { time, tag })
}

fn any_published() -> impl Strategy<Value = Published> {
    let name = || prop::option::of(any_bytes().prop_map(Vec::into_boxed_slice));
    let event = prop::option::of((name(), name()).prop_map(|(id, kind)| Arc::new(EventTags { id, kind })));
    let numbers = (any_number(), any_number(), any_number(), any_stamp(), any::<u32>());
    (numbers, event, any_bytes(), any_bytes(), any::<(bool, bool)>()).prop_map(
        |((count, id, seq, stamp, expires), event, channel, text, (stored, binary))| {
            let id = id.cast_signed();
            let message = Message { id, seq, stamp, expires, binary, text: text[..].into(), event };
            Published { channel: ChannelId::new(&channel), count, stored, message: Arc::new(message) }
        },
    )
}

/// Entries of all kinds.
pub(super) fn any_entry() -> impl Strategy<Value = Entry> {
    let mark = (any_bytes(), any_number(), any_number(), any_stamp(), any::<u32>(), any_number());
    let mark = mark.prop_map(|(channel, published, last_id, last, expires, first_seq)| {
        Entry::Channel(ChannelMark { channel: ChannelId::new(&channel), published, last_id, last, expires, first_seq })
    });
    let skipped = (any_number(), any::<u32>());
    let marks = (any::<u32>(), any_stamp(), any_number(), any_number(), skipped, any::<bool>());
    let marks = marks.prop_map(|(time, last, seq, published, (skipped, unknown_until), clean)| {
        Entry::Marks(Marks { time, last, seq, published, skipped, unknown_until, clean })
    });
    let gone = (any_bytes(), any_number());
    let gone = gone.prop_map(|(channel, seq)| Entry::Gone { channel: ChannelId::new(&channel), seq });
    let deleted = (any_bytes(), prop::option::of(any_bytes()));
    let deleted = deleted
        .prop_map(|(channel, text)| Entry::Deleted { channel: ChannelId::new(&channel), text: text.map(Into::into) });
    prop_oneof![
        1 => deleted,
        4 => any_published().prop_map(Entry::Publish),
        2 => any_published().prop_map(Entry::Kept),
        1 => gone,
        1 => mark,
        1 => marks,
        1 => Just(Entry::WalkBegan),
        1 => Just(Entry::WalkEnded),
    ]
}

/// An empty directory of this test's own.
pub(super) fn temporary(name: &str) -> PathBuf {
    let base = option_env!("CARGO_TARGET_TMPDIR").map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = base.join(format!("pushstreamd-log-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    dir
}

/// A hub that keeps texts by sequence number, a channel deletes or caps them, and nothing ever expires.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(super) struct Model {
    pub(super) channels: BTreeMap<Vec<u8>, ModelChannel>,
    pub(super) seq: u64,
    pub(super) time: u32,
    walk: Option<BTreeSet<Vec<u8>>>,
}

#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(super) struct ModelChannel {
    pub(super) published: u64,
    pub(super) messages: BTreeMap<u64, Vec<u8>>,
}

/// Messages a channel of the model keeps.
pub(super) const CAP: usize = 4;

impl Model {
    /// What a hub has to do with an entry, as the log demands it.
    pub(super) fn apply(&mut self, entry: &Entry) {
        let id = entry.channel().map(|id| id.as_bytes().to_vec());
        if let (Some(walk), Some(id)) = (&mut self.walk, &id)
            && !matches!(entry, Entry::Gone { .. })
        {
            walk.insert(id.clone());
        }
        match entry {
            Entry::Publish(published) if published.message.seq > self.seq => {
                self.seq = published.message.seq;
                let channel = self.channels.entry(id.unwrap()).or_default();
                channel.published = published.count;
                channel.store(published);
            }
            Entry::Publish(_) => {}
            Entry::Kept(published) => {
                self.seq = self.seq.max(published.message.seq);
                let channel = self.channels.entry(id.unwrap()).or_default();
                channel.published = channel.published.max(published.count);
                channel.store(published);
            }
            Entry::Gone { seq, .. } => {
                let id = id.unwrap();
                if let Some(channel) = self.channels.get_mut(&id) {
                    channel.messages.retain(|at, _| at > seq);
                    if channel.messages.is_empty() {
                        self.channels.remove(&id);
                    }
                }
            }
            Entry::Channel(mark) => {
                let channel = self.channels.entry(id.unwrap()).or_default();
                channel.published = mark.published;
                channel.messages.retain(|at, _| *at >= mark.first_seq);
            }
            Entry::Marks(marks) => {
                self.time = self.time.max(marks.time);
                self.seq = self.seq.max(marks.seq);
            }
            Entry::WalkBegan => self.walk = Some(BTreeSet::new()),
            Entry::Deleted { .. } => unreachable!("a disk is told that a channel is gone"),
            Entry::WalkEnded => {
                if let Some(walk) = self.walk.take() {
                    self.channels.retain(|id, _| walk.contains(id));
                }
            }
        }
    }
}

impl ModelChannel {
    fn store(&mut self, published: &Published) {
        if published.stored {
            self.messages.insert(published.message.seq, published.message.text.to_vec());
            while self.messages.len() > CAP {
                self.messages.pop_first();
            }
        }
    }
}

/// The model behind a lock and a queue, as the writer sees a hub.
pub(super) struct Serving {
    state: Mutex<(Model, Queue)>,
    /// The channels in order of creation.
    keys: Mutex<BTreeMap<u64, Vec<u8>>>,
}

impl Serving {
    pub(super) fn new(model: Model, most: usize) -> Arc<Self> {
        let keys = Mutex::new((1..).zip(model.channels.keys().cloned()).collect());
        Arc::new(Self { state: Mutex::new((model, Queue::new(most))), keys })
    }

    pub(super) fn model(&self) -> Model {
        self.state.lock().0.clone()
    }

    pub(super) fn publish(&self, channel: &str, stored: bool, text: &[u8]) -> u64 {
        let mut state = self.state.lock();
        let seq = state.0.seq + 1;
        if !state.0.channels.contains_key(channel.as_bytes()) {
            let mut keys = self.keys.lock();
            let key = keys.last_key_value().map_or(1, |(key, _)| key + 1);
            keys.insert(key, channel.as_bytes().to_vec());
        }
        let count = state.0.channels.get(channel.as_bytes()).map_or(0, |channel| channel.published) + 1;
        let entry = Entry::Publish(Published { count, stored, ..published(channel, seq, text) });
        state.0.apply(&entry);
        state.1.push(entry, seq);
        state.1.position()
    }

    pub(super) fn delete(&self, channel: &str) {
        let mut state = self.state.lock();
        let entry = Entry::Gone { channel: channel.into(), seq: state.0.seq };
        let seq = state.0.seq;
        self.keys.lock().retain(|_, id| id != channel.as_bytes());
        state.0.apply(&entry);
        state.1.push(entry, seq);
    }

    pub(super) fn set_time(&self, time: u32) {
        self.state.lock().0.time = time;
    }
}

fn mark_of(id: &[u8], channel: &ModelChannel, seq: u64) -> Entry {
    let first_seq = channel.messages.keys().next().copied().unwrap_or(seq + 1);
    let (last, published) = (Stamp::default(), channel.published);
    Entry::Channel(ChannelMark {
        channel: ChannelId::new(id),
        published,
        last_id: published,
        last,
        expires: 0,
        first_seq,
    })
}

fn kept(id: &[u8], count: u64, seq: u64, text: &[u8]) -> Entry {
    let channel = std::str::from_utf8(id).unwrap();
    Entry::Kept(Published { count, ..published(channel, seq, text) })
}

impl Memory for Serving {
    fn take(&self, into: &mut Vec<Entry>) -> Taken {
        let mut state = self.state.lock();
        let marks = Marks { time: state.0.time, seq: state.0.seq, ..Marks::default() };
        state.1.take(into, marks)
    }

    fn rings_for_entries(&self, bell: &Arc<Bell>) -> bool {
        self.state.lock().1.rings(bell)
    }

    fn keep(&self, old: &[Entry]) {
        let mut state = self.state.lock();
        let (model, queue) = &mut *state;
        for entry in old {
            let Some(id) = entry.channel() else { continue };
            let Some(channel) = model.channels.get(id.as_bytes()) else { continue };
            if let Entry::Publish(published) | Entry::Kept(published) = entry
                && let Some(text) = channel.messages.get(&published.message.seq)
            {
                queue.push_asked(kept(id.as_bytes(), channel.published, published.message.seq, text));
            }
            queue.push_asked(mark_of(id.as_bytes(), channel, model.seq));
        }
    }

    fn walk(&self, place: WalkPlace, from_seq: u64) -> Option<WalkPlace> {
        let mut state = self.state.lock();
        let (model, queue) = &mut *state;
        let mut last = None;
        // Two channels a page.
        for (&key, id) in self.keys.lock().range(place.channel + 1..).take(2) {
            last = Some(WalkPlace { channel: key, seq: None });
            let channel = &model.channels[id];
            queue.push_asked(mark_of(id, channel, model.seq));
            for (&seq, text) in channel.messages.range(from_seq..) {
                queue.push_asked(kept(id, channel.published, seq, text));
            }
        }
        last
    }

    fn live_bytes(&self) -> u64 {
        let state = self.state.lock();
        let messages =
            |channel: &ModelChannel| channel.messages.values().map(|text| text.len() as u64 + 60).sum::<u64>();
        state.0.channels.values().map(|channel| messages(channel) + 60).sum()
    }
}
