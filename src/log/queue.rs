//! Entries on their way from a hub to the writer, and what the writer asks of the hub in return.
//!
//! The queue stands under the hub's own lock and does no I/O: pushing costs a move. It is bounded in bytes; when the writer
//! falls behind, entries are dropped and the place is remembered from which on the log has to be told again.

use std::sync::Arc;

use super::bell::Bell;
use super::entry::{Entry, Marks, Published};

/// Bytes one entry is taken to occupy besides its texts, the message's own overhead included.
const ENTRY: usize = 200;

/// The queue.
#[derive(Debug)]
pub struct Queue {
    entries: Vec<Entry>,
    bytes: usize,
    most: usize,
    pushed: u64,
    lost_from: Option<u64>,
    /// Whose thread sleeps until something is pushed.
    sleeper: Option<Arc<Bell>>,
}

/// What the writer finds in the queue besides its entries.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Taken {
    /// How many entries were pushed in all, the ones taken included: the position to wait for.
    pub position: u64,
    /// If entries were dropped: the sequence number from which on messages are missing.
    pub lost_from: Option<u64>,
    /// The marks at this moment.
    pub marks: Marks,
}

impl Queue {
    /// An empty queue that holds up to so many bytes.
    pub fn new(most: usize) -> Self {
        Self { entries: Vec::new(), bytes: 0, most, pushed: 0, lost_from: None, sleeper: None }
    }

    /// Puts an entry at the end. `seq` is the sequence number of the last publish, this entry included.
    pub fn push(&mut self, entry: Entry, seq: u64) {
        self.pushed += 1;
        if self.lost_from.is_some() {
            return;
        }
        self.bytes += ENTRY + texts(&entry);
        if self.bytes > self.most {
            // From the oldest one on, nothing of what waits has been written.
            self.lost_from = Some(self.entries.iter().find_map(seq_of).unwrap_or(seq));
            self.entries = Vec::new();
            self.bytes = 0;
        } else {
            self.entries.push(entry);
        }
    }

    /// Puts an entry at the end that the writer has asked for. Its pages are small and taken at once, so that the bound does
    /// not matter; after a loss it is worth nothing.
    pub fn push_asked(&mut self, entry: Entry) {
        if self.lost_from.is_none() {
            self.entries.push(entry);
        }
    }

    /// Notes whom the next entry wakes; false if something waits already.
    pub fn rings(&mut self, bell: &Arc<Bell>) -> bool {
        let empty = self.entries.is_empty() && self.lost_from.is_none();
        self.sleeper = empty.then(|| Arc::clone(bell));
        empty
    }

    /// Whom to wake now, once the lock is released.
    pub fn take_sleeper(&mut self) -> Option<Arc<Bell>> {
        if self.entries.is_empty() && self.lost_from.is_none() { None } else { self.sleeper.take() }
    }

    /// How many entries were pushed in all.
    pub fn position(&self) -> u64 {
        self.pushed
    }

    /// Bytes that the entries are taken to occupy.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Moves all entries behind those in `into`.
    pub fn take(&mut self, into: &mut Vec<Entry>, marks: Marks) -> Taken {
        if into.is_empty() {
            std::mem::swap(into, &mut self.entries);
        } else {
            into.append(&mut self.entries);
        }
        self.bytes = 0;
        Taken { position: self.pushed, lost_from: self.lost_from.take(), marks }
    }
}

/// The sequence number an entry speaks of.
fn seq_of(entry: &Entry) -> Option<u64> {
    match entry {
        Entry::Publish(Published { message, .. }) => Some(message.seq),
        Entry::Gone { seq, .. } => Some(*seq),
        _ => None,
    }
}

fn texts(entry: &Entry) -> usize {
    let text = match entry {
        Entry::Publish(published) | Entry::Kept(published) => published.message.text.len(),
        _ => 0,
    };
    text + entry.channel().map_or(0, |channel| channel.as_bytes().len())
}

/// Where a walk over all channels stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct WalkPlace {
    /// The channel after which to go on, in the hub's order of creation; 0 before the first.
    pub channel: u64,
    /// The sequence number of that channel's messages after which to go on; `None` when it was told whole.
    pub seq: Option<u64>,
}

/// The serving copy, as the writer sees it. Each call is short: the hub's lock is held for one page at most.
pub trait Memory: Send + Sync {
    /// Moves the waiting entries behind those in `into`.
    fn take(&self, into: &mut Vec<Entry>) -> Taken;

    /// Has the bell rung when the next entry waits; false if one does already.
    fn rings_for_entries(&self, bell: &Arc<Bell>) -> bool;

    /// Pushes (as asked for) what still lives of entries whose first record is about to go: messages as [`Entry::Kept`], channels whose
    /// last message is not stored as [`Entry::Channel`].
    fn keep(&self, old: &[Entry]);

    /// Pushes (as asked for) a page of all that lives: each channel as [`Entry::Channel`], and its messages from `from_seq` on as
    /// [`Entry::Kept`]. Returns where the next page begins; `None` at the end.
    fn walk(&self, place: WalkPlace, from_seq: u64) -> Option<WalkPlace>;

    /// Bytes that records of all that lives are taken to need.
    fn live_bytes(&self) -> u64;
}

#[cfg(test)]
mod tests {
    use super::super::tests::published;
    use super::*;

    #[test]
    fn a_queue_that_overflows_drops_what_waits_and_says_from_where_on() {
        let mut queue = Queue::new(3 * ENTRY + 100);
        for seq in 5..8 {
            queue.push(Entry::Publish(published("a", seq, b"text")), seq);
        }
        let mut taken = Vec::new();
        assert_eq!(queue.take(&mut taken, Marks::default()).lost_from, None);
        assert_eq!(taken.len(), 3);
        for seq in 8..20 {
            queue.push(Entry::Publish(published("a", seq, b"text")), seq);
        }
        taken.clear();
        let state = queue.take(&mut taken, Marks::default());
        assert_eq!((state.position, state.lost_from, taken.len()), (15, Some(8), 0));
        queue.push(Entry::Publish(published("a", 20, b"text")), 20);
        assert_eq!(queue.take(&mut taken, Marks::default()).lost_from, None);
        assert_eq!(taken.len(), 1);
    }

    #[test]
    fn the_first_entry_wakes_the_sleeper_and_no_other_does() {
        let mut queue = Queue::new(ENTRY + 100);
        let bell = Arc::new(Bell::default());
        assert!(queue.rings(&bell));
        assert!(queue.take_sleeper().is_none(), "nothing has come");
        let entry = || Entry::Publish(published("a", 1, b"text"));
        queue.push(entry(), 1);
        assert!(queue.take_sleeper().is_some());
        queue.push(entry(), 2);
        assert!(queue.take_sleeper().is_none(), "it is awake");
        assert!(!queue.rings(&bell), "the loss of what came since waits to be told");
        queue.take(&mut Vec::new(), Marks::default());
        assert!(queue.rings(&bell));
    }

    #[test]
    fn one_entry_larger_than_the_queue_is_lost_alone() {
        let mut queue = Queue::new(ENTRY);
        queue.push(Entry::Publish(published("a", 3, b"text")), 3);
        let state = queue.take(&mut Vec::new(), Marks::default());
        assert_eq!(state.lost_from, Some(3));
    }
}
