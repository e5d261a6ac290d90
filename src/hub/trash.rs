//! What the statistics show as trash: how many messages and channels went within the last seconds.
//!
//! Nothing is kept for it, only counted: the memory of what went is free at once. The numbers and their delays are those
//! operators know (a grace of more than 10 s, first in first out, freed only by a pass of the janitor).

use std::collections::VecDeque;

use super::backlog::Backlog;
use super::shared_memory::Taken;
use crate::model::{ChannelId, Now};

/// Seconds that something stays in the trash at least.
const GRACE: u32 = 10;
/// Deleted channels per batch of their queue.
const BATCH: usize = 1024;

/// The trash of a zone.
#[derive(Default)]
pub(super) struct Trash {
    /// Messages.
    pub(super) messages: Heap,
    /// Channels.
    pub(super) channels: Heap,
    /// Channels deleted since the last pass.
    pub(super) deleted: DeletedChannels,
}

/// What is left of a deleted channel until the next pass.
pub(super) struct DeletedChannel {
    pub(super) id: ChannelId,
    /// Whether this node has told that it came.
    pub(super) announced: bool,
    /// Messages it had stored that stay in the zone's count until the pass.
    pub(super) stored: usize,
    /// Its messages, where they are taken to hold memory until they leave the trash.
    pub(super) kept: Backlog,
}

/// A queue in batches, so that no push moves what is in it.
#[derive(Default)]
pub(super) struct DeletedChannels {
    batches: VecDeque<VecDeque<DeletedChannel>>,
    count: usize,
}

impl DeletedChannels {
    pub(super) fn push(&mut self, channel: DeletedChannel) {
        self.count += 1;
        match self.batches.back_mut() {
            Some(batch) if batch.len() < BATCH => batch.push_back(channel),
            _ => self.batches.push_back(VecDeque::from([channel])),
        }
    }

    pub(super) fn first_mut(&mut self) -> Option<&mut DeletedChannel> {
        self.batches.front_mut()?.front_mut()
    }

    pub(super) fn pop(&mut self) -> Option<DeletedChannel> {
        let batch = self.batches.front_mut()?;
        let channel = batch.pop_front()?;
        self.count -= 1;
        if batch.is_empty() {
            self.batches.pop_front();
        }
        Some(channel)
    }

    pub(super) fn len(&self) -> usize {
        self.count
    }

    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = &DeletedChannel> {
        self.batches.iter().flatten()
    }
}

/// Counts by the second they came in, and the memory that is taken to be held so long.
#[derive(Default)]
pub(super) struct Heap {
    by_second: VecDeque<(u32, u64, Taken)>,
    total: u64,
}

impl Heap {
    pub(super) fn add(&mut self, count: usize, held: Taken, now: Now) {
        if count == 0 && held == Taken::default() {
            return;
        }
        self.total += count as u64;
        match self.by_second.back_mut() {
            Some((second, sum, sum_held)) if *second == now.secs() => {
                *sum += count as u64;
                *sum_held += held;
            }
            _ => self.by_second.push_back((now.secs(), count as u64, held)),
        }
    }

    /// Forgets what has been in it for more than the grace; the memory it held.
    pub(super) fn free(&mut self, now: Now) -> Taken {
        let mut freed = Taken::default();
        while let Some(&(second, count, held)) = self.by_second.front() {
            if second.saturating_add(GRACE) >= now.secs() {
                break;
            }
            self.total -= count;
            freed += held;
            self.by_second.pop_front();
        }
        freed
    }

    pub(super) fn total(&self) -> u64 {
        self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_stay_for_more_than_ten_seconds() {
        let mut heap = Heap::default();
        let none = Taken::default();
        heap.add(2, none, Now(1_000));
        heap.add(1, none, Now(1_900));
        heap.add(5, none, Now(3_000));
        heap.add(0, none, Now(9_000));
        heap.free(Now(11_999));
        assert_eq!(heap.total(), 8);
        heap.free(Now(12_000));
        assert_eq!(heap.total(), 5);
        heap.free(Now(14_000));
        assert_eq!((heap.total(), heap.by_second.len()), (0, 0));
    }

    #[test]
    fn deleted_channels_come_out_in_order() {
        let mut queue = DeletedChannels::default();
        for stored in 0..3000 {
            queue.push(DeletedChannel { id: "a".into(), announced: false, stored, kept: Backlog::default() });
        }
        assert_eq!((queue.len(), queue.iter().count()), (3000, 3000));
        for stored in 0..3000 {
            assert_eq!(queue.pop().map(|channel| channel.stored), Some(stored));
        }
        assert!(queue.pop().is_none());
        assert_eq!(queue.len(), 0);
    }
}
