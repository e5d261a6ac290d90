//! The whole zone, read in pages while the log goes on and is kept.
//!
//! What is taken is what stood there at one entry of the log: later messages are left to the tail, which goes on behind that entry. It does not know
//! the hub (`installation`). Invariant: what is read while the zone changes beneath it, or its slot moves, is given up.

use std::cmp::Reverse;
use std::collections::HashMap;

use redis::{Cmd, RedisResult, Value};

use super::kept::Kept;
use super::keys::Keys;
use super::lineage::Lineage;
use super::link::{Link, failure, within, within_for};
use super::position::{Onward, Position};
use super::record::{Record, What};
use super::script::FORMAT;
use super::stream::{self, Item, items};
use crate::log::{Entry, Published};
use crate::model::{ChannelId, Stamp};

/// Channels asked for at once.
const PAGE: usize = 500;
/// Bytes of messages read at once, about; one message may have more.
const BYTES: usize = 4 << 20;
/// What a message occupies beside its text; a hub counts no less.
const MESSAGE: usize = 128;

/// The marks of a zone.
#[derive(Debug)]
pub(super) struct Marks {
    /// Names the zone.
    pub(super) zone: Box<str>,
    pub(super) lineage: Lineage,
    /// Entries there have been.
    pub(super) entries: u64,
    /// The number of the epoch, and ids that are skipped.
    pub(super) epoch: (u64, u64),
    pub(super) published: u64,
    /// Bytes of an entry, about, of the last ones.
    pub(super) mean: usize,
    /// Operations of this node that were done.
    pub(super) done: u64,
    format: u64,
}

impl Marks {
    /// As the hash of the zone says them, asked by [`question`].
    fn read(told: &[Option<String>]) -> Option<Self> {
        let text = |at: usize| told.get(at).and_then(Option::as_deref);
        let number = |at| text(at).and_then(|text| text.parse().ok()).unwrap_or(0);
        Some(Self {
            zone: text(0)?.into(),
            lineage: Lineage::read(text(1).unwrap_or_default()),
            entries: number(2),
            epoch: (number(3), number(4)),
            published: number(5),
            format: number(6),
            // With a fraction.
            mean: text(7).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0) as usize,
            done: number(8),
        })
    }

    /// Refuses a zone to which a version of the program writes what this one cannot read.
    pub(super) fn can_be_followed(&self) -> RedisResult<()> {
        if self.format > FORMAT { Err(failure("a newer version of pushstreamd writes to this zone")) } else { Ok(()) }
    }
}

/// The zone at one entry of its log.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) position: Position,
    pub(super) marks: Marks,
    pub(super) channels: HashMap<ChannelId, Counts>,
    pub(super) messages: Vec<Published>,
    pub(super) stamp: Stamp,
    /// Bytes of them, and how many a hub has room for.
    bytes: usize,
    most: usize,
}

/// The counts of a channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Counts {
    pub(super) published: u64,
    pub(super) ahead: u64,
    pub(super) last: Stamp,
}

/// Asks for the marks, and for what the zone knows of a node.
fn question(keys: &Keys, node: &str) -> Cmd {
    let mut command = redis::cmd("HMGET");
    command.arg(&keys.zone).arg(&["id", "epochs", "entry", "epoch", "skip", "published", "format", "size"]);
    command.arg(format!("n:{node}"));
    command
}

/// The marks of the zone, if there is one.
pub(super) async fn marks(link: &mut Link, keys: &Keys) -> RedisResult<Option<Marks>> {
    let told: Vec<_> = within(question(keys, "").query_async(&mut link.connection)).await?;
    Ok(Marks::read(&told))
}

/// Reads the zone; nothing if it was never begun, or was begun anew meanwhile. The log behind it is kept.
pub(super) async fn load(link: &mut Link, keys: &Keys, node: &str, kept: &mut Kept) -> RedisResult<Option<Snapshot>> {
    let Some((told, (id, bytes))) = ends(link, keys, node).await? else { return Ok(None) };
    told.can_be_followed()?;
    let Ok(last) = Record::read(&bytes) else { return Err(failure("the end of the log cannot be read")) };
    if told.lineage.name() != Some(&last.epoch) || told.entries != last.number {
        // It has gone on meanwhile.
        return Ok(None);
    }
    let checksum = Some(crc32c::crc32c(&bytes));
    let (zone, lineage) = (told.zone.clone(), told.lineage.clone());
    let position = Position { id, number: last.number, checksum, zone, lineage };
    kept.begin_behind(id, told.mean);
    let mut snapshot = Snapshot { marks: told, most: kept.most(), ..Snapshot::at(position, last.stamp) };
    let mut cursor = 0u64;
    loop {
        let mut scan = redis::cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg(keys.all_counts()).arg("COUNT").arg(PAGE);
        let (next, found): (u64, Vec<Vec<u8>>) = within(scan.query_async(&mut link.connection)).await?;
        let found: Vec<ChannelId> = found.iter().filter_map(|key| keys.channel(key)).collect();
        for page in found.chunks(PAGE) {
            snapshot.read_channels(link, keys, page, kept).await?;
        }
        kept.keep_up(link).await;
        kept.check()?;
        cursor = next;
        if cursor == 0 {
            break;
        }
    }
    // Of a slot that goes to another server some keys were there already, and are not found here. One that is nowhere is asked for there.
    let mut nothing = redis::cmd("EXISTS");
    within::<u64>(nothing.arg(keys.nothing()).query_async(&mut link.connection)).await?;
    let is_of = |marks: Marks| snapshot.is_of(&marks.zone, &marks.lineage, marks.entries);
    Ok(marks(link, keys).await?.is_some_and(is_of).then_some(snapshot))
}

/// The marks and the last entry, of one moment.
async fn ends(link: &mut Link, keys: &Keys, node: &str) -> RedisResult<Option<(Marks, Item)>> {
    let mut both = redis::pipe();
    both.add_command(question(keys, node));
    both.cmd("XREVRANGE").arg(&keys.log).arg("+").arg("-").arg("COUNT").arg(1);
    let (told, newest): (Vec<Option<String>>, Value) =
        within_for(BYTES, both.query_async(&mut link.connection)).await?;
    Ok(Marks::read(&told).zip(items(newest)?.pop()))
}

impl Snapshot {
    /// Nothing yet, of what stood there at an entry with this stamp.
    pub(super) fn at(position: Position, stamp: Stamp) -> Self {
        let (zone, lineage, entries) = (position.zone.clone(), position.lineage.clone(), position.number);
        let marks = Marks { zone, lineage, entries, epoch: (0, 0), published: 0, mean: 0, done: 0, format: FORMAT };
        Self { position, marks, channels: HashMap::new(), messages: Vec::new(), stamp, bytes: 0, most: usize::MAX }
    }

    /// Whether a zone, with these epochs and so many entries, has gone on from where this was taken.
    pub(super) fn is_of(&self, zone: &str, lineage: &Lineage, entries: u64) -> bool {
        self.position.onward(zone, lineage, entries) == Onward::Here
    }

    /// Adds a channel and messages of it; false: it was there already, or has no counts.
    pub(super) fn add(&mut self, channel: &[u8], counts: &[u8], messages: &[Vec<u8>]) -> bool {
        let Some(counts) = Counts::read(counts) else { return false };
        // A scan may find a key twice.
        let new = self.channels.insert(ChannelId::new(channel), counts).is_none();
        if new {
            for bytes in messages {
                self.take(bytes);
            }
        }
        new
    }

    /// Reads channels, in portions that a line carries within a moment: what they hold is asked for first.
    async fn read_channels(
        &mut self,
        link: &mut Link,
        keys: &Keys,
        page: &[ChannelId],
        kept: &mut Kept,
    ) -> RedisResult<()> {
        let mut ask = redis::pipe();
        ask.ignore_errors();
        for id in page {
            ask.cmd("XLEN").arg(keys.messages(id.as_bytes()));
            ask.cmd("MEMORY").arg("USAGE").arg(keys.messages(id.as_bytes()));
        }
        let sizes: Vec<RedisResult<Option<usize>>> = within(ask.query_async(&mut link.connection)).await?;
        let sizes: Vec<Option<usize>> = sizes.into_iter().map(ours).collect::<RedisResult<_>>()?;
        let mut sizes = sizes.chunks_exact(2).map(|size| match size {
            [Some(messages), Some(bytes)] => (*messages, *bytes),
            _ => (0, 0),
        });
        let (mut portion, mut filled) = (Vec::new(), 0);
        for id in page {
            let (messages, bytes) = sizes.next().unwrap_or_default();
            let mean = bytes.checked_div(messages).unwrap_or(0).max(1);
            let most = (BYTES / mean).max(1);
            let bytes = bytes.min(most * mean);
            if filled > 0 && filled + bytes > BYTES {
                self.read_portion(link, keys, (&std::mem::take(&mut portion), filled), kept).await?;
                filled = 0;
            }
            portion.push((id, most));
            filled += bytes;
        }
        self.read_portion(link, keys, (&portion, filled), kept).await
    }

    /// Reads channels, of each so many messages at once.
    async fn read_portion(
        &mut self,
        link: &mut Link,
        keys: &Keys,
        (portion, bytes): (&[(&ChannelId, usize)], usize),
        kept: &mut Kept,
    ) -> RedisResult<()> {
        kept.keep_up(link).await;
        let mut ask = redis::pipe();
        ask.ignore_errors();
        for (id, most) in portion {
            ask.cmd("GET").arg(keys.counts(id.as_bytes()));
            ask.cmd("XRANGE").arg(keys.messages(id.as_bytes())).arg("-").arg("+").arg("COUNT").arg(most);
        }
        let answers: Vec<RedisResult<Value>> = within_for(bytes, ask.query_async(&mut link.connection)).await?;
        let mut answers = answers.into_iter().map(ours);
        for (id, most) in portion {
            let (Some(counts), Some(messages)) = (answers.next(), answers.next()) else {
                return Err(failure("an answer is missing"));
            };
            let (counts, messages) = (counts?, items(messages?)?);
            let Value::BulkString(counts) = counts else { continue };
            let mut last = messages.last().map(|(last, _)| *last).filter(|_| messages.len() == *most);
            let messages: Vec<Vec<u8>> = messages.into_iter().map(|(_, bytes)| bytes).collect();
            if !self.add(id.as_bytes(), &counts, &messages) {
                continue;
            }
            while let Some(from) = last {
                let key = keys.messages(id.as_bytes());
                let more =
                    stream::range(link, key, &format!("({from}"), "+", *most, stream::patience_for(*most)).await?;
                last = more.last().map(|(last, _)| *last).filter(|_| more.len() == *most);
                for (_, bytes) in more {
                    self.take(&bytes);
                }
                kept.keep_up(link).await;
            }
        }
        Ok(())
    }

    fn take(&mut self, bytes: &[u8]) {
        let Ok(Record { what: What::Change(Entry::Publish(published), _), .. }) = Record::read(bytes) else {
            tracing::error!(target: crate::model::ALERT, "the backplane holds a message that cannot be read");
            return;
        };
        let message = &published.message;
        // What is later comes by the log.
        if message.stamp <= self.stamp && message.expires > self.stamp.time {
            self.bytes = self.bytes.saturating_add(size_of(&published));
            self.messages.push(published);
            if self.bytes / 2 > self.most {
                self.leave_out();
            }
        }
    }

    /// Leaves out what a hub would drop for want of memory: it makes room for the messages that live longest.
    fn leave_out(&mut self) {
        self.messages.sort_unstable_by_key(|published| Reverse((published.message.expires, published.message.seq)));
        let (mut bytes, most) = (0, self.most);
        let mut fits = |published: &Published| {
            let fits = bytes <= most;
            bytes += size_of(published);
            fits
        };
        let left = self.messages.iter().take_while(|published| fits(published)).count();
        self.messages.truncate(left);
        self.bytes = self.messages.iter().map(size_of).sum();
    }
}

fn size_of(published: &Published) -> usize {
    MESSAGE + published.message.text.len()
}

/// What stands under a key of ours; what somebody else has put there is nothing.
fn ours<T: Default>(answer: RedisResult<T>) -> RedisResult<T> {
    match answer {
        Err(error) if error.code() == Some("WRONGTYPE") => Ok(T::default()),
        answer => answer,
    }
}

impl Counts {
    /// `COUNT AHEAD EPOCH TIME TAG`
    fn read(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let mut words = text.split(' ');
        let (published, ahead) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let (time, tag) = (words.nth(1)?.parse().ok()?, words.next()?.parse().ok()?);
        Some(Self { published, ahead, last: Stamp { time, tag } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backplane::record::message_payload;
    use crate::backplane::stream::StreamId;
    use crate::model::Draft;

    #[test]
    fn of_more_than_a_hub_has_room_for_what_lives_longest_is_kept() {
        let (id, lineage) = (StreamId(1, 0), Lineage::default());
        let position = Position { id, number: 1, checksum: None, zone: "z".into(), lineage };
        let mut snapshot = Snapshot { most: 10_000, ..Snapshot::at(position, Stamp { time: 100, tag: 0 }) };
        let payload = message_payload(Draft { text: vec![b'x'; 1000].into(), store: true, ..Draft::default() });
        for n in 1..=100 {
            let expires = if n == 1 { 1000 } else { 500 };
            let head = format!("0 - P 50 {n} {n} {n} {expires} n 1 1\nc");
            snapshot.take(&[head.as_bytes(), &payload].concat());
            assert!(snapshot.bytes < 2 * 10_000 + 2000);
        }
        let left: Vec<i64> = snapshot.messages.iter().map(|published| published.message.id).collect();
        assert!(left.contains(&1) && (94..=100).all(|n| left.contains(&n)), "{left:?}");
    }
}
