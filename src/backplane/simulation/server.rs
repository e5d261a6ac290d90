//! The server of the simulation: what the script does, as a value; its entries are the bytes that the script writes.

use std::collections::BTreeMap;

use crate::backplane::lineage::Lineage;
use crate::backplane::record::{Epoch, Record, deletion_payload, message_payload, seq};
use crate::backplane::stream::StreamId;
use crate::model::{Draft, Stamp};

/// How far an epoch begins ahead of the clock.
pub(super) const AHEAD: u32 = 10;

/// What the server holds; a copy of it is a replica that is behind.
#[derive(Clone, Default)]
pub(super) struct Server {
    pub(super) time: u32,
    pub(super) last: Stamp,
    pub(super) number: u64,
    pub(super) next_id: u64,
    pub(super) epoch: Epoch,
    pub(super) lineage: Lineage,
    pub(super) log: Vec<(StreamId, Vec<u8>)>,
    pub(super) counts: BTreeMap<&'static str, (u64, u64, u64, Stamp)>,
    pub(super) stored: BTreeMap<&'static str, Vec<Vec<u8>>>,
}

impl Server {
    pub(super) fn append(&mut self, text: &str, body: &[u8]) {
        self.number += 1;
        self.next_id += 1;
        let name = self.lineage.name().unwrap_or_default();
        let bytes = [format!("{} {name} {text}\n", self.number).as_bytes(), body].concat();
        self.log.push((StreamId(self.next_id, 0), bytes));
    }

    /// Another process goes on with what there is, the nth of all, told by a node what that one has seen.
    pub(super) fn begin(&mut self, zone: u64, nth: u32, seen: Stamp) {
        if self.epoch.zone.is_empty() {
            self.epoch.zone = zone.to_string().into();
        }
        self.epoch.number += 1;
        self.epoch.skipped += 10_000;
        self.last = self.last.max(seen);
        self.epoch.before = self.lineage.name().unwrap_or("-").into();
        self.lineage.push(&nth.to_string(), self.number);
        // As if each began a millisecond after the other.
        let far = (nth + 1) * 2_000_000;
        if *self.epoch.before == *"-" && seen == Stamp::default() {
            self.tick(far);
        } else {
            self.last = Stamp { time: (self.time + AHEAD).max(self.last.time + 1), tag: far };
        }
        let (Stamp { time, tag }, Epoch { number, skipped, zone, before }) = (self.last, self.epoch.clone());
        self.append(&format!("E {time} {tag} {number} {skipped} {zone} {before}"), b"");
    }

    pub(super) fn tick(&mut self, far: u32) {
        let first = if far > 0 { far } else { 1 };
        let tag = if self.time > self.last.time { first } else { (self.last.tag + 1).max(far) };
        self.last = Stamp { time: self.time.max(self.last.time), tag };
    }

    pub(super) fn publish(&mut self, channel: &'static str, stored: bool) -> Stamp {
        self.tick(0);
        let epoch = self.epoch.number;
        let (count, ahead, of, _) =
            self.counts.get(channel).copied().unwrap_or((0, self.epoch.skipped, epoch, Stamp::default()));
        let ahead = if of == epoch { ahead } else { self.epoch.skipped };
        let count = count + 1;
        self.counts.insert(channel, (count, ahead, epoch, self.last));
        let Stamp { time, tag } = self.last;
        let head = format!("P {time} {tag} {count} {} {} n 1 {}", count + ahead, time + 1_000_000, channel.len());
        let draft = Draft { text: (*b"text").into(), store: stored, ..Draft::default() };
        let body = [channel.as_bytes(), &message_payload(draft)].concat();
        self.append(&head, &body);
        if stored {
            self.stored.entry(channel).or_default().push([format!("0 - {head}\n").as_bytes(), &body].concat());
        }
        self.last
    }

    /// Drops the oldest messages of a channel, as one does that publishes with a smaller cap; which.
    pub(super) fn trim(&mut self, channel: &'static str, keep: usize) -> Vec<u64> {
        let stored = self.stored.entry(channel).or_default();
        let gone = stored.len().saturating_sub(keep);
        stored.drain(..gone).map(|bytes| seq(Record::read(&bytes).unwrap().stamp)).collect()
    }

    pub(super) fn delete(&mut self, channel: &'static str) {
        let Stamp { time, tag } = self.last;
        let head = format!("D {time} {tag} n 1 {}", channel.len());
        self.append(&head, &[channel.as_bytes(), &deletion_payload(None)].concat());
        self.counts.remove(channel);
        self.stored.remove(channel);
    }

    pub(super) fn beat(&mut self) {
        if self.time > self.last.time {
            self.last = Stamp { time: self.time, tag: 0 };
        }
        let Stamp { time, tag } = self.last;
        self.append(&format!("M {time} {tag} 0"), b"");
    }
}
