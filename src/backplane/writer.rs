//! Takes what waits to the server, a batch a call, and says once a second that this node lives.
//!
//! One call at a time: what comes meanwhile goes with the next one. A batch that is not answered is sent again over a new connection; the
//! script knows what it has done already. To another server process it is not: other nodes may have seen what that one lost. Nothing is
//! applied here: that is the tail's business.

use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::RedisError;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::health::Health;
use super::keys::Keys;
use super::link::{Link, Linker, failure, is_an_answer, is_over, within};
use super::script::{Answer, Caller, Seen};
use super::waiting::{Operation, Waiting};
use crate::hub::{Hub, Terms};
use crate::model::{ALERT, Now};

/// How often the node says that it lives, and that time goes on.
const BEAT: Duration = Duration::from_secs(1);
/// How often those are looked for who have waited too long.
const LOOK: Duration = Duration::from_millis(100);
/// Pauses before the next attempt, when one has failed.
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
            () = self.linker.watch() => {}
        }
        if let Some(mut link) = link {
            let mut farewell = redis::cmd("HDEL");
            farewell.arg(&self.keys.nodes).arg(&self.caller.node);
            // It would be forgotten in a moment anyway.
            let _ = within::<()>(farewell.query_async(&mut link.connection)).await;
        }
    }

    async fn look(&self) {
        loop {
            sleep(LOOK).await;
            self.waiting.expire(Instant::now());
        }
    }

    async fn write(&self, place: &mut Option<Link>) {
        let mut failures = 0;
        let mut beat = interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let new = place.is_none();
            let mut link = if let Some(link) = place.take() {
                link
            } else {
                pause(failures).await;
                self.connect(&mut failures).await
            };
            let beats = tokio::select! {
                _ = beat.tick() => true,
                () = self.waiting.some() => false,
                // The other connection is heard to break; this one is asked before anything is entrusted to it.
                () = self.linker.broken.notified() => true,
                () = self.linker.mandate.is_revoked(&link.server) => {
                    self.lost(&failure("the sentinels name another server"));
                    continue;
                }
            };
            let (batch, asking) = (self.waiting.batch(&link.run), self.waiting.asking());
            match self.call(&mut link, beats, &batch).await {
                Ok(answer) => {
                    self.done(&batch, &answer);
                    self.waiting.wait_for(asking, answer.last);
                    failures = 0;
                    if new {
                        self.entered(&link);
                    }
                    *place = Some(link);
                }
                Err(error) if is_over(&error) => {
                    if is_an_answer(&error) {
                        self.waiting.not_done(&batch);
                    }
                    self.lost(&error);
                    failures += 1;
                    beat.reset_immediately();
                }
                Err(error) => {
                    // It answers, and takes nothing: out of memory, no right to write.
                    if new {
                        self.entered(&link);
                    }
                    self.refuses(&error.to_string());
                    self.waiting.refused(&batch);
                    *place = Some(link);
                }
            }
        }
    }

    /// Takes what was done out of the queue; where the server stopped halfway, the operation that it could not do, and the rest goes again.
    fn done(&self, batch: &[Arc<Operation>], answer: &Answer) {
        let (done, rest) = batch.split_at(batch.partition_point(|operation| operation.number <= answer.done));
        self.waiting.taken(done);
        let Some((why, partly)) = &answer.failed else {
            if self.health.refuses(None) {
                tracing::info!(target: "notice", "the backplane takes what is published again");
            }
            return;
        };
        self.refuses(why);
        self.waiting.not_done(rest);
        let Some((failed, _)) = rest.split_first() else { return };
        let failed = std::slice::from_ref(failed);
        if *partly > 0 {
            self.waiting.unanswered(failed);
        } else {
            self.waiting.refused(failed);
        }
    }

    fn refuses(&self, why: &str) {
        if self.health.refuses(Some(why)) {
            tracing::error!(target: ALERT, "the backplane refuses what is published: {why}");
        }
    }

    /// The server does what it is asked.
    fn entered(&self, link: &Link) {
        self.health.linked(&link.server);
        tracing::info!(target: "notice", "the backplane is at {}", link.server);
        if let Some(policy) = &link.evicts {
            tracing::warn!(
                "the backplane drops what it holds when its memory is full (maxmemory-policy {policy}): noeviction is what it should have"
            );
        }
    }

    async fn call(&self, link: &mut Link, beats: bool, batch: &[Arc<Operation>]) -> Result<Answer, RedisError> {
        let seen = Seen { stamp: self.hub.last_stamp(), skipped: self.health.skipped() };
        let about = if beats {
            let Terms { ttl, most, inactivity } = self.hub.terms();
            let most = most.map_or_else(|| "-".to_owned(), |most| most.to_string());
            let subscribers = self.hub.census(Now::default()).subscribers;
            format!("{subscribers} {ttl}/{most}/{inactivity} {}", self.name)
        } else {
            String::new()
        };
        let deadline = link.deadline(&self.linker.mandate);
        let answer = self.caller.call(link, (seen, deadline), &about, batch).await?;
        self.health.told(answer.last, answer.skipped);
        if beats && let Some(other) = self.health.nodes_are(&answer.nodes, &self.caller.node, answer.now) {
            tracing::warn!(
                "{other} shares this zone of the backplane and has another message ttl, inactivity or number of stored messages: nodes \
                 belong to be configured alike"
            );
        }
        Ok(answer)
    }

    fn lost(&self, error: &RedisError) {
        if self.linker.learn(error) {
            // It only says where to go.
            return;
        }
        if self.health.lost(&error.to_string()) {
            tracing::warn!("the backplane is away: {error}");
        }
    }

    /// A connection to a server of which it is known what it has done of what was sent to another one.
    async fn link(&self) -> Result<Link, RedisError> {
        let mut link = self.linker.link().await?;
        if self.waiting.has_sent_elsewhere(&link.run) {
            let mut done = redis::cmd("HGET");
            done.arg(&self.keys.zone).arg(format!("n:{}", self.caller.node));
            let done: Option<u64> = within(done.query_async(&mut link.connection)).await?;
            self.waiting.goes_elsewhere(&link.run, done.unwrap_or(0));
        }
        Ok(link)
    }

    async fn connect(&self, failures: &mut usize) -> Link {
        loop {
            match self.link().await {
                Ok(link) => return link,
                Err(error) => self.lost(&error),
            }
            *failures += 1;
            pause(*failures).await;
        }
    }
}

/// So that a server which refuses everything for a while is not asked without end.
async fn pause(failures: usize) {
    if let Some(last) = failures.checked_sub(1) {
        sleep(PAUSES.get(last).copied().unwrap_or(Duration::from_millis(500))).await;
    }
}
