//! Where a node is in the log of its zone, and what the next entry means for it.
//!
//! It does no I/O. Entries are numbered without a gap and bear the name of their epoch; what does not follow is told, never passed over. Where
//! another server goes on, its epochs say from which entry on it has something else.

use thiserror::Error;

use super::lineage::{Fork, Lineage};
use super::record::{Record, What};
use super::stream::StreamId;

/// What came does not follow what was applied.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("entries are missing")]
pub(super) struct Gap;

/// The last entry that was applied.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Position {
    /// Its place in the stream.
    pub(super) id: StreamId,
    /// Its number.
    pub(super) number: u64,
    /// The checksum of its bytes; nothing: they are not known.
    pub(super) checksum: Option<u32>,
    /// Names the zone since it was last begun from nothing.
    pub(super) zone: Box<str>,
    /// The epochs up to it.
    pub(super) lineage: Lineage,
}

/// What a server has lost that was applied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Loss {
    /// So many of the last entries.
    Entries(u64),
    /// The zone: it was begun anew.
    Everything,
}

/// How to go on with a server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Onward {
    /// From where it is.
    Here,
    /// Behind this entry; what was applied later is lost.
    Behind(u64, Option<Loss>),
    /// By reading all of it.
    Anew(Option<Loss>),
    /// Not before somebody has begun an epoch there.
    Later,
}

impl Position {
    /// Whether an entry is the one that was applied last.
    pub(super) fn is_at(&self, bytes: &[u8]) -> bool {
        self.checksum.is_none_or(|sum| sum == crc32c::crc32c(bytes))
    }

    /// How to go on with a server that holds this zone, these epochs and so many entries.
    pub(super) fn onward(&self, zone: &str, server: &Lineage, entries: u64) -> Onward {
        if *zone != *self.zone {
            return Onward::Behind(0, (self.number > 0).then_some(Loss::Everything));
        }
        match self.lineage.fork(self.number, server, entries) {
            Fork::Onward => Onward::Here,
            Fork::At(number) if number == self.number => Onward::Here,
            Fork::At(number) => Onward::Behind(number, Some(Loss::Entries(self.number - number))),
            Fork::Unsettled => Onward::Later,
            Fork::Apart => Onward::Anew(None),
        }
    }

    /// The position before an entry of the log, if that is the one behind this number.
    pub(super) fn before(&self, number: u64, id: StreamId, bytes: &[u8]) -> Option<Self> {
        let found = Record::read(bytes).ok()?;
        (found.number == number + 1).then(|| Self {
            id: id.before(),
            number,
            checksum: None,
            zone: self.zone.clone(),
            lineage: self.lineage.up_to(number),
        })
    }

    /// Goes on to the next entry; what it says, and what it says to be lost. Nothing of one that cannot be read: it has its number all the
    /// same.
    pub(super) fn advance(&mut self, id: StreamId, bytes: &[u8]) -> Result<(Option<Record>, Option<Loss>), Gap> {
        let record = Record::read(bytes).ok();
        let mut loss = None;
        if let Some(Record { number, epoch, what, .. }) = &record {
            let mut before = self.number;
            let follows = match what {
                What::Epoch(began) if *number == 1 && began.zone != self.zone => {
                    loss = (self.number > 0).then_some(Loss::Everything);
                    before = 0;
                    true
                }
                What::Epoch(began) => self.lineage.name() == Some(&began.before),
                _ => self.lineage.name() == Some(epoch),
            };
            if !follows || *number != before + 1 {
                return Err(Gap);
            }
            if let What::Epoch(began) = what {
                if before == 0 {
                    (self.zone, self.lineage) = (began.zone.clone(), Lineage::default());
                }
                self.lineage.push(epoch, before);
            }
            self.number = before;
        }
        (self.id, self.number, self.checksum) = (id, self.number + 1, Some(crc32c::crc32c(bytes)));
        Ok((record, loss))
    }
}
