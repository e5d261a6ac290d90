//! What is whose, where the process has several zones; what is said without a zone is said of all together.

use std::fmt;

use prometheus_client::registry::Unit;

use super::ZoneCensus;
use super::page::{Named, Page};
use crate::hub::Census;

pub(super) fn spell(page: &mut Page<'_>, zones: &[ZoneCensus]) -> fmt::Result {
    let bytes = || Some(Unit::Bytes);
    page.counters(
        &("pushstreamd_zone_messages_published", "Messages published in each zone, where there are several", None),
        ["zone"],
        zones.iter().map(|zone| ([zone.zone.as_str()], zone.census.published)),
    )?;
    let mut gauge = |named: Named<'_>, of: fn(&Census) -> u64| {
        page.gauges(&named, "zone", zones.iter().map(|zone| (zone.zone.as_str(), of(&zone.census) as f64)))
    };
    gauge(("pushstreamd_zone_subscribers", "Subscribers of each zone", None), |census| census.subscribers)?;
    gauge(("pushstreamd_zone_channels", "Channels of each zone, without wildcard channels", None), |census| {
        census.channels.into()
    })?;
    gauge(("pushstreamd_zone_wildcard_channels", "Wildcard channels of each zone", None), |census| {
        census.wildcard_channels.into()
    })?;
    gauge(("pushstreamd_zone_messages_stored", "Messages each zone stores", None), |census| census.stored)?;
    gauge(
        ("pushstreamd_zone_memory_used", "Memory that channels and stored messages of each zone take", bytes()),
        |census| census.memory_used,
    )?;
    gauge(("pushstreamd_zone_memory_limit", "The budget of each zone", bytes()), |census| census.memory_limit)
}
