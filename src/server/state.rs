//! The log of this process: opened before anybody is served, read into the hub, written until the end.
//!
//! A directory that another process holds, or that a later version has written, stops the start. A disk that fails does not:
//! serving goes on without a log, loudly.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;

use super::log::{ALERT, NOTICE};
use super::now;
use crate::conf::settings::{State, StateSync};
use crate::hub::Hub;
use crate::log::{LogError, OpenLog, Restored, Sync};

/// A log, or what a disk has against it.
pub(super) type Opened = Result<OpenLog, LogError>;

/// Opens the log that the settings name, if they name one.
///
/// What a disk has against it is told later: the logs may not be open yet.
pub(super) fn open(state: &State) -> Result<Option<Opened>, LogError> {
    let Some(dir) = &state.dir else { return Ok(None) };
    // A daemon may change its directory.
    let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.clone());
    match OpenLog::open(&dir) {
        Err(error @ (LogError::InUse { .. } | LogError::Newer { .. })) => Err(error),
        opened => Ok(Some(opened)),
    }
}

/// Fills the hub from what the log holds after an end of it, and keeps the log from then on.
pub(super) fn restore(log: Opened, after: u64, hub: &Arc<Hub>, state: &State) -> anyhow::Result<()> {
    let mut log = match log {
        Ok(log) => log,
        Err(error) => {
            tracing::error!(target: ALERT, "the log cannot be opened: {error}; messages do not survive a restart");
            return Ok(());
        }
    };
    let began = Instant::now();
    hub.restore_begins(log.last_time());
    let restored = log.restore_after(after, &mut |entry| hub.apply(entry, now()))?;
    hub.restored(restored.is_clean(), now());
    tell(&restored, state.dir.as_deref().unwrap_or(Path::new("")), hub, began);
    let sync = match state.sync {
        StateSync::Always => Sync::Always,
        StateSync::Second => Sync::Second,
        StateSync::Off => Sync::Off,
    };
    hub.keep_log();
    let log = log.start(Arc::clone(hub) as _, sync).context("the log cannot be written")?;
    hub.attach(log);
    Ok(())
}

/// What belongs to the user the process becomes: the directory and what stands in it.
pub(super) fn paths(state: &State) -> Vec<PathBuf> {
    let Some(dir) = &state.dir else { return Vec::new() };
    let mut paths = vec![dir.clone()];
    for place in [dir.clone(), dir.join("damaged")] {
        let entries = std::fs::read_dir(place).into_iter().flatten();
        paths.extend(entries.filter_map(|entry| Some(entry.ok()?.path())));
    }
    paths.retain(|path| std::fs::symlink_metadata(path).is_ok_and(|found| !found.is_symlink()));
    paths
}

fn tell(restored: &Restored, dir: &Path, hub: &Hub, began: Instant) {
    for line in &restored.cut {
        tracing::warn!("{line}");
    }
    for line in &restored.damaged {
        tracing::error!(target: ALERT, "{line}");
    }
    let census = hub.census(now());
    let channels = census.channels + census.wildcard_channels;
    let (stored, entries) = (census.stored, restored.entries);
    let took = began.elapsed().as_millis();
    tracing::info!(
        target: NOTICE,
        "{stored} messages in {channels} channels come from {} ({entries} entries, {took} ms)",
        dir.display()
    );
}
