//! Where a node is in the log of its zone, and what the next entry means for it.
//!
//! It does no I/O. Entries are numbered without a gap; a gap is told, never passed over. Where another server process goes on, the entry that
//! begins its epoch is the way from what was lost to what is there.

use thiserror::Error;

use super::record::{Epoch, Record, What};
use super::stream::StreamId;

/// Entries are missing between what was applied and what came.
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
    /// The server process that wrote it.
    pub(super) epoch: Epoch,
}

/// What a server has lost that was applied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Loss {
    /// So many of the last entries.
    Entries(u64),
    /// The zone: it was begun anew.
    Everything,
}

impl Position {
    /// Whether an entry is the one that was applied last.
    pub(super) fn is_at(&self, bytes: &[u8]) -> bool {
        self.checksum.is_none_or(|sum| sum == crc32c::crc32c(bytes))
    }

    /// Goes on to the next entry; what it says, and what it says to be lost. Nothing of one that cannot be read: it has its number all the
    /// same.
    pub(super) fn advance(&mut self, id: StreamId, bytes: &[u8]) -> Result<(Option<Record>, Option<Loss>), Gap> {
        let record = Record::read(bytes).ok();
        let number = record.as_ref().map_or(self.number + 1, |record| record.number);
        let mut loss = None;
        if let Some(Record { what: What::Epoch(epoch), .. }) = &record {
            if number == 1 && epoch.zone != self.epoch.zone {
                loss = (self.number > 0).then_some(Loss::Everything);
                self.number = 0;
            }
            if number == self.number + 1 {
                self.epoch = epoch.clone();
            }
        }
        if number != self.number + 1 {
            return Err(Gap);
        }
        *self = Self { id, number, checksum: Some(crc32c::crc32c(bytes)), epoch: std::mem::take(&mut self.epoch) };
        Ok((record, loss))
    }

    /// The position from which to go on where the last entry is not there any more, if this is the entry that began the epoch behind it and
    /// everything before it was applied; and what was lost.
    pub(super) fn after_loss(&self, id: StreamId, bytes: &[u8]) -> Option<(Self, Option<Loss>)> {
        let Ok(Record { number, what: What::Epoch(epoch), .. }) = Record::read(bytes) else { return None };
        let before = number.checked_sub(1)?;
        let loss = if epoch.zone == self.epoch.zone {
            // Of one that was further back it is not known whether its entry was lost or has only become too old.
            if epoch.number != self.epoch.number + 1 || before > self.number {
                return None;
            }
            (before < self.number).then_some(Loss::Entries(self.number - before))
        } else if number == 1 {
            Some(Loss::Everything)
        } else {
            return None;
        };
        Some((Self { id: id.before(), number: before, checksum: None, epoch: self.epoch.clone() }, loss))
    }
}
