//! The log: the ordered entries that change a hub, and their life on disk, so that a restart is an event no client notices.
//!
//! It does not know HTTP, the hub or its lock. Memory stays the serving copy: nothing reads a log but a start, and whatever
//! happens to the disk, serving goes on; a gap is told and closed from memory. The codec knows no files, so that the same
//! records can travel between machines.

mod bell;
mod codec;
mod directory;
mod disk;
mod entry;
mod frame;
mod header;
mod health;
mod queue;
mod renewal;
mod restore;
mod segments;
#[cfg(test)]
mod tests;
mod thread;
mod writer;

use std::path::PathBuf;

use thiserror::Error;

pub use bell::Bell;
pub use codec::{CodecError, FORMAT, decode, encode};
pub use entry::{ChannelMark, Entry, Marks, Published};
pub use health::HealthView;
pub use queue::{Memory, Queue, Taken, WalkPlace};
pub use restore::Restored;
pub use thread::{Log, OpenLog};

/// Why a directory cannot hold the log of this process. What stands in its files is never a reason, but a newer format.
#[derive(Debug, Error)]
pub enum LogError {
    /// Another process has it.
    #[error("{} is in use by process {pid}", dir.display())]
    InUse {
        /// The directory.
        dir: PathBuf,
        /// Who has it; 0 where that is not known.
        pid: u32,
    },
    /// A later version of this server wrote there.
    #[error("{} was written in format {format} by a newer version; this one reads formats up to {FORMAT}", file.display())]
    Newer {
        /// The file that says so.
        file: PathBuf,
        /// Its format.
        format: u32,
    },
    /// It cannot be made, opened or listed.
    #[error("{}: {error}", path.display())]
    Io {
        /// What was to be opened.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
}
