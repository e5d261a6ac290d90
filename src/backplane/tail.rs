//! Follows the stream: reads its entries in order over a connection of its own and applies each to the hub.
//!
//! Invariant: the numbers of entries have no gap. Where one is found the zone is read anew (`snapshot`); where the server has lost entries
//! that were applied here, it goes on behind the place at which the next server process began, and that is told.

use std::sync::Arc;
use std::time::Duration;

use redis::RedisError;
use tokio::sync::watch;
use tokio::time::sleep;

use super::health::Health;
use super::keys::Keys;
use super::link::{Link, Linker, failure};
use super::position::{Gap, Loss, Position};
use super::record::{Record, What, marks};
use super::snapshot::{self, Marks};
use super::stream::{self, StreamId};
use super::waiting::Waiting;
use crate::hub::Hub;
use crate::log::Entry;
use crate::model::{ALERT, Now};

/// Entries read at once.
const COUNT: usize = 1000;
/// How often it is looked whether workers that are behind have caught up.
const PAUSE: Duration = Duration::from_millis(2);
/// Between attempts to read.
const AGAIN: Duration = Duration::from_millis(50);

/// Why reading stopped.
enum Stop {
    /// The connection, or what came over it.
    Broken(RedisError),
    /// What came is not what follows.
    Gap,
    /// No node has begun the zone yet.
    Early,
}

impl From<Gap> for Stop {
    fn from(_: Gap) -> Self {
        Self::Gap
    }
}

impl From<RedisError> for Stop {
    fn from(error: RedisError) -> Self {
        Self::Broken(error)
    }
}

/// The tail.
pub(super) struct Tail {
    linker: Linker,
    keys: Keys,
    waiting: Arc<Waiting>,
    health: Arc<Health>,
    hub: Arc<Hub>,
    node: String,
    position: Option<Position>,
}

impl Tail {
    pub(super) fn new(
        linker: Linker,
        keys: Keys,
        (waiting, health, hub): (Arc<Waiting>, Arc<Health>, Arc<Hub>),
        node: String,
    ) -> Self {
        Self { linker, keys, waiting, health, hub, node, position: None }
    }

    /// Follows until it is over.
    pub(super) async fn run(mut self, mut over: watch::Receiver<bool>) {
        tokio::select! {
            // The sender is gone with the process.
            _ = over.changed() => {}
            () = self.follow() => {}
        }
    }

    async fn follow(&mut self) {
        let mut told = false;
        loop {
            match self.read_on().await {
                Stop::Gap => {
                    tracing::warn!(
                        "the backplane's log does not reach back to where this node is: the zone is read anew"
                    );
                    self.position = None;
                }
                Stop::Early => sleep(AGAIN).await,
                Stop::Broken(error) => {
                    self.linker.learn(&error);
                    if !told {
                        tracing::warn!("the backplane's log cannot be read: {error}");
                    }
                    told = true;
                    sleep(AGAIN).await;
                    continue;
                }
            }
            told = false;
        }
    }

    /// Reads over one connection until that is not possible any more.
    async fn read_on(&mut self) -> Stop {
        let mut link = match self.linker.link().await {
            Ok(link) => link,
            Err(error) => return error.into(),
        };
        match self.begin(&mut link).await {
            Ok(mut position) => {
                let stop = loop {
                    if let Err(stop) = self.read(&mut link, &mut position).await {
                        break stop;
                    }
                };
                self.position = Some(position);
                stop
            }
            Err(stop) => stop,
        }
    }

    /// Where to go on.
    async fn begin(&mut self, link: &mut Link) -> Result<Position, Stop> {
        let Some(position) = self.position.clone() else { return self.join(link).await };
        let marks = snapshot::marks(link, &self.keys).await?.ok_or(Stop::Early)?;
        let id = position.id.to_string();
        let there = stream::range(link, &self.keys.log, &id, &id, 1).await?;
        if there.first().is_some_and(|(_, bytes)| position.is_at(bytes))
            || (position.number == 0 && marks.epoch == position.epoch)
        {
            return Ok(position);
        }
        if marks.epoch == position.epoch {
            return Err(Stop::Gap);
        }
        self.begin_after_loss(link, position).await
    }

    /// Looks for the place at which the server process after that began which wrote what was applied last.
    async fn begin_after_loss(&self, link: &mut Link, before: Position) -> Result<Position, Stop> {
        let mut from = "-".to_owned();
        loop {
            let page = stream::range(link, &self.keys.log, &from, "+", COUNT).await?;
            for (id, bytes) in &page {
                if let Some((position, loss)) = before.after_loss(*id, bytes) {
                    if let Some(loss) = loss {
                        self.tell(loss);
                    }
                    return Ok(position);
                }
            }
            match page.last() {
                Some((last, _)) if page.len() == COUNT => from = format!("({last}"),
                _ => return Err(Stop::Gap),
            }
        }
    }

    fn tell(&self, loss: Loss) {
        self.health.lost_entries();
        let lost = match loss {
            Loss::Everything => "everything".to_owned(),
            Loss::Entries(count) => format!("{count} entries"),
        };
        tracing::error!(
            target: ALERT,
            "the backplane has lost {lost} that this node had: what was stored of it stays with the nodes that have it"
        );
    }

    /// Reads the whole zone.
    async fn join(&mut self, link: &mut Link) -> Result<Position, Stop> {
        let began = std::time::Instant::now();
        let snapshot = snapshot::load(link, &self.keys, &self.node).await?;
        let snapshot = snapshot.ok_or(Stop::Early)?;
        let (channels, messages) = (snapshot.channels.len(), snapshot.messages.len());
        let Marks { epoch, .. } = &snapshot.marks;
        self.health.epoch_is(epoch.number, epoch.skipped);
        let (position, done) = (snapshot.position.clone(), snapshot.marks.done);
        snapshot.install(&self.hub).await;
        self.waiting.all_came_back(done);
        self.hub.join();
        self.health.joined();
        tracing::info!(
            target: "notice",
            "{messages} messages in {channels} channels come from the backplane ({} ms)",
            began.elapsed().as_millis()
        );
        Ok(position)
    }

    /// Reads entries once and applies them.
    async fn read(&mut self, link: &mut Link, position: &mut Position) -> Result<(), Stop> {
        while self.hub.has_many_notes() {
            sleep(PAUSE).await;
        }
        let entries = stream::read_after(link, &self.keys.log, position.id, COUNT).await?;
        let count = entries.len();
        for (id, bytes) in entries {
            self.apply(id, &bytes, position)?;
        }
        if self.health.applied(count as u64, position.id, count < COUNT) {
            return Err(failure("entries that it has told of do not come").into());
        }
        Ok(())
    }

    fn apply(&self, id: StreamId, bytes: &[u8], position: &mut Position) -> Result<(), Gap> {
        let (record, loss) = position.advance(id, bytes)?;
        if let Some(loss) = loss {
            self.tell(loss);
        }
        let Some(Record { stamp, what, .. }) = record else {
            tracing::error!(target: ALERT, "the backplane's log holds an entry that cannot be read");
            return Ok(());
        };
        match what {
            What::Change(entry, origin) => {
                let publishes = matches!(entry, Entry::Publish(_));
                let found = self.hub.apply(entry, Now::default()) || publishes;
                if *origin.node == *self.node {
                    self.waiting.came_back(origin.number, found);
                }
            }
            What::Time(marks) => {
                self.hub.apply(Entry::Marks(marks), Now::default());
            }
            What::Epoch(epoch) => {
                self.hub.apply(Entry::Marks(marks(stamp, 0)), Now::default());
                self.health.epoch_is(epoch.number, epoch.skipped);
                tracing::info!(target: "notice", "epoch {} of the backplane begins", epoch.number);
            }
        }
        Ok(())
    }
}
