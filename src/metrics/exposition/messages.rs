//! Channels and messages: published, delivered, stored, and how long they are on their way.

use std::fmt;

use prometheus_client::registry::Unit;

use super::page::Page;
use crate::hub::Census;
use crate::metrics::Totals;

pub(super) fn spell(page: &mut Page<'_>, totals: &Totals, census: &Census) -> fmt::Result {
    let bytes = || Some(Unit::Bytes);
    page.counter(
        &("pushstreamd_messages_published", "Messages published, those a log brought back among them", None),
        census.published,
    )?;
    page.counter(
        &("pushstreamd_messages_delivered", "Messages handed to subscribers as they were published", None),
        totals.delivered,
    )?;
    page.counter(
        &("pushstreamd_messages_replayed", "Messages handed to subscribers that had missed them", None),
        totals.replayed,
    )?;
    page.times(
        &(
            "pushstreamd_delivery",
            "From publish to write, of deliveries that a subscriber's socket, or stream of HTTP/2, took at once",
            Some(Unit::Seconds),
        ),
        &totals.delay,
    )?;
    page.gauge(&("pushstreamd_channels", "Channels, without wildcard channels", None), census.channels.into())?;
    page.gauge(&("pushstreamd_wildcard_channels", "Wildcard channels", None), census.wildcard_channels.into())?;
    page.gauge(&("pushstreamd_messages_stored", "Messages stored", None), census.stored)?;
    page.gauge(
        &("pushstreamd_memory_used", "Memory that channels and stored messages take of the budget", bytes()),
        census.memory_used,
    )?;
    page.gauge(
        &("pushstreamd_memory_limit", "The budget, push_stream_shared_memory_size of each zone", bytes()),
        census.memory_limit,
    )
}
