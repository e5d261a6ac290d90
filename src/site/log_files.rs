//! Where access logs go: to files that each worker keeps open, to files that requests name ([`super::named_logs`]), to syslog.
//!
//! Does not know what a line says. Invariant: whoever is logged never waits and never fails.

use std::cell::RefCell;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hashbrown::HashMap;

use super::access_log::{self, OpenLine, Outcome};
use super::exchange::Exchange;
use super::log_file::LogFile;
use super::named_logs::{self, NamedLogs, OpenPath};
use super::opened_logs::OpenedLogs;
use super::syslog;
use crate::conf::settings::{AccessLog, AccessTarget, LogTarget};

/// Open log files by path.
#[derive(Default)]
pub(crate) struct LogFiles {
    opened: Arc<OpenedLogs>,
    files: RefCell<HashMap<PathBuf, LogFile>>,
    named: RefCell<NamedLogs>,
}

/// The lines a request leaves in access logs once it is over.
pub(crate) type OpenLines = Vec<(OpenTarget, OpenLine)>;

/// Where such a line goes.
pub(crate) enum OpenTarget {
    /// To the same place as all others.
    Fixed(LogTarget),
    /// To the file that the request names.
    Named(OpenPath),
}

impl LogFiles {
    /// Those that are found among the opened ones need not be opened here.
    pub(crate) fn new(opened: Arc<OpenedLogs>) -> Self {
        Self { opened, ..Self::default() }
    }

    /// Has the next lines go to files opened by name.
    pub(crate) fn reopen(&self) {
        self.files.borrow_mut().values_mut().for_each(LogFile::is_due);
        self.named.borrow_mut().reopen();
    }

    /// Writes the lines of a request that is over.
    pub(crate) fn write(&self, lines: &OpenLines, outcome: &Outcome<'_>) {
        for (target, line) in lines {
            let mut line = line.close(outcome);
            line.push(b'\n');
            match target {
                OpenTarget::Fixed(LogTarget::File(path)) => self.append(path, &line),
                OpenTarget::Fixed(LogTarget::Syslog(server)) => {
                    syslog::send(server, server.severity, &line, outcome.now);
                }
                OpenTarget::Fixed(LogTarget::Stderr) => {
                    let _ = io::stderr().write_all(&line);
                }
                OpenTarget::Named(path) => self.named.borrow_mut().append(path, outcome, &line),
            }
        }
    }

    fn append(&self, path: &Path, line: &[u8]) {
        let mut files = self.files.borrow_mut();
        if !files.contains_key(path) {
            files.insert(path.to_owned(), LogFile::to_be_opened());
        }
        if let Some(file) = files.get_mut(path) {
            file.append(path, line, &self.opened);
        }
    }
}

/// The lines of a request at its location, as far as they are known before its end.
pub(crate) fn open_lines(exchange: &Exchange<'_>) -> OpenLines {
    let logs: &[AccessLog] = &exchange.location.core.access_log;
    logs.iter()
        .filter(|log| access_log::wants(log, exchange))
        .filter_map(|log| {
            let target = match &log.target {
                AccessTarget::Fixed(target) => OpenTarget::Fixed(target.clone()),
                AccessTarget::Named(log) if !named_logs::has_site(log, exchange) => return None,
                AccessTarget::Named(log) => OpenTarget::Named(OpenPath::open(Arc::clone(log), exchange)),
            };
            Some((target, OpenLine::open(&log.format.line, log.format.escape, exchange)))
        })
        .collect()
}
