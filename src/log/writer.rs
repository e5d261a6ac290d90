//! The writer: takes what the hub has queued and brings it to the disk, batch by batch; closes gaps; renews old segments.
//!
//! It is one step after the other on one thread and reads no clock: time is an argument. It does not know the hub beyond
//! [`Memory`]. Whatever a disk does, the hub is never held up; what could not be written is told again from memory when the
//! disk is back, and only then is the log said to be whole.

use std::io;
use std::sync::Arc;

use super::entry::{Entry, Marks};
use super::frame;
use super::health::Health;
use super::queue::{Memory, Taken, WalkPlace};
use super::renewal::Renewal;
use super::restore::Restored;
use super::segments::{Place, Segments};
use crate::model::{ALERT, Durability, NOTICE};

/// Milliseconds between two batches.
pub(super) const BATCH: u64 = 50;
/// Milliseconds within which what was written is synced, where it is at all; the rest of a second is for the sync itself.
const SYNC: u64 = 800;
/// Milliseconds without an entry after which the next one is waited for, and how long at most: marks have to be ahead of the time.
const QUIET: u64 = 1000;
/// Milliseconds between two attempts to write to a disk that failed.
const RETRY: u64 = 1000;
/// Milliseconds between two looks whether the files are still there, and between two lines about a disk that does not come back.
const LOOK: u64 = 2000;
const REMIND: u64 = 60_000;
/// Seconds that marks are ahead of the hub's time when they are written, and how few may be left: [`QUIET`] and the sync are over
/// before time has caught up.
const AHEAD: u32 = 5;
const LEFT: u32 = 3;

/// The writer.
pub(super) struct Writer {
    segments: Segments,
    memory: Arc<dyn Memory>,
    health: Health,
    sync: Durability,
    /// The marks last written.
    marks: Marks,
    /// When something was first written that is not synced yet.
    unsynced: Option<u64>,
    /// When the last entries came.
    entries_at: u64,
    /// Sequence number up to which all messages are where they are meant to be.
    safe_seq: u64,
    renewal: Renewal,
    /// What is missing on the disk, if something is.
    gap: Option<Gap>,
    /// When the files are looked for next, and when a gap is told of again.
    look_at: u64,
    remind_at: u64,
    entries: Vec<Entry>,
    buffer: Vec<u8>,
}

/// Something in memory is missing on the disk.
#[derive(Clone, Copy)]
struct Gap {
    /// Messages from here on may be missing.
    from_seq: u64,
    /// Whether messages may be missing, which was told; else only counts are.
    told: bool,
    /// When the disk is tried next; `None` while the gap is being closed.
    retry_at: Option<u64>,
    /// How far the walk that closes it is.
    walk: Walk,
}

/// When the writer has something to do again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Next {
    /// After so many milliseconds.
    In(u64),
    /// As soon as an entry waits, or after so many milliseconds.
    WithEntries(u64),
}

#[derive(Clone, Copy)]
enum Walk {
    Begin,
    At(WalkPlace),
    /// The last page is queued.
    End,
}

impl Writer {
    pub(super) fn new(
        segments: Segments,
        memory: Arc<dyn Memory>,
        health: Health,
        sync: Durability,
        restored: &Restored,
    ) -> Self {
        let mut entries = Vec::new();
        // All that memory holds now it has from these segments.
        let taken = memory.take(&mut entries);
        // After a crash memory has moved its counts on, which the segments do not say.
        let all = Gap { from_seq: u64::MAX, told: false, retry_at: None, walk: Walk::Begin };
        Self {
            segments,
            memory,
            health,
            sync,
            marks: Marks::default(),
            unsynced: None,
            entries_at: 0,
            safe_seq: taken.marks.seq,
            renewal: Renewal::new(restored.renew),
            gap: restored.crashed().then_some(all),
            look_at: LOOK,
            remind_at: REMIND,
            entries,
            buffer: Vec::new(),
        }
    }

    /// Has everything written anew from memory, in place of what is there.
    pub(super) fn rewrite(&mut self) {
        self.segments.forget();
        self.gap = Some(Gap { from_seq: 0, told: false, retry_at: Some(0), walk: Walk::Begin });
    }

    /// Begins with a disk that cannot be used yet, which has been told.
    pub(super) fn wait_for_disk(&mut self, why: &str) {
        self.gap = Some(Gap { from_seq: 0, told: true, retry_at: Some(RETRY), walk: Walk::Begin });
        self.health.gap_began(why);
    }

    /// Does what is to be done now; returns when the next step is due.
    pub(super) fn step(&mut self, now: u64) -> Next {
        if let Some(at) = self.gap.and_then(|gap| gap.retry_at)
            && now < at
        {
            return Next::In(at - now);
        }
        let next = self.try_step(now);
        self.tell();
        next.unwrap_or_else(|error| {
            self.failed(&error, now);
            Next::In(RETRY)
        })
    }

    fn try_step(&mut self, now: u64) -> io::Result<Next> {
        if let Some(gap) = self.gap.as_mut()
            && gap.retry_at.take().is_some()
        {
            // A segment of its own shows whether the disk is back.
            gap.walk = Walk::Begin;
            if let Place::Other(aside) = self.segments.recover()? {
                gap.from_seq = 0;
                self.safe_seq = 0;
                if let Some(aside) = aside {
                    let aside = aside.display();
                    tracing::warn!(
                        "what another process had left in the directory of the log is kept in {aside}, and not used"
                    );
                }
            }
            self.segments.begin(0)?;
            self.segments.sync()?;
            self.marks = Marks::default();
        }
        if self.gap.is_none() && now >= self.look_at {
            self.look_at = now + LOOK;
            self.segments.look().inspect_err(|_| self.safe_seq = 0)?;
        }
        let ended = self.walk_on()?;
        let taken = self.write_batch(now)?;
        if ended && taken.lost_from.is_none() {
            self.record(&Entry::WalkEnded)?;
            self.flush()?;
        }
        if let Some(lost) = taken.lost_from {
            self.lost(lost);
        }
        let closed = ended && self.gap.is_some_and(|gap| matches!(gap.walk, Walk::End));
        self.sync_if_due(closed, now)?;
        if self.sync == Durability::Off || self.unsynced.is_none() {
            self.note_safe(&taken, closed);
        }
        if self.gap.is_some() {
            return Ok(Next::In(1));
        }
        Ok(self.renew(now))
    }

    /// Syncs what was written, if it is time to or `closed` says that it closes the gap.
    fn sync_if_due(&mut self, closed: bool, now: u64) -> io::Result<()> {
        let Some(since) = self.unsynced else { return Ok(()) };
        let by_itself = match self.sync {
            Durability::Always => true,
            Durability::Second => now.saturating_sub(since) >= SYNC,
            Durability::Off => false,
        };
        if by_itself || closed || self.renewal.waits_for_sync() {
            self.segments.sync()?;
            self.unsynced = None;
            self.health.update(|view| view.syncs += 1);
        }
        Ok(())
    }

    /// All that was taken is as safe as it is to be; if the gap is `closed` by it, that is over.
    fn note_safe(&mut self, taken: &Taken, closed: bool) {
        if self.gap.is_none_or(|gap| !gap.told) || closed {
            self.safe_seq = taken.marks.seq;
        }
        if closed && self.gap.take().is_some_and(|gap| gap.told) {
            self.health.gap_closed();
            tracing::info!(target: NOTICE, "the log is whole again");
        }
        if self.gap.is_none_or(|gap| !gap.told) {
            self.health.synced(taken.position);
        }
    }

    /// Does a slice of the renewal of old segments.
    fn renew(&mut self, now: u64) -> Next {
        let renewed = self.renewal.step(&mut self.segments, &*self.memory, self.unsynced.is_none());
        if let Some(reason) = renewed.damage {
            self.health.update(|view| view.damaged += 1);
            tracing::error!(target: ALERT, "{reason}; it is written anew from memory");
            self.lost(0);
        }
        renewed.pause.map_or_else(|| self.pause(now), Next::In)
    }

    /// How long there is nothing to do but to take what comes.
    fn pause(&self, now: u64) -> Next {
        if now < self.entries_at + QUIET {
            return Next::In(BATCH);
        }
        let sync_at = self.unsynced.filter(|_| self.sync != Durability::Off).map_or(u64::MAX, |since| since + SYNC);
        Next::WithEntries(QUIET.min(sync_at.min(self.look_at).saturating_sub(now)))
    }

    /// Writes what is queued. All of it, or an error.
    fn write_batch(&mut self, now: u64) -> io::Result<Taken> {
        let mut entries = std::mem::take(&mut self.entries);
        let taken = self.memory.take(&mut entries);
        let count = entries.len() as u64;
        if count > 0 {
            self.entries_at = now;
        }
        for entry in entries.drain(..) {
            self.record(&entry)?;
        }
        // After the entries they count. The time is ahead, so that a crash cannot make it fall behind what was handed out.
        let behind = taken.marks.time.saturating_add(LEFT) > self.marks.time;
        if behind || self.renewal.waits_for_sync() {
            self.marks = Marks { time: taken.marks.time.saturating_add(AHEAD), ..taken.marks };
            self.record(&Entry::Marks(self.marks))?;
        }
        self.entries = entries;
        if self.entries.capacity() > 4096 {
            self.entries = Vec::new();
        }
        if !self.buffer.is_empty() {
            self.flush()?;
            self.unsynced.get_or_insert(now);
            self.health.update(|view| view.entries += count);
        }
        Ok(taken)
    }

    /// Adds a record to the batch, beginning a segment where the present one is full.
    fn record(&mut self, entry: &Entry) -> io::Result<()> {
        let before = self.buffer.len();
        if !frame::write(entry, self.segments.seed(), &mut self.buffer) {
            tracing::error!(target: ALERT, "a message is too large for the log and will not survive a restart");
            return Ok(());
        }
        if self.segments.fits(self.buffer.len()) {
            return Ok(());
        }
        let record = self.buffer.split_off(before);
        self.flush()?;
        let mut first = Vec::new();
        // Each segment begins with the marks, so that they never go with an old one.
        frame::write(&Entry::Marks(self.marks), self.segments.seed(), &mut first);
        first.extend_from_slice(&record);
        self.segments.begin(first.len())?;
        self.buffer = first;
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        self.segments.append(&self.buffer)?;
        let bytes = self.buffer.len() as u64;
        self.health.update(|view| view.written += bytes);
        self.buffer.clear();
        if self.buffer.capacity() > 1 << 20 {
            self.buffer = Vec::new();
        }
        Ok(())
    }

    /// Takes the walk that closes a gap one page further; whether its last page is queued now.
    fn walk_on(&mut self) -> io::Result<bool> {
        let Some(Gap { from_seq, walk, .. }) = self.gap else { return Ok(false) };
        let place = match walk {
            Walk::Begin => {
                self.record(&Entry::WalkBegan)?;
                WalkPlace::default()
            }
            Walk::At(place) => place,
            Walk::End => return Ok(true),
        };
        let next = self.memory.walk(place, from_seq);
        if let Some(gap) = &mut self.gap {
            gap.walk = next.map_or(Walk::End, Walk::At);
        }
        Ok(next.is_none())
    }

    /// Entries were dropped before they were written.
    fn lost(&mut self, from_seq: u64) {
        let from_seq = self.gap.map_or(from_seq, |gap| gap.from_seq.min(from_seq));
        self.gap = Some(Gap { from_seq, told: true, retry_at: None, walk: Walk::Begin });
        // What memory was asked to keep may be among what was dropped.
        self.renewal.interrupt();
        let why = "the disk is slower than the publishers";
        if self.health.gap_began(why) {
            tracing::error!(target: ALERT, "the log has a gap: {why}; it is being written anew from memory");
        }
    }

    fn failed(&mut self, error: &io::Error, now: u64) {
        self.segments.abandon();
        self.buffer.clear();
        self.entries.clear();
        self.unsynced = None;
        self.renewal.interrupt();
        let from_seq = self.gap.map_or(u64::MAX, |gap| gap.from_seq).min(self.safe_seq + 1);
        self.gap = Some(Gap { from_seq, told: true, retry_at: Some(now + RETRY), walk: Walk::Begin });
        let why = format!("it cannot be written: {error}");
        let new = self.health.gap_began(&why);
        if new || now >= self.remind_at {
            self.remind_at = now + REMIND;
            let (place, has) = (self.segments.place(), if new { "has" } else { "still has" });
            tracing::error!(target: ALERT, "the log in {place} {has} a gap: {why}; messages published now do not survive a restart");
        }
    }

    /// Brings everything to the disk before the process ends, and says so there.
    pub(super) fn finish(&mut self, now: u64) -> io::Result<()> {
        // A gap that could be closed by now is.
        let mut steps = 0;
        while self.gap.is_some() && steps < 1_000_000 {
            if self.gap.and_then(|gap| gap.retry_at).is_some() && steps > 0 {
                break;
            }
            if let Some(gap) = &mut self.gap
                && gap.retry_at.is_some()
            {
                gap.retry_at = Some(now);
            }
            self.step(now);
            steps += 1;
        }
        let taken = self.write_batch(now)?;
        if self.gap.is_none() && taken.lost_from.is_none() {
            self.record(&Entry::Marks(Marks { clean: true, ..taken.marks }))?;
        }
        self.flush()?;
        self.segments.sync()?;
        self.segments.close()?;
        if self.gap.is_none() {
            self.health.synced(taken.position);
        }
        self.health.ended();
        Ok(())
    }

    /// The number of the last segment.
    pub(super) fn end(&self) -> u64 {
        self.segments.numbers().last().copied().unwrap_or(0)
    }

    fn tell(&self) {
        let (bytes, files) = (self.segments.bytes(), self.segments.count() as u64);
        self.health.update(|view| (view.bytes, view.files) = (bytes, files));
    }
}

#[cfg(test)]
impl Writer {
    pub(super) fn entries_written(&self) -> u64 {
        self.health.view().entries
    }
}
