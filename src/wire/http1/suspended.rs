//! A request that has been set aside: its body is on its way, or it waits for time or for somebody else.
//!
//! It goes on by the same steps as one that was answered at once ([`super::turn`]); this file only waits. Invariant: while
//! it waits the peer's end is noticed, and what the client sends ahead is bounded.

use std::rc::Rc;

use super::ahead::{Ahead, read_ahead};
use super::body::RequestBody;
use super::next::Next;
use super::turn::{Step, Turn};
use crate::delivery::{Awaited, Connection, Event, Flush};
use crate::push::engine::{self, Job, Patience, Verdict};
use crate::site::exchange::Exchange;
use crate::wire::session::Session;
use crate::wire::workbench::Workbench;

/// A request that waits.
pub(super) struct Suspended<'s> {
    exchange: Exchange<'s>,
    body: RequestBody,
    waits: Waits<'s>,
}

enum Waits<'s> {
    Body(Job<'s>),
    Time(Patience),
}

impl<'s> Suspended<'s> {
    pub(super) fn for_body(exchange: Exchange<'s>, body: RequestBody, job: Job<'s>) -> Box<Self> {
        Box::new(Self { exchange, body, waits: Waits::Body(job) })
    }

    pub(super) fn for_time(exchange: Exchange<'s>, body: RequestBody, patience: Patience) -> Box<Self> {
        Box::new(Self { exchange, body, waits: Waits::Time(patience) })
    }
}

/// Waits until a request is answered; returns what comes next on its connection.
pub(super) async fn finish<'s>(
    bench: &'s Rc<Workbench>,
    connection: &Rc<Connection>,
    session: &mut Session,
    request: Box<Suspended<'s>>,
) -> Next {
    let Suspended { mut exchange, mut body, mut waits } = *request;
    // The connection's deadline was for reading a head; what follows has timeouts of its own.
    bench.context.worker.set_deadline(connection, None);
    loop {
        let held = session.ahead.capacity() + body.held() + exchange.head.length();
        bench.context.worker.hold_input(connection, held);
        let verdict = match waits {
            Waits::Body(job) => {
                if !more(bench, connection, session, job.timeout()).await {
                    return Next::Close { linger: false };
                }
                Verdict::Body(job)
            }
            Waits::Time(patience) => {
                let settled = engine::settle(&bench.context, &mut exchange, patience);
                tokio::select! {
                    verdict = settled => verdict,
                    () = gone(bench, connection, session) => return Next::Close { linger: false },
                }
            }
        };
        let ahead = std::mem::take(&mut session.ahead);
        let mut input = ahead.as_slice();
        let mut out = Vec::new();
        let mut turn = Turn { bench, connection, session, out: &mut out, exchange: &mut exchange, body: &mut body };
        let step = turn.advance(verdict, &mut input);
        session.ahead = input.to_vec();
        if matches!(step, Step::Done(_)) {
            // Before its client can know that it is answered, and send another one.
            bench.context.worker.hold_input(connection, session.ahead.capacity());
        }
        if !out.is_empty() && bench.context.worker.send(connection, &out) == Flush::Broken {
            connection.give_up();
        }
        waits = match step {
            // What came behind the body is there already: no event of the socket will tell of it.
            Step::Done(next) => return next.unwrap_or(Next::Answer),
            Step::Body(job) => Waits::Body(job),
            Step::Patience(patience) => Waits::Time(patience),
        };
    }
}

/// Reads the rest of a body that nobody wants.
pub(super) async fn forget(
    bench: &Workbench,
    connection: &Rc<Connection>,
    session: &mut Session,
    mut body: Box<RequestBody>,
    timeout: u64,
) -> Next {
    loop {
        if !more(bench, connection, session, timeout).await {
            return Next::Close { linger: false };
        }
        let ahead = std::mem::take(&mut session.ahead);
        let mut input = ahead.as_slice();
        let taken = body.take(&mut input);
        session.ahead = input.to_vec();
        match taken {
            Ok(true) => return Next::Answer,
            Ok(false) => {}
            Err(_) => return Next::Close { linger: true },
        }
    }
}

/// Waits for more bytes; false if the client is gone or takes too long.
async fn more(bench: &Workbench, connection: &Rc<Connection>, session: &mut Session, timeout: u64) -> bool {
    bench.context.worker.set_deadline(connection, Some(timeout));
    loop {
        match connection.event(Awaited::Input).await {
            Event::Readable => {
                let before = session.ahead.len();
                if read_ahead(bench, connection, session) != Ahead::Open {
                    return false;
                }
                if session.ahead.len() > before {
                    return true;
                }
            }
            Event::TimedOut => {
                tracing::info!("client timed out while sending its body");
                return false;
            }
            Event::Broken => return false,
            Event::Drained | Event::Ended => {}
        }
    }
}

/// Ends when the client is gone; keeps what it sends ahead. One that has only closed its side still wants its answer, and does
/// not wait long for it: everything that is waited for here has an end of its own.
async fn gone(bench: &Workbench, connection: &Rc<Connection>, session: &mut Session) {
    let mut open = true;
    loop {
        match connection.event(if open { Awaited::Input } else { Awaited::Nothing }).await {
            Event::Readable => match read_ahead(bench, connection, session) {
                Ahead::Open => {}
                Ahead::Ended => open = false,
                Ahead::Broken => return,
            },
            Event::Broken => return,
            _ => {}
        }
    }
}
