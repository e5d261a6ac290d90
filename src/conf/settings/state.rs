//! Where messages outlive the process, and how soon they are safe.

use std::path::PathBuf;

/// `push_stream_state` and `push_stream_state_sync`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct State {
    /// The directory of the log; `None` = memory only.
    pub dir: Option<PathBuf>,
    /// When what was written is forced onto the medium.
    pub sync: StateSync,
}

/// `push_stream_state_sync`
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum StateSync {
    /// `always`: before a publish is answered.
    Always,
    /// `1s`: within a second.
    #[default]
    Second,
    /// `off`: when the operating system likes.
    Off,
}

impl StateSync {
    /// The word of the configuration and the command line.
    pub fn parse(word: &[u8]) -> Option<Self> {
        match word {
            b"always" => Some(Self::Always),
            b"1s" => Some(Self::Second),
            b"off" => Some(Self::Off),
            _ => None,
        }
    }
}
