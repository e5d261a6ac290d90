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
use super::record::{deletion_payload, message_payload};
use crate::hub::{Found, Order, Outcome, Terms, Told};
use crate::model::{ChannelId, Draft, Refusal};

/// Most operations that wait.
const MOST: usize = 10_000;
/// Most bytes of them.
const MOST_BYTES: usize = 64 << 20;
/// Bytes one operation is taken to occupy beside its texts.
const OPERATION: usize = 200;
/// How long anybody waits.
const PATIENCE: Duration = Duration::from_secs(5);
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
}

struct Waiter {
    told: Told,
    /// Channels that have not come back.
    left: usize,
    /// Channels that were there to be deleted, or messages.
    found: usize,
    until: Instant,
    bytes: usize,
    /// Whether it may have reached the server.
    sent: bool,
}

impl State {
    fn end(&mut self, number: u64) -> Option<Waiter> {
        let waiter = self.waiters.remove(&number)?;
        self.bytes = self.bytes.saturating_sub(waiter.bytes);
        Some(waiter)
    }
}

impl Waiter {
    /// What it is told whose time is over.
    fn forsaken(&self) -> Outcome {
        Err(if self.sent { Refusal::Unanswered } else { Refusal::Away })
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

    fn hand_in(&self, kind: Kind, payload: Vec<u8>, channels: Vec<ChannelId>, told: Told) {
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
        let until = Instant::now() + PATIENCE;
        let left = channels.len();
        state.waiters.insert(number, Waiter { told, left, found: 0, until, bytes, sent: false });
        state.queue.push_back(Arc::new(Operation { number, kind, payload, channels }));
        drop(state);
        self.bell.notify_one();
    }

    /// Waits until there is something to send.
    pub(super) async fn some(&self) {
        while self.state.lock().queue.is_empty() {
            self.bell.notified().await;
        }
    }

    /// The next operations in order, which stay in the queue; empty: none.
    pub(super) fn batch(&self) -> Vec<Arc<Operation>> {
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
        for operation in &batch {
            if let Some(waiter) = waiters.get_mut(&operation.number) {
                waiter.sent = true;
            }
        }
        batch
    }

    /// Takes operations out of the queue that the server has done.
    pub(super) fn taken(&self, batch: &[Arc<Operation>]) {
        let Some(last) = batch.last() else { return };
        self.state.lock().queue.retain(|operation| operation.number > last.number);
    }

    /// Takes operations out that the server has refused for certain.
    pub(super) fn refused(&self, batch: &[Arc<Operation>]) {
        self.taken(batch);
        for operation in batch {
            let waiter = self.state.lock().end(operation.number);
            if let Some(waiter) = waiter {
                (waiter.told)(Err(Refusal::Away));
            }
        }
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
        let over = |waiter: &Waiter| waiter.until <= now || (away && !waiter.sent);
        let numbers: Vec<u64> =
            state.waiters.iter().filter(|(_, waiter)| over(waiter)).map(|(number, _)| *number).collect();
        let ended: Vec<Waiter> = numbers.into_iter().filter_map(|number| state.end(number)).collect();
        drop(state);
        for waiter in ended {
            let outcome = waiter.forsaken();
            (waiter.told)(outcome);
        }
    }

    /// Tells everybody who waits that there is nothing to wait for, and takes nothing more.
    pub(super) fn give_up(&self) {
        let mut state = self.state.lock();
        state.given_up = true;
        state.queue.clear();
        state.bytes = 0;
        let waiters = std::mem::take(&mut state.waiters);
        drop(state);
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
        self.hand_in(kind, message_payload(draft), ids, told);
    }

    fn delete(&self, ids: Vec<ChannelId>, text: Option<Box<[u8]>>, told: Told) {
        self.hand_in(Kind::Delete, deletion_payload(text), ids, told);
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
mod tests {
    use std::sync::mpsc::{Receiver, channel};

    use super::*;

    fn place() -> Waiting {
        let health = Arc::new(Health::new());
        health.linked("here");
        Waiting::new(health)
    }

    fn publish(waiting: &Waiting, ids: &[&str], text: usize) -> Receiver<Outcome> {
        let (sender, outcome) = channel();
        let draft = Draft { text: vec![b'x'; text].into(), store: true, ..Draft::default() };
        let terms = Terms { ttl: 10, most: None, inactivity: 5 };
        let ids = ids.iter().map(|id| ChannelId::new(id.as_bytes())).collect();
        waiting.publish(ids, draft, terms, Box::new(move |told| sender.send(told).unwrap()));
        outcome
    }

    #[test]
    fn whoever_waits_is_told_when_all_of_its_channels_have_come_back() {
        let waiting = place();
        let (one, two) = (publish(&waiting, &["a"], 3), publish(&waiting, &["a", "b"], 3));
        let batch = waiting.batch();
        assert_eq!(batch.iter().map(|operation| operation.number).collect::<Vec<_>>(), [1, 2]);
        waiting.taken(&batch);
        assert!(waiting.batch().is_empty());
        waiting.came_back(1, true);
        assert_eq!(one.try_recv(), Ok(Ok(1)));
        waiting.came_back(2, true);
        assert!(two.try_recv().is_err());
        waiting.came_back(2, true);
        assert_eq!(two.try_recv(), Ok(Ok(2)));
        assert!(waiting.is_settled());
    }

    #[test]
    fn what_was_never_sent_is_refused_and_what_may_have_been_is_unknown() {
        let waiting = place();
        let sent = publish(&waiting, &["a"], 3);
        waiting.batch();
        let unsent = publish(&waiting, &["a"], 3);
        waiting.expire(Instant::now() + PATIENCE);
        assert_eq!(sent.try_recv(), Ok(Err(Refusal::Unanswered)));
        assert_eq!(unsent.try_recv(), Ok(Err(Refusal::Away)));
        assert!(waiting.batch().is_empty(), "nobody wants them any more");
        let refused = publish(&waiting, &["a"], 3);
        let batch = waiting.batch();
        waiting.refused(&batch);
        assert_eq!(refused.try_recv(), Ok(Err(Refusal::Away)));
        let last = publish(&waiting, &["a"], 3);
        waiting.give_up();
        assert_eq!(last.try_recv(), Ok(Err(Refusal::Away)));
        assert_eq!(publish(&waiting, &["a"], 3).try_recv(), Ok(Err(Refusal::Leaving)));
    }

    #[test]
    fn more_than_may_wait_is_refused_in_count_and_in_bytes() {
        let waiting = place();
        let outcomes: Vec<_> = (0..=MOST).map(|_| publish(&waiting, &["a"], 1)).collect();
        assert_eq!(outcomes.iter().filter(|outcome| outcome.try_recv() == Ok(Err(Refusal::Crowded))).count(), 1);
        assert!(waiting.is_full());
        let waiting = place();
        let one = publish(&waiting, &["a"], MOST_BYTES);
        assert!(one.try_recv().is_err(), "one larger than all waits alone");
        assert_eq!(publish(&waiting, &["a"], 1).try_recv(), Ok(Err(Refusal::Crowded)));
        waiting.came_back(1, true);
        assert!(publish(&waiting, &["a"], 1).try_recv().is_err());
    }

    #[test]
    fn a_batch_is_bounded_and_begins_with_what_was_not_done() {
        let waiting = place();
        let _outcomes: Vec<_> = (0..BATCH + 10).map(|_| publish(&waiting, &["a"], 1)).collect();
        let batch = waiting.batch();
        assert_eq!(batch.len(), BATCH);
        assert_eq!(waiting.batch()[0].number, 1);
        waiting.taken(&batch);
        assert_eq!(waiting.batch().len(), 10);
        let waiting = place();
        let _outcomes: Vec<_> = (0..3).map(|_| publish(&waiting, &["a"], BATCH_BYTES)).collect();
        assert_eq!(waiting.batch().len(), 1);
    }

    #[test]
    fn while_the_server_is_away_nobody_waits() {
        let waiting = Waiting::new(Arc::new(Health::new()));
        assert_eq!(publish(&waiting, &["a"], 3).try_recv(), Ok(Err(Refusal::Away)));
    }
}
