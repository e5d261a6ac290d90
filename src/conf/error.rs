//! What loading a configuration has to say: notes with nginx's words, severity and place.
//!
//! Does not know where a note is printed. A [`Fault`] ends the loading; everything that was noted before it is kept, so
//! that the caller prints the lines in the order nginx prints them.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use super::settings::LogLevel;

/// A line for the person who reads the configuration: `[level] text`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Severity.
    pub level: LogLevel,
    /// The words, place included.
    pub text: String,
}

/// The configuration cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", notes.last().map_or("invalid configuration", |note| note.text.as_str()))]
pub struct ConfError {
    /// Everything to print, in order; the last ones say why.
    pub notes: Vec<Note>,
}

/// What the module puts before its own words, since 0.4.0.
pub(super) const MODULE: &str = "push stream module: ";

/// A place in the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Name of the file as it was opened; `None` on the command line (`-g`).
    pub(super) file: Option<Arc<Path>>,
    /// Line, counted from 1.
    pub(super) line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => write!(f, "{}:{}", file.display(), self.line),
            None => f.write_str("command line"),
        }
    }
}

/// The mistake that ends the loading: usually one line, sometimes two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) notes: Vec<Note>,
}

impl Fault {
    /// `[emerg] TEXT in FILE:LINE`
    pub(super) fn emerg(text: impl fmt::Display, place: &Place) -> Self {
        Self::at(LogLevel::Emerg, text, place)
    }

    /// `[error] push stream module: TEXT in FILE:LINE`: the module's own words.
    pub(super) fn module(text: impl fmt::Display, place: &Place) -> Self {
        Self::at(LogLevel::Error, format_args!("{MODULE}{text}"), place)
    }

    /// `[level] TEXT in FILE:LINE`
    pub(super) fn at(level: LogLevel, text: impl fmt::Display, place: &Place) -> Self {
        Self { notes: vec![Note { level, text: format!("{text} in {place}") }] }
    }

    /// `[emerg] TEXT`, for what has no single place.
    pub(super) fn anywhere(text: impl fmt::Display) -> Self {
        Self { notes: vec![Note { level: LogLevel::Emerg, text: text.to_string() }] }
    }

    /// Adds a second line.
    pub(super) fn then(mut self, other: Fault) -> Self {
        self.notes.extend(other.notes);
        self
    }
}

/// Bytes of the configuration in a message.
pub(super) fn shown(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// An I/O error in nginx's words: `(2: No such file or directory)`.
pub(super) fn os_error(error: &std::io::Error) -> String {
    let text = error.to_string();
    match (error.raw_os_error(), text.rfind(" (os error")) {
        (Some(code), Some(end)) => format!("({code}: {})", text.get(..end).unwrap_or(&text)),
        _ => format!("({text})"),
    }
}
