//! Follows the stream: reads its entries in order over a connection of its own and applies each to the hub.
//!
//! Invariant: the numbers of entries have no gap. Where one is found the zone is read anew (`snapshot`), and what comes meanwhile is `kept` and then
//! applied as ever; where the server has lost entries that were applied here, it goes on behind the place at which the next server process began,
//! and that is told. The node has joined when it has come to the end of the stream for the first time.

use std::sync::Arc;
use std::time::Duration;

use redis::RedisError;
use tokio::sync::watch;
use tokio::time::sleep;

use super::health::Health;
use super::installation::Installation;
use super::kept::Kept;
use super::keys::Keys;
use super::link::{Link, Linker, failure, is_no_answer};
use super::position::{Gap, Loss, Onward, Position};
use super::record::{Record, What, marks};
use super::script::BYTES;
use super::snapshot;
use super::stream::{self, StreamId, patience_for};
use super::waiting::Waiting;
use crate::hub::Hub;
use crate::log::Entry;
use crate::model::{ALERT, Now, Tick};

/// Entries applied before others get their turn.
const BATCH: usize = 1000;
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
    /// Tells the moment at which entries came.
    clock: fn() -> Tick,
    position: Option<Position>,
    /// Whether the position is known to lead nowhere.
    astray: bool,
    /// What was read behind what is applied.
    kept: Kept,
    /// Entries that could not be read.
    unreadable: u64,
}

impl Tail {
    pub(super) fn new(
        linker: Linker,
        keys: Keys,
        (waiting, health, hub): (Arc<Waiting>, Arc<Health>, Arc<Hub>),
        node: String,
        clock: fn() -> Tick,
    ) -> Self {
        // What a node cannot hold it need not keep; and as much as the log holds at least, so that a small one joins too.
        let most = usize::try_from(hub.census(Now::default()).memory_limit).unwrap_or(usize::MAX).max(BYTES);
        let kept = Kept::new(keys.log.clone(), most);
        Self { linker, keys, waiting, health, hub, node, clock, position: None, astray: false, kept, unreadable: 0 }
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
                    self.astray = true;
                }
                Stop::Early => sleep(AGAIN).await,
                Stop::Broken(error) => {
                    if is_no_answer(&error) {
                        self.kept.is_late();
                    }
                    let moved = self.linker.learn(&error);
                    self.linker.broken.notify_waiters();
                    if !told && !moved {
                        tracing::warn!("the backplane's log cannot be read: {error}");
                    }
                    told |= !moved;
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
        marks.can_be_followed()?;
        let (place, loss) = match position.onward(&marks.zone, &marks.lineage, marks.entries) {
            Onward::Here if self.astray => (None, None),
            Onward::Here => {
                let id = position.id.to_string();
                let there = stream::range(link, &self.keys.log, &id, &id, 1, stream::PATIENCE).await?;
                let is_there = there.first().is_some_and(|(_, bytes)| position.is_at(bytes));
                // Of one that is only the place before an entry nothing stands there.
                if !is_there && position.checksum.is_some() {
                    return Err(Stop::Gap);
                }
                (Some(position), None)
            }
            Onward::Behind(number, loss) => (self.find(link, &position, number).await?, loss),
            Onward::Anew(loss) => (None, loss),
            Onward::Later => return Err(Stop::Early),
        };
        let position = if let Some(place) = place {
            self.kept.begin_behind(place.id, marks.mean);
            place
        } else {
            if !self.astray {
                tracing::warn!(
                    "the backplane's log does not reach back to what this node shares with it: the zone is read anew"
                );
            }
            self.join(link).await?
        };
        if let Some(loss) = loss {
            self.tell(loss);
        }
        self.astray = false;
        Ok(position)
    }

    /// The place behind an entry of the log, if the next one is still there.
    async fn find(&self, link: &mut Link, position: &Position, number: u64) -> Result<Option<Position>, Stop> {
        let mut from = "-".to_owned();
        loop {
            let count = self.kept.asked();
            let page = stream::range(link, &self.keys.log, &from, "+", count, patience_for(count)).await?;
            let found = page.iter().find_map(|(id, bytes)| position.before(number, *id, bytes));
            match page.last() {
                Some((last, _)) if found.is_none() && page.len() == count => from = format!("({last}"),
                _ => return Ok(found),
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

    /// A message came whose place is before what this node has told its clients.
    fn passed_over(&self) {
        if self.health.passed_over() {
            tracing::error!(
                target: ALERT,
                "the backplane gave a message a place that was passed already: it is not shown on this node (were the clocks of its servers set back?)"
            );
        }
    }

    /// Reads the whole zone. What breaks the connection while it is installed is told when what was kept until then is applied.
    async fn join(&mut self, link: &mut Link) -> Result<Position, Stop> {
        let began = std::time::Instant::now();
        let server = link.server.clone();
        let snapshot = tokio::select! {
            snapshot = snapshot::load(link, &self.keys, &self.node, &mut self.kept) => snapshot?.ok_or(Stop::Early)?,
            () = self.linker.mandate.is_revoked(&server) => return Err(revoked()),
        };
        let (channels, messages) = (snapshot.channels.len(), snapshot.messages.len());
        let (epoch, skipped) = snapshot.marks.epoch;
        self.health.epoch_is(epoch, skipped);
        let (position, done) = (snapshot.position.clone(), snapshot.marks.done);
        let mut installation = Installation::new(snapshot, &self.hub);
        while installation.go_on(&self.hub, BATCH) {
            tokio::task::yield_now().await;
            self.kept.keep_up(link).await;
            self.await_workers(link).await;
        }
        self.waiting.all_came_back(done);
        self.waiting.has_come_to(position.id);
        self.health.zone_was_read();
        self.astray = false;
        tracing::info!(
            target: "notice",
            "{messages} messages in {channels} channels come from the backplane ({} ms), {} entries have come meanwhile",
            began.elapsed().as_millis(),
            self.kept.len()
        );
        self.kept.keep_up(link).await;
        if self.kept.is_at_end() {
            self.come_to_the_end();
        }
        Ok(position)
    }

    /// Workers that are behind catch up; what comes meanwhile is kept.
    async fn await_workers(&mut self, link: &mut Link) {
        while self.hub.has_many_notes() {
            sleep(PAUSE).await;
            self.kept.keep_up(link).await;
        }
    }

    /// Everything is here that the others have: from now on this node serves.
    fn come_to_the_end(&self) {
        if !self.health.has_joined() {
            self.hub.join();
            self.health.joined();
        }
    }

    /// Applies entries, read before or now.
    async fn read(&mut self, link: &mut Link, position: &mut Position) -> Result<(), Stop> {
        self.await_workers(link).await;
        if self.kept.is_empty() {
            let server = link.server.clone();
            tokio::select! {
                read = self.kept.wait(link) => read?,
                () = self.linker.mandate.is_revoked(&server) => return Err(revoked()),
            }
        } else {
            tokio::task::yield_now().await;
            self.kept.keep_up(link).await;
        }
        let (mut count, unreadable, came) = (0, self.unreadable, (self.clock)());
        while count < BATCH as u64
            && let Some((id, bytes)) = self.kept.next()
        {
            self.apply(id, &bytes, position, came)?;
            count += 1;
        }
        self.waiting.has_come_to(position.id);
        let at_end = self.kept.is_at_end();
        if self.health.applied(count, position.id, at_end) {
            return Err(failure("entries that it has told of do not come").into());
        }
        if at_end {
            self.come_to_the_end();
        }
        if self.unreadable > unreadable
            && let Some(marks) = snapshot::marks(link, &self.keys).await?
        {
            marks.can_be_followed()?;
        }
        Ok(())
    }

    /// Applies an entry that came at this moment.
    fn apply(&mut self, id: StreamId, bytes: &[u8], position: &mut Position, came: Tick) -> Result<(), Gap> {
        let (record, loss) = position.advance(id, bytes)?;
        if let Some(loss) = loss {
            self.tell(loss);
        }
        let Some(Record { stamp, what, .. }) = record else {
            self.unreadable += 1;
            // Who writes one writes many.
            if self.unreadable.is_power_of_two() {
                tracing::error!(target: ALERT, "the backplane's log holds entries that cannot be read: {} so far", self.unreadable);
            }
            return Ok(());
        };
        match what {
            What::Change(entry, origin) => {
                let publishes = matches!(entry, Entry::Publish(_));
                let own = *origin.node == *self.node;
                // Clocks of other nodes are their own: a message of theirs is timed from here on.
                let at = if own { self.waiting.handed_in_at(origin.number) } else { came };
                let found = self.hub.apply_timed(entry, Now::default(), at);
                if publishes && !found {
                    self.passed_over();
                }
                if own {
                    self.waiting.came_back(origin.number, found || publishes);
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

/// The server is not the one any more that is followed.
fn revoked() -> Stop {
    failure("the sentinels name another server").into()
}
