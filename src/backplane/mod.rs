//! The backplane: the order of a zone that several nodes share, made by a script in Redis or Valkey.
//!
//! Everything that knows Redis is here, on a thread of its own; the hub sees entries and [`crate::hub::Order`]. What is published waits in
//! `waiting`, goes out in batches by `writer` (one script call each, `script`), and comes back to every node by `tail`, which applies it in
//! order. Who joins, or was away longer than the stream reaches, reads all of the zone (`snapshot`) while the stream is `kept`, and has an
//! `installation` bring it into the hub. `census` asks other nodes for counts. Invariant: nothing is acknowledged that was not
//! applied here after Redis stored it; what Redis lost is told.

mod census;
mod health;
mod installation;
mod kept;
mod keys;
mod lineage;
mod link;
mod mandate;
mod position;
mod record;
mod script;
#[cfg(test)]
mod simulation;
mod snapshot;
mod stream;
mod tail;
mod waiting;
mod writer;

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use thiserror::Error;
use tokio::sync::watch;

use crate::conf::is_unnamed;
use crate::conf::settings::Backplane as Settings;
use crate::hub::Hub;
use crate::model::Tick;

#[cfg(test)]
pub use health::NodeView;
pub use health::{Health, HealthView};

use census::Census;
use keys::Keys;
use link::Linker;
use tail::Tail;
use waiting::Waiting;
use writer::Writer;

/// Why there is no backplane.
#[derive(Debug, Error)]
pub enum BackplaneError {
    /// A file that was named cannot be read.
    #[error("{}: {error}", path.display())]
    File {
        /// The file.
        path: std::path::PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// What was configured cannot be used.
    #[error("the backplane cannot be used: {0}")]
    Unusable(String),
    /// No thread.
    #[error("the backplane cannot be served: {0}")]
    Thread(#[from] io::Error),
}

/// How the backplane of the settings is reached, with what the files say that they name, and which zone is asked for there.
#[derive(Clone)]
pub struct Reached {
    linker: Linker,
    zone: Box<str>,
}

impl Reached {
    /// Reads those files; nothing if the settings name no backplane.
    pub fn read(settings: &Settings) -> Result<Option<Self>, BackplaneError> {
        let Some(address) = &settings.address else { return Ok(None) };
        Ok(Some(Self { linker: Linker::new(address, settings)?, zone: settings.zone.clone() }))
    }

    /// The same for a zone of the process: one of its own at the backplane, which may be elsewhere in a cluster. The one that servers need not
    /// name is where everything was before there were zones.
    #[must_use]
    pub fn of_zone(&self, name: &str) -> Self {
        // No name of a zone has a slash in it.
        let zone = if is_unnamed(name) { self.zone.clone() } else { format!("{}/{name}", self.zone).into() };
        Self { linker: self.linker.anew(), zone }
    }
}

/// A backplane in use.
pub struct Backplane {
    waiting: Arc<Waiting>,
    health: Arc<Health>,
    over: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Backplane {
    /// Has the order of the hub made by the backplane. `name` is what the node is called in lists, `clock` tells the moment at which
    /// something comes.
    pub fn start(reached: Reached, hub: &Arc<Hub>, name: String, clock: fn() -> Tick) -> Result<Self, BackplaneError> {
        let Reached { linker, zone } = reached;
        let keys = Keys::new(&zone);
        let health = Arc::new(Health::new());
        let waiting = Arc::new(Waiting::new(Arc::clone(&health)));
        hub.follow(Arc::clone(&waiting) as _);
        let (over, ended) = watch::channel(false);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let node = unique();
        let shared = (Arc::clone(&waiting), Arc::clone(&health), Arc::clone(hub));
        let writer = Writer::new(linker.clone(), keys.clone(), shared.clone(), (node.clone(), name));
        let census = Census::new(linker.clone(), keys.clone(), waiting.questions(), Arc::clone(hub), node.clone());
        let tail = Tail::new(linker, keys, shared, node, clock);
        let thread = std::thread::Builder::new().name("backplane".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::join!(writer.run(ended.clone()), census.run(ended.clone()), tail.run(ended));
            });
        })?;
        Ok(Self { waiting, health, over, thread: Some(thread) })
    }

    /// Its state, for whoever asks at any time.
    pub fn health(&self) -> Arc<Health> {
        Arc::clone(&self.health)
    }

    /// Has it end by itself soon; dropping it waits for that.
    pub fn end(&self) {
        self.waiting.give_up();
        // Nobody listens where the thread has ended.
        let _ = self.over.send(true);
    }

    /// Waits until it has joined, though not for ever: what takes longer is told to those who come meanwhile.
    pub fn await_joined(&self, until: Instant) {
        while !self.health.has_joined() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Has what waits settled: what does not come back until then will not be waited for.
    pub async fn settle(&self, until: Instant) {
        while !self.waiting.is_settled() && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        self.waiting.give_up();
    }
}

/// A name that no other process has.
fn unique() -> String {
    let random = RandomState::new().hash_one(std::process::id());
    format!("{random:016x}")
}

impl Drop for Backplane {
    fn drop(&mut self) {
        self.end();
        if let Some(thread) = self.thread.take() {
            // Its panic has been told.
            let _ = thread.join();
        }
    }
}
