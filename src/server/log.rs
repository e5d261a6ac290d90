//! The error log: events of `tracing` as lines ([`super::log_line`]), to the places the configuration names, reopened on request.
//!
//! Never fails towards the caller: a line that cannot be written is lost, as in nginx.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::{Layer, Registry};

use super::listen::errno_text;
use super::log_line::{LogLine, name};
use crate::cli::console::say;
use crate::conf::settings::{ErrorLog, LogLevel, LogStyle, LogTarget};
use crate::site::{opened_logs, syslog};

/// Targets of events whose level `tracing` does not have.
pub(super) const NOTICE: &str = "notice";
/// See [`NOTICE`].
pub(super) const CRIT: &str = "crit";
pub(super) use crate::model::ALERT;
/// See [`NOTICE`].
pub(super) const EMERG: &str = "emerg";

/// The open error logs; shared by all threads, swapped as a whole.
#[derive(Clone, Default)]
pub(super) struct ErrorLogs(Arc<ArcSwap<Logs>>);

#[derive(Clone, Default)]
struct Logs {
    style: LogStyle,
    open: Vec<Open>,
}

#[derive(Clone)]
struct Open {
    level: LogLevel,
    target: LogTarget,
    file: Option<Arc<File>>,
    /// The file could not be opened anew: lines go where they went before, and it is tried again.
    stale: bool,
}

impl ErrorLogs {
    /// Makes these the receivers of all events of the process. Later calls have no effect.
    pub(super) fn install(&self) {
        let _ = tracing::subscriber::set_global_default(Registry::default().with(Lines(self.clone())));
    }

    /// Has lines be spelled so from now on.
    pub(super) fn spell(&self, style: LogStyle) {
        let open = self.0.load().open.clone();
        self.0.store(Arc::new(Logs { style, open }));
    }

    /// Opens the logs of a configuration in place of the present ones. The path and error of the first that cannot be
    /// opened, in which case nothing changes.
    pub(super) fn open(&self, logs: &[ErrorLog], style: LogStyle) -> Result<(), (PathBuf, io::Error)> {
        let open: Result<Vec<_>, _> = logs.iter().map(open_one).collect();
        self.0.store(Arc::new(Logs { style, open: open? }));
        // Who has asked remembers the answer, which may be another from now on.
        tracing::callsite::rebuild_interest_cache();
        Ok(())
    }

    /// Says something while the server starts: to the person who starts it, and to the logs that are open.
    pub(super) fn announce(&self, level: LogLevel, text: &str) {
        let logs = self.0.load();
        let line = LogLine::text(text).spelled(logs.style, level, super::now());
        match logs.style {
            LogStyle::Text => say(format_args!("pushstreamd: [{}] {text}", name(level))),
            LogStyle::Json => say(format_args!("{}", line.trim_end_matches('\n'))),
        }
        let files = |open: &&Open| open.file.is_some() && level >= open.level;
        for file in logs.open.iter().filter(files).filter_map(|open| open.file.as_ref()) {
            // A line that cannot be written is lost.
            let _ = (&**file).write_all(line.as_bytes());
        }
    }

    /// The first log file, which takes the place of standard error in the background.
    pub(super) fn first_file(&self) -> Option<Arc<File>> {
        self.0.load().open.iter().find_map(|open| open.file.clone())
    }

    /// Has standard error go to the first log file, as nginx does once it serves: whoever waits for the end of the caller's
    /// pipe is not kept waiting. Where there is no file, or this fails, it stays what it is.
    pub(super) fn take_stderr(&self) {
        if let Some(file) = self.first_file() {
            let _ = nix::unistd::dup2_stderr(&file);
        }
    }

    /// Opens the files anew (after they have been moved away). One that cannot be opened is told, stays what it was, and is
    /// tried again by [`ErrorLogs::retry`].
    pub(super) fn reopen(&self) {
        for (path, error) in self.renew(|_| true) {
            tracing::error!(target: EMERG, "open() \"{}\" failed ({})", path.display(), errno_text(&error));
        }
    }

    /// Whether there are files that could not be opened anew.
    pub(super) fn lack_some(&self) -> bool {
        self.0.load().open.iter().any(|open| open.stale)
    }

    /// Tries the files again that could not be opened anew.
    pub(super) fn retry(&self) {
        if self.lack_some() && self.renew(|open| open.stale).is_empty() {
            tracing::info!(target: NOTICE, "the error log is reopened at last");
        }
    }

    /// Opens those files anew that are `wanted`; what cannot be opened.
    fn renew(&self, wanted: impl Fn(&Open) -> bool) -> Vec<(PathBuf, io::Error)> {
        let mut failed = Vec::new();
        let present = self.0.load_full();
        let renewed = present.open.iter().map(|open| {
            let mut open = open.clone();
            if let LogTarget::File(path) = &open.target
                && wanted(&open)
            {
                match open_append(path) {
                    Ok(file) => open = Open { file: Some(Arc::new(file)), stale: false, ..open },
                    Err(error) => {
                        open.stale = true;
                        failed.push(error);
                    }
                }
            }
            open
        });
        let open = renewed.collect();
        self.0.store(Arc::new(Logs { style: present.style, open }));
        self.take_stderr();
        failed
    }

    fn write(&self, level: LogLevel, line: &LogLine) {
        let (logs, now) = (self.0.load(), super::now());
        let line = line.spelled(logs.style, level, now);
        for open in logs.open.iter().filter(|open| level >= open.level) {
            let _ = match (&open.file, &open.target) {
                (Some(file), _) => (&**file).write_all(line.as_bytes()),
                (None, LogTarget::Syslog(server)) => {
                    // From emerg, 0, to debug, 7.
                    let severity = LogLevel::Emerg as u8 - level as u8;
                    syslog::send(server, severity, line.as_bytes(), now);
                    Ok(())
                }
                (None, _) => io::stderr().write_all(line.as_bytes()),
            };
        }
    }

    fn takes(&self, level: LogLevel) -> bool {
        self.0.load().open.iter().any(|open| level >= open.level)
    }
}

fn open_one(log: &ErrorLog) -> Result<Open, (PathBuf, io::Error)> {
    let file = match &log.target {
        LogTarget::Stderr | LogTarget::Syslog(_) => None,
        LogTarget::File(path) => Some(Arc::new(open_append(path)?)),
    };
    Ok(Open { level: log.level, target: log.target.clone(), file, stale: false })
}

/// Opens a log file for appending.
pub(super) fn open_append(path: &std::path::Path) -> Result<File, (PathBuf, io::Error)> {
    opened_logs::open(path).map_err(|error| (path.to_owned(), error))
}

struct Lines(ErrorLogs);

impl<S: Subscriber> Layer<S> for Lines {
    fn enabled(&self, metadata: &tracing::Metadata<'_>, _: Context<'_, S>) -> bool {
        // Libraries speak up only when something is wrong.
        let own =
            metadata.target().starts_with("pushstreamd") || [NOTICE, CRIT, ALERT, EMERG].contains(&metadata.target());
        (own || *metadata.level() <= Level::WARN) && self.0.takes(level_of(metadata))
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        self.0.write(level_of(event.metadata()), &LogLine::of(event));
    }
}

fn level_of(metadata: &tracing::Metadata<'_>) -> LogLevel {
    match *metadata.level() {
        _ if metadata.target() == NOTICE => LogLevel::Notice,
        _ if metadata.target() == CRIT => LogLevel::Crit,
        _ if metadata.target() == ALERT => LogLevel::Alert,
        _ if metadata.target() == EMERG => LogLevel::Emerg,
        Level::ERROR => LogLevel::Error,
        Level::WARN => LogLevel::Warn,
        Level::INFO => LogLevel::Info,
        _ => LogLevel::Debug,
    }
}
