//! Whose wire is spoken: the version lines of the module, and whether it is followed to the letter.
//!
//! Says nothing about what differs between them: that is the table of [`Capabilities`](super::Capabilities).

/// Whose wire is spoken, and whether the module's defects are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compat {
    /// The version line.
    pub line: Line,
    /// Exactly the module: no improvement that a test suite or monitor could see.
    pub strict: bool,
}

impl Default for Compat {
    /// The present line, improved.
    fn default() -> Self {
        Self { line: Line::V05, strict: false }
    }
}

/// The lines of the module whose wires differ. Ordered: older is less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Line {
    /// 0.3.4
    V034,
    /// 0.3.5
    V035,
    /// 0.4.0
    V040,
    /// 0.5.0 to 0.6.0
    V05,
}

impl Line {
    /// Its versions, for readers.
    pub fn shown(self) -> &'static str {
        match self {
            Self::V034 => "0.3.4",
            Self::V035 => "0.3.5",
            Self::V040 => "0.4.0",
            Self::V05 => "0.5 and 0.6",
        }
    }
}
