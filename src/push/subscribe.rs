//! The subscriber of every mode but websocket: streaming, eventsource, polling, long-polling.
//!
//! Decides what a request is answered with and leaves the sending to the connection: a reply, a stream that goes on, or a
//! wait for one message. Nothing here knows how the bytes travel (HTTP/1 or HTTP/2).

use std::borrow::Cow;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use super::compression::Compression;
use super::context::Context;
use super::feed::Feed;
use super::fields::{self as module, cache_fields};
use super::history::{Compressed, MissedMessages, PollHistory, StreamHistory};
use super::mode::{is_eventsource, own_mode};
use super::replay::replay;
use crate::conf::settings::{Location, Mode};
use crate::delivery::{Admission, Encoding, Ending, Manner, SharedEncoding, Source, encoded};
use crate::hub::{Answer, Ask, AskKind};
use crate::metrics;
use crate::model::{ChannelId, Message, Refusal, percent_decode};
use crate::push::fields::CorsSide;
use crate::render::{self, Framing, Origin, PollWriter, View};
use crate::request::head::Version;
use crate::request::reply::{Body, Field, Fields, Reply};
use crate::site::exchange::Exchange;
use crate::site::{channels, gzip};

/// `Content-Type` of an event stream.
const EVENT_STREAM: &str = "text/event-stream; charset=utf-8";

/// What a subscribe request comes to.
pub(crate) enum Plan {
    /// An answer.
    Reply(Reply),
    /// An answer whose body is made as it is taken, framed as its head says.
    LongReply(Reply, Box<dyn Source>),
    /// A stream that goes on.
    Stream(Box<Stream>),
    /// A long-poll that waits.
    Wait(Box<Wait>),
}

/// A stream that goes on: its head, what is sent at once, and the subscription.
pub(crate) struct Stream {
    /// The head.
    pub head: Reply,
    /// The head waits for the first message (the module's way where there is no header template).
    pub held: bool,
    /// What follows it.
    pub feed: Feed,
}

/// A long-poll that waits for one message.
pub(crate) struct Wait {
    /// Heads of its answers.
    pub heads: PollHeads,
    /// Bodies of its answers.
    pub bodies: PollBodies,
    /// Where it is registered.
    pub admission: Admission,
    /// When it ends.
    pub ending: Ending,
}

/// The heads of a poll's answers, but for the validators.
pub(crate) struct PollHeads {
    content_type: Cow<'static, str>,
    /// CORS and cache headers.
    fields: Fields,
    etag_prefix: &'static str,
    /// gzip takes the tag away.
    gzip_takes_etag: bool,
    own_chunks: bool,
    gzip: bool,
}

/// The bodies of a poll's answers.
pub(crate) struct PollBodies {
    /// How messages are rendered and framed.
    pub view: Arc<View>,
    compression: Option<Compression>,
    callback: Option<Box<[u8]>>,
    timeout_with_body: bool,
}

/// Answers a request at a subscriber location whose mode is not websocket.
pub(crate) fn plan(context: &Context, exchange: &Exchange<'_>, location: &Location) -> Plan {
    match exchange.method() {
        b"GET" => {}
        b"OPTIONS" => return Plan::Reply(preflight(exchange, location)),
        _ => {
            let reply = headed(Reply::header_only(405), exchange, location);
            return Plan::Reply(reply.with([module::allow("GET")]));
        }
    }
    let mode = effective_mode(exchange, location);
    let path = channels::requested(exchange, location);
    if path.is_empty() {
        return Plan::Reply(refused(Refusal::NoChannelId, exchange, location));
    }
    let zone = context.zone(exchange);
    let ask = Ask {
        worker: zone.worker(),
        path: &path,
        replay: &replay(exchange, location, mode),
        kind: match mode {
            Mode::Polling => AskKind::Poll,
            Mode::LongPolling => AskKind::LongPoll,
            _ => AskKind::Stream,
        },
        authorized_only: location.push.authorized_channels_only,
        wildcard_limit: location.push.wildcard_channel_max_qtd,
        events_allowed: location.push.allow_connections_to_events_channel,
    };
    let mut answer = match zone.hub().subscribe(&ask, zone.now()) {
        Ok(answer) => answer,
        Err(refusal) => return Plan::Reply(refused(refusal, exchange, location)),
    };
    let admission = answer.subscription.take().map(|registration| Admission::new(&zone, registration));
    match mode {
        Mode::Polling | Mode::LongPolling => {
            let plan = poll(context, exchange, location, &mut answer, admission);
            if !matches!(plan, Plan::Wait(_)) {
                let waits = mode == Mode::LongPolling;
                context.worker.counts().poll(if waits { metrics::Mode::LongPolling } else { metrics::Mode::Polling });
            }
            plan
        }
        _ => stream(context, exchange, location, &mut answer, admission),
    }
}

/// The location's mode, or the one the request asks for in its place.
fn effective_mode(exchange: &Exchange<'_>, location: &Location) -> Mode {
    let own = own_mode(location);
    match exchange.head.header("x-nginx-pushstream-mode") {
        Some(asked) if asked.eq_ignore_ascii_case(b"long-polling") => Mode::LongPolling,
        Some(asked) if asked.eq_ignore_ascii_case(b"polling") && own != Mode::LongPolling => Mode::Polling,
        _ => own,
    }
}

fn stream(
    context: &Context,
    exchange: &Exchange<'_>,
    location: &Location,
    answer: &mut Answer,
    admission: Option<Admission>,
) -> Plan {
    let chunked = exchange.sends_chunks(location);
    let eventsource = is_eventsource(location);
    let content_type = if eventsource { EVENT_STREAM.into() } else { content_type(exchange, location) };
    let mut head = headed(Reply::stream(200, content_type), exchange, location);
    if exchange.settings.capabilities.unbuffered_by_proxies && comes_by_proxy(exchange) {
        head.headers.push(module::unbuffered());
    }
    head.own_chunks = exchange.has_own_chunks();
    let compression = compression(&mut head, exchange, location, chunked);
    let view = context.view(exchange, location, framing(chunked && compression.is_none()), true);
    let mut header = view.header().clone();
    let missed = MissedMessages::new(&context.worker, &context.zone(exchange), std::mem::take(&mut answer.history));
    let mut history = missed.any().then(|| -> Box<dyn Source> { Box::new(StreamHistory::new(missed, &view)) });
    let held = exchange.settings.capabilities.head_waits_for_bytes && header.is_empty() && history.is_none();
    let manner = match compression {
        None => Manner::Stream,
        Some(compression) => {
            let mut stream = compression.stream();
            header = stream.piece(&header);
            let stream: SharedEncoding = Rc::new(RefCell::new(stream));
            history = history.map(|history| encoded(&stream, history));
            Manner::Encoded(stream)
        }
    };
    let Some(admission) = admission else {
        // The hub registers every stream it does not refuse.
        return Plan::Reply(headed(Reply::header_only(500), exchange, location));
    };
    let ending = Ending { ttl: location.push.subscriber_connection_ttl, ping: location.push.ping_message_interval };
    let feed = Feed { header, history, view, manner, admission, ending };
    Plan::Stream(Box::new(Stream { head, held, feed }))
}

fn poll(
    context: &Context,
    exchange: &Exchange<'_>,
    location: &Location,
    answer: &mut Answer,
    admission: Option<Admission>,
) -> Plan {
    let chunked = exchange.sends_chunks(location);
    let capabilities = &exchange.settings.capabilities;
    let callback = match callback(exchange) {
        Some(callback) if capabilities.callbacks_are_checked && !is_safe_callback(&callback) => {
            return Plan::Reply(
                headed(Reply::header_only(400), exchange, location).with([module::explain("Invalid callback.")]),
            );
        }
        other => other,
    };
    let javascript = callback.is_some() && capabilities.callbacks_are_javascript;
    // What has waited at an eventsource location is an event stream, what is answered at once is not.
    let waits = admission.is_some() && own_mode(location) == Mode::EventSource;
    let mut heads = PollHeads {
        content_type: if javascript {
            "application/javascript".into()
        } else if waits {
            EVENT_STREAM.into()
        } else {
            content_type(exchange, location)
        },
        fields: subscriber_fields(exchange, location).collect(),
        etag_prefix: module::etag_prefix(capabilities),
        gzip_takes_etag: capabilities.gzip_takes_etag,
        own_chunks: exchange.has_own_chunks(),
        gzip: false,
    };
    let compression = compression(&mut heads.head(Body::Stream, None, None), exchange, location, chunked);
    heads.gzip = compression.is_some();
    let bodies = PollBodies {
        view: context.view(exchange, location, framing(chunked && compression.is_none()), false),
        compression,
        callback: callback.map(Into::into),
        timeout_with_body: exchange.settings.zone.timeout_with_body,
    };
    if let Some(admission) = admission {
        let ending = Ending { ttl: location.push.longpolling_connection_ttl, ping: None };
        return Plan::Wait(Box::new(Wait { heads, bodies, admission, ending }));
    }
    let (time, tag) = (Some(answer.resume.time).filter(|&time| time > 0), answer.resume.tag);
    if answer.history.is_empty() {
        let mut head = heads.head(Body::HeaderOnly, time, tag);
        // Where it has waited in vain it names one all the same.
        head.content_type = head.content_type.filter(|_| capabilities.empty_poll_has_type);
        return Plan::Reply(head);
    }
    let mut missed = MissedMessages::new(&context.worker, &context.zone(exchange), std::mem::take(&mut answer.history));
    if missed.is_short() {
        let missed: Vec<_> = missed.collect();
        let messages = missed.iter().map(|missed| (&missed.channel, &*missed.message));
        let body = bodies.of(Origin::Backlog, messages);
        return Plan::Reply(heads.head(Body::Framed(body.into()), time, tag));
    }
    Plan::LongReply(heads.head(Body::Stream, time, tag), bodies.source(missed))
}

/// Whether the request shows signs of a proxy: what nginx does by default (HTTP/1.0, or a connection that is closed), or the
/// fields in which proxies name themselves and their clients.
fn comes_by_proxy(exchange: &Exchange<'_>) -> bool {
    let head = &exchange.head;
    let named = ["via", "forwarded", "x-forwarded-for", "x-real-ip"].iter().any(|name| head.header(name).is_some());
    let closes = head.header("connection").is_some_and(|value| value.eq_ignore_ascii_case(b"close"));
    named || closes || head.version < Version::V11
}

fn framing(chunked: bool) -> Framing {
    if chunked { Framing::Chunked } else { Framing::Plain }
}

/// How the body is compressed, if it is; notes it in the head.
fn compression(head: &mut Reply, exchange: &Exchange<'_>, location: &Location, chunked: bool) -> Option<Compression> {
    let level = location.core.gzip.as_ref()?.comp_level;
    gzip::apply(head, exchange, location).then_some(Compression { level, chunked })
}

impl PollHeads {
    /// The head of an answer whose last message has this stamp; without a body it is a 304.
    pub(crate) fn head(&self, body: Body, time: Option<i64>, tag: Option<i64>) -> Reply {
        let status = if body == Body::HeaderOnly { 304 } else { 200 };
        let gzip = self.gzip && body.is_streamed();
        let tag = tag.filter(|_| !(gzip && self.gzip_takes_etag));
        let mut head = Reply { body, gzip, last_modified: time, ..Reply::stream(status, self.content_type.clone()) }
            .with(self.fields.iter().cloned());
        head.etag = tag.map(|tag| (self.etag_prefix, tag));
        head.own_chunks = self.own_chunks;
        head
    }
}

impl PollBodies {
    /// The framed body that carries one live message.
    pub(crate) fn message(&self, channel: &ChannelId, message: &Message) -> Vec<u8> {
        self.of(Origin::Live, std::iter::once((channel, message)))
    }

    /// The framed body that carries the message of a deletion.
    pub(crate) fn deletion(&self, channel: &ChannelId, message: &Message) -> Vec<u8> {
        self.of(Origin::Backlog, std::iter::once((channel, message)))
    }

    /// The framed body that carries what was missed.
    fn source(&self, missed: MissedMessages) -> Box<dyn Source> {
        let (writer, opening) = PollWriter::open(&self.view, self.callback.as_deref(), Origin::Backlog);
        let history = PollHistory::new(missed, &self.view, writer, opening);
        match self.compression {
            Some(compression) => Box::new(Compressed::new(history, compression)),
            None => Box::new(history),
        }
    }

    fn of<'a>(&self, origin: Origin, messages: impl Iterator<Item = (&'a ChannelId, &'a Message)>) -> Vec<u8> {
        let body = render::poll_body(&self.view, self.callback.as_deref(), origin, messages);
        match self.compression {
            Some(compression) => compression.whole(&body),
            None => body,
        }
    }

    /// The framed body of an answer without a message, if it has one.
    pub(crate) fn timeout(&self) -> Option<Vec<u8>> {
        self.timeout_with_body
            .then(|| self.message(&ChannelId::from(""), &Message::pseudo(Message::TIMEOUT, b"Timed out")))
    }
}

/// The type of a body that is no event stream: by nginx's rules, or (0.3.x) the one `push_stream_content_type` names.
fn content_type(exchange: &Exchange<'_>, location: &Location) -> Cow<'static, str> {
    match &location.push.content_type {
        _ if location.push.eventsource_support => EVENT_STREAM.into(),
        Some(named) => named.to_string().into(),
        None => exchange.content_type(location).to_owned().into(),
    }
}

fn callback(exchange: &Exchange<'_>) -> Option<Vec<u8>> {
    let callback = percent_decode(exchange.arg("callback")?);
    Some(callback).filter(|callback| !callback.is_empty())
}

/// Names of functions, members and elements only: a callback is the caller's code in somebody's page.
fn is_safe_callback(callback: &[u8]) -> bool {
    callback.iter().all(|byte| byte.is_ascii_alphanumeric() || b"_$.[]'\"".contains(byte))
}

fn preflight(exchange: &Exchange<'_>, location: &Location) -> Reply {
    let reply = Reply::header_only(200).with(cors_fields(exchange, location));
    let asks =
        exchange.head.header("origin").is_some() && exchange.head.header("access-control-request-method").is_some();
    if !exchange.settings.capabilities.preflights_are_kept || !asks || reply.headers.is_empty() {
        return reply;
    }
    // A day: old clients ask before every single poll.
    reply.with([("Access-Control-Max-Age".into(), Cow::Borrowed(&b"86400"[..]))])
}

fn refused(refusal: Refusal, exchange: &Exchange<'_>, location: &Location) -> Reply {
    module::refused(refusal, &exchange.settings.capabilities, subscriber_fields(exchange, location))
}

fn headed(reply: Reply, exchange: &Exchange<'_>, location: &Location) -> Reply {
    reply.with(subscriber_fields(exchange, location))
}

/// CORS and cache fields of a subscriber location.
pub(crate) fn subscriber_fields(exchange: &Exchange<'_>, location: &Location) -> impl Iterator<Item = Field> + use<> {
    cors_fields(exchange, location).chain(cache_fields(&exchange.settings.capabilities))
}

fn cors_fields(exchange: &Exchange<'_>, location: &Location) -> impl Iterator<Item = Field> + use<> {
    let origin = channels::origin(exchange, location);
    module::cors_headers(&exchange.settings.capabilities, CorsSide::Subscriber, origin.as_deref(), "GET").into_iter()
}
