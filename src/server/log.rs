//! The error log: nginx's lines, to the places the configuration names, reopened on request.
//!
//! Events of `tracing` become lines `2026/11/22 18:43:51 [error] 123#0: text, field: value`. Never fails towards the
//! caller: a line that cannot be written is lost, as in nginx.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::{Layer, Registry};

use super::listen::errno_text;
use crate::conf::settings::{ErrorLog, LogLevel, LogTarget};
use crate::request::date::log_date;
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
pub(super) struct ErrorLogs(Arc<ArcSwap<Vec<Open>>>);

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
        let _ = tracing::subscriber::set_global_default(Registry::default().with(NginxLines(self.clone())));
    }

    /// Opens the logs of a configuration in place of the present ones. The path and error of the first that cannot be
    /// opened, in which case nothing changes.
    pub(super) fn open(&self, logs: &[ErrorLog]) -> Result<(), (PathBuf, io::Error)> {
        let open: Result<Vec<_>, _> = logs.iter().map(open_one).collect();
        self.0.store(Arc::new(open?));
        Ok(())
    }

    /// Says something while the server starts: to the person who starts it, and to the logs that are open.
    pub(super) fn announce(&self, level: LogLevel, text: &str) {
        eprintln!("pushstreamd: [{}] {text}", name(level));
        let files = |open: &&Open| open.file.is_some() && level >= open.level;
        let line = line(level, text);
        for file in self.0.load().iter().filter(files).filter_map(|open| open.file.as_ref()) {
            // A line that cannot be written is lost.
            let _ = (&**file).write_all(line.as_bytes());
        }
    }

    /// The first log file, which takes the place of standard error in the background.
    pub(super) fn first_file(&self) -> Option<Arc<File>> {
        self.0.load().iter().find_map(|open| open.file.clone())
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

    /// Tries the files again that could not be opened anew.
    pub(super) fn retry(&self) {
        if !self.0.load().iter().any(|open| open.stale) {
            return;
        }
        if self.renew(|open| open.stale).is_empty() {
            tracing::info!(target: NOTICE, "the error log is reopened at last");
        }
    }

    /// Opens those files anew that are `wanted`; what cannot be opened.
    fn renew(&self, wanted: impl Fn(&Open) -> bool) -> Vec<(PathBuf, io::Error)> {
        let mut failed = Vec::new();
        let present = self.0.load_full();
        let renewed = present.iter().map(|open| {
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
        self.0.store(Arc::new(renewed.collect()));
        self.take_stderr();
        failed
    }

    fn write(&self, level: LogLevel, text: &str) {
        let line = line(level, text);
        for open in self.0.load().iter().filter(|open| level >= open.level) {
            let _ = match (&open.file, &open.target) {
                (Some(file), _) => (&**file).write_all(line.as_bytes()),
                (None, LogTarget::Syslog(server)) => {
                    // From emerg, 0, to debug, 7.
                    let severity = LogLevel::Emerg as u8 - level as u8;
                    syslog::send(server, severity, line.as_bytes(), super::now());
                    Ok(())
                }
                (None, _) => io::stderr().write_all(line.as_bytes()),
            };
        }
    }

    fn takes(&self, level: LogLevel) -> bool {
        self.0.load().iter().any(|open| level >= open.level)
    }
}

fn line(level: LogLevel, text: &str) -> String {
    format!("{} [{}] {}#0: {text}\n", log_date(super::now()), name(level), std::process::id())
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

/// nginx's name of a level.
pub(super) fn name(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Debug => "debug",
        LogLevel::Info => "info",
        LogLevel::Notice => "notice",
        LogLevel::Warn => "warn",
        LogLevel::Error => "error",
        LogLevel::Crit => "crit",
        LogLevel::Alert => "alert",
        LogLevel::Emerg => "emerg",
    }
}

struct NginxLines(ErrorLogs);

impl<S: Subscriber> Layer<S> for NginxLines {
    fn enabled(&self, metadata: &tracing::Metadata<'_>, _: Context<'_, S>) -> bool {
        // Libraries speak up only when something is wrong.
        let own =
            metadata.target().starts_with("pushstreamd") || [NOTICE, CRIT, ALERT, EMERG].contains(&metadata.target());
        (own || *metadata.level() <= Level::WARN) && self.0.takes(level_of(metadata))
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = Line::default();
        event.record(&mut line);
        self.0.write(level_of(event.metadata()), &(line.text + &line.fields));
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

#[derive(Default)]
struct Line {
    text: String,
    fields: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        // One event, one line, and nothing a terminal acts upon.
        let value = format!("{value:?}").replace(char::is_control, " ");
        if field.name() == "message" {
            self.text = value;
        } else {
            let _ = write!(self.fields, ", {}: {value}", field.name());
        }
    }
}
