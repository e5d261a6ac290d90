//! The log of this process: opened before anybody is served, read into the hub, written until the end.
//!
//! A directory that another process holds, or that a later version has written, stops the start. A disk that fails does not:
//! serving goes on, loudly, and the log is written when the disk is back.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use super::log::NOTICE;
use super::now;
use super::privileges;
use crate::conf::settings::State;
use crate::hub::Hub;
use crate::log::{LogError, OpenLog, Restored};

/// Opens the log that the settings name, if they name one.
pub(super) fn open(state: &State) -> Result<Option<OpenLog>, LogError> {
    let Some(dir) = &state.dir else { return Ok(None) };
    // A daemon may change its directory.
    let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.clone());
    privileges::with_files(|| OpenLog::open(&dir)).map(Some)
}

/// Fills the hub from what the log holds after an end of it, and keeps the log from then on.
pub(super) fn restore(log: OpenLog, after: u64, hub: &Arc<Hub>, state: &State) -> Result<(), LogError> {
    let (began, blank) = (Instant::now(), log.is_blank());
    let restored = privileges::with_files(|| hub.take_up(log, after, state.sync, now))?;
    if !blank {
        tell(&restored, state.dir.as_deref().unwrap_or(Path::new("")), hub, began);
    }
    Ok(())
}

/// Whether a start would be refused for what is in the directory. That a running server holds it is no reason.
pub(super) fn probe(state: &State) -> Result<(), LogError> {
    match state.dir.as_deref().map(OpenLog::of_another) {
        // One that is not there yet, or cannot be opened, stops nobody.
        None | Some(Err(_)) => Ok(()),
        Some(Ok(log)) => log.check_formats(),
    }
}

/// Has the hub know what another process has written up to now after an end of the log, which it goes on to write.
pub(super) fn look_at_anothers(after: u64, hub: &Hub, state: &State) -> Result<(), LogError> {
    let Some(dir) = &state.dir else { return Ok(()) };
    privileges::with_files(|| hub.read(&mut OpenLog::of_another(dir)?, after, now)).map(drop)
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
