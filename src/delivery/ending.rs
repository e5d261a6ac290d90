//! How a connection ends: whether it is to be closed once its answer is complete, and why its subscription ended. Whoever ends it
//! notes the cause, and it is asked for when all is over.

use super::connection::{CLOSING, Connection};
use crate::metrics::Cause;

impl Connection {
    /// Asks for the connection to be closed as soon as the answer under way is complete.
    pub fn close_soon(&self) {
        self.signs.set(self.signs.get() | CLOSING);
    }

    /// Whether [`Connection::close_soon`] was called.
    pub fn is_closing(&self) -> bool {
        self.signs.get() & CLOSING != 0
    }

    /// Notes why the subscription ends, or the connection; what was noted first counts. Nothing: the client has ended it.
    pub fn ends_by(&self, cause: Cause) {
        if self.cause.get().is_none() {
            self.cause.set(Some(cause));
        }
    }

    /// Why the subscription has ended. What comes after it on the connection ends for reasons of its own.
    pub(super) fn take_cause(&self) -> Cause {
        self.cause.take().unwrap_or(Cause::Client)
    }
}
