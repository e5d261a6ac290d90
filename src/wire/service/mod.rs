//! The door for requests that come as the `http` crate has them: a request in, a response out.
//!
//! HTTP/2 ([`super::http2`]) and applications of axum come by it. A request is answered through a connection without a socket
//! ([`visit`]), whose outbox becomes the body of the response ([`answer_body`]) or goes through a tunnel ([`tunnel`]). Does not
//! know frames. Invariant: nothing is read out of an outbox before there is room for it, so that a subscriber that does not
//! read is found like any other.

mod answer_body;
mod request;
mod response;
mod tunnel;
mod visit;
mod waiting;

use std::io;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Body;
use hyper::{Request, Response, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::spawn_local;

use self::waiting::{HeadSlot, Waiter};
use super::file_source;
use super::log::{self, Sent};
use super::logged_source::{HeadText, LastingHead};
use super::reply_head::Framing;
use crate::conf::Settings;
use crate::delivery::{Awaited, Event, Manner, Source};
use crate::push::compression::Compression;
use crate::push::engine::{self, Job, Verdict};
use crate::push::subscribe::{Stream, Wait};
use crate::push::websocket::{Opening, Switching};
use crate::request::head::HeadLimits;
use crate::request::reply::{Body as ReplyBody, Reply};
use crate::site::access_log::SentHead;
use crate::site::exchange::Exchange;
use crate::site::gzip;
use crate::site::log_context;

pub(crate) use answer_body::AnswerBody;
pub(crate) use visit::Visit;

/// How long a client may go on with a body that nobody wants, milliseconds.
const LINGER: u64 = 5_000;

/// Answers a request. An error resets it. A websocket goes by the stream that `tunnel` brings once the head of the answer
/// has been sent; for any other answer it is dropped.
pub(crate) async fn answer<B, T>(
    mut visit: Visit,
    request: Request<B>,
    tunnel: impl Future<Output = Option<T>> + 'static,
) -> io::Result<Response<AnswerBody>>
where
    B: Body<Data = Bytes> + Unpin + 'static,
    T: AsyncRead + AsyncWrite + 'static,
{
    let (parts, mut body) = request.into_parts();
    let settings = visit.context().settings();
    let outcome = Box::pin(decide(&mut visit, &settings, &parts, &mut body)).await;
    // Whoever waits from here on does so without its head.
    drop(parts);
    if body.is_end_stream() {
        drop(body);
    } else {
        spawn_local(discard(body));
    }
    let bench = Rc::clone(visit.bench());
    while let Some(zone) = visit.session.must_wait(&bench.context) {
        engine::catch_up(&zone).await;
    }
    match outcome? {
        Outcome::Whole(head) => Ok(respond(visit, head, true)),
        Outcome::Stream { head, held } => {
            if held {
                wait_for_bytes(&visit).await?;
            }
            Ok(respond(visit, head, false))
        }
        Outcome::Wait(slot) => {
            let head = wait_for_head(&visit, &slot).await?;
            Ok(respond(visit, head, true))
        }
        Outcome::Tunnel { head, session } => {
            spawn_local(tunnel::serve(visit, session, tunnel));
            Ok(head.map(|()| AnswerBody::Empty))
        }
    }
}

/// The response with what the outbox holds; `over`: there is no subscription that would bring more.
fn respond(mut visit: Visit, head: Response<()>, over: bool) -> Response<AnswerBody> {
    if over && visit.connection().front().is_empty() {
        visit.complete();
        return head.map(|()| AnswerBody::Empty);
    }
    // From now on the client has `send_timeout` to take what waits.
    visit.context().worker.flush(visit.connection());
    head.map(|()| AnswerBody::Outbox { visit, over })
}

/// What is left to be done when a request has been decided.
enum Outcome {
    /// Nothing: all of the body is in the outbox.
    Whole(Response<()>),
    /// The body comes out of the outbox; `held`: the head waits for its first bytes.
    Stream { head: Response<()>, held: bool },
    /// Head and body come when the poll is answered.
    Wait(HeadSlot),
    /// What is in the outbox, and from then on what the session brings, goes through the tunnel.
    Tunnel { head: Response<()>, session: Option<Box<tunnel::Session>> },
}

/// Has a request decided, and gives the engine what it asks for on the way.
async fn decide<B>(
    visit: &mut Visit,
    settings: &Settings,
    parts: &hyper::http::request::Parts,
    body: &mut B,
) -> io::Result<Outcome>
where
    B: Body<Data = Bytes> + Unpin,
{
    #[cfg(test)]
    crate::model::provoked::reach("http2");
    let bench = Rc::clone(visit.bench());
    let context = &bench.context;
    let listener = visit.session.listener(settings).ok_or(io::ErrorKind::ConnectionReset)?;
    let limits = HeadLimits::of(&listener.names.default, &settings.capabilities);
    let (peer, now, number) = (Rc::clone(&visit.session.peer), context.worker.now(), visit.session.requests);
    let (head, read) = match request::head(parts, &limits) {
        Ok(head) => (head, Ok(())),
        Err(bad) => (request::unreadable(parts), Err(bad)),
    };
    let mut exchange = Exchange::new(settings, listener, peer, head, now, number);
    let understood = read.and_then(|()| exchange.understand());
    exchange.route.framed_below = true;
    exchange.route.tunnel = request::opens_websocket(parts);
    exchange.limiter = Some(&context.limiter);
    let mut verdict = match understood {
        Err(bad) => engine::refuse(context, &mut exchange, bad),
        Ok(()) => engine::decide(context, &mut exchange),
    };
    loop {
        verdict = match verdict {
            Verdict::Body(job) => match read_body(visit, body, &job).await.ok_or(io::ErrorKind::ConnectionReset)? {
                Ok(text) => {
                    exchange.request_length += text.len() as u64;
                    if job.publishes() {
                        visit.session.note_published(exchange.server.zone);
                    }
                    engine::resume(context, &mut exchange, job, text.into())
                }
                Err(status) => {
                    if status == 413 {
                        let limit = job.limit();
                        let text = format_args!("client intended to send too large body: over {limit} bytes");
                        log_context::error(&exchange, text);
                    }
                    engine::fail_job(context, &mut exchange, &job, status)
                }
            },
            Verdict::Patience(patience) => engine::settle(context, &mut exchange, patience).await,
            Verdict::Reply(reply) => return Ok(Outcome::Whole(whole(visit, &exchange, reply))),
            Verdict::LongReply(reply, body) => {
                return Ok(Outcome::Whole(whole_from(visit, &exchange, &reply, |_| body)));
            }
            Verdict::Stream(stream) => return Ok(begin_stream(visit, &mut exchange, *stream)),
            Verdict::Wait(wait) => return Ok(begin_wait(visit, &mut exchange, *wait)),
            Verdict::WebSocket(opening) => return Ok(begin_websocket(visit, &mut exchange, *opening)),
            Verdict::Farewell(closed) => {
                visit.connection().push(closed.frame);
                return Ok(Outcome::Tunnel { head: switching_head(&closed.switching, &exchange), session: None });
            }
            Verdict::Drop => return Err(io::ErrorKind::ConnectionReset.into()),
        };
    }
}

/// A response that is there as a whole.
fn whole(visit: &Visit, exchange: &Exchange<'_>, mut reply: Reply) -> Response<()> {
    let location = exchange.location;
    if matches!(reply.body, ReplyBody::Full(_) | ReplyBody::File(_)) {
        gzip::apply(&mut reply, exchange, location);
    }
    if let ReplyBody::File(part) = &reply.body {
        return whole_from(visit, exchange, &reply, |framing| {
            file_source::of(part, &reply, Framing { chunked: false, ..framing }, location)
        });
    }
    let (head, framing) = response::head(&reply, exchange, location);
    let body = match &reply.body {
        _ if !framing.with_body => Bytes::new(),
        ReplyBody::Full(body) if reply.gzip => {
            let level = location.core.gzip.as_ref().map_or(1, |gzip| gzip.comp_level);
            Compression { level, chunked: false }.whole(body).into()
        }
        ReplyBody::Full(body) | ReplyBody::Framed(body) => body.clone(),
        ReplyBody::File(_) | ReplyBody::HeaderOnly | ReplyBody::Absent | ReplyBody::Stream => Bytes::new(),
    };
    let sent = Sent { head: SentHead::Fields(head.headers()), head_bytes: 0, body_bytes: body.len() };
    log::write(visit.context(), exchange, &reply, sent);
    visit.connection().set_send_timeout(location.core.send_timeout);
    visit.connection().push_own(body);
    head
}

/// A response whose body is made as it is taken. It is logged when it is over.
fn whole_from(
    visit: &Visit,
    exchange: &Exchange<'_>,
    reply: &Reply,
    body: impl FnOnce(Framing) -> Box<dyn Source>,
) -> Response<()> {
    let (head, framing) = response::head(reply, exchange, exchange.location);
    let lasting = LastingHead { bytes: 0, is: HeadText::Fields(head.headers().clone()) };
    let source = log::at_end(&visit.bench().context, exchange, reply, lasting, body(framing), framing.with_body);
    visit.connection().set_send_timeout(exchange.location.core.send_timeout);
    if let Some(source) = source {
        visit.connection().push_source(source);
    }
    head
}

fn begin_stream(visit: &mut Visit, exchange: &mut Exchange<'_>, stream: Stream) -> Outcome {
    let location = exchange.location;
    let (head, _) = response::head(&stream.head, exchange, location);
    stream.feed.begin(&visit.context().worker, visit.connection());
    visit.begin_subscription(exchange, true);
    Outcome::Stream { head, held: stream.held }
}

fn begin_wait(visit: &mut Visit, exchange: &mut Exchange<'_>, wait: Wait) -> Outcome {
    let location = exchange.location;
    let view = wait.bodies.view.clone();
    let waiter = Waiter::new(exchange, location, &wait.heads, wait.bodies);
    let slot = waiter.slot();
    let manner = Manner::LongPoll(Box::new(waiter));
    visit.context().worker.subscribe(visit.connection(), view, manner, wait.admission, &wait.ending);
    visit.begin_subscription(exchange, false);
    Outcome::Wait(slot)
}

fn begin_websocket(visit: &mut Visit, exchange: &mut Exchange<'_>, opening: Opening) -> Outcome {
    let Opening { switching, feed, session } = opening;
    feed.begin(&visit.context().worker, visit.connection());
    visit.begin_subscription(exchange, true);
    Outcome::Tunnel { head: switching_head(&switching, exchange), session: Some(Box::new(session)) }
}

/// The head of a handshake: 101 and what HTTP/1 asks for, or 200 where a tunnel was asked for.
fn switching_head(switching: &Switching, exchange: &Exchange<'_>) -> Response<()> {
    let mut head = Response::new(());
    let fields = head.headers_mut();
    for (name, value) in switching.fields(!exchange.route.tunnel) {
        if let (Ok(name), Ok(value)) =
            (hyper::header::HeaderName::from_bytes(name.as_bytes()), hyper::header::HeaderValue::from_bytes(&value))
        {
            fields.append(name, value);
        }
    }
    if !exchange.route.tunnel {
        *head.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    }
    head
}

/// Waits until something is to be sent.
async fn wait_for_bytes(visit: &Visit) -> io::Result<()> {
    while visit.connection().waiting() == 0 {
        match visit.connection().event(Awaited::Nothing).await {
            Event::Ended | Event::Broken => return Err(io::ErrorKind::ConnectionReset.into()),
            Event::Readable | Event::Drained | Event::TimedOut => {}
        }
    }
    Ok(())
}

/// Waits until a poll is answered.
async fn wait_for_head(visit: &Visit, slot: &HeadSlot) -> io::Result<Response<()>> {
    loop {
        match visit.connection().event(Awaited::Nothing).await {
            Event::Ended => return slot.take().ok_or_else(|| io::ErrorKind::ConnectionReset.into()),
            Event::Broken => return Err(io::ErrorKind::ConnectionReset.into()),
            Event::Readable | Event::Drained | Event::TimedOut => {}
        }
    }
}

/// Takes what a client goes on sending after its answer: many would lose the answer to a reset.
async fn discard<B: Body + Unpin>(mut body: B) {
    let all = async { while let Some(Ok(_)) = body.frame().await {} };
    let _ = tokio::time::timeout(Duration::from_millis(LINGER), all).await;
}

/// The body of a request, or the status that refuses it. `None`: the client is gone or too slow.
async fn read_body<B>(visit: &Visit, body: &mut B, job: &Job<'_>) -> Option<Result<Vec<u8>, u16>>
where
    B: Body<Data = Bytes> + Unpin,
{
    let (limit, patience) = (job.limit(), Duration::from_millis(job.timeout()));
    let mut text = Vec::new();
    while let Some(frame) = tokio::time::timeout(patience, body.frame()).await.ok()? {
        if let Ok(data) = frame.ok()?.into_data() {
            if limit != 0 && (text.len() as u64).saturating_add(data.len() as u64) > limit {
                return Some(Err(413));
            }
            let worker = &visit.context().worker;
            if !text.is_empty() && worker.is_short_of_memory() {
                worker.count_refused_body();
                return Some(Err(503));
            }
            text.extend_from_slice(&data);
            worker.hold_input(visit.connection(), text.capacity());
        }
    }
    visit.context().worker.hold_input(visit.connection(), 0);
    Some(Ok(text))
}
