//! The log of a simulated hub: its entries in memory, and what of them a crash leaves.

use crate::hub::Hub;
use crate::log::{Entry, Marks, Memory, WalkPlace};
use crate::model::Now;

/// Seconds that marks are ahead of the hub's time.
const AHEAD: u32 = 5;

/// The entries, and how many of them are written.
#[derive(Default)]
pub(super) struct Log {
    entries: Vec<Entry>,
    written: usize,
}

impl Log {
    /// Writes what the hub has queued.
    pub(super) fn write(&mut self, hub: &Hub) {
        let taken = hub.take(&mut self.entries);
        assert_eq!(taken.lost_from, None);
        self.entries.push(Entry::Marks(Marks { time: taken.marks.time + AHEAD, ..taken.marks }));
        self.written = self.entries.len();
    }

    /// Takes what the hub has queued, without writing it; the deletions among it are written, because what a lost one would
    /// bring back is no gap but a message more.
    pub(super) fn queue(&mut self, hub: &Hub) {
        hub.take(&mut self.entries);
        let last = self.entries.iter().rposition(|entry| matches!(entry, Entry::Gone { .. }));
        self.written = self.written.max(last.map_or(0, |last| last + 1));
    }

    /// Renews the oldest entries, as many as there are or so many.
    pub(super) fn renew(&mut self, hub: &Hub, count: usize) {
        self.write(hub);
        let old: Vec<Entry> = self.entries.drain(..count.min(self.entries.len())).collect();
        hub.keep(&old);
        self.write(hub);
    }

    /// Tells everything that lives once more, with all its messages or with counts alone.
    pub(super) fn walk(&mut self, hub: &Hub, from_seq: u64) {
        self.write(hub);
        self.entries.push(Entry::WalkBegan);
        let mut place = Some(WalkPlace::default());
        while let Some(next) = place {
            place = hub.walk(next, from_seq);
            self.write(hub);
        }
        self.entries.push(Entry::WalkEnded);
        self.written = self.entries.len();
    }

    /// The process ends; with a crash what is not written is lost: the sequence numbers of its messages.
    pub(super) fn end(&mut self, hub: &Hub, crash: bool) -> Vec<u64> {
        self.queue(hub);
        if !crash {
            let taken = hub.take(&mut self.entries);
            self.entries.push(Entry::Marks(Marks { clean: true, ..taken.marks }));
            self.written = self.entries.len();
        }
        let lost = self.entries.split_off(self.written);
        let seq = |entry: &Entry| if let Entry::Publish(it) = entry { Some(it.message.seq) } else { None };
        lost.iter().filter_map(seq).collect()
    }

    /// A hub begins from it.
    pub(super) fn begin(&mut self, hub: &Hub, crash: bool, wall: Now) {
        let time = |entry: &Entry| if let Entry::Marks(marks) = entry { Some(marks.time) } else { None };
        hub.restore_begins(self.entries.iter().rev().find_map(time).unwrap_or(0));
        for entry in &self.entries {
            hub.apply(entry.clone(), wall);
        }
        hub.restored(!crash, wall);
        hub.keep_log();
        self.write(hub);
        if crash {
            self.walk(hub, u64::MAX);
        }
    }
}
