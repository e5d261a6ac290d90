//! The websocket subscriber: handshake, subscription, and what the client sends.
//!
//! Messages go out like those of every stream; this file is about the way in. 101 comes before the checks of the
//! subscription, so a refusal travels in a close frame (unless the wire refuses before).

use std::borrow::Cow;
use std::rc::Rc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use sha1::{Digest, Sha1};
use tokio::sync::oneshot;
use tokio::task::spawn_local;

use super::context::Context;
use super::feed::Feed;
use super::fields;
use super::history::{MissedMessages, StreamHistory};
use super::publish::telling;
use super::replay::replay;
use crate::conf::settings::{Location, Mode};
use crate::delivery::{Admission, Connection, Ending, Flush, LocalZone, Manner, Source};
use crate::hub::{Answer, Ask, AskKind, ChannelKey, Outcome};
use crate::metrics::{Cause, tick};
use crate::model::{AfterClose, Capabilities, Draft, Refusal};
use crate::render::{Decoder, Farewell, Framing, permessage_deflate, websocket_frame};
use crate::request::reply::Reply;
use crate::site::channels;
use crate::site::exchange::Exchange;

/// What RFC 6455 appends to the key.
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const MISSING: &str = "Don't have at least one of the mandatory headers: Connection, Upgrade, Sec-WebSocket-Key and Sec-WebSocket-Version";
const BAD_VERSION: &str = "Version not supported. Supported versions: 8, 13";

/// What a request at a websocket location comes to.
pub(crate) enum Begun {
    /// No websocket: an HTTP answer.
    Reply(Reply),
    /// A websocket.
    Open(Box<Opening>),
    /// A websocket that is closed at once.
    Closed(ClosedAtOnce),
}

/// What the answer to a handshake says.
pub(crate) struct Switching {
    /// `Sec-WebSocket-Accept`.
    pub accept: String,
    /// `Sec-WebSocket-Extensions`.
    pub extension: Option<&'static str>,
    /// Whether the fields against caches come with it.
    pub expires: bool,
}

impl Switching {
    /// The fields of the head, neither Server nor `add_header` among them; `upgrade`: with those that only HTTP/1 has.
    pub(crate) fn fields(&self, upgrade: bool) -> Vec<(&'static str, Cow<'_, [u8]>)> {
        let mut told = Vec::with_capacity(6);
        if self.expires {
            told.extend([("Expires", fields::EPOCH.into()), ("Cache-Control", fields::NO_CACHE.into())]);
        }
        if upgrade {
            told.extend([("Upgrade", b"WebSocket"[..].into()), ("Connection", b"Upgrade"[..].into())]);
            told.push(("Sec-WebSocket-Accept", self.accept.as_bytes().into()));
        }
        told.extend(self.extension.map(|extension| ("Sec-WebSocket-Extensions", extension.as_bytes().into())));
        told
    }
}

/// A websocket that is closed at once.
pub(crate) struct ClosedAtOnce {
    /// The head.
    pub switching: Switching,
    /// What follows it: a close frame, if any.
    pub frame: Bytes,
    /// Why, if the module says so.
    pub refusal: Option<Refusal>,
}

/// A websocket that begins.
pub(crate) struct Opening {
    /// The head.
    pub switching: Switching,
    /// What follows it.
    pub feed: Feed,
    /// What takes the frames of the client.
    pub session: Session,
}

/// An open websocket.
pub(crate) struct Session {
    decoder: Decoder,
    /// Whether the client may publish, and whether its messages are stored.
    publish: Option<bool>,
    /// Whether its messages go to all channels of the path; otherwise to the first.
    publishes_to_all: bool,
    ping_follows_publish: bool,
    /// What a client is closed with whose message cannot be had.
    no_room: Option<u16>,
    after_close: AfterClose,
}

/// Close code of a server that may have room again later (IANA).
const TRY_AGAIN_LATER: u16 = 1013;

/// How far bytes of the client were taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Received {
    /// All of them.
    All,
    /// The client has published and has to wait, for workers or for the disk: the rest is for when it may go on
    /// ([`super::engine::go_on`]).
    Ahead,
    /// The websocket is over.
    Over,
}

/// Checks the handshake and subscribes.
pub(crate) fn begin(context: &Context, exchange: &Exchange<'_>, location: &Location) -> Begun {
    let capabilities = &exchange.settings.capabilities;
    let key = match handshake(exchange) {
        Ok(key) => key,
        Err(reply) => return Begun::Reply(*reply),
    };
    let zone = context.zone(exchange);
    let mut answer = subscribe(&zone, exchange, location);
    let admission = answer.as_mut().ok().and_then(|answer| answer.subscription.take());
    let admission = admission.map(|registration| Admission::new(&zone, registration));
    if let Err(refusal) = &answer
        && capabilities.refuses_before_handshake
    {
        return Begun::Reply(fields::refused(*refusal, capabilities, fields::cache_fields(capabilities)));
    }
    let deflate = agrees_on_deflate(exchange, location);
    let switching = switching(&key, capabilities, deflate);
    let (mut answer, admission) = match answer {
        Ok(answer) => match admission {
            Some(admission) => (answer, admission),
            None => return Begun::Closed(ClosedAtOnce { switching, frame: Bytes::new(), refusal: None }),
        },
        Err(refusal) => {
            let text = fields::explanation(refusal, capabilities);
            let frame = websocket_frame::refusal(refusal.status(), &text).into();
            return Begun::Closed(ClosedAtOnce { switching, frame, refusal: Some(refusal) });
        }
    };
    let framing = if deflate { Framing::WebSocketDeflate } else { Framing::WebSocket };
    let view = context.view(exchange, location, framing, false);
    let header = view.header().clone();
    let missed = MissedMessages::new(&context.worker, &zone, std::mem::take(&mut answer.history));
    let history = missed.any().then(|| -> Box<dyn Source> { Box::new(StreamHistory::new(missed, &view)) });
    let ending = Ending { ttl: location.push.subscriber_connection_ttl, ping: location.push.ping_message_interval };
    let most = usize::try_from(location.push.websocket_max_message_size).unwrap_or(usize::MAX);
    let decoder = Decoder::new(capabilities.frame_rules, if most == 0 { usize::MAX } else { most });
    let session = Session {
        decoder: if deflate { decoder.with_deflate() } else { decoder },
        publish: location.push.websocket_allow_publish.then_some(location.push.store_messages),
        publishes_to_all: capabilities.websocket_publishes_to_all,
        ping_follows_publish: capabilities.ping_follows_publish,
        no_room: capabilities.farewells_have_code.then_some(TRY_AGAIN_LATER),
        after_close: capabilities.after_close,
    };
    let feed = Feed { header, history, view, manner: Manner::Stream, admission, ending };
    Begun::Open(Box::new(Opening { switching, feed, session }))
}

/// The client's key, or why there is no websocket.
fn handshake(exchange: &Exchange<'_>) -> Result<Vec<u8>, Box<Reply>> {
    let capabilities = &exchange.settings.capabilities;
    let head = &exchange.head;
    if exchange.method() != b"GET" {
        let mut reply = Reply::header_only(405).with([fields::allow("GET")]);
        reply.close = capabilities.failed_handshake_closes;
        return Err(Box::new(reply));
    }
    let refusal = |explain: &'static str| {
        let versions = (explain == BAD_VERSION).then(fields::websocket_versions);
        let mut reply = Reply::header_only(400)
            .with(fields::cache_fields(capabilities))
            .with(versions)
            .with([fields::explain(explain)]);
        reply.close = capabilities.failed_handshake_closes;
        Err(Box::new(reply))
    };
    let present = ["connection", "upgrade", "sec-websocket-version"].iter().all(|name| head.header(name).is_some());
    let (Some(key), true) = (head.header("sec-websocket-key"), present) else { return refusal(MISSING) };
    match head.header("sec-websocket-version").unwrap_or_default() {
        version if matches!(number(version), Some(8 | 13)) => {}
        _ => return refusal(BAD_VERSION),
    }
    Ok(key.to_vec())
}

/// A bare number, which may begin with zeros.
fn number(value: &[u8]) -> Option<u64> {
    let digits = value.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(value).ok().filter(|_| digits)?.parse().ok()
}

/// Whether both sides want permessage-deflate.
fn agrees_on_deflate(exchange: &Exchange<'_>, location: &Location) -> bool {
    let offers = exchange.head.headers().filter(|(name, _)| name.eq_ignore_ascii_case(b"sec-websocket-extensions"));
    location.push.websocket_deflate
        && offers.filter_map(|(_, offers)| std::str::from_utf8(offers).ok()).any(permessage_deflate::acceptable)
}

fn switching(key: &[u8], capabilities: &Capabilities, deflate: bool) -> Switching {
    Switching {
        accept: STANDARD.encode(Sha1::new().chain_update(key).chain_update(GUID).finalize()),
        extension: deflate.then_some(permessage_deflate::ACCEPTED),
        expires: capabilities.forbids_caching,
    }
}

fn subscribe(zone: &LocalZone, exchange: &Exchange<'_>, location: &Location) -> Result<Answer, Refusal> {
    let path = channels::requested(exchange, location);
    if path.is_empty() {
        return Err(Refusal::NoChannelId);
    }
    let ask = Ask {
        worker: zone.worker(),
        path: &path,
        replay: &replay(exchange, location, Mode::WebSocket),
        kind: AskKind::Stream,
        authorized_only: location.push.authorized_channels_only,
        wildcard_limit: location.push.wildcard_channel_max_qtd,
        events_allowed: location.push.allow_connections_to_events_channel,
    };
    zone.hub().subscribe(&ask, zone.now())
}

/// Whether a client that has published has to wait, for workers or for the disk.
fn must_wait(zone: &LocalZone) -> bool {
    zone.hub().is_congested() || zone.hub().answers_wait()
}

impl Session {
    /// Whether TCP stays open for a while after the close frames.
    pub(crate) fn lets_client_close(&self, leaving: bool) -> bool {
        match self.after_close {
            AfterClose::HalfClosed => true,
            AfterClose::StaysOpen => !leaving,
            AfterClose::Closed => false,
        }
    }

    /// Whether our side of TCP is closed meanwhile.
    pub(crate) fn half_closes(&self) -> bool {
        self.after_close == AfterClose::HalfClosed
    }

    /// Bytes of a message that has not come whole.
    pub(crate) fn held(&self) -> usize {
        self.decoder.held()
    }

    /// Takes bytes of the client off `input`, frame after frame, as far as they may be taken now.
    pub(crate) fn receive(&mut self, context: &Context, connection: &Rc<Connection>, input: &mut &[u8]) -> Received {
        use crate::render::Event as Frame;
        while let Some(frame) = self.decoder.decode(input) {
            let published = matches!(frame, Frame::Text(_) | Frame::Binary(_)) && self.publish.is_some();
            let over = match frame {
                Frame::Text(text) => !self.publish(context, connection, text, false),
                Frame::Ping(payload) => {
                    connection.push_own(websocket_frame::pong(&payload));
                    false
                }
                Frame::Binary(bytes) => !self.publish(context, connection, bytes, true),
                Frame::Pong => false,
                Frame::Close { code, .. } => {
                    connection.push(websocket_frame::close(code, b"").into());
                    true
                }
                Frame::Violation(farewell) => {
                    connection.push(Farewell::frame(farewell).into());
                    connection.ends_by(Cause::Protocol);
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
                return Received::Over;
            }
            if published && must_wait(&context.worker.zone_of(connection)) {
                return Received::Ahead;
            }
        }
        Received::All
    }

    /// Publishes, and says whether the client may go on. A message of a websocket has no answer: a client that was left alone would
    /// never know that there was no room for its message.
    fn publish(&self, context: &Context, connection: &Rc<Connection>, text: Vec<u8>, binary: bool) -> bool {
        let Some(store) = self.publish else { return true };
        if text.is_empty() {
            return true;
        }
        let mut keys = connection.channel_keys();
        if !self.publishes_to_all {
            keys.truncate(1);
        }
        let draft = Draft { text: text.into(), event: None, store, binary, at: tick() };
        let zone = context.worker.zone_of(connection);
        let hub = zone.hub();
        if hub.is_led() {
            let local = context.settings().backplane.local_on_failure.then(|| (keys.clone(), draft.clone()));
            let (sender, outcome) = oneshot::channel();
            hub.hand_in_to(&keys, draft, Box::new(telling(sender)));
            spawn_local(self.await_order(context, connection, outcome, local));
        } else if hub.publish_to(&keys, &draft, zone.now()) == Err(Refusal::MemoryFull) {
            tracing::error!("push stream module: unable to allocate message in shared memory");
            connection.push(websocket_frame::close(self.no_room, b"").into());
            return false;
        }
        if self.ping_follows_publish {
            connection.push(Bytes::from_static(&websocket_frame::PING));
        }
        true
    }

    /// Waits for what the backplane says to a message, and ends the websocket if that is no. `local`: what is published here alone
    /// then. That the backplane is away has been told to the operator.
    fn await_order(
        &self,
        context: &Context,
        connection: &Rc<Connection>,
        outcome: oneshot::Receiver<Outcome>,
        local: Option<(Vec<ChannelKey>, Draft)>,
    ) -> impl Future<Output = ()> + use<> {
        let (worker, zone) = (Rc::clone(&context.worker), context.worker.zone_of(connection));
        let connection = Rc::downgrade(connection);
        let no_room = self.no_room;
        async move {
            let outcome = match (outcome.await, local) {
                (Ok(Err(Refusal::Away | Refusal::Crowded)), Some((keys, draft))) => {
                    zone.hub().publish_to(&keys, &draft, zone.now())
                }
                (outcome, _) => outcome.unwrap_or(Err(Refusal::Unanswered)).map(drop),
            };
            let Err(refusal) = outcome else { return };
            if refusal != Refusal::Away {
                tracing::warn!("a message of a websocket was not published: {refusal}");
            }
            if let Some(connection) = connection.upgrade() {
                worker.end_behind(&connection, websocket_frame::close(no_room, b"").into());
            }
        }
    }
}
