//! Statistics: the summary, the channels of a prefix, of all, or of a list. Also the channel info of the publisher.

use super::context::Context;
use super::exchange::Exchange;
use super::publish::cache_fields;
use super::reply::{self, Reply};
use super::statistics_format::{self as format, Format, Heading, Row, Summary, Writer};
use super::{channels, explanation, hostname};
use crate::conf::settings::Location;
use crate::delivery::Worker;
use crate::hub::{Census, ChannelInfo, Hub};
use crate::model::{ChannelId, Now, Refusal};

/// Channels read while the hub is locked once.
const BATCH: usize = 256;

/// Answers a request at a statistics location.
pub(super) fn answer(context: &Context, exchange: &Exchange<'_>, location: &Location) -> Reply {
    let line = exchange.settings.compat.line;
    if exchange.method != b"GET" {
        return closing(Reply::header_only(405).with(cache_fields(line)).with([reply::allow("GET")]), location);
    }
    let mut fields = cache_fields(line);
    fields.extend(reply::version_headers(line));
    let ids = channels::ids(exchange, location);
    let reply = match choose(exchange, &ids) {
        Choice::Summary => summary(context, exchange).with(fields),
        Choice::Prefix(prefix) => listed(&context.worker, exchange, prefix).with(fields),
        Choice::Refused(refusal) => explanation::refused(refusal, line, fields),
        Choice::List => channels_reply(&context.worker, exchange, &ids).with(fields),
    };
    closing(reply, location)
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
        if let Some(star) = memchr::memchr(b'*', bytes) {
            return Choice::Prefix(bytes.get(..star).unwrap_or_default());
        }
        if bytes == b"ALL" {
            return Choice::Prefix(b"");
        }
        if bytes.len() > longest {
            return Choice::Refused(Refusal::IdTooLarge);
        }
    }
    Choice::List
}

/// The info of the channels that exist among these: 404 if none does.
pub(super) fn channels_reply(worker: &Worker, exchange: &Exchange<'_>, ids: &[ChannelId]) -> Reply {
    let found = worker.hub().find(ids);
    let format = Format::choose(exchange.head.header("accept"));
    let body = match found.as_slice() {
        [] => return Reply::header_only(404),
        [one] if !asked_for_a_list(exchange, ids) => writer(exchange, format).one(&row(one)),
        several => group(worker.hub(), exchange, format, several.iter()),
    };
    Reply::full(200, format.content_type(), body)
}

/// Whoever asks for several channels reads a list, however many of them exist (the module answers in the form for one channel
/// when one does, and Bitrix then takes everybody for offline).
fn asked_for_a_list(exchange: &Exchange<'_>, ids: &[ChannelId]) -> bool {
    !exchange.settings.compat.strict && ids.len() > 1 && exchange.method == b"GET"
}

fn listed(worker: &Worker, exchange: &Exchange<'_>, prefix: &[u8]) -> Reply {
    let format = Format::choose(exchange.head.header("accept"));
    let mut infos = Vec::new();
    let mut after = None;
    loop {
        let batch = worker.hub().list(prefix, after, BATCH);
        let Some(&(last, _)) = batch.last() else { break };
        after = Some(last);
        infos.extend(batch.into_iter().map(|(_, info)| info));
    }
    Reply::full(200, format.content_type(), group(worker.hub(), exchange, format, infos.iter()))
}

fn writer(exchange: &Exchange<'_>, format: Format) -> Writer {
    let compat = exchange.settings.compat;
    // Ids are escaped where a format needs it, except where the module's own bytes are asked for.
    Writer::new(format, compat.line, !compat.strict)
}

fn group<'a>(
    hub: &Hub,
    exchange: &Exchange<'_>,
    format: Format,
    infos: impl Iterator<Item = &'a ChannelInfo>,
) -> Vec<u8> {
    let mut out = Vec::new();
    let mut group = writer(exchange, format).group(&heading(&hub.census(exchange.now), exchange.now), &mut out);
    for info in infos {
        group.row(&row(info), &mut out);
    }
    group.finish(&mut out);
    out
}

fn summary(context: &Context, exchange: &Exchange<'_>) -> Reply {
    let format = Format::choose(exchange.head.header("accept"));
    let census = context.worker.hub().census(exchange.now);
    let summary = Summary {
        heading: heading(&census, exchange.now),
        published: census.published,
        stored: census.stored,
        messages_in_trash: census.messages_in_trash,
        channels_in_delete: u64::from(census.channels_in_delete),
        channels_in_trash: u64::from(census.channels_in_trash),
        subscribers: census.subscribers,
        workers: census
            .by_worker
            .iter()
            .map(|&subscribers| format::Worker { pid: std::process::id(), subscribers, uptime: context.uptime() })
            .collect(),
    };
    Reply::full(200, format.content_type(), writer(exchange, format).summary(&summary))
}

fn heading(census: &Census, now: Now) -> Heading<'static> {
    Heading {
        hostname: hostname(),
        time: u64::from(now.secs()),
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

/// nginx's `stub_status` page, as far as it can be told.
pub(super) fn stub_status(connections: usize) -> Reply {
    let page = format!(
        "Active connections: {connections} \nserver accepts handled requests\n {connections} {connections} {connections} \nReading: 0 Writing: {connections} Waiting: 0 \n"
    );
    Reply::full(200, "text/plain", page)
}
