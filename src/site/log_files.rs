//! The files access logs go to, kept open by each worker.

use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use hashbrown::HashMap;

use super::access_log::{self, OpenLine, Outcome};
use super::exchange::Exchange;
use crate::conf::settings::{AccessLog, LogTarget};

/// Open log files by path. A file that cannot be opened is tried again after [`LogFiles::reopen`].
#[derive(Default)]
pub(crate) struct LogFiles {
    files: RefCell<HashMap<PathBuf, Option<File>>>,
}

/// The lines a request leaves in access logs once it is over.
pub(crate) type OpenLines = Vec<(LogTarget, OpenLine)>;

impl LogFiles {
    /// Forgets the open files, so that the next lines go to files opened by name.
    pub(crate) fn reopen(&self) {
        self.files.borrow_mut().clear();
    }

    /// Writes the lines of a request that is over.
    pub(crate) fn write(&self, lines: &OpenLines, outcome: &Outcome<'_>) {
        for (target, line) in lines {
            let line = line.close(outcome);
            let _ = match target {
                LogTarget::File(path) => self.append(path, &line),
                LogTarget::Stderr | LogTarget::Syslog(_) => std::io::stderr().write_all(&line),
            };
        }
    }

    fn append(&self, path: &Path, line: &[u8]) -> std::io::Result<()> {
        let mut files = self.files.borrow_mut();
        if !files.contains_key(path) {
            let file = OpenOptions::new().append(true).create(true).open(path);
            if let Err(error) = &file {
                tracing::error!("open() \"{}\" failed ({error})", path.display());
            }
            files.insert(path.to_owned(), file.ok());
        }
        match files.get_mut(path) {
            Some(Some(file)) => file.write_all(line),
            _ => Ok(()),
        }
    }
}

/// The lines of a request at its location, as far as they are known before its end.
pub(crate) fn open_lines(exchange: &Exchange<'_>) -> OpenLines {
    let logs: &[AccessLog] = &exchange.location.core.access_log;
    logs.iter()
        .filter(|log| access_log::wants(log, exchange))
        .map(|log| (log.target.clone(), OpenLine::open(&log.format, exchange)))
        .collect()
}
