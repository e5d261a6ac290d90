//! When what was published is forced onto the medium.

/// The choices.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Durability {
    /// Before a publish is answered; publishes that come together share one sync.
    Always,
    /// Within a second.
    #[default]
    Second,
    /// When the operating system likes: a crash of the process loses as little as otherwise, a power cut may lose more.
    Off,
}
