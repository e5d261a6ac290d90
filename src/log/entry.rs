//! What can change a hub, as values: the words of the log.
//!
//! An entry does not know how it is written or where. Applied in order, entries give the hub that wrote them; each may come
//! twice (the second changes nothing), because a writer that was interrupted repeats itself.

use std::sync::Arc;

use crate::model::{ChannelId, Message, Stamp};

/// One change of a hub.
#[derive(Clone, Debug)]
pub enum Entry {
    /// A message was published.
    Publish(Published),
    /// A stored message that still lives, told once more because the place of its first record goes. It is no news.
    Kept(Published),
    /// A channel was deleted, or let go when nothing was left of it.
    Gone {
        /// The channel.
        channel: ChannelId,
        /// Sequence number of the last publish before it went.
        seq: u64,
    },
    /// A channel was deleted by somebody, and its subscribers are told so; entries of it that follow make a new one.
    Deleted {
        /// The channel.
        channel: ChannelId,
        /// What they are told; nothing: the text that is configured.
        text: Option<Box<[u8]>>,
    },
    /// A channel as it is: it was created, or no stored message tells its counts any more.
    Channel(ChannelMark),
    /// The high-water marks of the zone.
    Marks(Marks),
    /// From here on each live channel is told by an entry of its own, until [`Entry::WalkEnded`].
    WalkBegan,
    /// Each live channel was told since [`Entry::WalkBegan`]; one that was not is gone.
    WalkEnded,
}

impl Entry {
    /// The channel it speaks of.
    pub fn channel(&self) -> Option<&ChannelId> {
        match self {
            Self::Publish(published) | Self::Kept(published) => Some(&published.channel),
            Self::Gone { channel, .. } | Self::Deleted { channel, .. } => Some(channel),
            Self::Channel(mark) => Some(&mark.channel),
            Self::Marks(_) | Self::WalkBegan | Self::WalkEnded => None,
        }
    }
}

/// A message and where it was published.
#[derive(Clone, Debug)]
pub struct Published {
    /// The channel.
    pub channel: ChannelId,
    /// Messages published to the channel, this one included.
    pub count: u64,
    /// Whether it is kept for replay.
    pub stored: bool,
    /// The message; its `expires` is absolute.
    pub message: Arc<Message>,
}

/// The counts of a channel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChannelMark {
    /// The channel.
    pub channel: ChannelId,
    /// Messages published to it.
    pub published: u64,
    /// The id of the last of them.
    pub last_id: u64,
    /// The stamp of the last of them.
    pub last: Stamp,
    /// Second after which the channel may go if it has no message and no subscription.
    pub expires: u32,
    /// Sequence number from which on its messages live; those before are gone.
    pub first_seq: u64,
}

/// Values that must never fall behind those handed out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Marks {
    /// The last second that was, or until the next marks may be, handed out as a time of the hub.
    pub time: u32,
    /// The last stamp of a message.
    pub last: Stamp,
    /// Sequence number of the last publish.
    pub seq: u64,
    /// Messages published since the zone began, events left out.
    pub published: u64,
    /// What ids may be ahead of counts: it grows with each crash, which may cost some of them.
    pub skipped: u64,
    /// Up to this second a channel that seems new may be one that a crash has made unknown.
    pub unknown_until: u32,
    /// Whether the process ended here by its own will, having written all there was.
    pub clean: bool,
}
