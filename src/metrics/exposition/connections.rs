//! Connections, requests and subscriptions: how many, in which mode, why refused, why over.

use std::fmt;

use prometheus_client::registry::Unit;

use super::Snapshot;
use super::page::Page;
use crate::metrics::{Cause, Mode, Refused, Totals};

pub(super) fn spell(page: &mut Page<'_>, snapshot: &Snapshot) -> fmt::Result {
    connections(page, snapshot)?;
    subscriptions(page, &snapshot.totals)
}

fn connections(page: &mut Page<'_>, snapshot: &Snapshot) -> fmt::Result {
    let totals = &snapshot.totals;
    page.gauge(&("pushstreamd_connections", "Connections that are open", None), totals.connections())?;
    page.gauges(
        &("pushstreamd_connections_state", "Connections and HTTP/2 streams by what they do, as stub_status", None),
        "state",
        [("reading", totals.reading), ("writing", totals.writing), ("waiting", totals.waiting)]
            .map(|(state, count)| (state, count as f64)),
    )?;
    page.counter(&("pushstreamd_connections_accepted", "Connections accepted", None), totals.accepted)?;
    page.counter(&("pushstreamd_connections_closed", "Connections that are over", None), totals.closed)?;
    page.counters(
        &("pushstreamd_connections_turned_away", "Connections closed at once, by the bound that was reached", None),
        ["bound"],
        [(["worker_connections"], totals.turned_away.saturating_sub(totals.crowded)), (["address"], totals.crowded)],
    )?;
    page.counters(
        &("pushstreamd_connections_cut", "Connections and HTTP/2 streams the server cut off", None),
        ["reason"],
        Cause::CUTS.map(|cause| ([cause.name()], totals.cut(cause))),
    )?;
    page.counter(&("pushstreamd_requests", "Requests begun", None), totals.requests)?;
    page.counters(
        &("pushstreamd_refusals", "Requests refused, by reason", None),
        ["reason"],
        Refused::all().map(|reason| ([reason.name()], totals.refused(reason))),
    )?;
    page.counter(
        &("pushstreamd_bodies_refused", "Bodies not taken because too much was held", None),
        totals.refused_bodies,
    )?;
    page.gauge(
        &("pushstreamd_connections_memory", "Memory held for connections, what they share once", Some(Unit::Bytes)),
        snapshot.held,
    )?;
    page.counter(&("pushstreamd_received", "Bytes of clients, within TLS", Some(Unit::Bytes)), totals.received)?;
    page.counter(&("pushstreamd_sent", "Bytes for clients, within TLS", Some(Unit::Bytes)), totals.sent)
}

fn subscriptions(page: &mut Page<'_>, totals: &Totals) -> fmt::Result {
    // A poll is over when it is answered: nobody is a subscriber by polling.
    let lasting = || Mode::ALL.into_iter().filter(|mode| *mode != Mode::Polling);
    page.gauges(
        &("pushstreamd_subscribers", "Subscribers that are connected", None),
        "mode",
        lasting().map(|mode| (mode.name(), totals.subscribers(mode) as f64)),
    )?;
    page.counters(
        &("pushstreamd_subscriptions_started", "Subscriptions begun, waiting long-polls among them", None),
        ["mode"],
        lasting().map(|mode| ([mode.name()], count(&totals.begun, mode))),
    )?;
    page.counters(
        &("pushstreamd_subscriptions_ended", "Subscriptions ended, by reason", None),
        ["mode", "reason"],
        lasting().flat_map(|mode| {
            let ended = totals.ended.get(mode as usize).copied().unwrap_or_default();
            Cause::ALL.into_iter().zip(ended).map(move |(cause, count)| ([mode.name(), cause.name()], count))
        }),
    )?;
    page.counters(
        &("pushstreamd_polls", "Polls and long-polls answered at once", None),
        ["mode"],
        [Mode::Polling, Mode::LongPolling].map(|mode| ([mode.name()], count(&totals.polls, mode))),
    )
}

fn count(counts: &[u64], mode: Mode) -> u64 {
    counts.get(mode as usize).copied().unwrap_or(0)
}
