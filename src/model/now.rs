//! The current time as an argument, so that nothing below the server reads a clock.

/// Wall-clock time in milliseconds since the Unix epoch.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Now(pub u64);

impl Now {
    /// Whole seconds since the Unix epoch, the resolution of stamps and of every ttl.
    pub fn secs(self) -> u32 {
        (self.0 / 1000) as u32
    }
}
