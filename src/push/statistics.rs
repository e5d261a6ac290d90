//! Statistics: the summary, the channels of a prefix, of all, or of a list. Also the channel info of the publisher.

use std::io;
use std::rc::Rc;

use bytes::Bytes;

use super::compression::Compression;
use super::context::Context;
use super::fields::{self as module, cache_fields};
use super::history::{Chunked, Compressed};
use super::statistics_format::{self as format, Format, Group, Heading, Row, Summary, Writer};
use crate::conf::settings::Location;
use crate::delivery::{LocalZone, Source, Worker};
use crate::hub::{Census, ChannelInfo, ChannelKey};
use crate::metrics::{Activity, Totals};
use crate::model::{Capabilities, ChannelId, Refusal};
use crate::request::reply::{Field, Reply};
use crate::site::channels;
use crate::site::exchange::Exchange;
use crate::site::gzip;
use crate::site::vars::hostname;

/// Channels asked for at a time.
const BATCH: usize = 256;
/// Channels that are listed in one piece, whose length is told.
const AT_ONCE: u32 = 2_000;

/// What a question comes to.
pub(crate) enum Begun {
    /// The answer.
    Reply(Reply),
    /// What other nodes know of these channels is needed; go on with [`list`].
    Everywhere(Vec<ChannelId>),
    /// An answer that is so long that it is made as it is taken.
    Long(Reply, Box<dyn Source>),
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
    let zone = context.zone(exchange);
    if let Err(refusal) = zone.hub().check_joined() {
        let reply = module::refused(refusal, capabilities, fields(capabilities)).with([module::retry_after()]);
        return Begun::Reply(closing(reply, location));
    }
    let ids = channels::ids(exchange, location);
    let reply = match choose(exchange, &ids) {
        Choice::Summary => summary(context, exchange).with(fields(capabilities)),
        Choice::Prefix(prefix) => {
            let format = Format::choose(exchange.head.header("accept"));
            let census = zone.hub().census(zone.now());
            let mut listing = Listing::new(&zone, exchange, format, &census, prefix);
            if census.channels.saturating_add(census.wildcard_channels) > AT_ONCE {
                let reply = closing(Reply::stream(200, format.content_type()).with(fields(capabilities)), location);
                return long(exchange, location, reply, listing);
            }
            let mut body = Vec::new();
            while listing.go_on(&mut body) {}
            Reply::full(200, format.content_type(), body).with(fields(capabilities))
        }
        Choice::Refused(refusal) => module::refused(refusal, capabilities, fields(capabilities)),
        Choice::List if zone.hub().has_others() => return Begun::Everywhere(ids),
        Choice::List => {
            return Begun::Reply(list(&zone, exchange, location, &ids, &zone.hub().find(&ids)));
        }
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

/// The answer to a question for these channels, of which those were found.
pub(crate) fn list(
    zone: &LocalZone,
    exchange: &Exchange<'_>,
    location: &Location,
    ids: &[ChannelId],
    found: &[ChannelInfo],
) -> Reply {
    let capabilities = &exchange.settings.capabilities;
    closing(channels_reply(zone, exchange, ids, found).with(fields(capabilities)), location)
}

/// The info of the channels that were found among these: 404 if none was.
pub(crate) fn channels_reply(
    zone: &LocalZone,
    exchange: &Exchange<'_>,
    ids: &[ChannelId],
    found: &[ChannelInfo],
) -> Reply {
    let format = Format::choose(exchange.head.header("accept"));
    let body = match found {
        [] => return Reply::header_only(404),
        [one] if !asked_for_a_list(exchange, ids) => writer(exchange, format).one(&row(one)),
        several => group(zone, exchange, format, several.iter()),
    };
    Reply::full(200, format.content_type(), body)
}

/// Whoever asks for several channels reads a list, however many of them exist (the module answers in the form for one channel
/// when one does, and Bitrix then takes everybody for offline).
fn asked_for_a_list(exchange: &Exchange<'_>, ids: &[ChannelId]) -> bool {
    exchange.settings.capabilities.several_are_a_list && ids.len() > 1 && exchange.method() == b"GET"
}

/// An answer that is made as it is taken, compressed and framed as the request wants it.
fn long(exchange: &Exchange<'_>, location: &Location, mut reply: Reply, listing: Listing) -> Begun {
    let chunked = exchange.sends_chunks(location);
    let body: Box<dyn Source> = if gzip::apply(&mut reply, exchange, location) {
        let level = location.core.gzip.as_ref().map_or(1, |gzip| gzip.comp_level);
        Box::new(Compressed::new(listing, Compression { level, chunked }))
    } else if chunked {
        Box::new(Chunked::new(listing))
    } else {
        Box::new(listing)
    };
    Begun::Long(reply, body)
}

/// The channels of a prefix, a batch at a time.
struct Listing {
    zone: Rc<LocalZone>,
    /// `None` when the end has been written.
    group: Option<Group>,
    prefix: Box<[u8]>,
    opening: Vec<u8>,
    after: Option<ChannelKey>,
}

impl Listing {
    fn new(zone: &Rc<LocalZone>, exchange: &Exchange<'_>, format: Format, census: &Census, prefix: &[u8]) -> Self {
        let mut opening = Vec::new();
        let group = Some(writer(exchange, format).group(&heading(census), &mut opening));
        Self { zone: Rc::clone(zone), group, prefix: prefix.into(), opening, after: None }
    }

    /// Writes the next batch; false when that was the last.
    fn go_on(&mut self, out: &mut Vec<u8>) -> bool {
        let Some(group) = &mut self.group else { return false };
        out.append(&mut self.opening);
        let batch = self.zone.hub().list(&self.prefix, self.after, BATCH);
        for (key, info) in &batch {
            group.row(&row(info), out);
            self.after = Some(*key);
        }
        if batch.len() < BATCH
            && let Some(group) = self.group.take()
        {
            group.finish(out);
        }
        self.group.is_some()
    }
}

impl Source for Listing {
    fn next(&mut self, room: usize) -> io::Result<Option<Bytes>> {
        let mut out = Vec::new();
        while out.len() < room && self.go_on(&mut out) {}
        Ok(Some(out.into()).filter(|out: &Bytes| !out.is_empty()))
    }
}

fn writer(exchange: &Exchange<'_>, format: Format) -> Writer {
    Writer::new(format, &exchange.settings.capabilities)
}

fn group<'a>(
    zone: &LocalZone,
    exchange: &Exchange<'_>,
    format: Format,
    infos: impl Iterator<Item = &'a ChannelInfo>,
) -> Vec<u8> {
    let mut out = Vec::new();
    let mut group = writer(exchange, format).group(&heading(&zone.hub().census(zone.now())), &mut out);
    for info in infos {
        group.row(&row(info), &mut out);
    }
    group.finish(&mut out);
    out
}

fn summary(context: &Context, exchange: &Exchange<'_>) -> Reply {
    let format = Format::choose(exchange.head.header("accept"));
    let zone = context.zone(exchange);
    let census = zone.hub().census(zone.now());
    let summary = Summary {
        heading: heading(&census),
        published: census.published,
        stored: census.stored,
        messages_in_trash: census.messages_in_trash,
        channels_in_delete: u64::from(census.channels_in_delete),
        channels_in_trash: u64::from(census.channels_in_trash),
        subscribers: census.subscribers + zone.hub().subscribers_elsewhere(),
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
    let totals = worker.tally().totals();
    let Totals { accepted, requests, mut reading, mut writing, mut waiting, .. } = totals;
    let (active, handled) = (totals.connections(), accepted.saturating_sub(totals.turned_away));
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
