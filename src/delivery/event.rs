//! What the task of a connection waits for, and what it is told.
//!
//! It does not know who tells: the socket, the worker's fan-out and the worker's deadlines all end in one of these.

/// What a task waits for beside the end of the subscription, its deadline and the loss of the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Awaited {
    /// Nothing else.
    Nothing,
    /// Something to read.
    Input,
    /// That everything has been sent.
    Drained,
    /// Either.
    InputOrDrained,
}

impl Awaited {
    pub(super) fn has_input(self) -> bool {
        matches!(self, Self::Input | Self::InputOrDrained)
    }

    pub(super) fn has_drained(self) -> bool {
        matches!(self, Self::Drained | Self::InputOrDrained)
    }
}

/// Why a connection's task was woken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// A read would give bytes, the end or an error.
    Readable,
    /// Everything that waited has been sent.
    Drained,
    /// The subscription of the connection has ended; its last bytes are in the outbox.
    Ended,
    /// The deadline the task has set is over.
    TimedOut,
    /// The connection is of no more use: the peer is gone, too slow, or the server lets go of it.
    Broken,
}
