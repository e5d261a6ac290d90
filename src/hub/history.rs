//! What a subscriber has missed, handed out a page at a time.
//!
//! It does not know who takes the pages, nor how fast. A history holds no message but those of the page that was read and not
//! taken; it remembers where it is in each channel, so that a slow reader keeps nothing alive: what is dropped before it gets
//! there it does not see, as if it had asked later. Under the lock a page costs what a page holds, whatever is stored.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::sync::Arc;

use super::registry::ChannelKey;
use super::slab::Slot;
use super::zone::ZoneState;
use crate::model::{ChannelId, Message};

/// Most messages in a page; few in tests, that their histories have several.
const PAGE: usize = if cfg!(test) { 5 } else { 128 };
/// Bytes of text at which a page is complete.
const PAGE_BYTES: usize = 128 * 1024;

/// Messages that a subscriber has missed, in the order they are to be sent: in order of publish, or (the module's way) channel
/// after channel. [`super::Hub::history_page`] takes them out.
#[derive(Debug, Default)]
pub struct History {
    /// Read already, taken next.
    page: Vec<Missed>,
    /// Where to go on in each channel that has more.
    readings: BinaryHeap<Reading>,
    /// Whether channels are read side by side.
    merged: bool,
}

/// A message that was missed and its channel.
#[derive(Clone, Debug)]
pub struct Missed {
    /// The channel.
    pub channel: ChannelId,
    /// The message.
    pub message: Arc<Message>,
}

/// The place of a history in one channel.
#[derive(Debug)]
struct Reading {
    slot: Slot,
    key: ChannelKey,
    id: ChannelId,
    /// Place of the channel in the request.
    place: usize,
    /// Sequence number of the next message.
    next: u64,
    /// Sequence number after which all is news.
    until: u64,
    merged: bool,
}

impl History {
    pub(super) fn new(merged: bool) -> Self {
        Self { merged, ..Self::default() }
    }

    /// Whether nothing is left; nothing was missed if that is so from the beginning.
    pub fn is_empty(&self) -> bool {
        self.page.is_empty() && self.readings.is_empty()
    }

    /// Memory that its places in channels take.
    pub fn state(&self) -> usize {
        self.readings.capacity() * size_of::<Reading>()
    }

    /// Adds messages of a channel: from sequence number `next` up to `until`.
    pub(super) fn add(&mut self, (slot, key): (Slot, ChannelKey), id: &ChannelId, place: usize, next: u64, until: u64) {
        self.readings.push(Reading { slot, key, id: id.clone(), place, next, until, merged: self.merged });
    }

    /// The page that was read; `None` if one must be read first.
    pub(super) fn take_page(&mut self) -> Option<Vec<Missed>> {
        let there = !self.page.is_empty() || self.readings.is_empty();
        there.then(|| std::mem::take(&mut self.page))
    }
}

impl Reading {
    /// What is read first has the lesser rank.
    fn rank(&self) -> (u64, usize) {
        (if self.merged { self.next } else { 0 }, self.place)
    }
}

impl Ord for Reading {
    fn cmp(&self, other: &Self) -> Ordering {
        other.rank().cmp(&self.rank())
    }
}

impl PartialOrd for Reading {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Eq for Reading {}

impl PartialEq for Reading {
    fn eq(&self, other: &Self) -> bool {
        self.rank() == other.rank()
    }
}

impl ZoneState {
    /// A page of stored messages backwards, and whether there are more.
    pub(super) fn newest(&self, channel: ChannelKey, before: u64) -> Option<(Vec<Arc<Message>>, bool)> {
        let channel = self.registry.get(self.registry.find_key(channel)?)?;
        let (mut page, mut bytes) = (Vec::new(), 0);
        for message in channel.backlog.backwards(before) {
            if page.len() == PAGE || bytes >= PAGE_BYTES {
                return Some((page, true));
            }
            bytes += message.text.len();
            page.push(Arc::clone(message));
        }
        Some((page, false))
    }

    /// Reads messages into the page until it is complete; channels that went meanwhile have nothing left to read.
    pub(super) fn read_page(&self, history: &mut History) {
        let (mut messages, mut bytes) = (PAGE.saturating_sub(history.page.len()), PAGE_BYTES);
        // Each look at a channel counts, lest many that are empty by now make one page last long.
        let mut looks = PAGE;
        while messages > 0 && bytes > 0 && looks > 0 {
            let Some(mut reading) = history.readings.pop() else { return };
            looks -= 1;
            let channel = self.registry.get(reading.slot).filter(|channel| channel.key == reading.key);
            let Some(channel) = channel else { continue };
            // Up to where this channel is read before it is another's turn.
            let turn =
                history.readings.peek().map_or(u64::MAX, |next| if history.merged { next.next } else { u64::MAX });
            let until = reading.until;
            for message in channel.backlog.starting_at(reading.next).take_while(|message| message.seq <= until) {
                if message.seq > turn || messages == 0 || bytes == 0 {
                    reading.next = message.seq;
                    history.readings.push(reading);
                    break;
                }
                messages -= 1;
                bytes = bytes.saturating_sub(message.text.len());
                history.page.push(Missed { channel: reading.id.clone(), message: Arc::clone(message) });
            }
        }
    }
}
