//! The threads that serve an application's requests, and what they share.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::available_parallelism;

use tokio::sync::mpsc::UnboundedSender;

use super::now;
use super::subscriptions::Subscriptions;
use super::threads::{self, Call, Shared};
use crate::conf::Settings;
use crate::hub::Hub;

/// Threads without a number in the configuration.
const THREADS: usize = 4;

/// The threads. They end when it is dropped.
pub(super) struct Pool {
    hub: Arc<Hub>,
    settings: Arc<Settings>,
    subscriptions: Arc<Subscriptions>,
    threads: Box<[UnboundedSender<Call>]>,
    next: AtomicUsize,
}

impl Pool {
    /// Starts the threads.
    pub(super) fn start(settings: Arc<Settings>) -> io::Result<Self> {
        let cores = available_parallelism().map_or(1, usize::from);
        let count = settings.process.worker_processes.map_or(cores.min(THREADS), |count| count.max(1));
        let options = settings.capabilities;
        // One more: those who subscribe without HTTP.
        let hub = Arc::new(Hub::new(settings.zone.clone(), options, count + 1, now(), None));
        let subscriptions = Subscriptions::new(Arc::clone(&hub), count);
        let shared = Shared {
            hub: Arc::clone(&hub),
            settings: Arc::clone(&settings),
            views: Arc::default(),
            limiter: Arc::default(),
            tally: Arc::default(),
            subscriptions: Arc::clone(&subscriptions),
        };
        let threads = (0..count).map(|index| threads::start(index, shared.clone())).collect::<io::Result<_>>()?;
        Ok(Self { hub, settings, subscriptions, threads, next: AtomicUsize::new(0) })
    }

    /// Channels and messages.
    pub(super) fn hub(&self) -> &Hub {
        &self.hub
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
