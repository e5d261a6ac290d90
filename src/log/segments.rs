//! The segments of a log: those that are whole, the one that grows, and how many bytes they take.
//!
//! It does not know entries, time or what to do when a disk fails. Only the oldest segment ever goes, so that what it says
//! is not outlived by something older.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;

use super::disk::{Disk, Growing};
use super::header::{self, Header};

/// Bytes of an ordinary segment; one record that is larger has one of its own.
pub(super) const SEGMENT: u64 = 8 << 20;

/// The segments.
pub(super) struct Segments {
    disk: Box<dyn Disk>,
    old: VecDeque<Old>,
    growing: Option<Open>,
    seed: u32,
    last: u64,
    /// Where the ends of segments are that could not be cut yet.
    uncut: Vec<(u64, u64)>,
    /// What is on the disk may be something else than what is known here.
    unknown: bool,
}

/// What a place is that could not be used before.
pub(super) enum Place {
    /// What was written is still there.
    Same,
    /// Not all that was written is known to be there; where files are that somebody else had left.
    Other(Option<PathBuf>),
}

/// A segment that no longer grows.
#[derive(Clone, Copy)]
struct Old {
    number: u64,
    size: u64,
}

struct Open {
    number: u64,
    file: Box<dyn Growing>,
    used: u64,
    room: u64,
}

impl Segments {
    /// Those that a directory holds, none of which grows any more; new ones carry this seed.
    pub(super) fn new(disk: Box<dyn Disk>, seed: u32) -> io::Result<Self> {
        let old: VecDeque<Old> = disk.list()?.into_iter().map(|(number, size)| Old { number, size }).collect();
        let last = old.back().map_or(0, |old| old.number);
        Ok(Self { disk, old, growing: None, seed, last, uncut: Vec::new(), unknown: false })
    }

    /// Those of a disk that cannot be looked at now.
    pub(super) fn awaited(disk: Box<dyn Disk>, seed: u32) -> Self {
        Self { disk, old: VecDeque::new(), growing: None, seed, last: 0, uncut: Vec::new(), unknown: true }
    }

    /// Takes none of what is there for its own any more.
    pub(super) fn forget(&mut self) {
        self.old.clear();
        self.unknown = true;
    }

    /// Whether all of them are still there; an error if not.
    pub(super) fn look(&mut self) -> io::Result<()> {
        let found = self.disk.list();
        let there = |number: &u64| found.iter().flatten().any(|(found, _)| found == number);
        if self.numbers().iter().all(there) {
            return found.map(drop);
        }
        self.unknown = true;
        Err(found.err().unwrap_or_else(|| io::Error::new(io::ErrorKind::NotFound, "its files are gone")))
    }

    /// Takes the place that could not be used before; comes before the next segment is begun there.
    pub(super) fn recover(&mut self) -> io::Result<Place> {
        self.unknown |= self.disk.hold()?;
        if !self.unknown {
            return Ok(Place::Same);
        }
        let found = self.disk.list()?;
        let own = self.numbers();
        let strange: Vec<u64> =
            found.iter().map(|(number, _)| *number).filter(|number| !own.contains(number)).collect();
        let aside = if strange.is_empty() { None } else { Some(self.disk.put_aside(&strange)?) };
        self.old.retain(|old| found.iter().any(|(number, _)| *number == old.number));
        self.last = self.last.max(found.last().map_or(0, |(number, _)| *number));
        self.uncut.clear();
        self.unknown = false;
        Ok(Place::Other(aside))
    }

    pub(super) fn disk(&self) -> &dyn Disk {
        &*self.disk
    }

    pub(super) fn seed(&self) -> u32 {
        self.seed
    }

    /// The numbers of all of them, oldest first.
    pub(super) fn numbers(&self) -> Vec<u64> {
        self.old.iter().map(|old| old.number).chain(self.growing.as_ref().map(|open| open.number)).collect()
    }

    pub(super) fn count(&self) -> usize {
        self.old.len() + usize::from(self.growing.is_some())
    }

    /// Bytes on the disk, the room of the growing one included.
    pub(super) fn bytes(&self) -> u64 {
        self.old.iter().map(|old| old.size).sum::<u64>() + self.growing.as_ref().map_or(0, |open| open.room)
    }

    /// The oldest one, unless it still grows.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.old.front().map(|old| old.number)
    }

    /// Whether so many bytes more fit the growing one.
    pub(super) fn fits(&self, bytes: usize) -> bool {
        self.growing.as_ref().is_some_and(|open| open.used + bytes as u64 <= open.room)
    }

    /// Begins a new segment with room for a record of so many bytes; the one before is on the medium first.
    pub(super) fn begin(&mut self, bytes: usize) -> io::Result<()> {
        if let Some(open) = &mut self.growing {
            open.file.sync()?;
        }
        for (number, length) in std::mem::take(&mut self.uncut) {
            self.cut(number, length);
        }
        let number = self.last + 1;
        let room = SEGMENT.max((header::LENGTH + bytes) as u64);
        // Whatever comes of it, the number is used up: what a failed attempt leaves behind is no obstacle.
        self.last = number;
        let mut file = self.disk.create(number, room)?;
        let written = file.append(&Header { number, seed: self.seed }.encode());
        self.retire();
        let used = if written.is_ok() { header::LENGTH as u64 } else { 0 };
        self.growing = Some(Open { number, file, used, room });
        written
    }

    /// Writes behind what was written before.
    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let open = self.growing.as_mut().ok_or(io::ErrorKind::NotFound)?;
        open.file.append(bytes)?;
        open.used += bytes.len() as u64;
        Ok(())
    }

    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.growing.as_mut().map_or(Ok(()), |open| open.file.sync())
    }

    /// Lets the growing one grow no more.
    fn retire(&mut self) {
        if let Some(open) = self.growing.take() {
            self.old.push_back(Old { number: open.number, size: open.room });
        }
    }

    /// Gives the growing one up after an error: it ends behind the last record that was written whole, if the disk lets it.
    pub(super) fn abandon(&mut self) {
        let end = self.growing.as_ref().map(|open| (open.number, open.used));
        self.retire();
        if let Some((number, used)) = end {
            self.cut(number, used);
        }
    }

    /// Ends the growing one where its records end.
    pub(super) fn close(&mut self) -> io::Result<()> {
        let Some(open) = self.growing.take() else { return Ok(()) };
        let cut = self.disk.cut(open.number, open.used);
        self.old.push_back(Old { number: open.number, size: open.used });
        cut
    }

    /// Cuts the unreadable or unused end off one.
    pub(super) fn cut(&mut self, number: u64, length: u64) {
        if self.disk.cut(number, length).is_err() {
            self.uncut.push((number, length));
        } else if let Some(old) = self.old.iter_mut().find(|old| old.number == number) {
            old.size = length;
        }
    }

    pub(super) fn read(&self, number: u64) -> io::Result<Vec<u8>> {
        self.disk.read(number)
    }

    /// Lets the oldest one go.
    pub(super) fn remove_oldest(&mut self) -> io::Result<()> {
        let Some(&old) = self.old.front() else { return Ok(()) };
        match self.disk.remove(old.number) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => {
                self.uncut.retain(|(number, _)| *number != old.number);
                self.old.pop_front();
                Ok(())
            }
        }
    }

    /// The directory, to be told.
    pub(super) fn place(&self) -> String {
        self.disk.path(self.last).parent().map(|dir| dir.display().to_string()).unwrap_or_default()
    }

    pub(super) fn path(&self, number: u64) -> PathBuf {
        self.disk.path(number)
    }
}
