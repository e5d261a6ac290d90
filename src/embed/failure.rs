//! What can go wrong for an application.

use thiserror::Error as ThisError;

use crate::backplane::BackplaneError;
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
    /// The backplane that the configuration names cannot be used as it is described there.
    #[error("{0}")]
    Backplane(String),
    /// Channels are shared with other nodes, so nothing is published or deleted at once.
    #[error("channels are shared with other nodes: publish_in_turn and delete_in_turn wait for their order")]
    InTurn,
    /// The backplane cannot be reached, or takes nothing now: nothing was published.
    #[error("{0}")]
    Away(String),
    /// The backplane has not answered in time: what was published may yet appear.
    #[error("{}", Refusal::Unanswered)]
    Unanswered,
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

impl From<BackplaneError> for Error {
    fn from(error: BackplaneError) -> Self {
        Self::Backplane(error.to_string())
    }
}

impl From<LogError> for Error {
    fn from(error: LogError) -> Self {
        Self::State(error.to_string())
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Unanswered => Self::Unanswered,
            Refusal::Away | Refusal::Crowded | Refusal::Joining => Self::Away(refusal.to_string()),
            _ => Self::Refused(refusal.to_string()),
        }
    }
}
