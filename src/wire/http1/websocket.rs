//! A websocket on a connection of HTTP/1: the head of the handshake, and reading frames until it ends.
//!
//! What frames mean is the business of `push::websocket`.

use std::rc::Rc;

use super::ahead::{await_end, drained};
use super::spelled::Spelled;
use crate::delivery::{Awaited, Connection, Event};
use crate::push::engine::go_on;
use crate::push::websocket::{self, Received, Switching};
use crate::wire::reply_head::HeadSink;
use crate::wire::session::Session;
use crate::wire::workbench::Workbench;

/// Bytes that may wait for a client whose frames are still read.
const UNREAD: usize = 256 * 1024;
/// How long a client may take to answer a close frame, milliseconds.
const CLOSE_WAIT: u64 = 2_000;

/// Appends the head of a successful handshake.
pub(super) fn write_head(switching: &Switching, out: &mut Vec<u8>) {
    let mut head = Spelled::new(out);
    head.status(101);
    for (name, value) in switching.fields(true) {
        head.field(name, &value);
    }
    head.end();
}

/// Serves an open websocket until it ends.
pub(super) async fn serve(
    bench: &Workbench,
    connection: &Rc<Connection>,
    session: &mut Session,
    mut socket: Box<websocket::Session>,
) {
    let context = &bench.context;
    // What is rare is kept out of what an idle websocket holds.
    let mut open = session.ahead.is_empty() || Box::pin(take(bench, connection, session, &mut socket)).await;
    while open {
        // Who does not read what it asked for is not read either.
        let reads = connection.waiting() <= UNREAD;
        match connection.event(if reads { Awaited::Input } else { Awaited::Drained }).await {
            Event::Readable => {
                let mut input = bench.lend_input();
                let received = match connection.try_read(&mut input) {
                    Ok(0) => Received::Over,
                    Ok(read) => {
                        let mut bytes = input.get(..read).unwrap_or_default();
                        let received = socket.receive(context, connection, &mut bytes);
                        session.ahead.extend_from_slice(bytes);
                        received
                    }
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Received::All,
                    Err(_) => Received::Over,
                };
                bench.return_input(input);
                context.worker.hold_input(connection, session.ahead.capacity() + socket.held());
                open = match received {
                    Received::All => true,
                    Received::Over => false,
                    Received::Ahead => {
                        Box::pin(go_on(&context.worker.zone_of(connection))).await;
                        Box::pin(take(bench, connection, session, &mut socket)).await
                    }
                };
            }
            Event::Ended | Event::Broken => open = false,
            Event::TimedOut | Event::Drained => {}
        }
    }
    context.worker.unsubscribe(connection);
    if drained(connection).await && socket.lets_client_close(connection.is_closing()) {
        if socket.half_closes() {
            connection.stream().shutdown_write();
        }
        await_end(bench, connection, context.worker.patience(CLOSE_WAIT)).await;
    }
}

/// Takes what the client has sent ahead, with pauses while what it has published has to be waited for; false when the
/// websocket is over.
async fn take(
    bench: &Workbench,
    connection: &Rc<Connection>,
    session: &mut Session,
    socket: &mut websocket::Session,
) -> bool {
    let ahead = std::mem::take(&mut session.ahead);
    let mut bytes = &ahead[..];
    loop {
        match socket.receive(&bench.context, connection, &mut bytes) {
            Received::All => return true,
            Received::Over => return false,
            Received::Ahead => Box::pin(go_on(&bench.context.worker.zone_of(connection))).await,
        }
    }
}
