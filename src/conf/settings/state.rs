//! Where messages outlive the process, and how soon they are safe.

use std::path::PathBuf;

use crate::model::Durability;

/// `push_stream_state` and `push_stream_state_sync`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct State {
    /// The directory of the log; `None` = memory only.
    pub dir: Option<PathBuf>,
    /// When what was written is forced onto the medium.
    pub sync: Durability,
}

/// The word of the configuration and the command line for when what was written is forced onto the medium.
pub fn durability(word: &[u8]) -> Option<Durability> {
    match word {
        b"always" => Some(Durability::Always),
        b"1s" => Some(Durability::Second),
        b"off" => Some(Durability::Off),
        _ => None,
    }
}
