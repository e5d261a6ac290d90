//! Access logs as the main thread has opened them, for the workers to write to.
//!
//! nginx's master opens them, so that a log may be something that its workers could not open: a file below a directory of root's,
//! the pipe that a container has as its standard output. Whoever finds a file missing here opens it by itself; one that could not be opened
//! here is tried again here.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hashbrown::HashMap;
use parking_lot::Mutex;

/// Log files by path, or the system's word of why one could not be opened.
#[derive(Default)]
pub(crate) struct OpenedLogs(Mutex<HashMap<PathBuf, Result<Arc<File>, i32>>>);

impl OpenedLogs {
    /// Opens these (anew), and lets go of all others.
    pub(crate) fn keep(&self, paths: BTreeSet<PathBuf>) {
        *self.0.lock() = paths.into_iter().map(|path| (path.clone(), opened(&path))).collect();
    }

    /// Opens all of them anew, after they have been moved away.
    pub(crate) fn reopen(&self) {
        self.0.lock().iter_mut().for_each(|(path, file)| *file = opened(path));
    }

    /// Whether some could not be opened.
    pub(crate) fn lack_some(&self) -> bool {
        self.0.lock().values().any(Result::is_err)
    }

    /// Tries those again that could not be opened.
    pub(crate) fn retry(&self) {
        self.0.lock().iter_mut().filter(|(_, file)| file.is_err()).for_each(|(path, file)| *file = opened(path));
    }

    /// One of them, or what is opened now that is none of them.
    pub(crate) fn get(&self, path: &Path) -> io::Result<Arc<File>> {
        let opened = self.0.lock().get(path).cloned();
        opened.map_or_else(|| open(path).map(Arc::new), |opened| opened.map_err(io::Error::from_raw_os_error))
    }
}

/// Opens a log file for appending.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

/// Who writes to it tells that it cannot be opened.
fn opened(path: &Path) -> Result<Arc<File>, i32> {
    open(path).map(Arc::new).map_err(|error| error.raw_os_error().unwrap_or_default())
}
