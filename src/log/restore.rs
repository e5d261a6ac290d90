//! Reading a log at the start: every entry that can be read, in order, and what is told about what cannot.
//!
//! It does not know what becomes of an entry. The state of a file never stops it; a file of a later format does, because
//! going on would lose what that version has written.

use super::LogError;
use super::entry::Entry;
use super::frame::{Found, Frames};
use super::header::{self, Header, Read};
use super::segments::Segments;
use crate::model::ALERT;

/// What was found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Restored {
    /// Entries read.
    pub entries: u64,
    /// Files read.
    pub files: u64,
    /// Lines about ends that were cut; ordinary after a crash.
    pub cut: Vec<String>,
    /// Lines about damage in the middle.
    pub damaged: Vec<String>,
    /// Whether the log ends with the word of a process that it has written everything.
    pub clean: bool,
    /// The number of the last damaged file: up to it the log is worth being written anew.
    pub(super) renew: Option<u64>,
}

impl Restored {
    /// Whether the process before has written everything, or there was none.
    pub fn is_clean(&self) -> bool {
        !self.crashed()
    }

    /// Tells what was lost in the files.
    pub(super) fn tell(&self) {
        for line in &self.cut {
            tracing::warn!("{line}");
        }
        for line in &self.damaged {
            tracing::error!(target: ALERT, "{line}");
        }
    }

    /// Whether a process has written there that did not come to its end.
    pub(super) fn crashed(&self) -> bool {
        self.entries > 0 && !self.clean
    }
}

/// Hands over all entries of the segments after that number, oldest first.
pub(super) fn restore(segments: &mut Segments, after: u64, apply: &mut dyn FnMut(Entry)) -> Result<Restored, LogError> {
    let mut restored = Restored::default();
    let numbers = segments.numbers();
    // Before anything is applied or cut: a directory that a later version has used is left as it is.
    check_formats(segments)?;
    for &number in numbers.iter().filter(|number| **number > after) {
        let last = numbers.last() == Some(&number);
        read_one(segments, number, last, &mut restored, apply);
    }
    Ok(restored)
}

/// Whether this version can read all segments.
pub(super) fn check_formats(segments: &Segments) -> Result<(), LogError> {
    for number in segments.numbers() {
        if let Ok(bytes) = segments.read(number)
            && let Read::Newer(format) = Header::read(&bytes)
        {
            return Err(LogError::Newer { file: segments.path(number), format });
        }
    }
    Ok(())
}

/// The time of the last marks; 0 if there are none.
pub(super) fn last_time(segments: &Segments) -> u32 {
    for number in segments.numbers().into_iter().rev() {
        let Ok(bytes) = segments.read(number) else { continue };
        let Read::Header(Header { seed, .. }, _) = Header::read(&bytes) else { continue };
        let mut frames = Frames::new(&bytes, header::LENGTH, seed);
        let mut time = None;
        loop {
            match frames.next() {
                Found::Entry(Entry::Marks(marks)) => time = Some(marks.time),
                Found::Entry(_) | Found::Damage { .. } => {}
                Found::End { .. } => break,
            }
        }
        if let Some(time) = time {
            return time;
        }
    }
    0
}

fn read_one(segments: &mut Segments, number: u64, last: bool, restored: &mut Restored, apply: &mut dyn FnMut(Entry)) {
    let path = segments.path(number);
    let name = path.display();
    let bytes = match segments.read(number) {
        Ok(bytes) => bytes,
        Err(error) => {
            restored.damaged.push(format!("{name} cannot be read: {error}"));
            restored.renew = Some(number);
            return;
        }
    };
    restored.files += 1;
    let mut damage = Vec::new();
    let seed = match Header::read(&bytes) {
        // Made, and never written before a crash.
        Read::Unused => return,
        _ if last && bytes.len() < header::LENGTH => {
            restored.cut.push(format!("{name}: cut at 0, it was being begun"));
            segments.cut(number, 0);
            return;
        }
        Read::Header(header, whole) => {
            if !whole {
                damage.push(format!("{name}: one copy of its head at 0 is damaged"));
            }
            header.seed
        }
        Read::Newer(_) | Read::Damaged => {
            restored.damaged.push(format!("{name}: its head at 0 cannot be read, nothing of it is used"));
            keep(segments, number, restored);
            return;
        }
    };
    let mut frames = Frames::new(&bytes, header::LENGTH, seed);
    loop {
        match frames.next() {
            Found::Entry(entry) => {
                restored.entries += 1;
                restored.clean = matches!(&entry, Entry::Marks(marks) if marks.clean);
                apply(entry);
            }
            Found::Damage { from, to } => {
                restored.clean = false;
                damage.push(format!("{name}: unreadable from {from} to {to}, skipped"));
            }
            Found::End { at, torn } => {
                restored.clean &= !torn;
                if torn && last && damage.is_empty() {
                    restored.cut.push(format!("{name}: cut at {at}, the record there is not whole"));
                } else if torn {
                    damage.push(format!("{name}: unreadable from {at} to its end, skipped"));
                }
                if last && damage.is_empty() {
                    segments.cut(number, at as u64);
                }
                break;
            }
        }
    }
    if !damage.is_empty() {
        restored.damaged.append(&mut damage);
        keep(segments, number, restored);
    }
}

/// Keeps a damaged file for whoever wants to look at it, and has the log written anew up to it.
fn keep(segments: &Segments, number: u64, restored: &mut Restored) {
    restored.renew = Some(number);
    match segments.disk().set_aside(number) {
        Ok(path) => restored.damaged.push(format!("a copy is kept as {}", path.display())),
        Err(error) => restored.damaged.push(format!("no copy could be kept: {error}")),
    }
}
