//! Where a (re)connecting subscriber wants to go on: the three control values of a request.

/// The control values of a subscribe request, already read from their sources (headers or `push_stream_last_*`).
///
/// A channel's own backtrack (`ch.b5`) goes before all of them for that channel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replay {
    /// Time of the last received message, Unix seconds; `None` if absent or not a date.
    pub time: Option<i64>,
    /// Tag of the last received message; `None` if absent or not a number.
    pub tag: Option<i64>,
    /// Event id of the last received message; `None` if absent or empty.
    pub event_id: Option<Box<[u8]>>,
}
