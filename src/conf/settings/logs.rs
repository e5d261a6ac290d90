//! Logs: where lines go, which are written, and how they are spelled.

use std::path::PathBuf;
use std::sync::Arc;

use super::Syslog;
use crate::conf::variable::{Complex, Part};

/// How the server speaks in its logs, whatever they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogLines {
    /// `push_stream_log_format`
    pub style: LogStyle,
    /// `push_stream_log_channel_ids full`: channel ids stand whole in lines of the error log.
    pub whole_ids: bool,
    /// Who leaves is not told: no directive's, but of a push server that the server has for itself.
    pub untold_ends: bool,
    /// Refusals are told only where nginx has a line of its own for them: what `--strict` asks for.
    pub untold_refusals: bool,
}

/// `push_stream_log_format`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogStyle {
    /// nginx's lines.
    #[default]
    Text,
    /// Each line is a JSON object.
    Json,
}

impl LogStyle {
    /// The style of this name.
    pub fn named(word: &[u8]) -> Option<Self> {
        match word {
            b"text" => Some(Self::Text),
            b"json" => Some(Self::Json),
            _ => None,
        }
    }
}

/// An `error_log` directive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorLog {
    /// Where the lines go.
    pub target: LogTarget,
    /// Lowest level that is written.
    pub level: LogLevel,
}

/// Where log lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogTarget {
    /// Standard error.
    Stderr,
    /// A file, absolute.
    File(PathBuf),
    /// `syslog:...`
    Syslog(Syslog),
}

/// nginx's log levels, least severe first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "nginx's names")]
pub enum LogLevel {
    Debug,
    Info,
    Notice,
    Warn,
    Error,
    Crit,
    Alert,
    Emerg,
}

/// `access_log`.
#[derive(Clone, Debug)]
pub struct AccessLog {
    /// Where the lines go.
    pub target: AccessTarget,
    /// Their format.
    pub format: Arc<LogFormat>,
    /// `if=`
    pub condition: Option<Complex>,
}

/// Where the lines of an access log go.
#[derive(Clone, Debug)]
pub enum AccessTarget {
    /// To the same place all of them.
    Fixed(LogTarget),
    /// Each to the file that its request names.
    Named(Arc<NamedLog>),
}

/// A log whose path has variables.
#[derive(Debug)]
pub struct NamedLog {
    /// The path, absolute unless it begins with a variable.
    pub path: Complex,
    /// How often the path as it is written goes up; `None`: values may go up too.
    ups: Option<usize>,
    /// `open_log_file_cache`; `None`: files are opened for each line.
    pub cache: Option<LogFileCache>,
}

impl NamedLog {
    /// A log with this path; `strict`: whatever its variables say.
    pub fn new(path: Complex, strict: bool, cache: Option<LogFileCache>) -> Self {
        let written: Vec<&[u8]> = path
            .parts
            .iter()
            .map(|part| match part {
                Part::Text(text) => &**text,
                Part::Variable(_) => b"x",
            })
            .collect();
        let ups = (!strict).then(|| ups(&written.concat()));
        Self { path, ups, cache }
    }

    /// Whether a site must be there to have such a log, also where all requests have the same.
    pub fn needs_root(&self) -> bool {
        self.ups.is_none()
    }

    /// Whether lines may go to the file of this name: a client's words may choose it, but not lead out of the directory.
    pub fn allows(&self, path: &[u8]) -> bool {
        self.ups.is_none_or(|most| ups(path) <= most)
    }
}

fn ups(path: &[u8]) -> usize {
    path.split(|byte| *byte == b'/').filter(|part| *part == b"..").count()
}

/// `open_log_file_cache`. Times are milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "nginx's names")]
pub struct LogFileCache {
    pub max: usize,
    pub inactive: u64,
    pub min_uses: u64,
    pub valid: u64,
}

/// `log_format`.
#[derive(Debug)]
pub struct LogFormat {
    /// The line.
    pub line: Complex,
    /// `escape=`
    pub escape: LogEscape,
}

/// `escape=` of a log format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogEscape {
    /// `default`
    Default,
    /// `json`, as nginx has it: bytes that are no UTF-8 stay what they are.
    Json,
    /// `none`
    None,
    /// Of our own `json` format: what comes out is JSON whatever a client has sent.
    Object,
}
