//! A stamp: the second of a publish and the place of the message within that second.

/// `time` is the second of publish (Unix time), `tag` counts the messages of that second over all channels (first: 1).
///
/// Stamps order all messages of a hub totally; a client resumes by the stamp of the last message it has seen
/// (`Last-Modified` = time, `Etag` = tag).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash)]
pub struct Stamp {
    /// Seconds since the Unix epoch.
    pub time: u32,
    /// Sequence number within the second.
    pub tag: u32,
}
