//! The hub: channels, their backlog, their subscriptions, limits, expiry and counters of one zone.
//!
//! It does no I/O, starts no task, reads no clock (`now` is an argument) and knows neither HTTP nor templates. All of it
//! stands under one lock, held for about a microsecond, never while a worker is woken or memory of messages is freed
//! (docs/adr/0002-one-hub-lock.md). Every answer is therefore a snapshot: no message is missed or seen twice between what
//! was read and what comes live.

mod backlog;
mod budget;
mod census;
mod channel;
mod due;
mod events;
mod fanout;
mod notes;
mod publisher;
mod registry;
#[cfg(test)]
mod simulation;
mod slab;
mod stamps;
mod subscriber;
mod sweep;
#[cfg(test)]
mod tests;
mod trash;
mod zone;

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;

use crate::conf::settings::Zone;
use crate::model::{ChannelId, Draft, Now, Refusal};

pub use census::{Census, ChannelInfo};
pub use fanout::{Fanout, Note};
pub use registry::ChannelKey;
pub use subscriber::{Answer, Ask, AskKind, Missed, Registration, Resume};

use publisher::Drafts;
use zone::ZoneState;

/// Channels looked at per lock while a listing is made.
const LIST_BATCH: usize = 1024;

/// What differs between versions of the module, and between following it to the letter and doing better.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HubOptions {
    /// Tag of the first message in a second: 1, or 0 as in 0.3.x.
    pub first_tag: u32,
    /// Whether the message of a deletion bears the time of it (0.3.x) or none.
    pub deletion_has_time: bool,
    /// Whether full memory refuses messages (the module) or drops the oldest stored ones.
    pub refuse_when_full: bool,
    /// Whether what was missed on several channels comes in order of publish, or channel after channel (the module).
    pub merge_replay: bool,
    /// Whether a refused request leaves no channel behind and a repeated id counts against the limit of subscribers
    /// (the module: neither).
    pub exact_admission: bool,
}

impl Default for HubOptions {
    fn default() -> Self {
        Self {
            first_tag: 1,
            deletion_has_time: false,
            refuse_when_full: false,
            merge_replay: true,
            exact_admission: true,
        }
    }
}

/// Wakes a worker.
type Waker = Box<dyn Fn() + Send + Sync>;

/// One zone, shared by all workers.
pub struct Hub {
    state: Mutex<ZoneState>,
    wakers: Box<[ArcSwapOption<Waker>]>,
}

impl Hub {
    /// A hub without channels, but for the events channel if the zone has one.
    pub fn new(zone: Zone, options: HubOptions, workers: usize, now: Now) -> Self {
        Self {
            state: Mutex::new(ZoneState::new(zone, options, workers, now)),
            wakers: (0..workers).map(|_| ArcSwapOption::empty()).collect(),
        }
    }

    /// Takes the settings of a reload. Channels, messages and counters stay; another memory size is ignored.
    pub fn reconfigure(&self, zone: Zone, options: HubOptions, now: Now) {
        self.locked(|state| state.reconfigure(zone, options, now));
    }

    /// Sets what is called, without the lock, when the first note for a worker is posted.
    pub fn set_waker(&self, worker: usize, waker: Box<dyn Fn() + Send + Sync>) {
        if let Some(place) = self.wakers.get(worker) {
            place.store(Some(Arc::new(waker)));
        }
    }

    /// Checks the channels of a publish, in order, and creates the missing ones. Comes before the body is read.
    pub fn admit_publish(&self, ids: &[ChannelId], now: Now) -> Result<(), Refusal> {
        self.locked(|state| state.admit_publish(ids, now))
    }

    /// Checks the channels of a delete.
    pub fn admit_delete(&self, ids: &[ChannelId]) -> Result<(), Refusal> {
        self.state.lock().check_delete(ids)
    }

    /// Checks the channels of a question.
    pub fn admit_info(&self, ids: &[ChannelId]) -> Result<(), Refusal> {
        self.state.lock().check_ids(ids)
    }

    /// Publishes one message per id. A channel that went since it was admitted is created again; the only refusal is
    /// [`Refusal::MemoryFull`], and then nothing was published.
    pub fn publish(&self, ids: &[ChannelId], draft: Draft, now: Now) -> Result<(), Refusal> {
        let drafts = copies(draft, ids.len());
        self.locked(|state| state.publish(ids, drafts, now))
    }

    /// Publishes one message per subscription of a connection; the events channel and deleted channels are skipped.
    pub fn publish_to(&self, keys: &[ChannelKey], draft: Draft, now: Now) -> Result<(), Refusal> {
        let drafts = copies(draft, keys.len());
        self.locked(|state| state.publish_to(keys, drafts, now))
    }

    /// Deletes the channels that exist and tells their subscribers, with `text` or the configured one; returns how many
    /// existed.
    pub fn delete(&self, ids: &[ChannelId], text: Option<&[u8]>, now: Now) -> usize {
        self.locked(|state| state.delete(ids, text, now))
    }

    /// Checks a subscribe request, creates the missing channels, reads what was missed and registers, all in one step.
    pub fn subscribe(&self, ask: &Ask<'_>, now: Now) -> Result<Answer, Refusal> {
        self.locked(|state| state.subscribe(ask, now))
    }

    /// Ends the subscriptions of one connection of the worker; keys of channels deleted meanwhile are ignored.
    pub fn leave(&self, worker: usize, keys: &[ChannelKey], now: Now) {
        self.locked(|state| state.leave(worker, keys, now));
    }

    /// Moves the notes for a worker behind those in `into`. A worker that was woken must call this.
    pub fn take_notes(&self, worker: usize, into: &mut Vec<Note>) {
        self.state.lock().notes.take(worker, into);
    }

    /// Whether a worker is so far behind with its notes that whoever publishes should wait before the next message: the
    /// queues have no other bound.
    pub fn is_congested(&self) -> bool {
        self.state.lock().notes.are_many()
    }

    /// The numbers of the zone.
    pub fn census(&self, now: Now) -> Census {
        self.state.lock().census(now)
    }

    /// The numbers of the channels that exist, in the order asked for.
    pub fn find(&self, ids: &[ChannelId]) -> Vec<ChannelInfo> {
        self.state.lock().find(ids)
    }

    /// Up to `most` channels whose id begins with `prefix`, in order of creation, from the one after `after` on. Fewer
    /// than `most` means that there are no more. The lock is released from time to time.
    pub fn list(&self, prefix: &[u8], after: Option<ChannelKey>, most: usize) -> Vec<(ChannelKey, ChannelInfo)> {
        let mut found = Vec::new();
        let mut after = after;
        loop {
            let page = self.state.lock().page(prefix, after, LIST_BATCH, most - found.len());
            found.extend(page.found);
            after = page.last;
            if after.is_none() || found.len() >= most {
                return found;
            }
        }
    }

    /// Does a batch of what the janitor has to do; to be called a few times a second, and again at once while it returns
    /// true.
    pub fn sweep(&self, now: Now) -> bool {
        self.locked(|state| state.sweep(now))
    }

    /// How many workers share the hub.
    pub fn workers(&self) -> usize {
        self.wakers.len()
    }

    /// Acts under the lock; wakes workers and frees memory after it.
    fn locked<R>(&self, act: impl FnOnce(&mut ZoneState) -> R) -> R {
        let mut state = self.state.lock();
        let result = act(&mut state);
        let woken = state.notes.take_woken();
        let garbage = std::mem::take(&mut state.garbage);
        drop(state);
        for worker in woken {
            if let Some(waker) = self.wakers.get(worker).and_then(ArcSwapOption::load_full) {
                waker();
            }
        }
        drop(garbage);
        result
    }
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub").field("workers", &self.wakers.len()).finish_non_exhaustive()
    }
}

/// `count` equal drafts, made before the lock is taken.
fn copies(draft: Draft, count: usize) -> Drafts {
    let mut drafts = Drafts::new();
    for _ in 1..count {
        drafts.push(draft.clone());
    }
    if count > 0 {
        drafts.push(draft);
    }
    drafts
}
