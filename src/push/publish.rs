//! The publisher: POST/PUT publish, GET asks, DELETE deletes, OPTIONS preflights.
//!
//! In two steps, because the channels of a publish exist before its body is read: [`begin`] decides by the head alone,
//! [`act`] acts with the body, and [`settle`] goes on where other nodes have to answer first.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::fields as module;
use super::statistics;
use crate::conf::settings::{Handler, Location};
use crate::delivery::LocalZone;
use crate::hub::{ChannelInfo, Outcome};
use crate::metrics::tick;
use crate::model::{Capabilities, ChannelId, Draft, EventTags, Refusal};
use crate::push::fields::{CorsSide, cache_fields};
use crate::request::reply::{Field, Reply};
use crate::site::channels;
use crate::site::exchange::Exchange;
use crate::site::log_context;
use crate::site::phases;

/// What a publisher request comes to before its body is known.
pub(crate) enum Begun {
    /// The answer; the body does not matter.
    Reply(Reply),
    /// The body is needed.
    Body(Job),
    /// What other nodes know of these channels is needed; go on with [`info_of`].
    Everywhere(Vec<ChannelId>),
}

/// An admitted request that waits for its body.
pub(crate) struct Job {
    ids: Vec<ChannelId>,
    delete: bool,
}

/// Decides by the head: method, channel ids, limits. Channels of a publish are created here.
pub(crate) fn begin(zone: &LocalZone, exchange: &Exchange<'_>, location: &Arc<Location>) -> Begun {
    let capabilities = &exchange.settings.capabilities;
    let hub = zone.hub();
    let delete = match exchange.method() {
        b"OPTIONS" if capabilities.publishers_have_options => {
            return Begun::Reply(headed(Reply::header_only(200), exchange, location));
        }
        b"GET" => return info(zone, exchange, location),
        b"POST" => false,
        b"PUT" if capabilities.put_publishes => false,
        b"DELETE" if is_admin(location) => true,
        _ => {
            let reply = headed(Reply::header_only(405), exchange, location);
            return Begun::Reply(reply.with([module::allow(methods(capabilities, location))]));
        }
    };
    let ids = channels::ids(exchange, location);
    let admitted = match (ids.is_empty(), delete) {
        (true, _) => Err(Refusal::NoChannelId),
        (false, true) => hub.admit_delete(&ids),
        (false, false) => hub.admit_publish(&ids, exchange.now),
    };
    match admitted {
        Ok(()) => Begun::Body(Job { ids, delete }),
        Err(refusal) => Begun::Reply(refused(refusal, exchange, location)),
    }
}

/// What a publisher request comes to with its body.
pub(crate) enum Finished {
    /// The answer.
    Reply(Reply),
    /// What it asks for was handed in where the order of the zone is made.
    HandedIn(HandedIn),
}

/// A request that waits until what it has handed in comes back.
pub(crate) struct HandedIn {
    location: Arc<Location>,
    job: Job,
    /// What is published here alone if it cannot be published everywhere.
    local: Option<Draft>,
    stage: Stage,
}

/// How far it has come.
enum Stage {
    HandedIn(oneshot::Receiver<Outcome>),
    /// Channels that this node has not are to be deleted, with a text: others, who are asked first, may have them.
    Asking(oneshot::Receiver<Vec<ChannelInfo>>, Option<Box<[u8]>>),
}

/// Publishes or deletes, or hands that in.
pub(crate) fn act<'b>(
    zone: &LocalZone,
    exchange: &mut Exchange<'b>,
    location: &'b Arc<Location>,
    job: Job,
    body: Arc<[u8]>,
) -> Finished {
    let empty = body.is_empty() && !job.delete;
    if !zone.hub().is_led() || empty {
        return Finished::Reply(finish(zone, exchange, location, &job, body));
    }
    let hub = zone.hub();
    let mut local = None;
    let stage = if job.delete {
        let text: Option<Box<[u8]>> = deletion_text(exchange, &body).map(Into::into);
        if hub.has_others() && hub.find(&job.ids).len() < job.ids.len() {
            let (sender, found) = oneshot::channel();
            hub.find_everywhere(job.ids.clone(), Box::new(telling(sender)));
            Stage::Asking(found, text)
        } else {
            Stage::HandedIn(delete(zone, &job, text))
        }
    } else {
        let draft = draft(exchange, location, body);
        local = exchange.settings.backplane.local_on_failure.then(|| draft.clone());
        let (sender, outcome) = oneshot::channel();
        hub.hand_in(job.ids.clone(), draft, Box::new(telling(sender)));
        Stage::HandedIn(outcome)
    };
    Finished::HandedIn(HandedIn { location: Arc::clone(location), job, local, stage })
}

fn delete(zone: &LocalZone, job: &Job, text: Option<Box<[u8]>>) -> oneshot::Receiver<Outcome> {
    let (sender, outcome) = oneshot::channel();
    zone.hub().hand_in_delete(job.ids.clone(), text, Box::new(telling(sender)));
    outcome
}

/// Tells whoever waits at the other end.
pub(super) fn telling<T: Send>(sender: oneshot::Sender<T>) -> impl FnOnce(T) + Send {
    move |told| {
        // Nobody may be waiting any more.
        let _ = sender.send(told);
    }
}

/// Answers when what was handed in has come back, or will not.
pub(crate) async fn settle(zone: &LocalZone, exchange: &Exchange<'_>, handed: HandedIn) -> Reply {
    let HandedIn { location, job, local, stage } = handed;
    let (outcome, known) = match stage {
        Stage::HandedIn(outcome) => (outcome, 0),
        Stage::Asking(found, text) => {
            let known = found.await.map_or(0, |found| found.len());
            (delete(zone, &job, text), known)
        }
    };
    let outcome = match (outcome.await.unwrap_or(Err(Refusal::Unanswered)), local) {
        (Err(Refusal::Away | Refusal::Crowded), Some(draft)) => {
            zone.hub().publish(&job.ids, &draft, zone.now()).map(|()| job.ids.len())
        }
        (outcome, _) => outcome,
    };
    match outcome {
        Ok(deleted) if job.delete => deletion(deleted.max(known), exchange, &location),
        Ok(_) => published(zone, exchange, &location, &job.ids),
        Err(refusal) => refused(refusal, exchange, &location),
    }
}

/// Publishes or deletes.
fn finish<'b>(
    zone: &LocalZone,
    exchange: &mut Exchange<'b>,
    location: &'b Arc<Location>,
    job: &Job,
    body: Arc<[u8]>,
) -> Reply {
    // The body took its time: it is now that the message enters the hub.
    let (hub, now) = (zone.hub(), zone.now());
    if job.delete {
        let deleted = hub.delete(&job.ids, deletion_text(exchange, &body), now);
        return deletion(deleted, exchange, location);
    }
    if body.is_empty() {
        return refused(Refusal::EmptyPost, exchange, location);
    }
    let draft = draft(exchange, location, body);
    match hub.publish(&job.ids, &draft, now) {
        Ok(()) => published(zone, exchange, location, &job.ids),
        Err(Refusal::MemoryFull) => {
            // The one failure that goes through nginx's own error pages.
            log_context::error(
                exchange,
                format_args!("push stream module: unable to allocate message in shared memory"),
            );
            let mut reply =
                phases::error_reply(exchange, location, 500).with(cache_fields(&exchange.settings.capabilities));
            reply.close = true;
            reply
        }
        Err(refusal) => refused(refusal, exchange, location),
    }
}

fn draft(exchange: &Exchange<'_>, location: &Location, body: Arc<[u8]>) -> Draft {
    Draft { text: body, event: event_tags(exchange), store: location.push.store_messages, binary: false, at: tick() }
}

/// What the subscribers of a deleted channel are told in the publisher's words.
fn deletion_text<'b>(exchange: &Exchange<'_>, body: &'b [u8]) -> Option<&'b [u8]> {
    Some(body).filter(|text| !text.is_empty() && exchange.settings.capabilities.deletion_brings_text)
}

fn deletion(deleted: usize, exchange: &Exchange<'_>, location: &Arc<Location>) -> Reply {
    if deleted == 0 {
        headed(Reply::header_only(404), exchange, location)
    } else {
        headed(Reply::header_only(200), exchange, location).with([module::explain("Channel deleted.")])
    }
}

fn published(zone: &LocalZone, exchange: &Exchange<'_>, location: &Arc<Location>, ids: &[ChannelId]) -> Reply {
    if !location.push.channel_info_on_publish {
        return headed(Reply::header_only(200), exchange, location);
    }
    info_of(zone, exchange, location, ids, &zone.hub().find(ids))
}

fn info(zone: &LocalZone, exchange: &Exchange<'_>, location: &Arc<Location>) -> Begun {
    let ids = channels::ids(exchange, location);
    let hub = zone.hub();
    let admitted = if ids.is_empty() { Err(Refusal::NoChannelId) } else { hub.admit_info(&ids) };
    let admitted = admitted.and_then(|()| hub.check_joined());
    Begun::Reply(match admitted {
        Ok(()) if zone.hub().has_others() => return Begun::Everywhere(ids),
        Ok(()) => info_of(zone, exchange, location, &ids, &zone.hub().find(&ids)),
        Err(Refusal::ReservedId) if exchange.settings.capabilities.reserved_id_is_unknown => {
            headed(Reply::header_only(404), exchange, location)
        }
        Err(refusal) => refused(refusal, exchange, location),
    })
}

/// The info of the channels that were found among these.
pub(crate) fn info_of(
    zone: &LocalZone,
    exchange: &Exchange<'_>,
    location: &Arc<Location>,
    ids: &[ChannelId],
    found: &[ChannelInfo],
) -> Reply {
    headed(statistics::channels_reply(zone, exchange, ids, found), exchange, location)
}

fn event_tags(exchange: &Exchange<'_>) -> Option<Arc<EventTags>> {
    let id = exchange.head.header("event-id").map(Into::into);
    let kind = exchange.head.header("event-type").map(Into::into);
    (id.is_some() || kind.is_some()).then(|| Arc::new(EventTags { id, kind }))
}

fn refused(refusal: Refusal, exchange: &Exchange<'_>, location: &Arc<Location>) -> Reply {
    let capabilities = &exchange.settings.capabilities;
    let mut reply = module::refused(refusal, capabilities, fields(exchange, location));
    reply.close = location.push.keepalive == Some(false) || refusal == Refusal::Leaving;
    if matches!(refusal, Refusal::Joining | Refusal::Away | Refusal::Crowded | Refusal::Unanswered) {
        reply = reply.with([module::retry_after()]);
    }
    reply.left_open = capabilities.empty_post_leaves_open && refusal == Refusal::EmptyPost;
    reply
}

/// Adds what every publisher answer carries.
fn headed(reply: Reply, exchange: &Exchange<'_>, location: &Arc<Location>) -> Reply {
    let mut reply = reply.with(fields(exchange, location));
    reply.close |= location.push.keepalive == Some(false);
    reply
}

fn fields(exchange: &Exchange<'_>, location: &Location) -> impl Iterator<Item = Field> + use<> {
    let capabilities = &exchange.settings.capabilities;
    let origin = channels::origin(exchange, location);
    let methods = methods(capabilities, location);
    cache_fields(capabilities).into_iter().chain(module::cors_headers(
        capabilities,
        CorsSide::Publisher,
        origin.as_deref(),
        methods,
    ))
}

fn methods(capabilities: &Capabilities, location: &Location) -> &'static str {
    match (capabilities.put_publishes, is_admin(location)) {
        (true, false) => "GET, POST, PUT",
        (true, true) => "GET, POST, PUT, DELETE",
        (false, false) => "GET, POST",
        (false, true) => "GET, POST, DELETE",
    }
}

fn is_admin(location: &Location) -> bool {
    location.handler == Handler::Publisher { admin: true }
}
