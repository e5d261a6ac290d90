//! The words of subscriptions: in which mode they are served, and why they end.

/// How a subscriber is served.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Message after message.
    Streaming,
    /// Answered at once, whatever there is.
    Polling,
    /// Waits for one answer.
    LongPolling,
    /// Server-sent events.
    EventSource,
    /// Frames.
    WebSocket,
}

impl Mode {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 5] = [Self::Streaming, Self::Polling, Self::LongPolling, Self::EventSource, Self::WebSocket];

    /// As `push_stream_subscriber` spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Streaming => "streaming",
            Self::Polling => "polling",
            Self::LongPolling => "long-polling",
            Self::EventSource => "eventsource",
            Self::WebSocket => "websocket",
        }
    }
}

/// Why a subscription ended, or a connection was cut off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cause {
    /// The client has closed it, or is gone.
    Client,
    /// A long-poll has its message.
    Answered,
    /// Its time was over.
    Ttl,
    /// Its channels were deleted.
    Deleted,
    /// The server said farewell: it leaves.
    Farewell,
    /// A reload ends subscriptions as the module does (`--strict`).
    Reload,
    /// More waited for it than it may have waiting.
    SlowReader,
    /// The peer took nothing for `send_timeout`.
    SendTimeout,
    /// Too much was held for all connections, or for its address.
    Memory,
    /// A websocket broke the rules of its protocol.
    Protocol,
    /// A mistake of ours.
    Panic,
}

impl Cause {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 11] = [
        Self::Client,
        Self::Answered,
        Self::Ttl,
        Self::Deleted,
        Self::Farewell,
        Self::Reload,
        Self::SlowReader,
        Self::SendTimeout,
        Self::Memory,
        Self::Protocol,
        Self::Panic,
    ];
    /// Those for which the server cuts a connection off, subscriber or not.
    pub const CUTS: [Self; 4] = [Self::SlowReader, Self::SendTimeout, Self::Memory, Self::Panic];

    /// The word of labels and log lines.
    pub fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Answered => "answered",
            Self::Ttl => "ttl",
            Self::Deleted => "deleted",
            Self::Farewell => "farewell",
            Self::Reload => "reload",
            Self::SlowReader => "slow_reader",
            Self::SendTimeout => "send_timeout",
            Self::Memory => "memory",
            Self::Protocol => "protocol",
            Self::Panic => "panic",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stands_at_the_place_of_its_number() {
        assert!(Mode::ALL.iter().enumerate().all(|(at, mode)| *mode as usize == at));
        assert!(Cause::ALL.iter().enumerate().all(|(at, cause)| *cause as usize == at));
    }
}
