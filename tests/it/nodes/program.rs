//! The program of a node's processes: that of all tests, or, where `CHAOS_OTHER` names another build, the two by turns, as in a rolling upgrade.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::{Prefix, binary};

/// What a node runs.
pub struct Program {
    /// Where both builds are, and the file that is one of them.
    builds: Option<([PathBuf; 2], PathBuf)>,
    turn: usize,
}

impl Program {
    /// That of a node in this directory.
    pub fn new(prefix: &Prefix) -> Self {
        static NODES: AtomicUsize = AtomicUsize::new(0);
        let other = std::env::var_os("CHAOS_OTHER").filter(|path| !path.is_empty());
        let builds = other.map(|other| ([binary().into(), other.into()], prefix.path("pushstreamd")));
        Self { builds, turn: NODES.fetch_add(1, Ordering::Relaxed) }
    }

    /// What the next process is started from, whoever starts it.
    pub fn next(&mut self) -> OsString {
        let Some((builds, place)) = &self.builds else { return binary() };
        self.turn += 1;
        // Who runs keeps the file it began with, as where a package is installed.
        let new = place.with_extension("new");
        let build = &builds[self.turn % 2];
        let _ = fs::remove_file(&new);
        if fs::hard_link(build, &new).is_err() {
            fs::copy(build, &new).unwrap();
        }
        fs::rename(&new, place).unwrap();
        place.into()
    }
}
