//! One stream of an HTTP/2 connection: a request, and its answer by the engine of HTTP/1.
//!
//! The stream has a connection without a socket: what would be written to HTTP/1 lands in its outbox. Does not know frames.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use hyper::http::request::Parts;
use hyper::{Request, Response, upgrade};
use tokio::task::spawn_local;

use super::answer::{AnswerBody, split};
use super::{LINGER, Shared, request, task, tunnel};
use crate::conf::Settings;
use crate::conf::settings::{Handler, Location, Mode};
use crate::delivery::{Connection, Event, Stream};
use crate::push::publish::{self, Begun};
use crate::request::head::{self, HeadLimits};
use crate::request::reply::Reply;
use crate::site::authorization::{self, Settled};
use crate::site::exchange::Exchange;
use crate::site::phases;
use crate::wire::connection::{Next, catch_up};
use crate::wire::session::Session;
use crate::wire::turn::Turn;

/// What the answer to a handshake begins with.
const SWITCHING: &[u8] = b"HTTP/1.1 101 ";

/// A stream that is being answered. Dropping it ends its subscription, whatever the way out.
pub(super) struct OpenStream {
    shared: Rc<Shared>,
    connection: Rc<Connection>,
    session: Box<Session>,
    complete: bool,
}

impl OpenStream {
    fn new(shared: Rc<Shared>) -> Self {
        let number = shared.begin();
        let connection = shared.bench.context.worker.enter(Connection::new(Stream::Body));
        task::belongs_to(&connection);
        let mut session = Session::new(shared.peer.clone(), Rc::clone(&shared.place), Vec::new());
        session.requests = number.saturating_sub(1);
        Self { shared, connection, session, complete: false }
    }

    /// The connection whose outbox the answer comes from.
    pub(super) fn connection(&self) -> &Rc<Connection> {
        &self.connection
    }

    /// What the streams of the connection share.
    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// The answer has ended as it should.
    pub(super) fn complete(&mut self) {
        self.complete = true;
    }

    fn turn<'a>(&'a mut self, out: &'a mut Vec<u8>) -> Turn<'a> {
        Turn { bench: &self.shared.bench, connection: &self.connection, session: &mut self.session, out }
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let worker = &self.shared.bench.context.worker;
        if std::thread::panicking() {
            worker.tally().count_panic();
        }
        self.session.end_subscription(&self.shared.bench, self.complete);
        worker.dismiss(&self.connection);
        self.shared.end();
    }
}

/// Answers a request. An error resets the stream.
pub(super) async fn answer(shared: Rc<Shared>, mut request: Request<Incoming>) -> io::Result<Response<AnswerBody>> {
    let upgrade = upgrade::on(&mut request);
    let (parts, mut body) = request.into_parts();
    let mut stream = OpenStream::new(shared);
    let mut out = Vec::new();
    let next = Box::pin(stream.decide(&parts, &mut body, &mut out)).await;
    if !body.is_end_stream() {
        spawn_local(discard(body));
    }
    if stream.session.must_wait(&stream.shared.bench) {
        catch_up(&stream.shared.bench).await;
    }
    stream.connection.push(out.into());
    match next {
        Some(Next::WebSocket(session)) => open_tunnel(stream, Some(session), upgrade),
        Some(Next::Subscribed { .. }) => stream.into_response(false).await,
        // The refusal of a websocket comes in a frame.
        _ if stream.connection.front().starts_with(SWITCHING) => open_tunnel(stream, None, upgrade),
        _ => stream.into_response(true).await,
    }
}

/// 200, and a task for the websocket.
fn open_tunnel(
    stream: OpenStream,
    session: Option<Box<tunnel::Session>>,
    upgrade: upgrade::OnUpgrade,
) -> io::Result<Response<AnswerBody>> {
    let first = stream.connection.take_piece().ok_or(io::ErrorKind::ConnectionReset)?;
    let (mut head, rest) = split(&first).ok_or(io::ErrorKind::ConnectionReset)?;
    *head.status_mut() = hyper::StatusCode::OK;
    stream.connection.put_back(rest);
    spawn_local(tunnel::serve(stream, session, upgrade));
    Ok(head.map(|()| AnswerBody::Empty))
}

impl OpenStream {
    /// Sends the request through the site. What there is to send is in `out`, or in the outbox.
    async fn decide(&mut self, parts: &Parts, body: &mut Incoming, out: &mut Vec<u8>) -> Option<Next> {
        #[cfg(test)]
        crate::model::provoked::reach("http2");
        let settings: Arc<Settings> = self.shared.bench.context.settings();
        let server = Arc::clone(self.session.default_server(&settings)?);
        let text = request::write_down(parts);
        let limits = HeadLimits::of(&server, settings.compat.strict);
        let head = match head::parse_http2(&text, &limits) {
            Ok(head) => head,
            Err(bad) => return Some(self.turn(out).refuse(&settings, b"", bad)),
        };
        self.session.requests += 1;
        let (peer, now) = (self.session.peer.clone(), self.shared.bench.context.worker.now());
        let limiter = Arc::clone(&self.shared.bench.context.limiter);
        let mut exchange = match Exchange::new(&settings, &peer, &head, now, self.session.requests) {
            Ok(exchange) => exchange,
            Err(bad) => return Some(self.turn(out).refuse(&settings, b"", bad)),
        };
        exchange.request_length = text.len() as u64;
        exchange.limiter = Some(&limiter);
        let routed = phases::route(&mut exchange);
        match authorization::settle(&mut exchange, routed).await {
            Settled::Reply(reply) => self.turn(out).reply(&exchange, reply, &[]),
            Settled::Drop => None,
            Settled::Serve(location) => match location.handler {
                Handler::Publisher { admin } => {
                    let reply = self.publish(&mut exchange, location, admin, body).await?;
                    self.turn(out).reply(&exchange, reply, &[])
                }
                Handler::Subscriber(Mode::WebSocket) => self.turn(out).serve(&mut exchange, location, &[]),
                // A tunnel to a place that is none.
                _ if request::opens_websocket(parts) => {
                    let reply = phases::error_reply(&mut exchange, location, 400);
                    self.turn(out).reply(&exchange, reply, &[])
                }
                _ => self.turn(out).serve(&mut exchange, location, &[]),
            },
        }
    }

    /// `None`: the client is gone or too slow.
    async fn publish<'b>(
        &mut self,
        exchange: &mut Exchange<'b>,
        location: &'b Arc<Location>,
        admin: bool,
        body: &mut Incoming,
    ) -> Option<Reply> {
        let worker = &self.shared.bench.context.worker;
        let job = match publish::begin(worker, exchange, location, admin) {
            Begun::Reply(reply) => return Some(reply),
            Begun::Body(job) => job,
        };
        match read_body(body, location).await? {
            Ok(text) => {
                exchange.request_length += text.len() as u64;
                self.session.published = true;
                Some(publish::finish(worker, exchange, location, admin, &job, text.into()))
            }
            Err(status) => Some(phases::error_reply(exchange, location, status)),
        }
    }

    /// The response: as soon as its head is in the outbox. `over`: there is no subscription that would bring more.
    async fn into_response(mut self, mut over: bool) -> io::Result<Response<AnswerBody>> {
        let first: Bytes = loop {
            if let Some(piece) = self.connection.take_piece() {
                break piece;
            }
            if over {
                return Err(io::ErrorKind::ConnectionReset.into());
            }
            match self.connection.event(false, false).await {
                Event::Ended => over = true,
                Event::Broken => return Err(io::ErrorKind::ConnectionReset.into()),
                Event::Readable | Event::Drained | Event::TimedOut => {}
            }
        };
        let (head, rest) = split(&first).ok_or(io::ErrorKind::ConnectionReset)?;
        self.connection.put_back(rest);
        if over && self.connection.front().is_empty() {
            self.complete();
            return Ok(head.map(|()| AnswerBody::Empty));
        }
        // From now on the client has `send_timeout` to take what waits.
        self.shared.bench.context.worker.flush(&self.connection);
        Ok(head.map(|()| AnswerBody::Outbox { stream: self, over }))
    }
}

/// Takes what a client goes on sending after its answer: many would lose the answer to a reset.
async fn discard(mut body: Incoming) {
    let all = async { while let Some(Ok(_)) = body.frame().await {} };
    let _ = tokio::time::timeout(Duration::from_millis(LINGER), all).await;
}

/// The body of a request, or the status that refuses it. `None`: the client is gone or too slow.
async fn read_body(body: &mut Incoming, location: &Location) -> Option<Result<Vec<u8>, u16>> {
    let limit = location.core.client_max_body_size;
    let patience = Duration::from_millis(location.core.client_body_timeout);
    let mut text = Vec::new();
    while let Some(frame) = tokio::time::timeout(patience, body.frame()).await.ok()? {
        if let Ok(data) = frame.ok()?.into_data() {
            if limit != 0 && (text.len() as u64).saturating_add(data.len() as u64) > limit {
                tracing::error!("client intended to send too large body: over {limit} bytes");
                return Some(Err(413));
            }
            text.extend_from_slice(&data);
        }
    }
    Some(Ok(text))
}
