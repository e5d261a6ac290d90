//! The zones of the process: each a hub, with its log and with where its order is made.
//!
//! They have numbers, by which servers of the configuration name them; what is done to one at a start, an end or a succession is done
//! to all. Invariant: a zone stays, with what is in it, until the process ends, whether a server is of it any more or not: a
//! reload loses nothing, and what nobody asks for any more expires.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::iter;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::log::ALERT;
use super::now;
use super::rendered::rendered;
use super::state;
use crate::backplane::{Backplane, BackplaneError, Reached};
use crate::conf::settings::{Server, ServerNames, State};
use crate::conf::{Settings, is_unnamed};
use crate::hub::Hub;
use crate::log::{LogError, OpenLog};
use crate::metrics::tick;
use crate::model::Stamp;
use crate::site::server_name::find_server;
use crate::site::vars::hostname;
use crate::status;

/// How long a start or a reload waits until zones have joined those of other nodes.
const JOINS: Duration = Duration::from_secs(2);

/// How long what waits for other nodes may take to be settled when the process ends.
const SETTLED: Duration = Duration::from_millis(700);

/// A zone.
pub(super) struct Zone {
    name: Box<str>,
    hub: Arc<Hub>,
    state: State,
    /// Where its order is made, if it is not made here.
    backplane: Option<Backplane>,
    /// How far its log was written when it was handed over.
    log_end: u64,
    /// The sequence number of the last publish when this process began to serve beside its successor.
    seq_beside: Option<u64>,
}

/// All of them, by number.
pub(super) struct Zones {
    first: Zone,
    others: Vec<Zone>,
    reached: Option<Reached>,
    workers: usize,
}

/// Where each zone of the settings is logged.
pub(super) fn states(settings: &Settings) -> impl Iterator<Item = State> {
    settings.zones.iter().map(|name| settings.state.of_zone(name))
}

/// Tells of zones that have messages on the disk and no server: these stay there.
pub(super) fn tell_idle(settings: &Settings) {
    let (Some(dir), Some(own)) = (settings.state.of_zones(), &settings.state.dir) else { return };
    let tell = |name: &OsStr, dir: &Path| {
        tracing::warn!("no server is in the zone \"{}\", whose log stays in {}", name.display(), dir.display());
    };
    for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if !settings.zones.iter().any(|zone| name == **zone) {
            tell(&name, &dir);
        }
    }
    if !settings.zones.iter().any(|zone| is_unnamed(zone))
        && OpenLog::of_another(own).is_ok_and(|log| log.last_time() > 0)
    {
        tell("default".as_ref(), own);
    }
}

/// Opens the log of each zone of the settings, where there are logs.
pub(super) fn open_logs(settings: &Settings) -> Result<Vec<OpenLog>, LogError> {
    states(settings).filter_map(|state| state::open(&state).transpose()).collect()
}

impl Zone {
    fn new(settings: &Settings, number: usize, workers: usize) -> Self {
        let name = settings.zones.get(number).cloned().unwrap_or_default();
        tracing::info!(
            "Using {}KiB of shared memory for push stream module on zone: {}",
            settings.zone.memory / 1024,
            if is_unnamed(&name) { &settings.zone_name } else { &name }
        );
        // The module begins anew in the second its last process ended in; a client of that one misses what the new one says.
        let floor = settings.capabilities.stamps_begin_at_once.then(Stamp::default);
        let hub = Hub::new(settings.zone.clone(), settings.capabilities, workers, now(), floor);
        if settings.capabilities.refuse_when_full {
            hub.count_rendered(rendered(settings));
        }
        let state = settings.state.of_zone(&name);
        Self { name, hub: Arc::new(hub), state, backplane: None, log_end: 0, seq_beside: None }
    }

    /// Has the order of the zone made where it is shared.
    fn follow(&mut self, reached: Reached) -> Result<(), BackplaneError> {
        let node = format!("{}:{}", hostname(), std::process::id());
        self.backplane = Some(Backplane::start(reached, &self.hub, node, tick)?);
        Ok(())
    }

    fn close_log(&mut self) {
        self.log_end = self.hub.close_log().unwrap_or_default();
    }

    /// Knows what a successor has written up to now, and that the two go different ways.
    fn part_from_successor(&mut self) {
        if self.state.dir.is_none() || self.hub.log_health().is_some() {
            return;
        }
        if let Err(error) = state::look_at_anothers(self.log_end, &self.hub, &self.state) {
            tracing::error!(target: ALERT, "what the new binary was given is not known here: {error}");
        }
        self.seq_beside = Some(self.hub.last_seq());
    }

    /// Reads what a successor has written, if it was given the log, and keeps it again.
    fn take_log_back(&mut self) {
        if self.hub.log_health().is_some() {
            return;
        }
        // What was published here beside the successor is in memory alone, and what was published there at the same time has taken
        // the same places.
        let changed = self.seq_beside.take().is_some_and(|seq| seq != self.hub.last_seq());
        let restored = match state::open(&self.state) {
            Ok(None) => Ok(()),
            Ok(Some(log)) => {
                state::restore(if changed { log.rewritten() } else { log }, self.log_end, &self.hub, &self.state)
            }
            Err(error) => Err(error),
        };
        if let Err(error) = restored {
            tracing::error!(target: ALERT, "the log cannot be taken back: {error}; messages do not survive a restart");
        }
    }
}

impl Zones {
    /// Those of the settings, with nothing in them.
    pub(super) fn new(settings: &Settings, workers: usize) -> Self {
        let first = Zone::new(settings, 0, workers);
        let others = (1..settings.zones.len()).map(|number| Zone::new(settings, number, workers)).collect();
        Self { first, others, reached: None, workers }
    }

    /// Fills each from its log, if there are logs, and keeps these from now on.
    pub(super) fn restore(&self, logs: Vec<OpenLog>) -> Result<(), LogError> {
        self.all().zip(logs).try_for_each(|(zone, log)| state::restore(log, 0, &zone.hub, &zone.state))
    }

    /// Has the order of each made where it is shared with other nodes, and waits a moment for it.
    pub(super) fn follow(&mut self, reached: Option<Reached>) -> Result<(), BackplaneError> {
        if let Some(reached) = &reached {
            self.all_mut().try_for_each(|zone| zone.follow(reached.of_zone(&zone.name)))?;
        }
        self.reached = reached;
        await_joined(self.all());
        Ok(())
    }

    /// What is new in these settings, ready to serve; nothing is changed before [`Zones::add`].
    pub(super) fn prepare(&self, settings: &Settings) -> anyhow::Result<Vec<Zone>> {
        let mut new = Vec::new();
        for number in self.others.len() + 1..settings.zones.len() {
            match self.prepare_one(settings, number) {
                Ok(zone) => new.push(zone),
                Err(error) => {
                    Self::give_up(&new);
                    return Err(error);
                }
            }
        }
        await_joined(new.iter());
        Ok(new)
    }

    fn prepare_one(&self, settings: &Settings, number: usize) -> anyhow::Result<Zone> {
        let mut zone = Zone::new(settings, number, self.workers);
        let log = state::open(&zone.state)?;
        if let Some(reached) = &self.reached {
            zone.follow(reached.of_zone(&zone.name))?;
        }
        if let Some(log) = log {
            state::restore(log, 0, &zone.hub, &zone.state)?;
        }
        Ok(zone)
    }

    /// Lets go of what was prepared for nothing.
    pub(super) fn give_up(new: &[Zone]) {
        for zone in new {
            zone.hub.close_log();
        }
    }

    /// Has these too from now on.
    pub(super) fn add(&mut self, new: Vec<Zone>) {
        self.others.extend(new);
    }

    /// The hub of the first zone.
    pub(super) fn first_hub(&self) -> Arc<Hub> {
        Arc::clone(&self.first.hub)
    }

    /// The hubs, by number.
    pub(super) fn hubs(&self) -> Arc<[Arc<Hub>]> {
        self.all().map(|zone| Arc::clone(&zone.hub)).collect()
    }

    /// Takes the limits and texts of a reload.
    pub(super) fn reconfigure(&self, settings: &Settings) {
        for zone in self.all() {
            zone.hub.reconfigure(settings.zone.clone(), settings.capabilities, now());
        }
    }

    /// Does what the janitor has to do.
    pub(super) fn sweep(&self) {
        for zone in self.all() {
            while zone.hub.sweep(now()) {}
        }
    }

    /// Takes nothing more from publishers, or takes it again.
    pub(super) fn set_closed(&self, closed: bool) {
        self.all().for_each(|zone| zone.hub.set_closed(closed));
    }

    /// Has what waits for other nodes settled.
    pub(super) async fn settle(&self) {
        let until = Instant::now() + SETTLED;
        for backplane in self.backplanes() {
            backplane.settle(until).await;
        }
    }

    /// Whether every publish that was admitted before they were closed has reached all of its channels.
    pub(super) fn are_settled(&self) -> bool {
        self.all().all(|zone| zone.hub.is_settled())
    }

    /// Ends the logs, whose directories are free then; all at once, as each has a disk to wait for.
    pub(super) fn close_logs(&mut self) {
        std::thread::scope(|scope| {
            for zone in &mut self.others {
                scope.spawn(|| zone.close_log());
            }
            self.first.close_log();
        });
    }

    /// Leaves the nodes that share the zones.
    pub(super) fn leave_backplane(&mut self) {
        self.backplanes().for_each(Backplane::end);
        self.all_mut().for_each(|zone| drop(zone.backplane.take()));
    }

    /// Whether logs were handed over and are not kept here.
    pub(super) fn have_no_log(&self) -> bool {
        self.all().any(|zone| zone.state.dir.is_some() && zone.hub.log_health().is_none())
    }

    /// Goes on beside a successor that was given the logs.
    pub(super) fn part_from_successor(&mut self) {
        self.all_mut().for_each(Zone::part_from_successor);
    }

    /// Keeps the logs again that a successor was given.
    pub(super) fn take_logs_back(&mut self) {
        self.all_mut().for_each(Zone::take_log_back);
    }

    /// What operators are told of under these settings: the zone that servers need not name comes first.
    pub(super) fn sources(&self, settings: &Settings) -> Vec<status::Zone> {
        let used = used(settings);
        let source = |(number, zone): (u16, &Zone)| status::Zone {
            name: zone.name.clone(),
            hub: Arc::clone(&zone.hub),
            backplane: zone.backplane.as_ref().map(Backplane::health),
            idle: !used.contains(&number),
        };
        let mut sources: Vec<status::Zone> = (0..).zip(self.all()).map(source).collect();
        sources.sort_by_key(|zone| !is_unnamed(&zone.name));
        sources
    }

    fn all(&self) -> impl Iterator<Item = &Zone> {
        iter::once(&self.first).chain(&self.others)
    }

    fn all_mut(&mut self) -> impl Iterator<Item = &mut Zone> {
        iter::once(&mut self.first).chain(&mut self.others)
    }

    fn backplanes(&self) -> impl Iterator<Item = &Backplane> {
        self.all().filter_map(|zone| zone.backplane.as_ref())
    }
}

/// Waits a moment for zones that join others: nobody is refused where it takes no more than that.
fn await_joined<'z>(zones: impl Iterator<Item = &'z Zone>) {
    let until = Instant::now() + JOINS;
    zones.filter_map(|zone| zone.backplane.as_ref()).for_each(|backplane| backplane.await_joined(until));
}

/// The zones that servers are of which have something of the module.
fn used(settings: &Settings) -> BTreeSet<u16> {
    let servers = settings.listeners.iter().flat_map(|listener| listener.names.all());
    servers.filter(|server| server.pushes).map(|server| server.zone).collect()
}

/// The zones that servers, or all of their servers, have left from one configuration to the next. Whoever subscribes there may wait for
/// what is published elsewhere now.
pub(super) fn left(before: &Settings, after: &Settings) -> BTreeSet<u16> {
    let mut left: BTreeSet<u16> = used(before).difference(&used(after)).copied().collect();
    for listener in &before.listeners {
        let same = after.listeners.iter().find(|other| other.address == listener.address);
        let pairs = same.into_iter().flat_map(|other| successors(&listener.names, &other.names));
        let moved =
            pairs.filter(|(server, successor)| server.pushes && (server.zone != successor.zone || !successor.pushes));
        left.extend(moved.map(|(server, _)| server.zone));
    }
    left
}

/// The servers of a socket, each with the one that answers in its place.
fn successors<'s>(before: &'s ServerNames, after: &'s ServerNames) -> Vec<(&'s Server, &'s Server)> {
    let mut pairs: Vec<(&Server, &Server)> = vec![(&before.default, &after.default)];
    for (host, server) in &before.exact {
        pairs.push((server, find_server(after, host.as_bytes()).0));
    }
    for (host, server) in &after.exact {
        // One that a mask or a regex stood for; what came to the default server was nobody's.
        let (old, _) = find_server(before, host.as_bytes());
        if !Arc::ptr_eq(old, &before.default) {
            pairs.push((old, server));
        }
    }
    for (mask, server) in &before.masks {
        let same = after.masks.iter().find(|(other, _)| other == mask);
        pairs.push((server, same.map_or(&after.default, |(_, server)| server)));
    }
    for (regex, server) in &before.regexes {
        let same = after.regexes.iter().find(|(other, _)| other.source == regex.source);
        pairs.push((server, same.map_or(&after.default, |(_, server)| server)));
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::{LoadOptions, load};

    fn settings(servers: &str, before: Option<&Settings>) -> Settings {
        let text = format!("events {{}} http {{ push_stream_shared_memory_size 1m; {servers} }}");
        let zones = before.map(|settings| settings.zones.clone()).unwrap_or_default();
        let options = LoadOptions { prefix: "/p".into(), text: Some(text), zones, ..LoadOptions::default() };
        load(&options).unwrap().settings
    }

    /// The zones that are left by name.
    fn left_between(before: &str, after: &str) -> Vec<String> {
        let before = settings(before, None);
        let after = settings(after, Some(&before));
        left(&before, &after).into_iter().map(|zone| after.zones[usize::from(zone)].to_string()).collect()
    }

    const NONE: [&str; 0] = [];

    #[test]
    fn a_zone_is_left_where_a_server_or_its_name_is_in_another_one_now() {
        const PUSHES: &str = "location / { push_stream_subscriber; push_stream_channels_path $uri; }";
        let server = |names: &str, zone: &str| {
            format!("server {{ listen 1; server_name {names}; push_stream_zone {zone}; {PUSHES} }} ")
        };
        let two = server("a", "one") + &server("b", "two");
        assert_eq!(left_between(&two, &two), NONE);
        assert_eq!(left_between(&two, &(server("b", "two") + &server("a", "one"))), ["one"], "another default server");
        assert_eq!(left_between(&two, &(server("a", "one") + &server("b", "three"))), ["two"]);
        assert_eq!(left_between(&two, &server("a", "one")), ["two"], "no server is of it");
        assert_eq!(left_between(&two, &(two.clone() + &server("c", "three"))), NONE, "one more");
        assert_eq!(left_between(&two, &(two.clone() + &server("c", "two"))), NONE);
        assert_eq!(left_between(&two, &two.replace("listen 1", "listen 2")), NONE, "elsewhere");
        for names in ["*.x", "~^b"] {
            let before = server("a", "one") + &server(names, "two");
            assert_eq!(left_between(&before, &before), NONE);
            assert_eq!(left_between(&before, &(server("a", "one") + &server(names, "three"))), ["two"], "{names}");
            let split = before.clone() + &server("b.x", "three");
            assert_eq!(left_between(&before, &split), ["two"], "{names}");
        }
        let unnamed = format!("server {{ listen 1; {PUSHES} }} {}", server("b", "two"));
        assert_eq!(left_between(&unnamed, &format!("push_stream_zone site; {unnamed}")), ["default"]);
        let redirects = format!("server {{ listen 1; return 301 /; }} {}", server("b", "two"));
        assert_eq!(left_between(&redirects, &format!("push_stream_zone site; {redirects}")), NONE, "nobody was there");
        assert_eq!(left_between(&unnamed, &redirects), ["default"]);
    }
}
