//! What the log asks of a disk: numbered files that grow at their end. The seam where tests make a disk fail.
//!
//! It does not know what stands in the files. What returns without an error, but for [`Growing::append`], is so after a power
//! cut too.

use std::io;
use std::path::PathBuf;

/// The numbered files of one log.
pub(super) trait Disk: Send {
    /// Their numbers and sizes on the disk, in order.
    fn list(&self) -> io::Result<Vec<(u64, u64)>>;
    /// Makes sure that their place is there and this process's alone. True if it was not: then what is there is to be looked at
    /// anew.
    fn hold(&mut self) -> io::Result<bool>;
    /// Says to others who holds the files.
    fn claim(&self);
    /// All bytes of one.
    fn read(&self, number: u64) -> io::Result<Vec<u8>>;
    /// Makes one with room for so many bytes, and makes sure it is still there after a crash.
    fn create(&self, number: u64, room: u64) -> io::Result<Box<dyn Growing>>;
    /// Cuts one that no longer grows.
    fn cut(&self, number: u64, length: u64) -> io::Result<()>;
    /// Lets one go.
    fn remove(&self, number: u64) -> io::Result<()>;
    /// Keeps a copy of one for whoever wants to look at what happened to it; where.
    fn set_aside(&self, number: u64) -> io::Result<PathBuf>;
    /// Puts some out of the way that are no part of this log; where they are kept.
    fn put_aside(&self, numbers: &[u64]) -> io::Result<PathBuf>;
    /// The name of one, to be told.
    fn path(&self, number: u64) -> PathBuf;
}

/// A file that grows.
pub(super) trait Growing: Send {
    /// Writes behind what was written before.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Returns when what was written is on the medium.
    fn sync(&mut self) -> io::Result<()>;
}
