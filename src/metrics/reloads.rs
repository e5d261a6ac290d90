//! Reloads: how many, and what became of the last one.

use parking_lot::Mutex;

/// The reloads of a process.
#[derive(Debug, Default)]
pub struct Reloads(Mutex<ReloadView>);

/// What is known of them at a moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ReloadView {
    /// Those after which another configuration was in force.
    pub done: u64,
    /// Those that changed nothing.
    pub failed: u64,
    /// Whether the last one failed.
    pub last_failed: bool,
    /// When the configuration in force was loaded, seconds since the epoch.
    pub loaded: u64,
}

impl Reloads {
    /// A configuration is in force, from the start or by a reload.
    pub fn load(&self, now: u64) {
        let mut view = self.0.lock();
        view.loaded = now;
        view.last_failed = false;
    }

    /// A reload is over.
    pub fn end(&self, done: bool) {
        let mut view = self.0.lock();
        view.done += u64::from(done);
        view.failed += u64::from(!done);
        view.last_failed = !done;
    }

    /// All of it.
    pub fn view(&self) -> ReloadView {
        *self.0.lock()
    }
}
