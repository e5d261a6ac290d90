//! What was handed in and has not come back: the queue of operations on their way out, and who waits for each.
//!
//! It does not know Redis. Bounded in count and bytes: what is over is refused at once. Invariant: whoever waits is told exactly once, "done" only
//! of what has come back; what was never sent is refused as not published, what may have been sent as unknown.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::census::Questions;
use super::health::Health;
use super::link::transfer_of;
use super::record::{deletion_payload, message_payload};
use super::stream::StreamId;
use crate::hub::{Found, Order, Outcome, Terms, Told};
use crate::model::{ChannelId, Draft, Refusal, Tick};

/// Most operations that wait.
const MOST: usize = 10_000;
/// Most bytes of them.
const MOST_BYTES: usize = 64 << 20;
/// Bytes one operation is taken to occupy beside its texts.
const OPERATION: usize = 200;
/// How long anybody waits.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long it may take this node to come to where the zone is.
const CATCHES_UP: Duration = Duration::from_secs(2);
/// Channels of one batch, and bytes: what the script does at once.
const BATCH: usize = 256;
const BATCH_BYTES: usize = 1 << 20;
/// Seconds the counts of a channel are kept longer than its messages and itself, lest ids go back.
const COUNTS: u64 = 3600;

/// Something to be done.
#[derive(Debug)]
pub(super) struct Operation {
    /// Counted from 1 by this node.
    pub(super) number: u64,
    pub(super) kind: Kind,
    /// What the codec writes of it.
    pub(super) payload: Vec<u8>,
    pub(super) channels: Vec<ChannelId>,
}

/// What is to be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Publish { ttl: u32, most: Option<u32>, keep: u64, stored: bool },
    Delete,
}

/// The waiting place.
pub(super) struct Waiting {
    state: Mutex<State>,
    bell: Notify,
    health: Arc<Health>,
    questions: Arc<Questions>,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Arc<Operation>>,
    waiters: BTreeMap<u64, Waiter>,
    bytes: usize,
    last: u64,
    given_up: bool,
    /// Who wants to know when this node has come to where the zone is; where that is, once it is known.
    asking: Vec<(Told, Instant)>,
    coming: Vec<(Told, Instant, StreamId)>,
}

struct Waiter {
    told: Told,
    /// When it was handed in to this node, if it is a message.
    at: Tick,
    /// Channels that have not come back.
    left: usize,
    /// Channels that were there to be deleted, or messages.
    found: usize,
    until: Instant,
    bytes: usize,
    /// The server process that it may have reached.
    sent: Option<Arc<str>>,
    /// How often it was sent there without an answer.
    tries: u32,
}

impl State {
    fn end(&mut self, number: u64) -> Option<Waiter> {
        let waiter = self.waiters.remove(&number)?;
        self.bytes = self.bytes.saturating_sub(waiter.bytes);
        Some(waiter)
    }
}

impl Waiter {
    fn is_sent_elsewhere(&self, run: &str) -> bool {
        self.sent.as_deref().is_some_and(|sent| sent != run)
    }

    /// What it is told whose time is over.
    fn forsaken(&self) -> Outcome {
        Err(if self.sent.is_some() { Refusal::Unanswered } else { Refusal::Away })
    }
}

impl Waiting {
    pub(super) fn new(health: Arc<Health>) -> Self {
        let questions = Arc::new(Questions::new(Arc::clone(&health)));
        Self { state: Mutex::default(), bell: Notify::new(), health, questions }
    }

    /// What other nodes are asked.
    pub(super) fn questions(&self) -> Arc<Questions> {
        Arc::clone(&self.questions)
    }

    fn hand_in(&self, kind: Kind, payload: Vec<u8>, channels: Vec<ChannelId>, at: Tick, told: Told) {
        if self.health.is_away() {
            return told(Err(Refusal::Away));
        }
        let texts: usize = channels.iter().map(|id| id.as_bytes().len() + OPERATION).sum();
        let bytes = OPERATION + payload.len() + texts;
        let mut state = self.state.lock();
        let refused = if state.given_up {
            Some(Refusal::Leaving)
        } else if state.waiters.len() >= MOST || (state.bytes > 0 && state.bytes + bytes > MOST_BYTES) {
            Some(Refusal::Crowded)
        } else {
            None
        };
        if let Some(refusal) = refused {
            drop(state);
            return told(Err(refusal));
        }
        state.last += 1;
        state.bytes += bytes;
        let number = state.last;
        let until = Instant::now() + PATIENCE + transfer_of(bytes);
        let left = channels.len();
        state.waiters.insert(number, Waiter { told, at, left, found: 0, until, bytes, sent: None, tries: 0 });
        state.queue.push_back(Arc::new(Operation { number, kind, payload, channels }));
        drop(state);
        self.bell.notify_one();
    }

    /// Waits until there is something to send.
    pub(super) async fn some(&self) {
        let is_empty = || {
            let state = self.state.lock();
            state.queue.is_empty() && state.asking.is_empty()
        };
        while is_empty() {
            self.bell.notified().await;
        }
    }

    /// The next operations in order for a server process; they stay in the queue. Empty: none.
    pub(super) fn batch(&self, run: &str) -> Vec<Arc<Operation>> {
        let mut state = self.state.lock();
        let State { queue, waiters, .. } = &mut *state;
        // Who was told that it failed does not want it any more.
        queue.retain(|operation| waiters.contains_key(&operation.number));
        let (mut channels, mut bytes) = (0, 0);
        let fits = |operation: &&Arc<Operation>| {
            let fits = channels == 0 || (channels < BATCH && bytes < BATCH_BYTES);
            channels += operation.channels.len();
            bytes += operation.payload.len();
            fits
        };
        let batch: Vec<_> = queue.iter().take_while(fits).map(Arc::clone).collect();
        let run: Arc<str> = run.into();
        for operation in &batch {
            if let Some(waiter) = waiters.get_mut(&operation.number) {
                waiter.sent = Some(Arc::clone(&run));
                waiter.tries += 1;
            }
        }
        batch
    }

    /// The server has answered that it has done nothing of what was sent last.
    pub(super) fn not_done(&self, batch: &[Arc<Operation>]) {
        let mut state = self.state.lock();
        for operation in batch {
            if let Some(waiter) = state.waiters.get_mut(&operation.number) {
                waiter.tries = waiter.tries.saturating_sub(1);
                // What was sent before, and not answered, may have been done all the same.
                waiter.sent.take_if(|_| waiter.tries == 0);
            }
        }
    }

    /// Whether something waits that another server process than this one may have done.
    pub(super) fn has_sent_elsewhere(&self, run: &str) -> bool {
        self.state.lock().waiters.values().any(|waiter| waiter.is_sent_elsewhere(run))
    }

    /// Another server process goes on, which has done operations up to a number. Whether what else was sent is done nobody knows: nodes may
    /// have seen what the one before has lost, and must not see it again.
    pub(super) fn goes_elsewhere(&self, run: &str, done: u64) {
        let mut state = self.state.lock();
        state.queue.retain(|operation| operation.number > done);
        let sent = state.waiters.iter().filter(|(number, waiter)| **number > done && waiter.is_sent_elsewhere(run));
        let numbers: Vec<u64> = sent.map(|(number, _)| *number).collect();
        let ended: Vec<Waiter> = numbers.into_iter().filter_map(|number| state.end(number)).collect();
        drop(state);
        for waiter in ended {
            (waiter.told)(Err(Refusal::Unanswered));
        }
    }

    /// Takes those who want to know where the zone is.
    pub(super) fn asking(&self) -> Vec<(Told, Instant)> {
        std::mem::take(&mut self.state.lock().asking)
    }

    /// The zone was here when they asked.
    pub(super) fn wait_for(&self, asking: Vec<(Told, Instant)>, last: StreamId) {
        self.state.lock().coming.extend(asking.into_iter().map(|(told, until)| (told, until, last)));
    }

    /// This node has come to an entry.
    pub(super) fn has_come_to(&self, here: StreamId) {
        let mut state = self.state.lock();
        let come: Vec<_> = state.coming.extract_if(.., |(.., there)| *there <= here).collect();
        drop(state);
        for (told, ..) in come {
            told(Ok(0));
        }
    }

    /// Takes operations out of the queue that the server has done.
    pub(super) fn taken(&self, batch: &[Arc<Operation>]) {
        let Some(last) = batch.last() else { return };
        self.state.lock().queue.retain(|operation| operation.number > last.number);
    }

    /// Takes operations out that the server has refused for certain.
    pub(super) fn refused(&self, batch: &[Arc<Operation>]) {
        self.end_all(batch, Refusal::Away);
    }

    /// Takes operations out that the server has done in part.
    pub(super) fn unanswered(&self, batch: &[Arc<Operation>]) {
        self.end_all(batch, Refusal::Unanswered);
    }

    fn end_all(&self, batch: &[Arc<Operation>], refusal: Refusal) {
        self.taken(batch);
        for operation in batch {
            let waiter = self.state.lock().end(operation.number);
            if let Some(waiter) = waiter {
                (waiter.told)(Err(refusal));
            }
        }
    }

    /// When a message was handed in that comes back now.
    pub(super) fn handed_in_at(&self, number: u64) -> Tick {
        self.state.lock().waiters.get(&number).map_or_else(Tick::default, |waiter| waiter.at)
    }

    /// One channel of an operation has come back and was applied.
    pub(super) fn came_back(&self, number: u64, found: bool) {
        let mut state = self.state.lock();
        let Some(waiter) = state.waiters.get_mut(&number) else { return };
        waiter.found += usize::from(found);
        waiter.left = waiter.left.saturating_sub(1);
        if waiter.left > 0 {
            return;
        }
        let ended = state.end(number);
        drop(state);
        if let Some(waiter) = ended {
            (waiter.told)(Ok(waiter.found));
        }
    }

    /// All operations up to a number have been done, though their entries were not seen.
    pub(super) fn all_came_back(&self, number: u64) {
        loop {
            let mut state = self.state.lock();
            let first = state.waiters.first_key_value().map(|(number, _)| *number).filter(|first| *first <= number);
            let Some(ended) = first.and_then(|first| state.end(first)) else { return };
            drop(state);
            (ended.told)(Ok(ended.found + ended.left));
        }
    }

    /// Tells those who have waited too long; and, while the server is away, those whose operation was never sent.
    pub(super) fn expire(&self, now: Instant) {
        let away = self.health.is_away();
        let mut state = self.state.lock();
        let over = |waiter: &Waiter| waiter.until <= now || (away && waiter.sent.is_none());
        let numbers: Vec<u64> =
            state.waiters.iter().filter(|(_, waiter)| over(waiter)).map(|(number, _)| *number).collect();
        let ended: Vec<Waiter> = numbers.into_iter().filter_map(|number| state.end(number)).collect();
        let late = |until: &Instant| *until <= now || away;
        let mut forsaken: Vec<Told> =
            state.asking.extract_if(.., |(_, until)| late(until)).map(|(told, _)| told).collect();
        forsaken.extend(state.coming.extract_if(.., |(_, until, _)| late(until)).map(|(told, ..)| told));
        drop(state);
        for waiter in ended {
            let outcome = waiter.forsaken();
            (waiter.told)(outcome);
        }
        for told in forsaken {
            told(Err(Refusal::Away));
        }
    }

    /// Tells everybody who waits that there is nothing to wait for, and takes nothing more.
    pub(super) fn give_up(&self) {
        let mut state = self.state.lock();
        state.given_up = true;
        state.queue.clear();
        state.bytes = 0;
        let waiters = std::mem::take(&mut state.waiters);
        // Whoever asks is let go with the process.
        let asking = (std::mem::take(&mut state.asking), std::mem::take(&mut state.coming));
        drop(state);
        drop(asking);
        for waiter in waiters.into_values() {
            let outcome = waiter.forsaken();
            (waiter.told)(outcome);
        }
    }

    /// Whether nobody waits.
    pub(super) fn is_settled(&self) -> bool {
        self.state.lock().waiters.is_empty()
    }
}

impl Order for Waiting {
    fn publish(&self, ids: Vec<ChannelId>, draft: Draft, terms: Terms, told: Told) {
        let keep = u64::from(terms.ttl) + u64::from(terms.inactivity) + COUNTS;
        let kind = Kind::Publish { ttl: terms.ttl, most: terms.most, keep, stored: draft.store };
        let at = draft.at;
        self.hand_in(kind, message_payload(draft), ids, at, told);
    }

    fn delete(&self, ids: Vec<ChannelId>, text: Option<Box<[u8]>>, told: Told) {
        self.hand_in(Kind::Delete, deletion_payload(text), ids, Tick::default(), told);
    }

    fn catch_up(&self, told: Told) {
        let mut state = self.state.lock();
        if self.health.is_away() || state.given_up || state.asking.len() + state.coming.len() >= MOST {
            drop(state);
            return told(Err(Refusal::Away));
        }
        state.asking.push((told, Instant::now() + CATCHES_UP));
        drop(state);
        self.bell.notify_one();
    }

    fn is_full(&self) -> bool {
        let state = self.state.lock();
        state.waiters.len() > MOST / 2 || state.bytes > MOST_BYTES / 2
    }

    fn is_idle(&self) -> bool {
        self.is_settled()
    }

    fn others(&self) -> (usize, u64) {
        (self.health.others(), self.health.subscribers_elsewhere())
    }

    fn ask(&self, ids: &[ChannelId], found: Found) {
        self.questions.ask(ids, found);
    }
}

#[cfg(test)]
mod tests;
