//! The line a subscriber leaves in the error log when it goes: who it was, how long it stayed, and why it went.
//!
//! Who a subscriber is costs memory for as long as it waits, so it is kept only while somebody reads such lines ([`Worker::remember`]).
//! Invariant: an end is told once, with the cause that the metrics count: by whoever cuts a connection off, in all other cases
//! when the subscription is taken back.

use std::rc::Rc;

use tracing::Level;

use super::connection::Connection;
use super::worker::Worker;
use crate::metrics::{Cause, Mode};

/// Who a subscriber is.
#[derive(Debug)]
pub struct Caller {
    /// Number of the connection.
    pub connection: u64,
    /// The client's address; `None`: nobody says.
    pub client: Option<String>,
    /// The server that answers.
    pub server: String,
    /// The request line.
    pub request: String,
    /// `Host`
    pub host: Option<String>,
    /// The channels, as they may be told.
    pub channels: String,
}

/// A caller with the subscription it has.
#[derive(Debug)]
pub(super) struct Known {
    caller: Caller,
    mode: Mode,
    /// Monotonic milliseconds.
    since: u64,
}

/// One event about the end of a connection; of the caller nothing is told where none is known.
macro_rules! tell {
    ($level:ident, $known:expr, $clock:expr, $cause:expr, { $($more:ident = $value:expr),* }, $text:literal) => {{
        let known: Option<&Known> = $known;
        let caller = known.map(|known| &known.caller);
        tracing::event!(
            Level::$level,
            $($more = $value,)*
            connection = caller.map(|caller| caller.connection),
            client = caller.and_then(|caller| caller.client.as_ref()).map(display),
            server = caller.map(|caller| display(&caller.server)),
            request = caller.map(|caller| &*caller.request),
            host = caller.and_then(|caller| caller.host.as_deref()),
            channel = caller.map(|caller| display(&caller.channels)),
            mode = known.map(|known| display(known.mode.name())),
            seconds = known.map(|known| $clock.saturating_sub(known.since) as f64 / 1_000.0),
            reason = display($cause.name()),
            $text
        );
    }};
}

/// Why a connection is cut off.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cut {
    /// So many bytes wait for it, of so many that may.
    SlowReader { waiting: usize, budget: usize },
    /// It took nothing for too long.
    SendTimeout,
    /// So much is held for its address, of so much that may be.
    AddressMemory { held: usize, most: usize },
    /// The same for all connections, of which it is one that holds the most.
    Memory { held: usize, most: usize },
    /// A mistake of ours.
    Panic,
}

impl Cut {
    fn cause(self) -> Cause {
        match self {
            Self::SlowReader { .. } => Cause::SlowReader,
            Self::SendTimeout => Cause::SendTimeout,
            Self::AddressMemory { .. } | Self::Memory { .. } => Cause::Memory,
            Self::Panic => Cause::Panic,
        }
    }
}

impl Worker {
    /// Keeps who the subscriber on a connection is until it goes, if anybody wants to know.
    pub fn remember(&self, connection: &Rc<Connection>, caller: impl FnOnce() -> Caller) {
        if !tracing::enabled!(Level::INFO) {
            return;
        }
        let mode = connection.subscriber.borrow().as_ref().map(super::subscribers::Subscriber::mode);
        if let Some(mode) = mode {
            let known = Known { caller: caller(), mode, since: self.clock() };
            self.callers.borrow_mut().insert(connection.slot.get(), known);
        }
    }

    /// Counts and tells a connection that is cut off.
    pub(super) fn cut(&self, connection: &Connection, cut: Cut) {
        let cause = cut.cause();
        self.counts.cut(cause);
        connection.ends_by(cause);
        let known = self.callers.borrow_mut().remove(&connection.slot.get());
        let (known, clock) = (known.as_ref(), self.clock());
        match cut {
            Cut::SlowReader { waiting, budget } => tell!(
                WARN, known, clock, cause, { waiting = waiting, budget = budget },
                "push stream module: subscriber does not read, disconnected"
            ),
            Cut::SendTimeout => tell!(INFO, known, clock, cause, {}, "push stream module: client timed out"),
            Cut::AddressMemory { held, most } => tell!(
                WARN, known, clock, cause, { held = held, most = most },
                "push stream module: too much is held for one address, client disconnected"
            ),
            Cut::Memory { held, most } => tell!(
                WARN, known, clock, cause, { held = held, most = most },
                "push stream module: too much is held for all connections, client disconnected"
            ),
            Cut::Panic => tell!(
                ERROR,
                known,
                clock,
                cause,
                {},
                "push stream module: a connection was ended by a mistake of the server"
            ),
        }
    }

    /// Tells that a subscriber has gone, if that has not been told.
    pub(super) fn tell_parting(&self, connection: &Connection, cause: Cause) {
        if self.callers.borrow().is_empty() {
            return;
        }
        let Some(known) = self.callers.borrow_mut().remove(&connection.slot.get()) else { return };
        let (known, clock) = (Some(&known), self.clock());
        if cause == Cause::Answered {
            // It comes again at once.
            tell!(DEBUG, known, clock, cause, {}, "push stream module: long-poll answered");
        } else {
            tell!(INFO, known, clock, cause, {}, "push stream module: subscriber disconnected");
        }
    }
}
