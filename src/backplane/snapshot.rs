//! The whole zone, read in pages while the log goes on, and what becomes of it in the hub.
//!
//! What is taken is what stood there at one entry of the log: later messages are left to the tail, which goes on behind that entry. In a hub that
//! had served before, only what is new is published, in order, and what is gone is deleted: its subscribers miss nothing that is stored.

use std::collections::{HashMap, HashSet};

use redis::{RedisResult, Value};

use super::keys::Keys;
use super::lineage::Lineage;
use super::link::{Link, failure, within, within_for};
use super::position::Position;
use super::record::{self, Record, What, seq};
use super::script::FORMAT;
use super::stream::{self, items};
use crate::hub::Hub;
use crate::log::{ChannelMark, Entry, Published};
use crate::model::{ChannelId, Now, Stamp};

/// Channels asked for at once.
const PAGE: usize = 500;
/// Bytes of messages read at once, about; one message may have more.
const BYTES: usize = 4 << 20;
/// Entries applied before others get their turn.
const BATCH: usize = 2000;

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
    published: u64,
    /// Operations of this node that were done.
    pub(super) done: u64,
    format: u64,
}

impl Marks {
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
    stamp: Stamp,
}

/// The counts of a channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Counts {
    published: u64,
    ahead: u64,
    last: Stamp,
}

/// The marks of the zone, if there is one.
pub(super) async fn marks(link: &mut Link, keys: &Keys) -> RedisResult<Option<Marks>> {
    marks_for(link, keys, "").await
}

async fn marks_for(link: &mut Link, keys: &Keys, node: &str) -> RedisResult<Option<Marks>> {
    let mut command = redis::cmd("HMGET");
    command.arg(&keys.zone).arg(&["id", "epochs", "entry", "epoch", "skip", "published", "format"]);
    command.arg(format!("n:{node}"));
    let told: Vec<Option<String>> = within(command.query_async(&mut link.connection)).await?;
    let text = |at: usize| told.get(at).and_then(Option::as_deref);
    let number = |at| text(at).and_then(|text| text.parse().ok()).unwrap_or(0);
    let Some(zone) = text(0) else { return Ok(None) };
    Ok(Some(Marks {
        zone: zone.into(),
        lineage: Lineage::read(text(1).unwrap_or_default()),
        entries: number(2),
        epoch: (number(3), number(4)),
        published: number(5),
        format: number(6),
        done: number(7),
    }))
}

/// Reads the zone; nothing if it was never begun.
pub(super) async fn load(link: &mut Link, keys: &Keys, node: &str) -> RedisResult<Option<Snapshot>> {
    let Some(marks) = marks_for(link, keys, node).await? else { return Ok(None) };
    marks.can_be_followed()?;
    let Some((id, bytes)) = stream::newest(link, &keys.log).await? else { return Ok(None) };
    let Ok(last) = Record::read(&bytes) else { return Err(failure("the end of the log cannot be read")) };
    if marks.lineage.name() != Some(&last.epoch) {
        // It has begun another one meanwhile.
        return Ok(None);
    }
    let checksum = Some(crc32c::crc32c(&bytes));
    let (zone, lineage) = (marks.zone.clone(), marks.lineage.clone());
    let position = Position { id, number: last.number, checksum, zone, lineage };
    let mut snapshot = Snapshot { marks, ..Snapshot::at(position, last.stamp) };
    let mut cursor = 0u64;
    loop {
        let mut scan = redis::cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg(keys.all_counts()).arg("COUNT").arg(PAGE);
        let (next, found): (u64, Vec<Vec<u8>>) = within(scan.query_async(&mut link.connection)).await?;
        let found: Vec<ChannelId> = found.iter().filter_map(|key| keys.channel(key)).collect();
        for page in found.chunks(PAGE) {
            snapshot.read_channels(link, keys, page).await?;
        }
        cursor = next;
        if cursor == 0 {
            break;
        }
    }
    // Of a slot that goes to another server some keys were there already, and are not found here. One that is nowhere is asked for there.
    let mut nothing = redis::cmd("EXISTS");
    within::<u64>(nothing.arg(keys.nothing()).query_async(&mut link.connection)).await?;
    Ok(Some(snapshot))
}

impl Snapshot {
    /// Nothing yet, of what stood there at an entry with this stamp.
    pub(super) fn at(position: Position, stamp: Stamp) -> Self {
        let (zone, lineage, entries) = (position.zone.clone(), position.lineage.clone(), position.number);
        let marks = Marks { zone, lineage, entries, epoch: (0, 0), published: 0, done: 0, format: FORMAT };
        Self { position, marks, channels: HashMap::new(), messages: Vec::new(), stamp }
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
    async fn read_channels(&mut self, link: &mut Link, keys: &Keys, page: &[ChannelId]) -> RedisResult<()> {
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
                self.read_portion(link, keys, &std::mem::take(&mut portion), filled).await?;
                filled = 0;
            }
            portion.push((id, most));
            filled += bytes;
        }
        self.read_portion(link, keys, &portion, filled).await
    }

    /// Reads channels, of each so many messages at once.
    async fn read_portion(
        &mut self,
        link: &mut Link,
        keys: &Keys,
        portion: &[(&ChannelId, usize)],
        bytes: usize,
    ) -> RedisResult<()> {
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
            self.messages.push(published);
        }
    }

    /// Brings the hub to where the zone was.
    pub(super) async fn install(mut self, hub: &Hub) {
        self.messages.sort_unstable_by_key(|published| published.message.seq);
        let inactivity = hub.terms().inactivity;
        let mut first: HashMap<ChannelId, u64> = HashMap::new();
        let gone = self.gone_from(hub);
        for (done, published) in self.messages.into_iter().enumerate() {
            first.entry(published.channel.clone()).or_insert(published.message.seq);
            hub.apply(Entry::Publish(published), Now::default());
            pause(done, hub).await;
        }
        for (done, (channel, counts)) in self.channels.into_iter().enumerate() {
            let expires = counts.last.time.saturating_add(inactivity);
            let first = first.get(&channel).copied();
            // Of one that nobody has used for so long nothing but its counts is kept.
            if first.is_none() && expires < self.stamp.time && hub.find(std::slice::from_ref(&channel)).is_empty() {
                continue;
            }
            let Counts { published, ahead, last } = counts;
            let first_seq = first.unwrap_or_else(|| seq(self.stamp) + 1);
            let last_id = published + ahead;
            let mark = ChannelMark { channel, published, last_id, last, expires, first_seq };
            hub.apply(Entry::Channel(mark), Now::default());
            pause(done, hub).await;
        }
        for channel in gone {
            hub.apply(Entry::Deleted { channel, text: None }, Now::default());
        }
        hub.apply(Entry::Marks(record::marks(self.stamp, self.marks.published)), Now::default());
    }

    /// The channels with messages that the hub has and the zone has not.
    fn gone_from(&self, hub: &Hub) -> HashSet<ChannelId> {
        let mut gone = HashSet::new();
        let mut after = None;
        loop {
            let page = hub.list(b"", after, BATCH);
            after = page.last().map(|(key, _)| *key);
            let full = page.len() == BATCH;
            let left = page.into_iter().map(|(_, info)| info);
            gone.extend(
                left.filter(|info| info.stored > 0 && !self.channels.contains_key(&info.id)).map(|info| info.id),
            );
            if !full {
                return gone;
            }
        }
    }
}

/// What stands under a key of ours; what somebody else has put there is nothing.
fn ours<T: Default>(answer: RedisResult<T>) -> RedisResult<T> {
    match answer {
        Err(error) if error.code() == Some("WRONGTYPE") => Ok(T::default()),
        answer => answer,
    }
}

/// Others get their turn, and workers may catch up.
async fn pause(done: usize, hub: &Hub) {
    if done.is_multiple_of(BATCH) {
        tokio::task::yield_now().await;
        while hub.has_many_notes() {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
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
