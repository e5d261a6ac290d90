//! The log of a process: a directory opened and read at the start, then written by a thread of its own until the end.
//!
//! It does not know the hub beyond [`Memory`]. While entries come the thread looks by itself, so that a publish costs no wake-up;
//! after a quiet time it sleeps, and the first entry wakes it.

use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::LogError;
use super::bell::Bell;
use super::directory::Directory;
use super::entry::Entry;
use super::health::Health;
use super::queue::Memory;
use super::restore::{self, Restored};
use super::segments::Segments;
use super::writer::{BATCH, Next, Writer};
use crate::model::{ALERT, Durability};

/// A log that is open and not written yet.
pub struct OpenLog {
    pub(super) segments: Segments,
    pub(super) health: Health,
    pub(super) restored: Restored,
    /// Why the directory cannot be used yet.
    pub(super) awaited: Option<String>,
    pub(super) rewritten: bool,
}

impl OpenLog {
    /// Takes a directory for this process.
    ///
    /// One that cannot be made, opened or listed is no error: the log holds nothing, and is written from memory as soon as it can
    /// be. What the directory turns out to hold of a process before is put aside then, since it knows nothing of what this one
    /// has said.
    pub fn open(dir: &Path) -> Result<Self, LogError> {
        let opened = Directory::open(dir).and_then(|disk| {
            Segments::new(Box::new(disk), seed()).map_err(|error| LogError::Io { path: dir.to_owned(), error })
        });
        match opened {
            Ok(segments) => Ok(Self::of(segments)),
            Err(LogError::Io { path, error }) => {
                let segments = Segments::awaited(Box::new(Directory::unheld(dir)), seed());
                let awaited = Some(format!("{}: {error}", path.display()));
                Ok(Self { awaited, ..Self::of(segments) })
            }
            Err(error) => Err(error),
        }
    }

    /// Looks at a directory that another process holds and goes on to hold; it is only read.
    pub fn of_another(dir: &Path) -> Result<Self, LogError> {
        let segments = Segments::new(Box::new(Directory::unheld(dir)), seed());
        segments.map(Self::of).map_err(|error| LogError::Io { path: dir.to_owned(), error })
    }

    /// Whether all of it can be read by this version.
    pub fn check_formats(&self) -> Result<(), LogError> {
        restore::check_formats(&self.segments)
    }

    /// Whether a hub has nothing to read there: the directory cannot be used yet, or what it holds is not to be.
    pub fn is_blank(&self) -> bool {
        self.awaited.is_some() || self.rewritten
    }

    fn of(segments: Segments) -> Self {
        let (health, restored) = (Health::default(), Restored::default());
        Self { segments, health, restored, awaited: None, rewritten: false }
    }

    /// The same for a hub that has changed while another process has written there: what that has written is put aside, and all that
    /// the hub holds is written anew.
    #[must_use]
    pub fn rewritten(self) -> Self {
        Self { rewritten: true, ..self }
    }

    /// The last time that the process before may have handed out; 0 if nothing was written.
    pub fn last_time(&self) -> u32 {
        restore::last_time(&self.segments)
    }

    /// Reads the entries that were written after [`Log::close`] has returned `end`, in order; 0: all.
    pub fn restore_after(&mut self, end: u64, apply: &mut dyn FnMut(Entry)) -> Result<Restored, LogError> {
        let restored = restore::restore(&mut self.segments, end, apply)?;
        restored.tell();
        self.restored = restored.clone();
        self.health.update(|view| view.damaged = u64::from(restored.renew.is_some()));
        Ok(restored)
    }

    /// Begins to write what `memory` queues from now on.
    pub fn start(self, memory: Arc<dyn Memory>, sync: Durability) -> Result<Log, LogError> {
        let place = self.segments.place();
        let bell = Arc::new(Bell::default());
        let (health, slowest) = (self.health.clone(), self.health.clone());
        // The process may have changed since it was opened: a daemon is a child of whoever opened it.
        self.segments.disk().claim();
        let mut writer = Writer::new(self.segments, Arc::clone(&memory), self.health, sync, &self.restored);
        if self.rewritten {
            writer.rewrite();
        }
        if let Some(why) = &self.awaited {
            tracing::error!(
                target: ALERT,
                "the log cannot be opened: {why}; messages published now do not survive a restart, it is tried again each second"
            );
            writer.wait_for_disk(&format!("it cannot be opened: {why}"));
        }
        // Before anybody is served: a process that ends at once has left its marks.
        writer.step(0);
        let rung = Arc::clone(&bell);
        let thread = std::thread::Builder::new().name("log".to_owned()).spawn(move || {
            let _told = Unexpected(slowest.clone());
            let start = Instant::now();
            let now = || start.elapsed().as_millis() as u64;
            let mut pause = 0;
            while !rung.wait(Duration::from_millis(pause)) {
                let began = now();
                pause = match writer.step(began) {
                    Next::In(pause) => pause,
                    Next::WithEntries(most) if memory.rings_for_entries(&rung) => most,
                    Next::WithEntries(_) => BATCH,
                };
                let took = now() - began;
                slowest.update(|view| view.slowest = view.slowest.max(took));
            }
            if let Err(error) = writer.finish(now()) {
                tracing::error!(target: "alert", "the log could not be written to its end: {error}");
            }
            writer.end()
        });
        let thread = thread.map_err(|error| LogError::Io { path: place.into(), error })?;
        Ok(Log { bell, health, sync, thread: Mutex::new(Some(thread)) })
    }
}

/// What nobody outside can know: see `frame`.
fn seed() -> u32 {
    RandomState::new().hash_one(std::process::id()) as u32
}

/// A log that is being written.
pub struct Log {
    bell: Arc<Bell>,
    health: Health,
    sync: Durability,
    thread: Mutex<Option<JoinHandle<u64>>>,
}

impl Log {
    /// Its state, at any time.
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// Whether publishers wait for a sync.
    pub fn sync(&self) -> Durability {
        self.sync
    }

    /// Calls back when all entries up to a position are on the medium (true), or when that will not be (false: the log has
    /// a gap). The callback comes from the thread of the log, or at once.
    pub fn when_synced(&self, position: u64, callback: impl FnOnce(bool) + Send + 'static) {
        self.health.when_synced(position, Box::new(callback));
        self.bell.ring();
    }

    /// Writes what is queued, ends the thread and gives the directory up. Returns the end of what was written; `None` from later
    /// calls.
    pub fn close(&self) -> Option<u64> {
        self.bell.ring_for_end();
        let ended = self.thread.lock().take()?.join();
        self.health.ended();
        ended.ok()
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.close();
    }
}

/// Tells of an end of the thread by a mistake: whoever waits for it would wait for ever.
struct Unexpected(Health);

impl Drop for Unexpected {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.gap_began("its writer has ended by a mistake of the server");
        }
    }
}
