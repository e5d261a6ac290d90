//! The websocket subscriber: handshake, subscription, and what the client sends.
//!
//! Messages go out like those of every stream; this file is about the way in. 101 comes before the checks of the
//! subscription (from 0.4.0 on), so a refusal travels in a close frame.

use std::rc::Rc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use sha1::{Digest, Sha1};

use super::connection::{await_end, drained};
use super::context::Context;
use super::exchange::Exchange;
use super::publish::cache_fields;
use super::replay::replay;
use super::reply::{self, Reply};
use super::session::Session as HttpSession;
use super::subscribe::subscriber_fields;
use super::{channels, explanation};
use crate::conf::settings::{Compat, Line, Location, Mode};
use crate::delivery::{Connection, Ending, Event, Flush, Manner};
use crate::hub::{Answer, Ask, AskKind};
use crate::model::{Draft, Refusal};
use crate::render::{Decoder, Farewell, Framing, Rules, permessage_deflate, websocket_frame};

/// What RFC 6455 appends to the key.
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const MISSING: &str = "Don't have at least one of the mandatory headers: Connection, Upgrade, Sec-WebSocket-Key and Sec-WebSocket-Version";
const BAD_VERSION: &str = "Version not supported. Supported versions: 8, 13";
/// Bytes that may wait for a client whose frames are still read.
const UNREAD: usize = 256 * 1024;
/// How long a client may take to answer a close frame, milliseconds.
const CLOSE_WAIT: u64 = 2_000;

/// What a request at a websocket location comes to.
pub(super) enum Begun {
    /// No websocket: an HTTP answer.
    Reply(Reply),
    /// 101 and everything that is sent at once is in the outbox; the connection is subscribed.
    Open(Box<Session>),
    /// 101 and a refusal are in the outbox.
    Refused,
}

/// An open websocket.
pub(super) struct Session {
    decoder: Decoder,
    /// Whether the client may publish, and whether its messages are stored.
    publish: Option<bool>,
    line: Line,
    strict: bool,
}

/// Checks the handshake, subscribes, and puts what the client gets first into the connection's outbox.
pub(super) fn begin(
    context: &Context,
    connection: &Rc<Connection>,
    exchange: &Exchange<'_>,
    location: &Location,
    before: &mut Vec<u8>,
) -> Begun {
    let compat = exchange.settings.compat;
    let key = match handshake(exchange) {
        Ok(key) => key,
        Err(reply) => return Begun::Reply(*reply),
    };
    let answer = subscribe(context, exchange, location);
    if let Err(refusal) = &answer
        && compat.line < Line::V040
    {
        let fields = subscriber_fields(exchange, location);
        return Begun::Reply(explanation::refused(*refusal, compat.line, fields));
    }
    let deflate = agrees_on_deflate(exchange, location);
    switching(&key, compat.line, deflate, before);
    connection.push(Bytes::from(std::mem::take(before)));
    let (answer, registration) = match answer {
        Ok(mut answer) => match answer.subscription.take() {
            Some(registration) => (answer, registration),
            None => return Begun::Refused,
        },
        Err(refusal) => {
            let text = explanation::explanation(refusal, compat.line);
            connection.push(websocket_frame::refusal(refusal.status(), &text).into());
            return Begun::Refused;
        }
    };
    let framing = if deflate { Framing::WebSocketDeflate } else { Framing::WebSocket };
    let view = context.view(exchange, location, framing, false);
    connection.push(view.header().clone());
    for missed in &answer.missed {
        connection.push(view.message(missed.channel.as_bytes(), &missed.message));
    }
    let ending = Ending { ttl: location.push.subscriber_connection_ttl, ping: location.push.ping_message_interval };
    connection.set_send_timeout(location.core.send_timeout);
    context.worker.subscribe(connection, view, Manner::Stream, &registration, &ending);
    let rules = match compat {
        Compat { strict: false, .. } => Rules::Rfc,
        Compat { line: Line::V05, .. } => Rules::Module,
        Compat { .. } => Rules::OldModule,
    };
    let most = usize::try_from(location.core.client_max_body_size).unwrap_or(usize::MAX);
    let decoder = Decoder::new(rules, if most == 0 { usize::MAX } else { most });
    Begun::Open(Box::new(Session {
        decoder: if deflate { decoder.with_deflate() } else { decoder },
        publish: location.push.websocket_allow_publish.then_some(location.push.store_messages),
        line: compat.line,
        strict: compat.strict,
    }))
}

/// The client's key, or why there is no websocket.
fn handshake(exchange: &Exchange<'_>) -> Result<Vec<u8>, Box<Reply>> {
    let line = exchange.settings.compat.line;
    let head = exchange.head;
    if exchange.method != b"GET" {
        let mut reply = Reply::header_only(405).with([reply::allow("GET")]);
        reply.close = line >= Line::V040;
        return Err(Box::new(reply));
    }
    let refusal = |explain: &'static str| {
        let versions = (explain == BAD_VERSION).then(reply::websocket_versions);
        let mut reply = Reply::header_only(400).with(cache_fields(line)).with(versions).with([reply::explain(explain)]);
        reply.close = line >= Line::V040;
        Err(Box::new(reply))
    };
    let present = ["connection", "upgrade", "sec-websocket-version"].iter().all(|name| head.header(name).is_some());
    let (Some(key), true) = (head.header("sec-websocket-key"), present) else { return refusal(MISSING) };
    match head.header("sec-websocket-version").unwrap_or_default() {
        b"8" | b"13" => {}
        _ => return refusal(BAD_VERSION),
    }
    Ok(key.to_vec())
}

/// Whether both sides want permessage-deflate.
fn agrees_on_deflate(exchange: &Exchange<'_>, location: &Location) -> bool {
    let offers = exchange.head.headers().filter(|(name, _)| name.eq_ignore_ascii_case(b"sec-websocket-extensions"));
    location.push.websocket_deflate
        && offers.filter_map(|(_, offers)| std::str::from_utf8(offers).ok()).any(permessage_deflate::acceptable)
}

fn switching(key: &[u8], line: Line, deflate: bool, out: &mut Vec<u8>) {
    let accept = STANDARD.encode(Sha1::new().chain_update(key).chain_update(GUID).finalize());
    reply::websocket_head(line > Line::V034, &accept, deflate.then_some(permessage_deflate::ACCEPTED), out);
}

fn subscribe(context: &Context, exchange: &Exchange<'_>, location: &Location) -> Result<Answer, Refusal> {
    let path = channels::requested(exchange, location);
    if path.is_empty() {
        return Err(Refusal::NoChannelId);
    }
    let ask = Ask {
        worker: context.worker.index(),
        path: &path,
        replay: &replay(exchange, location, Mode::WebSocket),
        kind: AskKind::Stream,
        authorized_only: location.push.authorized_channels_only,
        wildcard_limit: location.push.wildcard_channel_max_qtd,
        events_allowed: location.push.allow_connections_to_events_channel,
    };
    context.worker.hub().subscribe(&ask, exchange.now)
}

/// Serves an open websocket until it ends.
pub(super) async fn serve(
    context: &Context,
    connection: &Rc<Connection>,
    http: &mut HttpSession,
    mut socket: Box<Session>,
) {
    let first = std::mem::take(&mut http.ahead);
    let mut open = socket.receive(context, connection, &first);
    while open {
        // Who does not read what it asked for is not read either.
        let listen = connection.waiting() <= UNREAD;
        match connection.event(listen, !listen).await {
            Event::Readable => {
                let mut input = context.lend_input();
                open = match connection.try_read(&mut input) {
                    Ok(0) => false,
                    Ok(read) => socket.receive(context, connection, input.get(..read).unwrap_or_default()),
                    Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
                };
                context.return_input(input);
            }
            Event::Ended | Event::Broken => open = false,
            Event::TimedOut | Event::Drained => {}
        }
    }
    context.worker.unsubscribe(connection);
    // After a close frame the client closes first (RFC 6455), or TCP is closed for it. The module closes at once, that of
    // 0.3.x not at all.
    let old = socket.line < Line::V040 && !connection.is_closing();
    if drained(connection).await && (old || !socket.strict) {
        if !socket.strict {
            connection.stream().shutdown_write();
        }
        await_end(context, connection, CLOSE_WAIT).await;
    }
}

impl Session {
    /// Takes bytes of the client; false when the websocket is over.
    pub(super) fn receive(&mut self, context: &Context, connection: &Rc<Connection>, mut input: &[u8]) -> bool {
        use crate::render::Event as Frame;
        while let Some(frame) = self.decoder.decode(&mut input) {
            let over = match frame {
                Frame::Text(text) => {
                    self.publish(context, connection, text, false);
                    false
                }
                Frame::Ping(payload) => {
                    connection.push(websocket_frame::pong(&payload).into());
                    false
                }
                Frame::Binary(bytes) => {
                    self.publish(context, connection, bytes, true);
                    false
                }
                Frame::Pong => false,
                Frame::Close { code, .. } => {
                    connection.push(websocket_frame::close(code, b"").into());
                    true
                }
                Frame::Violation(farewell) => {
                    connection.push(Farewell::frame(farewell).into());
                    true
                }
            };
            if over {
                context.worker.unsubscribe(connection);
            }
            if connection.waiting() > 0 && context.worker.flush(connection) == Flush::Broken {
                connection.give_up();
            }
            if over {
                return false;
            }
        }
        true
    }

    fn publish(&self, context: &Context, connection: &Connection, text: Vec<u8>, binary: bool) {
        let Some(store) = self.publish else { return };
        if text.is_empty() {
            return;
        }
        let mut keys = connection.channel_keys();
        if self.line < Line::V040 {
            keys.truncate(1);
        }
        let draft = Draft { text: text.into(), event: None, store, binary };
        if context.worker.hub().publish_to(&keys, draft, context.worker.now()).is_err() {
            tracing::error!("push stream module: unable to allocate message in shared memory");
        }
        // 0.3.5 and 0.4.0 follow each publish with a ping.
        if matches!(self.line, Line::V035 | Line::V040) {
            connection.push(Bytes::from_static(&websocket_frame::PING));
        }
    }
}
