//! A client that is not listened to: what it sends ahead, whether it has taken what waits for it, whether it is still there.
//!
//! Invariant: what is kept of what it sends is bounded, and its end is seen all the same.

use std::rc::Rc;

use crate::delivery::{Awaited, Connection, Event};
use crate::wire::session::Session;
use crate::wire::workbench::Workbench;

/// Bytes a client may send ahead.
const AHEAD: usize = 64 * 1024;

/// What a client that is not listened to has done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ahead {
    /// Nothing, or sent something.
    Open,
    /// Closed its side.
    Ended,
    /// Gone.
    Broken,
}

/// Keeps what a client sends before it is listened to. One that sends more than is kept is read on, so that its end is seen, but
/// gets no more answers.
pub(super) fn read_ahead(bench: &Workbench, connection: &Connection, session: &mut Session) -> Ahead {
    let mut input = bench.lend_input();
    // As long as there is room no more is read than can be kept.
    let room = AHEAD.saturating_sub(session.ahead.len());
    let space = if room > 0 { room.min(input.len()) } else { input.len() };
    let done = match connection.try_read(input.get_mut(..space).unwrap_or_default()) {
        Ok(0) => Ahead::Ended,
        Ok(_) if room == 0 => {
            session.overrun = true;
            Ahead::Open
        }
        Ok(read) => {
            session.ahead.extend_from_slice(input.get(..read).unwrap_or_default());
            Ahead::Open
        }
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ahead::Open,
        Err(_) => Ahead::Broken,
    };
    bench.return_input(input);
    done
}

/// Waits until everything has been sent; false if the peer is gone.
pub(super) async fn drained(connection: &Connection) -> bool {
    loop {
        match connection.event(Awaited::Drained).await {
            Event::Drained => return true,
            Event::Broken => return false,
            _ => {}
        }
    }
}

/// Reads until the client closes, at most this many milliseconds.
pub(super) async fn await_end(bench: &Workbench, connection: &Rc<Connection>, patience: u64) {
    bench.context.worker.set_deadline(connection, Some(patience));
    while connection.event(Awaited::Input).await == Event::Readable {
        let mut input = bench.lend_input();
        let read = connection.try_read(&mut input);
        bench.return_input(input);
        match read {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}
