//! How the log is: what `/health`, metrics and the log lines tell, and who waits for a sync.
//!
//! It does not know disks. It is written by the writer alone and read by anybody at any time.

use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

/// The state of a log, shared.
#[derive(Clone, Default)]
pub struct Health(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    view: HealthView,
    waiting: Vec<Waiting>,
}

/// Called when an entry is on the medium (true), or when it is not going to be (false).
pub(super) type Callback = Box<dyn FnOnce(bool) + Send>;

struct Waiting {
    position: u64,
    callback: Callback,
}

/// The state of a log at one moment.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct HealthView {
    /// Why what is published now would not survive; `None` while all is well.
    pub gap: Option<String>,
    /// Times that a gap began.
    pub gaps: u64,
    /// Bytes the log has on the disk.
    pub bytes: u64,
    /// Its files.
    pub files: u64,
    /// Entries written.
    pub entries: u64,
    /// Bytes written.
    pub written: u64,
    /// Syncs done.
    pub syncs: u64,
    /// Milliseconds the longest step of the writer took, writes and sync together.
    pub slowest: u64,
    /// Damaged places found, at the start or later.
    pub damaged: u64,
    /// Position up to which all entries are on the medium.
    pub synced: u64,
    /// When that was so last.
    pub synced_at: Option<Instant>,
}

impl HealthView {
    /// With that of another log of the same process: what is wrong with either is wrong.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            gap: self.gap.or(other.gap),
            gaps: self.gaps + other.gaps,
            bytes: self.bytes + other.bytes,
            files: self.files + other.files,
            entries: self.entries + other.entries,
            written: self.written + other.written,
            syncs: self.syncs + other.syncs,
            slowest: self.slowest.max(other.slowest),
            damaged: self.damaged + other.damaged,
            synced: self.synced.min(other.synced),
            // One that has not synced yet has nothing to sync.
            synced_at: self.synced_at.into_iter().chain(other.synced_at).min(),
        }
    }
}

impl Health {
    /// The state now.
    pub fn view(&self) -> HealthView {
        self.0.lock().view.clone()
    }

    /// Calls back when all entries up to a position are on the medium; at once while there is a gap.
    pub(super) fn when_synced(&self, position: u64, callback: Callback) {
        let mut inner = self.0.lock();
        let outcome = match &inner.view {
            view if view.synced >= position => true,
            view if view.gap.is_some() => false,
            _ => {
                inner.waiting.push(Waiting { position, callback });
                return;
            }
        };
        drop(inner);
        callback(outcome);
    }

    /// Changes numbers.
    pub(super) fn update(&self, change: impl FnOnce(&mut HealthView)) {
        change(&mut self.0.lock().view);
    }

    /// Tells that all up to a position is on the medium.
    pub(super) fn synced(&self, position: u64) {
        self.answer(true, |inner| {
            inner.view.synced = position;
            inner.view.synced_at = Some(Instant::now());
            let mut ready = Vec::new();
            for waiting in std::mem::take(&mut inner.waiting) {
                let place = if waiting.position <= position { &mut ready } else { &mut inner.waiting };
                place.push(waiting);
            }
            ready
        });
    }

    /// Tells that a gap began; false if there was one already.
    pub(super) fn gap_began(&self, why: &str) -> bool {
        let mut new = false;
        self.answer(false, |inner| {
            new = inner.view.gap.is_none();
            inner.view.gaps += u64::from(new);
            inner.view.gap = Some(why.to_owned());
            std::mem::take(&mut inner.waiting)
        });
        new
    }

    /// Tells that the gap is closed.
    pub(super) fn gap_closed(&self) {
        self.update(|view| view.gap = None);
    }

    /// Tells whoever still waits that nothing more will be written.
    pub(super) fn ended(&self) {
        self.answer(false, |inner| std::mem::take(&mut inner.waiting));
    }

    /// Calls back without the lock.
    fn answer(&self, outcome: bool, ready: impl FnOnce(&mut Inner) -> Vec<Waiting>) {
        let ready = ready(&mut self.0.lock());
        for waiting in ready {
            (waiting.callback)(outcome);
        }
    }
}

impl std::fmt::Debug for Health {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.view().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_waits_is_called_once_with_what_became_of_it() {
        let health = Health::default();
        let told: Arc<Mutex<Vec<(u64, bool)>>> = Arc::default();
        let wait = |position| {
            let told = Arc::clone(&told);
            health.when_synced(position, Box::new(move |fine| told.lock().push((position, fine))));
        };
        wait(3);
        wait(5);
        health.synced(4);
        assert_eq!(*told.lock(), [(3, true)]);
        wait(4);
        health.gap_began("no space");
        wait(6);
        health.synced(6);
        wait(6);
        health.gap_closed();
        wait(7);
        health.ended();
        assert_eq!(*told.lock(), [(3, true), (4, true), (5, false), (6, false), (6, true), (7, false)]);
    }
}
