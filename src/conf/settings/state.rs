//! Where messages outlive the process, and how soon they are safe.

use std::path::PathBuf;

use crate::conf::is_unnamed;
use crate::model::Durability;

/// The directory of the zones that have names.
const ZONES: &str = "zones";

/// `push_stream_state` and `push_stream_state_sync`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct State {
    /// The directory of the log; `None` = memory only.
    pub dir: Option<PathBuf>,
    /// When what was written is forced onto the medium.
    pub sync: Durability,
}

impl State {
    /// Where those of a zone do: in a place of its own within the directory, or, of the one that servers need not name, where they always did.
    #[must_use]
    pub fn of_zone(&self, name: &str) -> Self {
        if is_unnamed(name) {
            return self.clone();
        }
        Self { dir: self.dir.as_ref().map(|dir| dir.join(ZONES).join(name)), sync: self.sync }
    }

    /// Where the places of these zones are.
    pub fn of_zones(&self) -> Option<PathBuf> {
        Some(self.dir.as_ref()?.join(ZONES))
    }
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
