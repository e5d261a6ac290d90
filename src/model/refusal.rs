//! A proper "no": why a request of a publisher or subscriber is refused.

use thiserror::Error;

/// A refusal by the rules of the protocol. Its text is what `X-Nginx-PushStream-Explain` says; `status` its HTTP status.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum Refusal {
    /// The channel path is empty.
    #[error("No channel id provided.")]
    NoChannelId,
    /// `ALL`, or an id with `*`.
    #[error("Channel id not authorized for this method.")]
    ReservedId,
    /// Longer than `push_stream_max_channel_id_length`.
    #[error("Channel id is too large.")]
    IdTooLarge,
    /// A publish without a body.
    #[error("Empty post requests are not allowed.")]
    EmptyPost,
    /// More wildcard channels than allowed, or nothing but wildcard channels.
    #[error("Subscribed too much wildcard channels.")]
    TooManyWildcards,
    /// `push_stream_max_subscribers_per_channel` is reached.
    #[error("Subscribers limit per channel has been exceeded.")]
    SubscribersLimit,
    /// `push_stream_authorized_channels_only` and the channel has no stored message.
    #[error("Subscriber could not create channels.")]
    NotAuthorized,
    /// `push_stream_max_number_of_channels` or `..._wildcard_channels` is reached.
    #[error("Number of channels were exceeded.")]
    TooManyChannels,
    /// A publish to, or a delete of, the events channel.
    #[error("Only internal routines can change events channel.")]
    EventsChannelReadOnly,
    /// A subscription to the events channel where it is not allowed.
    #[error("Subscription to events channel is not allowed.")]
    EventsChannelForbidden,
    /// The server is about to end and could not keep what it is given.
    #[error("The server is shutting down.")]
    Leaving,
    /// The node has not yet what the others of its zone have.
    #[error("This node is joining the others.")]
    Joining,
    /// Where the order of the zone is made cannot be reached, or takes nothing: nothing was published.
    #[error("The backplane is not available.")]
    Away,
    /// More waits for it than may wait: nothing was published.
    #[error("Too many messages wait for the backplane.")]
    Crowded,
    /// It has not answered in time: what was published may yet appear.
    #[error("The backplane has not answered in time, the message may have been published.")]
    Unanswered,
    /// The memory budget is used up (only where full memory refuses).
    #[error("")]
    MemoryFull,
}

impl Refusal {
    /// The HTTP status that goes with the refusal.
    pub fn status(self) -> u16 {
        match self {
            Self::NoChannelId | Self::IdTooLarge | Self::EmptyPost => 400,
            Self::MemoryFull => 500,
            Self::Leaving | Self::Joining | Self::Away | Self::Crowded | Self::Unanswered => 503,
            _ => 403,
        }
    }
}
