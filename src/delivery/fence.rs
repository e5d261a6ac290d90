//! The fence: a panic below it costs one connection, never the batch or the worker it happened in.
//!
//! What a connection's own task does needs no fence here: its task ends, and with it the connection. This is for what
//! happens to many connections from outside of their tasks. It does not know what panicked; the panic hook tells that.

use std::borrow::Borrow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use super::connection::Connection;
use super::worker::Worker;

impl Worker {
    /// Acts on connection after connection. One for which that panics is given up, the others get their turn.
    pub(super) fn for_each<C>(&self, connections: &[C], mut act: impl FnMut(&Rc<Connection>))
    where
        C: Borrow<Rc<Connection>>,
    {
        let mut at = 0;
        while at < connections.len() {
            // Whatever a panic leaves half done belongs to the connection that is given up.
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                while let Some(connection) = connections.get(at) {
                    at += 1;
                    act(connection.borrow());
                }
            }));
            if outcome.is_err()
                && let Some(connection) = connections.get(at.saturating_sub(1))
            {
                let connection: &Rc<Connection> = connection.borrow();
                self.count_panic(connection);
                connection.give_up();
            }
        }
    }
}
