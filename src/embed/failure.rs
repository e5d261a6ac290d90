//! What can go wrong for an application.

use thiserror::Error as ThisError;

use crate::conf::ConfError;
use crate::log::LogError;
use crate::model::Refusal;

/// Why something could not be done.
#[derive(Debug, ThisError)]
#[non_exhaustive]
pub enum Error {
    /// The configuration cannot be used; what is wrong with it, in nginx's words.
    #[error("{}", .0.join("; "))]
    Configuration(Vec<String>),
    /// The configuration has no server.
    #[error("the configuration has no server")]
    NoServer,
    /// A file could not be read, or a thread not be started.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The configuration names a backplane: only the server shares its channels with other nodes.
    #[error("\"push_stream_backplane\" is for the server: a publish of an application is answered at once")]
    Backplane,
    /// Servers of the configuration are of several zones: an application has one.
    #[error("\"push_stream_zone\" is for the server: an application publishes and subscribes in one zone")]
    Zones,
    /// The directory of `push_stream_state` belongs to another process, or to a newer version.
    #[error("{0}")]
    State(String),
    /// The limits of the configuration do not allow it; the text is that of the module.
    #[error("{0}")]
    Refused(String),
    /// A message without text.
    #[error("{}", Refusal::EmptyPost)]
    Empty,
}

impl Error {
    pub(super) fn of_configuration(error: ConfError) -> Self {
        Self::Configuration(error.notes.into_iter().map(|note| note.text).collect())
    }

    /// Whether all that is wrong with a configuration is that it does not begin at the top level.
    pub(super) fn is_about_context(&self) -> bool {
        let Self::Configuration(notes) = self else { return false };
        notes
            .iter()
            .any(|note| note.contains("directive is not allowed here") || note.contains("no \"events\" section"))
    }
}

impl From<LogError> for Error {
    fn from(error: LogError) -> Self {
        Self::State(error.to_string())
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal.to_string())
    }
}
