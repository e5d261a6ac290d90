//! One HTTP/1 connection: request after request, answers in order, subscribers in between.
//!
//! A request that has arrived whole is answered without a task switch or a buffer of its own; only bodies still on their
//! way and questions to other servers take the slow path ([`super::patience`]). A waiting subscriber holds no buffer.

use std::rc::Rc;
use std::time::Duration;

use super::patience;
use super::session::Session;
use super::turn::Turn;
use crate::delivery::{Connection, Event, Flush};
use crate::push::websocket;
use crate::wire::workbench::Workbench;

/// Bytes a client may send ahead while it is a subscriber.
const AHEAD: usize = 64 * 1024;
/// How long a publisher waits before it looks again whether the workers have caught up.
const CATCH_UP: Duration = Duration::from_millis(1);
/// Bytes of answers that may wait for a client before more of its requests are answered.
const UNREAD: usize = 256 * 1024;
/// How long a connection is read on after an answer that leaves request bytes behind, milliseconds.
const LINGER: u64 = 5_000;

/// What comes after the requests that were at hand.
pub(super) enum Next {
    /// Wait for more bytes.
    Read,
    /// Wait until the client has taken its answers, then answer the requests read ahead.
    Drain,
    /// The request that begins the unread bytes needs time.
    Slow,
    /// A stream or long-poll has begun; `close` says what follows its end.
    Subscribed { close: bool },
    /// A websocket has begun.
    WebSocket(Box<websocket::Session>),
    /// Leave it to the client to close; it is waited for.
    LeaveOpen,
    /// Close, after what waits is sent. `linger`: the client may still be sending.
    Close { linger: bool },
}

/// Serves a connection until it closes.
pub async fn serve(bench: Rc<Workbench>, connection: Rc<Connection>, mut session: Box<Session>) {
    let _dismissal = Dismissal(&bench, &connection);
    let mut next = answer_ahead(&bench, &connection, &mut session);
    loop {
        next = match next {
            Next::Read if session.must_wait(&bench) => {
                Box::pin(catch_up(&bench)).await;
                Next::Read
            }
            Next::Read => {
                if wait_for_bytes(&bench, &connection, &mut session).await {
                    read_and_answer(&bench, &connection, &mut session)
                } else {
                    break;
                }
            }
            Next::Drain => {
                if !has_read(&connection, &mut session).await {
                    break;
                }
                answer_ahead(&bench, &connection, &mut session)
            }
            Next::Slow => match Box::pin(patience::answer(&bench, &connection, &mut session)).await {
                // What came with the body is there already: no event of the socket will tell of it.
                Next::Read => {
                    if session.must_wait(&bench) {
                        Box::pin(catch_up(&bench)).await;
                    }
                    answer_ahead(&bench, &connection, &mut session)
                }
                next => next,
            },
            Next::Subscribed { close } => {
                let complete = wait_as_subscriber(&bench, &connection, &mut session).await;
                session.end_subscription(&bench, complete);
                match complete {
                    true if session.overrun => Next::Close { linger: true },
                    true if close || connection.is_closing() => Next::Close { linger: false },
                    true => answer_ahead(&bench, &connection, &mut session),
                    false => break,
                }
            }
            Next::WebSocket(socket) => {
                Box::pin(super::websocket::serve(&bench, &connection, &mut session, socket)).await;
                session.end_subscription(&bench, true);
                Next::Close { linger: false }
            }
            Next::LeaveOpen => {
                if drained(&connection).await {
                    await_end(&bench, &connection, LINGER).await;
                }
                break;
            }
            Next::Close { linger } => {
                close(&bench, &connection, linger).await;
                break;
            }
        };
    }
}

/// Lets the connection go when its task ends, by a panic too: a subscriber must not stay behind.
struct Dismissal<'a>(&'a Workbench, &'a Rc<Connection>);

impl Drop for Dismissal<'_> {
    fn drop(&mut self) {
        let worker = &self.0.context.worker;
        if std::thread::panicking() {
            worker.tally().count_panic();
        }
        worker.dismiss(self.1);
    }
}

/// Lets a publisher wait until no worker is far behind: its next message would only make their queues longer.
pub(super) async fn catch_up(bench: &Workbench) {
    while bench.context.worker.hub().is_congested() {
        tokio::time::sleep(CATCH_UP).await;
    }
}

/// Waits until the client has taken its answers; the time of a head that has begun starts anew after that.
async fn has_read(connection: &Connection, session: &mut Session) -> bool {
    session.reading_head = false;
    drained(connection).await
}

/// Waits for readable bytes; false when the connection is to be closed instead.
async fn wait_for_bytes(bench: &Workbench, connection: &Rc<Connection>, session: &mut Session) -> bool {
    if connection.waiting() > UNREAD && !has_read(connection, session).await {
        return false;
    }
    if let Some(patience) = session.patience(bench) {
        bench.context.worker.set_deadline(connection, Some(patience));
    }
    loop {
        if connection.is_closing() && session.ahead.is_empty() && connection.waiting() == 0 {
            return false;
        }
        match connection.event(true, connection.is_closing()).await {
            Event::Readable => return true,
            Event::TimedOut | Event::Broken => return false,
            Event::Drained | Event::Ended => {}
        }
    }
}

/// Reads once and answers every request that is complete.
fn read_and_answer(bench: &Rc<Workbench>, connection: &Rc<Connection>, session: &mut Session) -> Next {
    let mut input = bench.lend_input();
    let next = match connection.try_read(&mut input) {
        Ok(0) => Next::Close { linger: false },
        Ok(read) if session.ahead.is_empty() => {
            let bytes = input.get(..read).unwrap_or_default();
            let (used, next) = answer_all(bench, connection, session, bytes);
            session.ahead = bytes.get(used..).unwrap_or_default().to_vec();
            next
        }
        Ok(read) => {
            session.ahead.extend_from_slice(input.get(..read).unwrap_or_default());
            answer_ahead(bench, connection, session)
        }
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Next::Read,
        Err(_) => Next::Close { linger: false },
    };
    bench.return_input(input);
    next
}

/// Answers every complete request among the bytes read ahead.
pub(super) fn answer_ahead(bench: &Rc<Workbench>, connection: &Rc<Connection>, session: &mut Session) -> Next {
    if session.ahead.is_empty() {
        return Next::Read;
    }
    let bytes = std::mem::take(&mut session.ahead);
    let (used, next) = answer_all(bench, connection, session, &bytes);
    session.ahead = bytes.get(used..).unwrap_or_default().to_vec();
    next
}

/// Answers request after request; returns how many bytes were used and what comes next.
fn answer_all(
    bench: &Rc<Workbench>,
    connection: &Rc<Connection>,
    session: &mut Session,
    bytes: &[u8],
) -> (usize, Next) {
    let mut out = bench.lend_output();
    let mut used = 0;
    let next = loop {
        let rest = bytes.get(used..).unwrap_or_default();
        if rest.is_empty() {
            break Next::Read;
        }
        if out.len() + connection.waiting() > UNREAD {
            break Next::Drain;
        }
        let mut turn = Turn { bench, connection, session: &mut *session, out: &mut out };
        match turn.answer(rest) {
            (taken, None) => used += taken,
            (taken, Some(next)) => {
                used += taken;
                break next;
            }
        }
    };
    if !out.is_empty() && bench.context.worker.send(connection, &out) == Flush::Broken {
        connection.give_up();
    }
    bench.return_output(out);
    (used, next)
}

/// Sleeps while the subscription lasts; true when it has ended and everything is sent, false when the peer is gone.
async fn wait_as_subscriber(bench: &Rc<Workbench>, connection: &Rc<Connection>, session: &mut Session) -> bool {
    loop {
        match connection.event(true, false).await {
            Event::Readable => {
                if !read_ahead(bench, connection, session) {
                    bench.context.worker.unsubscribe(connection);
                    return false;
                }
            }
            Event::Ended => return drained(connection).await,
            Event::Broken => return false,
            Event::TimedOut | Event::Drained => {}
        }
    }
}

/// Keeps what a client sends while it is a subscriber; false if it has closed its side. Whoever sends more than is kept is
/// read on, so that its end is seen, but answered no more.
fn read_ahead(bench: &Workbench, connection: &Connection, session: &mut Session) -> bool {
    let mut input = bench.lend_input();
    let open = match connection.try_read(&mut input) {
        Ok(0) => false,
        Ok(read) => {
            let kept = read.min(AHEAD.saturating_sub(session.ahead.len()));
            session.overrun |= kept < read;
            session.ahead.extend_from_slice(input.get(..kept).unwrap_or_default());
            true
        }
        Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
    };
    bench.return_input(input);
    open
}

/// Waits until everything has been sent; false if the peer is gone.
pub(super) async fn drained(connection: &Connection) -> bool {
    loop {
        match connection.event(false, true).await {
            Event::Drained => return true,
            Event::Broken => return false,
            _ => {}
        }
    }
}

/// Sends what waits and closes. A client that is still sending is read on for a while, or it would lose the answer to a
/// reset.
async fn close(bench: &Workbench, connection: &Rc<Connection>, linger: bool) {
    if !drained(connection).await || !linger {
        connection.stream().close_notify();
        return;
    }
    connection.stream().shutdown_write();
    await_end(bench, connection, LINGER).await;
}

/// Reads until the client closes, at most this many milliseconds.
pub(super) async fn await_end(bench: &Workbench, connection: &Rc<Connection>, patience: u64) {
    bench.context.worker.set_deadline(connection, Some(patience));
    while connection.event(true, false).await == Event::Readable {
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
