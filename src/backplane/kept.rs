//! What was read of the log and is not yet applied: entries wait here while the zone is read, and while those before them are applied.
//!
//! It does not know what entries say. It is read in portions that a line carries, and no further than a bound: what is beyond stays with the
//! server, whose log holds as much again. Invariant: what it gives is, in order, what the server gave behind the place it was told; what broke the
//! connection comes behind that.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use redis::{RedisError, RedisResult};

use super::link::Link;
use super::stream::{self, Item, StreamId, patience_for};

/// Entries read at once, where the line carries so many.
const COUNT: usize = 1000;
/// Bytes of them, about.
const PORTION: usize = 4 << 20;
/// What an entry is taken to occupy beside its bytes.
const ENTRY: usize = 64;
/// How often it is looked whether more has come: the log must not pass by meanwhile.
const OFTEN: Duration = Duration::from_millis(10);

/// The entries.
pub(super) struct Kept {
    log: String,
    items: VecDeque<Item>,
    bytes: usize,
    /// Bytes at which no more is read.
    most: usize,
    /// Up to where the log was read.
    pub(super) last: StreamId,
    /// Entries read at once. Fewer, where some are large or so many did not come in time.
    count: usize,
    /// Whether there was no more when the log was read last.
    at_end: bool,
    looked: Option<Instant>,
    /// Why no more can be read.
    broken: Option<RedisError>,
}

impl Kept {
    /// Nothing yet of this log; about so many bytes at most.
    pub(super) fn new(log: String, most: usize) -> Self {
        Self {
            log,
            items: VecDeque::new(),
            bytes: 0,
            most,
            last: StreamId::default(),
            count: COUNT,
            at_end: false,
            looked: None,
            broken: None,
        }
    }

    /// Lets go of everything: the log is read behind this place from now on, where an entry has about so many bytes.
    pub(super) fn begin_behind(&mut self, place: StreamId, mean: usize) {
        (self.items, self.bytes, self.last) = (VecDeque::new(), 0, place);
        (self.at_end, self.looked, self.broken) = (false, None, None);
        self.count = self.count.min(portion_of(mean));
    }

    /// Whether nothing is kept.
    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Entries that are kept.
    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    /// Bytes that are kept at most, about.
    pub(super) fn most(&self) -> usize {
        self.most
    }

    /// Whether everything is applied that was there a moment ago.
    pub(super) fn is_at_end(&self) -> bool {
        self.items.is_empty() && self.at_end
    }

    /// The next entry.
    pub(super) fn next(&mut self) -> Option<Item> {
        let item = self.items.pop_front()?;
        self.bytes = self.bytes.saturating_sub(item.1.len() + ENTRY);
        if self.items.is_empty() {
            // Room for many is not kept for the few that come as a rule.
            self.items.shrink_to(COUNT);
        }
        Some(item)
    }

    /// Reads what has come, without waiting for more. That this is not possible is told when nothing is left of what has come before.
    pub(super) async fn keep_up(&mut self, link: &mut Link) {
        if self.broken.is_some() || self.at_end && self.looked.is_some_and(|at| at.elapsed() < OFTEN) {
            return;
        }
        while self.has_room() {
            let (from, asked) = (format!("({}", self.last), self.count);
            match stream::range(link, &self.log, &from, "+", asked, patience_for(asked)).await {
                Ok(items) => self.take(items, asked),
                Err(error) => self.broken = Some(error),
            }
            if self.at_end || self.broken.is_some() {
                return;
            }
        }
    }

    /// Waits for a moment until there is something to read, and reads it.
    pub(super) async fn wait(&mut self, link: &mut Link) -> RedisResult<()> {
        self.check()?;
        let asked = self.count;
        let items = stream::read_after(link, &self.log, self.last, asked).await?;
        self.take(items, asked);
        Ok(())
    }

    /// Why no more can be read, if that is so.
    pub(super) fn check(&mut self) -> RedisResult<()> {
        self.broken.take().map_or(Ok(()), Err)
    }

    /// So many were asked for and did not come in time.
    pub(super) fn is_late(&mut self) {
        self.count = self.count.div_ceil(4);
    }

    /// How many are asked for at once.
    pub(super) fn asked(&self) -> usize {
        self.count
    }

    /// Whether more may be read. Where there is none it is not known whether there is more to read.
    pub(super) fn has_room(&mut self) -> bool {
        let has_room = self.bytes < self.most;
        self.at_end &= has_room;
        has_room
    }

    /// Takes what has come of so many that were asked for.
    pub(super) fn take(&mut self, items: Vec<Item>, asked: usize) {
        self.at_end = items.len() < asked;
        self.looked = Some(Instant::now());
        let Some((last, _)) = items.last() else { return };
        self.last = *last;
        let bytes: usize = items.iter().map(|(_, bytes)| bytes.len()).sum();
        self.bytes += bytes + items.len() * ENTRY;
        self.count = (asked * 2).min(portion_of(bytes / items.len()));
        self.items.extend(items);
    }
}

/// How many entries of this size are read at once.
fn portion_of(mean: usize) -> usize {
    (PORTION / mean.max(1)).clamp(1, COUNT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(from: u64, count: usize, bytes: usize) -> Vec<Item> {
        (from..).take(count).map(|number| (StreamId(number, 0), vec![0; bytes])).collect()
    }

    #[test]
    fn entries_come_out_in_order_and_the_end_is_known_when_fewer_came_than_were_asked_for() {
        let mut kept = Kept::new("log".to_owned(), 1 << 20);
        kept.begin_behind(StreamId(9, 0), 0);
        assert!(!kept.is_at_end(), "nobody has looked");
        kept.take(entries(10, 3, 1), 3);
        kept.take(entries(13, 1, 1), 3);
        assert_eq!((kept.len(), kept.last, kept.is_at_end()), (4, StreamId(13, 0), false));
        let ids: Vec<u64> = std::iter::from_fn(|| kept.next()).map(|(id, _)| id.0).collect();
        assert_eq!(ids, [10, 11, 12, 13]);
        assert!(kept.is_at_end() && kept.bytes == 0);
    }

    #[test]
    fn beyond_the_bound_nothing_is_read_and_the_end_is_not_known() {
        let mut kept = Kept::new("log".to_owned(), 1000);
        kept.take(entries(1, 1, 900), 10);
        assert!(kept.has_room());
        kept.take(entries(2, 1, 900), 10);
        assert!(!kept.has_room());
        while kept.next().is_some() {}
        assert!(!kept.is_at_end() && kept.has_room());
    }

    #[test]
    fn a_portion_is_what_a_line_carries() {
        let mut kept = Kept::new("log".to_owned(), 1 << 30);
        assert_eq!(kept.asked(), COUNT);
        kept.take(entries(1, 4, 1 << 20), COUNT);
        assert_eq!(kept.asked(), 4);
        kept.is_late();
        assert_eq!(kept.asked(), 1);
        for from in 0..12 {
            kept.take(entries(10 + from, 1, 10), kept.asked());
        }
        assert_eq!(kept.asked(), COUNT, "small ones are many again");
        kept.begin_behind(StreamId(1, 0), 8 << 20);
        assert_eq!(kept.asked(), 1);
        kept.begin_behind(StreamId(1, 0), 0);
        assert!(kept.is_empty() && kept.bytes == 0);
    }
}
