//! The process: what it is, since when, what it uses, its configuration and its certificates.

use std::fmt;

use prometheus_client::registry::Unit;

use super::Snapshot;
use super::page::Page;

pub(super) fn spell(page: &mut Page<'_>, snapshot: &Snapshot) -> fmt::Result {
    let (process, reloads) = (&snapshot.process, &snapshot.reloads);
    let (bytes, seconds) = (|| Some(Unit::Bytes), || Some(Unit::Seconds));
    page.info(&("pushstreamd_build", "What runs", None), [("version", env!("CARGO_PKG_VERSION"))])?;
    page.gauge_of_seconds(
        &("process_start_time", "When the process began, since the epoch", seconds()),
        process.started,
    )?;
    page.counter_of_seconds(&("process_cpu", "Processor time the process has used", seconds()), process.cpu)?;
    page.gauge(&("process_resident_memory", "Resident memory", bytes()), process.resident)?;
    page.gauge(&("process_virtual_memory", "Address space", bytes()), process.virtual_memory)?;
    page.gauge(&("process_open_fds", "Open file descriptors", None), process.files)?;
    page.gauge(&("process_max_fds", "Most file descriptors the process may have open", None), process.most_files)?;
    page.gauge(&("process_threads", "Threads of the process", None), process.threads)?;
    page.gauge(
        &("pushstreamd_leaving", "1 while the server is about to end and takes nothing new", None),
        snapshot.leaving.into(),
    )?;
    page.counters(
        &("pushstreamd_reloads", "Reloads by what became of them", None),
        ["result"],
        [(["done"], reloads.done), (["failed"], reloads.failed)],
    )?;
    page.gauge(
        &("pushstreamd_reload_failed", "1 if the last reload failed and the configuration before it is in force", None),
        reloads.last_failed.into(),
    )?;
    page.gauge(
        &("pushstreamd_configuration_loaded_timestamp", "When the configuration in force was loaded", seconds()),
        reloads.loaded,
    )?;
    page.gauges(
        &("pushstreamd_certificate_expiry_timestamp", "When a certificate ends, since the epoch", seconds()),
        "certificate",
        snapshot.certificates.iter().map(|(file, expires)| (file.as_str(), *expires as f64)),
    )
}
