//! The log on disk, where there is one.

use std::fmt;

use prometheus_client::registry::Unit;

use super::page::Page;
use crate::hub::Census;
use crate::log::HealthView;

pub(super) fn spell(page: &mut Page<'_>, health: &HealthView, census: &Census) -> fmt::Result {
    let (bytes, seconds) = (|| Some(Unit::Bytes), || Some(Unit::Seconds));
    page.gauge(
        &("pushstreamd_log_gap", "1 while what is published would not survive the process", None),
        health.gap.is_some().into(),
    )?;
    page.counter(&("pushstreamd_log_gaps", "Times that such a gap began", None), health.gaps)?;
    page.gauge(&("pushstreamd_log_backlog", "Changes that wait to be written", bytes()), census.log_backlog)?;
    page.gauge_of_seconds(
        &("pushstreamd_log_sync_age", "Time since all changes written were known to be on the medium", seconds()),
        health.synced_at.map_or(0.0, |at| at.elapsed().as_secs_f64()),
    )?;
    page.gauge(&("pushstreamd_log_size", "Size on the disk", bytes()), health.bytes)?;
    page.gauge(&("pushstreamd_log_files", "Files", None), health.files)?;
    page.counter(&("pushstreamd_log_entries_written", "Entries written", None), health.entries)?;
    page.counter(&("pushstreamd_log_written", "Bytes written", bytes()), health.written)?;
    page.counter(&("pushstreamd_log_syncs", "Syncs done", None), health.syncs)?;
    page.gauge_of_seconds(
        &("pushstreamd_log_slowest_step", "The longest write and sync there was", seconds()),
        health.slowest as f64 / 1000.0,
    )?;
    page.counter(&("pushstreamd_log_damaged", "Damaged places found", None), health.damaged)
}
