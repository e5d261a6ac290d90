//! The threads that serve an application's requests, and what they share.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;

use super::failure::Error;
use super::now;
use super::subscriptions::Subscriptions;
use super::threads::{self, Call, Shared};
use crate::backplane::{Backplane, Reached};
use crate::conf::Settings;
use crate::hub::Hub;
use crate::log::OpenLog;
use crate::metrics::{Tally, tick};
use crate::site::vars::hostname;

/// Threads without a number in the configuration.
const THREADS: usize = 4;
/// How often it is looked whether publishes under way have reached all of their channels.
const SETTLE: Duration = Duration::from_millis(1);
/// How long an end waits for what waits for its turn.
const SETTLED: Duration = Duration::from_millis(700);

/// The threads. They end when it is dropped, and so does the log.
pub(super) struct Pool {
    hub: Arc<Hub>,
    settings: Arc<Settings>,
    subscriptions: Arc<Subscriptions>,
    /// Where the order is made, if nodes share the channels.
    backplane: Option<Backplane>,
    threads: Box<[UnboundedSender<Call>]>,
    next: AtomicUsize,
}

impl Pool {
    /// Starts the threads.
    pub(super) fn start(settings: Arc<Settings>) -> Result<Self, Error> {
        if settings.zones.len() > 1 {
            return Err(Error::Zones);
        }
        let cores = available_parallelism().map_or(1, usize::from);
        let count = settings.process.worker_processes.map_or(cores.min(THREADS), |count| count.max(1));
        let options = settings.capabilities;
        // One more: those who subscribe without HTTP.
        let hub = Arc::new(Hub::new(settings.zone.clone(), options, count + 1, now(), None));
        let state = settings.zones.first().map_or_else(|| settings.state.clone(), |zone| settings.state.of_zone(zone));
        let reached = Reached::read(&settings.backplane)?;
        if let Some(dir) = &state.dir {
            if reached.is_some() {
                let dir = dir.display();
                tracing::warn!("messages outlive the process in the backplane, {dir} is not used");
            } else {
                hub.take_up(OpenLog::open(dir)?, 0, state.sync, now)?;
            }
        }
        let subscriptions = Subscriptions::new(Arc::clone(&hub), count);
        let backplane = match (reached, settings.zones.first()) {
            (Some(reached), Some(zone)) => {
                let name = format!("{}:{}", hostname(), std::process::id());
                Some(Backplane::start(reached.of_zone(zone), &hub, name, tick)?)
            }
            _ => None,
        };
        let shared = Shared {
            hub: Arc::clone(&hub),
            settings: Arc::clone(&settings),
            views: Arc::default(),
            limiter: Arc::default(),
            tally: Arc::new(Tally::new(count)),
            subscriptions: Arc::clone(&subscriptions),
        };
        let threads = (0..count).map(|index| threads::start(index, shared.clone())).collect::<io::Result<_>>()?;
        Ok(Self { hub, settings, subscriptions, backplane, threads, next: AtomicUsize::new(0) })
    }

    /// Returns when it has what the nodes have that share its channels.
    pub(super) async fn joined(&self) {
        while self.hub.check_joined().is_err() {
            tokio::time::sleep(SETTLE).await;
        }
    }

    /// Takes no more from publishers, has those told who wait for their turn, and leaves the other nodes.
    pub(super) async fn settle(&self) {
        let Some(backplane) = &self.backplane else { return };
        self.hub.set_closed(true);
        backplane.settle(Instant::now() + SETTLED).await;
        backplane.end();
    }

    /// Channels and messages.
    pub(super) fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    /// Takes no more from publishers, and writes what they were told to be published to the end of the log. Whatever is called
    /// first does it.
    pub(super) fn close(hub: &Hub) {
        hub.set_closed(true);
        while !hub.is_settled() {
            std::thread::sleep(SETTLE);
        }
        hub.close_log();
    }

    /// The configuration.
    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Those who subscribe without HTTP.
    pub(super) fn subscriptions(&self) -> &Arc<Subscriptions> {
        &self.subscriptions
    }

    /// Has a thread take a call; false if none can.
    pub(super) fn call(&self, call: Call) -> bool {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        self.threads.get(turn % self.threads.len().max(1)).is_some_and(|thread| thread.send(call).is_ok())
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if let Some(backplane) = &self.backplane {
            backplane.end();
        }
        Self::close(&self.hub);
    }
}
