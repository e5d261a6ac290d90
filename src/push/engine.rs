//! The engine: [`decide`] says what a request is answered with, and [`resume`] and [`settle`] go on when what it has waited
//! for is there.
//!
//! It knows the site and the push verbs, and no wire: every door reads a request, lets it be decided here, and writes the
//! verdict. Invariant: a request is routed once, whatever it waits for on the way; a verdict that begins a subscription is
//! only given when nothing of the request is left to be read.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::context::Context;
use super::publish;
use super::replay::replay;
use super::statistics;
use super::subscribe::{self, Stream, Wait};
use super::websocket::{self, ClosedAtOnce, Opening};
use crate::conf::settings::{Handler, Location, Mode};
use crate::delivery::{LocalZone, Source};
use crate::hub::{ChannelInfo, Outcome};
use crate::metrics::Refused;
use crate::model::{ChannelId, Stamp};
use crate::request::head::BadHead;
use crate::request::reply::Reply;
use crate::site::exchange::Exchange;
use crate::site::log_context;
use crate::site::phases::{self, Routed};
use crate::site::slow_password::SlowPassword;
use crate::site::{authorization, channels, error_page};

/// Bytes of an unwanted body that are read away to save the connection; a longer one costs it.
pub(crate) const UNWANTED: u64 = 1024 * 1024;

/// How often it is looked whether the workers have caught up.
const CATCH_UP: Duration = Duration::from_millis(1);

/// How long a client waits for this node to come to where it was on another.
const FOLLOWS: Duration = Duration::from_secs(2);

/// What a request has come to.
pub(crate) enum Verdict<'s> {
    /// An answer. What has not been read of the body is of no interest.
    Reply(Reply),
    /// An answer whose body is made as it is taken, framed as its head says. The request's own body has been read.
    LongReply(Reply, Box<dyn Source>),
    /// A stream that goes on.
    Stream(Box<Stream>),
    /// A long-poll that waits.
    Wait(Box<Wait>),
    /// A websocket.
    WebSocket(Box<Opening>),
    /// A websocket that is closed at once.
    Farewell(ClosedAtOnce),
    /// The body is needed; go on with [`resume`], or [`fail_job`] if it cannot be read.
    Body(Job<'s>),
    /// Time has to pass, or somebody else has to answer; go on with [`settle`].
    Patience(Patience),
    /// The connection is closed without an answer.
    Drop,
}

/// What a request waits for without its client having to do anything.
pub(crate) enum Patience {
    /// `limit_req`: this many milliseconds.
    Pause(u64),
    /// `auth_request`: the answer to a subrequest for this URI.
    Ask(Vec<u8>),
    /// `auth_basic`: a password with a hash that is made to be slow has to be verified.
    Verify(SlowPassword),
    /// What was published has to be safe before this answer is given.
    Durability(Reply, oneshot::Receiver<bool>),
    /// The client has seen more on another node than this one has.
    Follow {
        /// Up to where.
        there: Stamp,
        /// Whether it really has; else that may be no more than what its clock says.
        certain: bool,
    },
    /// The client names an event that this node does not have, and that may only not have come here yet. Tells when this node has
    /// all there was.
    CatchUp(oneshot::Receiver<Outcome>),
    /// Other nodes are asked what they know of channels.
    Everywhere(Everywhere),
    /// What was handed in has to come back from where the order of the zone is made.
    Order(Box<publish::HandedIn>),
}

/// A question that other nodes answer too.
pub(crate) struct Everywhere {
    ids: Vec<ChannelId>,
    found: oneshot::Receiver<Vec<ChannelInfo>>,
}

/// A request that waits for its body.
pub(crate) struct Job<'s> {
    location: &'s Arc<Location>,
    task: Task,
}

enum Task {
    /// A publisher's.
    Publish(publish::Job),
    /// Nobody wants the body, but what follows must not be taken for a part of it.
    Forget,
}

impl Job<'_> {
    /// Most bytes the body may have; 0 = no limit.
    pub(crate) fn limit(&self) -> u64 {
        match self.task {
            Task::Publish(_) => self.location.core.client_max_body_size,
            Task::Forget => UNWANTED,
        }
    }

    /// How long the client may take for the next bytes, milliseconds.
    pub(crate) fn timeout(&self) -> u64 {
        self.location.core.client_body_timeout
    }

    /// Whether messages come of it, so that the next request may have to wait for the workers.
    pub(crate) fn publishes(&self) -> bool {
        matches!(self.task, Task::Publish(_))
    }
}

/// Decides what a request is answered with.
pub(crate) fn decide<'s>(context: &Context, exchange: &mut Exchange<'s>) -> Verdict<'s> {
    let routed = phases::route(exchange);
    let verdict = proceed(context, exchange, routed);
    note(context, exchange, &verdict);
    verdict
}

/// Goes on with the body that was asked for.
pub(crate) fn resume<'s>(context: &Context, exchange: &mut Exchange<'s>, job: Job<'s>, body: Arc<[u8]>) -> Verdict<'s> {
    exchange.route.body_read = true;
    let verdict = act(context, exchange, job, body);
    note(context, exchange, &verdict);
    verdict
}

/// Where answers have to wait until changes are on the medium: tells that all up to now are (true), or will not be.
fn durability(zone: &LocalZone) -> Option<oneshot::Receiver<bool>> {
    let hub = zone.hub();
    if !hub.answers_wait() {
        return None;
    }
    let (sender, safe) = oneshot::channel();
    hub.when_durable(publish::telling(sender)).is_none().then_some(safe)
}

/// Returns when a client that has published by its websocket may be listened to again: when its message is as safe as one that is
/// answered would be, and the workers have caught up.
pub(crate) async fn go_on(zone: &LocalZone) {
    if let Some(safe) = durability(zone) {
        // As with an answer, of a disk that fails the operator is told.
        let _ = safe.await;
    }
    catch_up(zone).await;
}

/// Lets a publisher wait until no worker is far behind: its next message would only make their queues longer.
pub(crate) async fn catch_up(zone: &LocalZone) {
    while zone.hub().is_congested() {
        tokio::time::sleep(CATCH_UP).await;
    }
}

/// Goes on where the body that was asked for cannot be read.
pub(crate) fn fail_job<'s>(context: &Context, exchange: &mut Exchange<'s>, job: &Job<'s>, status: u16) -> Verdict<'s> {
    exchange.route.close = true;
    let verdict = fail(context, exchange, job.location, status);
    note(context, exchange, &verdict);
    verdict
}

/// Answers a request that cannot be understood.
pub(crate) fn refuse<'s>(context: &Context, exchange: &mut Exchange<'s>, bad: BadHead) -> Verdict<'s> {
    // Where such a request ends cannot be told.
    exchange.route.close = true;
    let (location, status) = (exchange.location, bad.status());
    if let Some(reason) = Refused::of_status(status).filter(|_| !exchange.settings.log_lines.untold_refusals) {
        log_context::refuse(exchange, reason.name(), format_args!("client sent {bad}"));
    }
    let verdict = fail(context, exchange, location, status);
    note(context, exchange, &verdict);
    verdict
}

/// Goes on until there is nothing to wait for but the client.
pub(crate) async fn settle<'s>(context: &Context, exchange: &mut Exchange<'s>, patience: Patience) -> Verdict<'s> {
    let mut patience = patience;
    loop {
        let verdict = match patience {
            Patience::Pause(milliseconds) => {
                tokio::time::sleep(Duration::from_millis(milliseconds)).await;
                let routed = phases::waited(exchange);
                proceed(context, exchange, routed)
            }
            Patience::Verify(password) => {
                let outcome = password.verify().await;
                let routed = phases::verified(exchange, outcome);
                proceed(context, exchange, routed)
            }
            Patience::Ask(uri) => {
                let status = authorization::ask(exchange, &uri).await;
                let routed = phases::authorized(exchange, status);
                proceed(context, exchange, routed)
            }
            Patience::Durability(reply, safe) => {
                // Of a disk that fails the operator is told; the message is published all the same.
                let _ = safe.await;
                Verdict::Reply(reply)
            }
            Patience::Order(handed) => {
                Verdict::Reply(publish::settle(&context.zone(exchange), exchange, *handed).await)
            }
            Patience::Follow { there, certain } => follow(context, exchange, there, certain).await,
            Patience::CatchUp(caught_up) => match caught_up.await {
                Ok(Ok(_)) => {
                    let location = exchange.location;
                    serve(context, exchange, location)
                }
                // Another node may have it.
                _ => Verdict::Drop,
            },
            Patience::Everywhere(Everywhere { ids, found }) => {
                // A process that is ending asks nobody any more: then nobody knows them.
                let found = found.await.unwrap_or_default();
                let (zone, location) = (context.zone(exchange), exchange.location);
                Verdict::Reply(match location.handler {
                    Handler::Publisher { .. } => publish::info_of(&zone, exchange, location, &ids, &found),
                    _ => statistics::list(&zone, exchange, location, &ids, &found),
                })
            }
        };
        match verdict {
            Verdict::Patience(more) => patience = more,
            verdict => {
                note(context, exchange, &verdict);
                return verdict;
            }
        }
    }
}

/// Counts a refusal, and sees to it that the operator is told of it, once.
fn note(context: &Context, exchange: &Exchange<'_>, verdict: &Verdict<'_>) {
    let reason = match verdict {
        Verdict::Reply(Reply { refusal: Some(refusal), .. })
        | Verdict::Farewell(ClosedAtOnce { refusal: Some(refusal), .. }) => {
            let (status, reason) = (refusal.status(), Refused::from(*refusal));
            log_context::refuse(exchange, reason.name(), format_args!("push stream module: {status}: {refusal}"));
            Some(reason)
        }
        Verdict::Reply(reply) => {
            let handshake = reply.status == 400 && is_websocket(exchange.location);
            let reason = if handshake { Some(Refused::HANDSHAKE) } else { Refused::of_status(reply.status) };
            if let Some(reason) = reason {
                log_context::refuse_untold(exchange, reason.name(), reply.status);
            }
            reason
        }
        _ => None,
    };
    if let Some(reason) = reason {
        context.worker.counts().refuse(reason);
    }
}

fn is_websocket(location: &Location) -> bool {
    location.handler == Handler::Subscriber(Mode::WebSocket)
}

fn act<'s>(context: &Context, exchange: &mut Exchange<'s>, job: Job<'s>, body: Arc<[u8]>) -> Verdict<'s> {
    match job.task {
        Task::Publish(publish) => {
            let zone = context.zone(exchange);
            let reply = match publish::act(&zone, exchange, job.location, publish, body) {
                publish::Finished::Reply(reply) => reply,
                publish::Finished::HandedIn(handed) => return Verdict::Patience(Patience::Order(Box::new(handed))),
            };
            match durability(&zone) {
                Some(safe) => Verdict::Patience(Patience::Durability(reply, safe)),
                None => Verdict::Reply(reply),
            }
        }
        Task::Forget => serve(context, exchange, job.location),
    }
}

/// Answers an error of nginx itself; an `error_page` may lead to a handler of ours. Nobody waits on the way to one.
fn fail<'s>(context: &Context, exchange: &mut Exchange<'s>, location: &'s Arc<Location>, status: u16) -> Verdict<'s> {
    match phases::failed(exchange, location, status) {
        Routed::Serve(location) => match serve(context, exchange, location) {
            Verdict::Body(job) => act(context, exchange, job, Arc::default()),
            verdict => verdict,
        },
        Routed::Reply(reply) => Verdict::Reply(reply),
        Routed::Drop => Verdict::Drop,
        Routed::Wait(_) | Routed::Authorize { .. } | Routed::Verify(_) => {
            Verdict::Reply(error_page::plain(exchange, status))
        }
    }
}

fn proceed<'s>(context: &Context, exchange: &mut Exchange<'s>, routed: Routed<'s>) -> Verdict<'s> {
    match routed {
        Routed::Reply(reply) => Verdict::Reply(reply),
        Routed::Drop => Verdict::Drop,
        Routed::Wait(milliseconds) => Verdict::Patience(Patience::Pause(milliseconds)),
        Routed::Authorize { uri } => Verdict::Patience(Patience::Ask(uri)),
        Routed::Verify(password) => Verdict::Patience(Patience::Verify(password)),
        Routed::Serve(location) => {
            let subscribes = matches!(location.handler, Handler::Subscriber(_));
            if subscribes && exchange.has_unread_body() {
                return Verdict::Body(Job { location, task: Task::Forget });
            }
            if let Handler::Subscriber(mode) = location.handler
                && let Some(patience) = behind(context, exchange, location, mode)
            {
                return Verdict::Patience(patience);
            }
            serve(context, exchange, location)
        }
    }
}

/// What a subscriber has to wait for if it has seen more on another node than this one has.
fn behind(context: &Context, exchange: &Exchange<'_>, location: &Location, mode: Mode) -> Option<Patience> {
    let zone = context.zone(exchange);
    let hub = zone.hub();
    if !hub.is_led() {
        return None;
    }
    let replay = replay(exchange, location, mode);
    if mode != Mode::Polling
        && let Some(there) = hub.behind(&replay)
    {
        return Some(Patience::Follow { there, certain: replay.tag.is_some() });
    }
    if replay.event_id.is_none() || !hub.misses_event(&channels::ids(exchange, location), &replay) {
        return None;
    }
    let (sender, caught_up) = oneshot::channel();
    hub.catch_up(Box::new(publish::telling(sender)));
    Some(Patience::CatchUp(caught_up))
}

fn ask_everywhere<'s>(zone: &LocalZone, ids: Vec<ChannelId>) -> Verdict<'s> {
    let (sender, found) = oneshot::channel();
    zone.hub().find_everywhere(ids.clone(), Box::new(publish::telling(sender)));
    Verdict::Patience(Patience::Everywhere(Everywhere { ids, found }))
}

/// Serves a subscriber once this node has come to where the client was. If it does not, the client is let go, since another node may
/// have; unless its place may be no more than what its clock says (`certain` is false).
async fn follow<'s>(context: &Context, exchange: &mut Exchange<'s>, there: Stamp, certain: bool) -> Verdict<'s> {
    let (location, zone) = (exchange.location, context.zone(exchange));
    let until = Instant::now() + if certain { FOLLOWS } else { FOLLOWS / 4 };
    while !zone.hub().has_come_to(there) {
        if Instant::now() >= until {
            if certain {
                return Verdict::Drop;
            }
            break;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    serve(context, exchange, location)
}

/// Asks the handler of a location.
fn serve<'s>(context: &Context, exchange: &mut Exchange<'s>, location: &'s Arc<Location>) -> Verdict<'s> {
    if exchange.route.tunnel && !is_websocket(location) {
        let reply = phases::error_reply(exchange, location, 400);
        return Verdict::Reply(reply);
    }
    match location.handler {
        Handler::Publisher { .. } => match publish::begin(&context.zone(exchange), exchange, location) {
            publish::Begun::Reply(reply) => Verdict::Reply(reply),
            publish::Begun::Body(job) => Verdict::Body(Job { location, task: Task::Publish(job) }),
            publish::Begun::Everywhere(ids) => ask_everywhere(&context.zone(exchange), ids),
        },
        Handler::Statistics => match statistics::answer(context, exchange, location) {
            statistics::Begun::Reply(reply) => Verdict::Reply(reply),
            statistics::Begun::Everywhere(ids) => ask_everywhere(&context.zone(exchange), ids),
            // What follows must not be taken for a part of the body.
            statistics::Begun::Long(..) if exchange.has_unread_body() => {
                Verdict::Body(Job { location, task: Task::Forget })
            }
            statistics::Begun::Long(reply, body) => Verdict::LongReply(reply, body),
        },
        Handler::Subscriber(Mode::WebSocket) => match websocket::begin(context, exchange, location) {
            websocket::Begun::Reply(reply) => Verdict::Reply(reply),
            websocket::Begun::Open(opening) => Verdict::WebSocket(opening),
            websocket::Begun::Closed(closed) => Verdict::Farewell(closed),
        },
        Handler::Subscriber(_) => match subscribe::plan(context, exchange, location) {
            subscribe::Plan::Reply(reply) => Verdict::Reply(reply),
            subscribe::Plan::LongReply(reply, body) => Verdict::LongReply(reply, body),
            subscribe::Plan::Stream(stream) => Verdict::Stream(stream),
            subscribe::Plan::Wait(wait) => Verdict::Wait(wait),
        },
        Handler::StubStatus => Verdict::Reply(statistics::stub_status(&context.worker)),
        Handler::Static | Handler::Foreign(_) => fail(context, exchange, location, 502),
    }
}
