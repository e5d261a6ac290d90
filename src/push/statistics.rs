//! Statistics: the summary, the channels of a prefix, of all, or of a list. Also the channel info of the publisher.

use std::sync::atomic::Ordering;

use super::channels;
use super::context::Context;
use super::fields::{self as module, cache_fields};
use super::statistics_format::{self as format, Format, Group, Heading, Row, Summary, Writer};
use crate::conf::settings::Location;
use crate::delivery::{Activity, Worker};
use crate::hub::{Census, ChannelInfo, ChannelKey, Hub};
use crate::model::{Capabilities, ChannelId, Refusal};
use crate::request::reply::{Body, Field, Reply};
use crate::site::exchange::Exchange;
use crate::site::vars::hostname;

/// Channels written before others get their turn.
const BATCH: usize = 256;
/// Channels that may be listed without others getting their turn.
const AT_ONCE: u32 = 2_000;
/// Bytes a row takes beside its id, about: room is reserved rather than moved as the answer grows.
const ROW: usize = 160;

/// What a question comes to.
pub(crate) enum Begun {
    /// The answer.
    Reply(Reply),
    /// An answer that is so long that others must get their turn while it is made.
    Listing(Box<Listing>),
}

/// Answers a request at a statistics location.
pub(crate) fn answer(context: &Context, exchange: &Exchange<'_>, location: &Location) -> Begun {
    let capabilities = &exchange.settings.capabilities;
    if exchange.method() != b"GET" {
        let reply = Reply::header_only(405).with(cache_fields(capabilities)).with([module::allow("GET")]);
        return Begun::Reply(closing(reply, location));
    }
    #[cfg(test)]
    crate::model::provoked::reach("statistics");
    let ids = channels::ids(exchange, location);
    let reply = match choose(exchange, &ids) {
        Choice::Summary => summary(context, exchange).with(fields(capabilities)),
        Choice::Prefix(prefix) => {
            let mut listing = Listing::new(&context.worker, exchange, location, prefix);
            if listing.is_long() {
                return Begun::Listing(Box::new(listing));
            }
            while listing.go_on(context.worker.hub()) {}
            return Begun::Reply(listing.finish());
        }
        Choice::Refused(refusal) => module::refused(refusal, capabilities, fields(capabilities)),
        Choice::List => channels_reply(&context.worker, exchange, &ids).with(fields(capabilities)),
    };
    Begun::Reply(closing(reply, location))
}

fn fields(capabilities: &Capabilities) -> impl Iterator<Item = Field> + use<> {
    cache_fields(capabilities).into_iter().chain(module::version_headers(capabilities))
}

fn closing(mut reply: Reply, location: &Location) -> Reply {
    reply.close |= location.push.keepalive == Some(false);
    reply
}

enum Choice<'a> {
    Summary,
    Prefix(&'a [u8]),
    Refused(Refusal),
    List,
}

fn choose<'a>(exchange: &Exchange<'_>, ids: &'a [ChannelId]) -> Choice<'a> {
    if ids.is_empty() {
        return Choice::Summary;
    }
    let longest = exchange.settings.zone.max_channel_id_length.unwrap_or(usize::MAX);
    for id in ids {
        let bytes = id.as_bytes();
        if bytes.len() > longest {
            return Choice::Refused(Refusal::IdTooLarge);
        }
        if let Some(star) = memchr::memchr(b'*', bytes) {
            return Choice::Prefix(bytes.get(..star).unwrap_or_default());
        }
        if bytes == b"ALL" {
            return Choice::Prefix(b"");
        }
    }
    Choice::List
}

/// The info of the channels that exist among these: 404 if none does.
pub(crate) fn channels_reply(worker: &Worker, exchange: &Exchange<'_>, ids: &[ChannelId]) -> Reply {
    let found = worker.hub().find(ids);
    let format = Format::choose(exchange.head.header("accept"));
    let body = match found.as_slice() {
        [] => return Reply::header_only(404),
        [one] if !asked_for_a_list(exchange, ids) => writer(exchange, format).one(&row(one)),
        several => group(worker, exchange, format, several.iter()),
    };
    Reply::full(200, format.content_type(), body)
}

/// Whoever asks for several channels reads a list, however many of them exist (the module answers in the form for one channel
/// when one does, and Bitrix then takes everybody for offline).
fn asked_for_a_list(exchange: &Exchange<'_>, ids: &[ChannelId]) -> bool {
    exchange.settings.capabilities.several_are_a_list && ids.len() > 1 && exchange.method() == b"GET"
}

/// The channels of a prefix in the making, a batch at a time.
pub(crate) struct Listing {
    group: Group,
    prefix: Box<[u8]>,
    out: Vec<u8>,
    after: Option<ChannelKey>,
    /// Channels there were when it began.
    channels: u32,
    /// The head of the answer.
    reply: Reply,
}

impl Listing {
    fn new(worker: &Worker, exchange: &Exchange<'_>, location: &Location, prefix: &[u8]) -> Self {
        let format = Format::choose(exchange.head.header("accept"));
        let census = worker.hub().census(worker.now());
        let mut out = Vec::with_capacity((census.channels + 2) as usize * ROW);
        let group = writer(exchange, format).group(&heading(&census), &mut out);
        let reply = Reply::full(200, format.content_type(), "").with(fields(&exchange.settings.capabilities));
        let (prefix, reply) = (prefix.into(), closing(reply, location));
        Self { group, prefix, out, after: None, channels: census.channels, reply }
    }

    fn is_long(&self) -> bool {
        self.channels > AT_ONCE
    }

    /// Writes the next batch; false when there are no more.
    pub(crate) fn go_on(&mut self, hub: &Hub) -> bool {
        let batch = hub.list(&self.prefix, self.after, BATCH);
        for (key, info) in &batch {
            self.group.row(&row(info), &mut self.out);
            self.after = Some(*key);
        }
        batch.len() == BATCH
    }

    /// The answer.
    pub(crate) fn finish(mut self) -> Reply {
        self.group.finish(&mut self.out);
        Reply { body: Body::Full(self.out.into()), ..self.reply }
    }
}

fn writer(exchange: &Exchange<'_>, format: Format) -> Writer {
    Writer::new(format, &exchange.settings.capabilities)
}

fn group<'a>(
    worker: &Worker,
    exchange: &Exchange<'_>,
    format: Format,
    infos: impl Iterator<Item = &'a ChannelInfo>,
) -> Vec<u8> {
    let mut out = Vec::new();
    let mut group = writer(exchange, format).group(&heading(&worker.hub().census(worker.now())), &mut out);
    for info in infos {
        group.row(&row(info), &mut out);
    }
    group.finish(&mut out);
    out
}

fn summary(context: &Context, exchange: &Exchange<'_>) -> Reply {
    let format = Format::choose(exchange.head.header("accept"));
    let census = context.worker.hub().census(context.worker.now());
    let summary = Summary {
        heading: heading(&census),
        published: census.published,
        stored: census.stored,
        messages_in_trash: census.messages_in_trash,
        channels_in_delete: u64::from(census.channels_in_delete),
        channels_in_trash: u64::from(census.channels_in_trash),
        subscribers: census.subscribers,
        workers: census
            .by_worker
            .iter()
            .enumerate()
            .map(|(index, &subscribers)| {
                let pid = context.worker.tally().worker_number(index);
                format::Worker { pid, subscribers, uptime: context.uptime() }
            })
            .collect(),
    };
    Reply::full(200, format.content_type(), writer(exchange, format).summary(&summary))
}

fn heading(census: &Census) -> Heading<'static> {
    Heading {
        hostname: hostname(),
        time: u64::from(census.time),
        channels: u64::from(census.channels),
        wildcard_channels: u64::from(census.wildcard_channels),
        uptime: census.uptime,
    }
}

fn row(info: &ChannelInfo) -> Row<'_> {
    Row {
        id: info.id.as_bytes(),
        published: info.published,
        stored: u64::from(info.stored),
        subscribers: u64::from(info.subscribers),
    }
}

/// nginx's `stub_status` page.
pub(crate) fn stub_status(worker: &Worker) -> Reply {
    let tally = worker.tally();
    let (active, accepted) = (worker.connections_everywhere(), tally.accepted.load(Ordering::Relaxed));
    let handled = accepted.saturating_sub(tally.turned_away.load(Ordering::Relaxed));
    let requests = tally.requests.load(Ordering::Relaxed);
    let [mut reading, mut writing, mut waiting] =
        [&tally.reading, &tally.writing, &tally.waiting].map(|count| count.load(Ordering::Relaxed));
    // This very request is being answered, though its connection has not stopped for it.
    let asking = worker.asking();
    if asking != Activity::Writing {
        writing += 1;
        let counted = if asking.is_waiting() { &mut waiting } else { &mut reading };
        *counted = counted.saturating_sub(1);
    }
    let page = format!(
        "Active connections: {active} \nserver accepts handled requests\n {accepted} {handled} {requests} \n\
         Reading: {reading} Writing: {writing} Waiting: {waiting} \n"
    );
    Reply::full(200, "text/plain", page)
}
