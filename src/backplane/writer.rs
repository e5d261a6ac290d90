//! Takes what waits to the server, a batch a call, and says once a second that this node lives.
//!
//! One call at a time: what comes meanwhile goes with the next one. A batch that is not answered is sent again over a new connection; the
//! script knows what it has done already. Nothing is applied here: that is the tail's business.

use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::RedisError;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::health::Health;
use super::keys::Keys;
use super::link::{Link, Linker, is_over};
use super::script::{Caller, Seen};
use super::waiting::{Operation, Waiting};
use crate::hub::Hub;
use crate::model::{ALERT, Now};

/// How often the node says that it lives, and that time goes on.
const BEAT: Duration = Duration::from_secs(1);
/// How often those are looked for who have waited too long.
const LOOK: Duration = Duration::from_millis(100);
/// Pauses between attempts to connect.
const PAUSES: [Duration; 4] =
    [Duration::from_millis(10), Duration::from_millis(50), Duration::from_millis(200), Duration::from_millis(500)];

/// The writer.
pub(super) struct Writer {
    linker: Linker,
    caller: Caller,
    keys: Keys,
    waiting: Arc<Waiting>,
    health: Arc<Health>,
    hub: Arc<Hub>,
    name: String,
}

impl Writer {
    pub(super) fn new(
        linker: Linker,
        keys: Keys,
        (waiting, health, hub): (Arc<Waiting>, Arc<Health>, Arc<Hub>),
        (node, name): (String, String),
    ) -> Self {
        Self { linker, caller: Caller::new(keys.clone(), node), keys, waiting, health, hub, name }
    }

    /// Writes until it is over, and takes its name off the list of nodes.
    pub(super) async fn run(self, mut over: watch::Receiver<bool>) {
        let mut link = None;
        tokio::select! {
            // The sender is gone with the process.
            _ = over.changed() => {}
            () = self.write(&mut link) => {}
            () = self.look() => {}
        }
        if let Some(mut link) = link {
            let mut farewell = redis::cmd("HDEL");
            farewell.arg(&self.keys.nodes).arg(&self.caller.node);
            // It would be forgotten in a moment anyway.
            let _ = super::link::within::<()>(farewell.query_async(&mut link.connection)).await;
        }
    }

    async fn look(&self) {
        loop {
            sleep(LOOK).await;
            self.waiting.expire(Instant::now());
        }
    }

    async fn write(&self, place: &mut Option<Link>) {
        let mut beat = interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let mut link = match place.take() {
                Some(link) => link,
                None => self.connect().await,
            };
            let beats = tokio::select! {
                _ = beat.tick() => true,
                () = self.waiting.some() => false,
            };
            let batch = self.waiting.batch();
            match self.call(&mut link, beats, &batch).await {
                Ok(()) => {
                    self.waiting.taken(&batch);
                    *place = Some(link);
                }
                Err(error) if is_over(&error) => {
                    self.lost(&error);
                    beat.reset_immediately();
                }
                Err(error) => {
                    // It answers, and takes nothing: out of memory, no right to write.
                    if self.health.refuses(Some(&error.to_string())) {
                        tracing::error!(target: ALERT, "the backplane refuses what is published: {error}");
                    }
                    self.waiting.refused(&batch);
                    *place = Some(link);
                }
            }
        }
    }

    async fn call(&self, link: &mut Link, beats: bool, batch: &[Arc<Operation>]) -> Result<(), RedisError> {
        let seen = Seen { stamp: self.hub.last_stamp(), skipped: self.health.skipped() };
        let about = if beats {
            format!("{} {}", self.hub.census(Now::default()).subscribers, self.name)
        } else {
            String::new()
        };
        let answer = self.caller.call(link, seen, &about, batch).await?;
        self.health.told(answer.last, answer.skipped);
        if beats {
            self.health.nodes_are(&answer.nodes, &self.caller.node, answer.now);
        }
        if self.health.refuses(None) {
            tracing::info!(target: "notice", "the backplane takes what is published again");
        }
        Ok(())
    }

    fn lost(&self, error: &RedisError) {
        self.linker.learn(error);
        if self.health.lost(&error.to_string()) {
            tracing::warn!("the backplane is away: {error}");
        }
    }

    async fn connect(&self) -> Link {
        let mut pauses = PAUSES.iter();
        loop {
            match self.linker.link().await {
                Ok(link) => {
                    self.health.linked(&link.server);
                    tracing::info!(target: "notice", "the backplane is at {}", link.server);
                    return link;
                }
                Err(error) => self.lost(&error),
            }
            sleep(pauses.next().copied().unwrap_or(Duration::from_millis(500))).await;
        }
    }
}
