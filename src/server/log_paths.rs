//! Which files the logs of a configuration are.
//!
//! Opens nothing itself but on request, to find out at start and by `-t` what could not be opened later.

use std::collections::{BTreeSet, HashSet};
use std::io;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::conf::settings::{AccessTarget, Location, Locations, LogTarget, Operation, Server};
use crate::conf::{LoadOptions, Settings};

/// Paths of all log files. Those of nginx's default directory count only if it is there.
pub(super) fn log_paths(settings: &Settings, prefix: &Path) -> BTreeSet<PathBuf> {
    let mut paths = access_paths(settings, prefix);
    for log in &settings.process.error_log {
        if let LogTarget::File(path) = &log.target {
            paths.insert(path.clone());
        }
    }
    paths
}

/// Those of access logs.
pub(super) fn access_paths(settings: &Settings, prefix: &Path) -> BTreeSet<PathBuf> {
    let mut paths = Paths::default();
    for listener in &settings.listeners {
        for server in listener.names.all() {
            paths.server(server);
        }
    }
    let own = prefix.join("logs");
    if !own.exists() {
        paths.found.remove(&own.join("access.log"));
    }
    paths.found
}

/// Makes `PREFIX/logs` where something is to be written there and the configuration comes from elsewhere: an nginx built from
/// source has that directory, a prefix that was never an nginx's has not. `--strict` leaves it missing, as nginx does.
pub(super) fn make_logs(settings: &Settings, options: &LoadOptions) {
    let prefix = &options.prefix;
    let own = prefix.join("logs");
    if options.file.starts_with(prefix) {
        return;
    }
    let wanted =
        || log_paths(settings, prefix).iter().chain([&settings.process.pid]).any(|path| path.starts_with(&own));
    if !settings.compat.strict && !own.exists() && prefix.is_dir() && wanted() {
        // Where it fails, opening the file tells why.
        let _ = std::fs::create_dir(&own);
    }
}

/// Opens each for appending (`-t`); the first that cannot be. Who tests may be root, who serves another user: a file that root makes
/// in somebody's directory is his.
pub(super) fn try_each(paths: &BTreeSet<PathBuf>) -> Result<(), (PathBuf, io::Error)> {
    let made: Vec<&PathBuf> = paths.iter().filter(|path| !path.exists()).collect();
    open_each(paths)?;
    for path in made {
        if let Some(owner) = path.parent().and_then(|directory| directory.metadata().ok()) {
            // Who is not root has no need to.
            let _ = chown(path, Some(owner.uid()), Some(owner.gid()));
        }
    }
    Ok(())
}

/// Opens each for appending; the first that cannot be.
pub(super) fn open_each(paths: &BTreeSet<PathBuf>) -> Result<(), (PathBuf, io::Error)> {
    paths.iter().try_for_each(|path| super::log::open_append(path).map(drop))
}

#[derive(Default)]
struct Paths {
    found: BTreeSet<PathBuf>,
    seen: HashSet<*const Server>,
}

impl Paths {
    fn server(&mut self, server: &Arc<Server>) {
        if !self.seen.insert(Arc::as_ptr(server)) {
            return;
        }
        self.location(&server.root);
        self.locations(&server.locations);
        for location in server.named.values() {
            self.location(location);
        }
    }

    fn locations(&mut self, locations: &Locations) {
        for location in locations.exact.values().chain(&locations.prefixes).chain(&locations.regexes) {
            self.location(location);
        }
    }

    fn location(&mut self, location: &Location) {
        for log in location.core.access_log.iter() {
            // What requests name is known when they do.
            if let AccessTarget::Fixed(target) = &log.target {
                self.target(target);
            }
        }
        if let Some(except) = &location.limit_except {
            self.location(&except.location);
        }
        self.locations(&location.nested);
        for operation in &location.rewrite {
            if let Operation::If { location, .. } = operation {
                self.location(location);
            }
        }
    }

    fn target(&mut self, target: &LogTarget) {
        if let LogTarget::File(path) = target {
            self.found.insert(path.clone());
        }
    }
}
