//! One HTTP/1 connection: request after request, answers in order, subscribers in between.
//!
//! A request that has arrived whole is answered without a task switch; only one whose body is on its way, or that waits for
//! somebody else, is set aside ([`super::suspended`]). A waiting subscriber holds no buffer.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use super::ahead::{Ahead, await_end, drained, read_ahead};
use super::body::RequestBody;
use super::next::Next;
use super::suspended::{self, Suspended};
use super::turn::{Step, Turn};
use crate::conf::Settings;
use crate::delivery::{Awaited, Connection, Event, Flush};
use crate::metrics::Activity;
use crate::push::engine;
use crate::request::head::{BadHead, BodyLength, HeadLimits, RequestHead};
use crate::request::head_parser;
use crate::site::exchange::Exchange;
use crate::wire::session::Session;
use crate::wire::workbench::Workbench;

/// Bytes of answers that may wait for a client before more of its requests are answered.
const UNREAD: usize = 256 * 1024;
/// How long a connection is read on after an answer that leaves request bytes behind, milliseconds.
const LINGER: u64 = 5_000;

/// How far the requests at hand have been answered.
enum Stop<'s> {
    Next(Next),
    /// The last one has to wait.
    Suspended(Box<Suspended<'s>>),
}

/// Serves a connection until it closes.
pub async fn serve(bench: Rc<Workbench>, connection: Rc<Connection>, mut session: Box<Session>) {
    let _dismissal = Dismissal(&bench, &connection);
    let mut next = Next::Answer;
    loop {
        bench.context.worker.hold_input(&connection, session.ahead.capacity());
        if !matches!(next, Next::Read | Next::Answer) {
            bench.context.worker.set_activity(&connection, Activity::Writing);
        }
        if matches!(next, Next::Answer | Next::Read) {
            while let Some(zone) = session.must_wait(&bench.context) {
                Box::pin(engine::catch_up(&zone)).await;
            }
        }
        next = match next {
            // What was kept of the requests sent ahead ends in the middle of one.
            Next::Answer if session.overrun => Next::Close { linger: true },
            Next::Answer => answer(&bench, &connection, &mut session, false).await,
            Next::Read => {
                if wait_for_bytes(&bench, &connection, &mut session).await {
                    answer(&bench, &connection, &mut session, true).await
                } else {
                    break;
                }
            }
            Next::Drain => {
                if !has_read(&connection, &mut session).await {
                    break;
                }
                Next::Answer
            }
            Next::Forget { body, timeout } => {
                Box::pin(suspended::forget(&bench, &connection, &mut session, body, timeout)).await
            }
            Next::Subscribed { close } => {
                let complete = wait_as_subscriber(&bench, &connection, &mut session).await;
                session.end_subscription(&bench.context, complete);
                match complete {
                    true if close || connection.is_closing() => Next::Close { linger: false },
                    true => Next::Answer,
                    false => break,
                }
            }
            Next::WebSocket(socket) => {
                Box::pin(super::websocket::serve(&bench, &connection, &mut session, socket)).await;
                session.end_subscription(&bench.context, true);
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
            worker.count_panic(self.1);
        }
        worker.dismiss(self.1);
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
    let worker = &bench.context.worker;
    if connection.waiting() > 0 {
        // As long as the client takes its answer, however slowly, it is not idle.
        worker.set_deadline(connection, None);
        loop {
            match connection.event(Awaited::InputOrDrained).await {
                Event::Readable => return true,
                Event::Drained => break,
                Event::TimedOut | Event::Broken => return false,
                Event::Ended => {}
            }
        }
    }
    let waits_as = session.waits_as();
    worker.set_activity(connection, waits_as);
    if waits_as == Activity::Reading && !std::mem::replace(&mut session.head_counted, true) {
        worker.count_request();
    }
    if let Some(patience) = session.patience(&bench.context) {
        worker.set_deadline(connection, Some(worker.patience(patience)));
    }
    loop {
        if is_let_go(connection) && connection.waiting() == 0 && !has_bytes(connection).await {
            return false;
        }
        // Asked anew at each wake-up: whoever lets go of the connection rings its bell.
        let awaited = || if is_let_go(connection) { Awaited::InputOrDrained } else { Awaited::Input };
        match poll_fn(|cx| connection.poll_event(cx, awaited())).await {
            Event::Readable => return true,
            Event::TimedOut | Event::Broken => return false,
            Event::Drained | Event::Ended => {}
        }
    }
}

/// Whether the connection is between requests and is to be closed.
fn is_let_go(connection: &Connection) -> bool {
    connection.is_closing() && connection.activity() == Activity::Idle
}

/// Whether something can be read now: a request that came before the end is answered.
async fn has_bytes(connection: &Connection) -> bool {
    poll_fn(|cx| Poll::Ready(connection.stream().poll_read_ready(cx).is_ready())).await
}

/// Answers the requests at hand (`read`: after reading once more), the last of them however long it takes.
async fn answer(bench: &Rc<Workbench>, connection: &Rc<Connection>, session: &mut Session, read: bool) -> Next {
    let settings = bench.context.settings();
    let stop = if read {
        read_and_answer(bench, connection, session, &settings)
    } else {
        answer_ahead(bench, connection, session, &settings)
    };
    match stop {
        Stop::Next(next) => next,
        Stop::Suspended(request) => {
            bench.context.worker.set_activity(connection, Activity::Writing);
            Box::pin(suspended::finish(bench, connection, session, request)).await
        }
    }
}

/// Reads once and answers every request that is complete.
fn read_and_answer<'s>(
    bench: &'s Rc<Workbench>,
    connection: &Rc<Connection>,
    session: &mut Session,
    settings: &'s Settings,
) -> Stop<'s> {
    let mut input = bench.lend_input();
    let stop = match connection.try_read(&mut input) {
        Ok(0) => Stop::Next(Next::Close { linger: false }),
        Ok(read) if session.ahead.is_empty() => {
            let bytes = input.get(..read).unwrap_or_default();
            let (used, stop) = answer_all(bench, connection, session, settings, bytes);
            session.ahead = bytes.get(used..).unwrap_or_default().to_vec();
            stop
        }
        Ok(read) => {
            session.ahead.extend_from_slice(input.get(..read).unwrap_or_default());
            answer_ahead(bench, connection, session, settings)
        }
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Stop::Next(Next::Read),
        Err(_) => Stop::Next(Next::Close { linger: false }),
    };
    bench.return_input(input);
    stop
}

/// Answers every complete request among the bytes read ahead.
fn answer_ahead<'s>(
    bench: &'s Rc<Workbench>,
    connection: &Rc<Connection>,
    session: &mut Session,
    settings: &'s Settings,
) -> Stop<'s> {
    if session.ahead.is_empty() {
        return Stop::Next(Next::Read);
    }
    let bytes = std::mem::take(&mut session.ahead);
    let (used, stop) = answer_all(bench, connection, session, settings, &bytes);
    session.ahead = bytes.get(used..).unwrap_or_default().to_vec();
    stop
}

/// Answers request after request; returns how many bytes were used and where it has come to.
fn answer_all<'s>(
    bench: &'s Rc<Workbench>,
    connection: &Rc<Connection>,
    session: &mut Session,
    settings: &'s Settings,
    bytes: &[u8],
) -> (usize, Stop<'s>) {
    let mut out = bench.lend_output();
    let mut rest = bytes;
    let stop = loop {
        if rest.is_empty() {
            break Stop::Next(Next::Read);
        }
        if out.len() + connection.waiting() > UNREAD {
            break Stop::Next(Next::Drain);
        }
        match answer_one(bench, connection, session, settings, &mut rest, &mut out) {
            None => {}
            Some(stop) => break stop,
        }
    };
    if !out.is_empty() && bench.context.worker.send(connection, &out) == Flush::Broken {
        connection.give_up();
    }
    bench.return_output(out);
    (bytes.len() - rest.len(), stop)
}

/// Answers the request that begins `input` and takes it off. `None`: look at the next one.
fn answer_one<'s>(
    bench: &'s Rc<Workbench>,
    connection: &Rc<Connection>,
    session: &mut Session,
    settings: &'s Settings,
    input: &mut &[u8],
    out: &mut Vec<u8>,
) -> Option<Stop<'s>> {
    let Some(listener) = session.listener(settings) else { return Some(Stop::Next(Next::Close { linger: false })) };
    let limits = HeadLimits::of(&listener.names.default, &settings.capabilities);
    let (peer, now) = (Rc::clone(&session.peer), bench.context.worker.now());
    let (head, read) = match head_parser::parse(input, &limits) {
        Ok(None) => return Some(Stop::Next(Next::Read)),
        Ok(Some((head, length))) => {
            *input = input.get(length..).unwrap_or_default();
            (head, Ok(()))
        }
        Err(bad) => (RequestHead::unreadable(input), Err(bad)),
    };
    session.requests += 1;
    if !std::mem::take(&mut session.head_counted) {
        bench.context.worker.count_request();
    }
    bench.context.worker.begin_request(connection);
    let mut exchange = Exchange::new(settings, listener, peer, head, now, session.requests);
    exchange.limiter = Some(&bench.context.limiter);
    if let Err(bad) = read.and_then(|()| exchange.understand()) {
        return Some(Stop::Next(refuse(bench, connection, session, &mut exchange, bad, input, out)));
    }
    let mut body = RequestBody::new(exchange.body);
    let verdict = engine::decide(&bench.context, &mut exchange);
    let mut turn = Turn { bench, connection, session, out, exchange: &mut exchange, body: &mut body };
    match turn.advance(verdict, input) {
        Step::Done(next) => next.map(Stop::Next),
        Step::Body(job) => Some(Stop::Suspended(Suspended::for_body(exchange, body, job))),
        Step::Patience(patience) => Some(Stop::Suspended(Suspended::for_time(exchange, body, patience))),
    }
}

/// Answers a request that cannot be understood, and closes: where it ends cannot be told.
fn refuse<'s>(
    bench: &'s Rc<Workbench>,
    connection: &Rc<Connection>,
    session: &mut Session,
    exchange: &mut Exchange<'s>,
    bad: BadHead,
    input: &mut &[u8],
    out: &mut Vec<u8>,
) -> Next {
    *input = &[];
    let verdict = engine::refuse(&bench.context, exchange, bad);
    let mut body = RequestBody::new(BodyLength::None);
    Turn { bench, connection, session, out, exchange, body: &mut body }.advance(verdict, input);
    Next::Close { linger: true }
}

/// Sleeps while the subscription lasts; true when it has ended and everything is sent, false when the peer is gone.
async fn wait_as_subscriber(bench: &Rc<Workbench>, connection: &Rc<Connection>, session: &mut Session) -> bool {
    loop {
        match connection.event(Awaited::Input).await {
            Event::Readable => {
                if read_ahead(bench, connection, session) != Ahead::Open {
                    bench.context.worker.unsubscribe(connection);
                    return false;
                }
                bench.context.worker.hold_input(connection, session.ahead.capacity());
            }
            Event::Ended => return drained(connection).await,
            Event::Broken => return false,
            Event::TimedOut | Event::Drained => {}
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
