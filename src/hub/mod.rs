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
mod clock;
mod due;
mod events;
mod fanout;
mod grace;
mod history;
mod journal;
mod notes;
mod order;
mod parts;
mod publisher;
mod registry;
mod restore;
mod room;
mod shared_memory;
#[cfg(test)]
mod simulation;
mod slab;
mod subscriber;
mod sweep;
#[cfg(test)]
mod tests;
mod trash;
mod zone;

use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;

use crate::log::Log;
use crate::model::{Capabilities, ChannelId, Draft, Message, Now, Refusal, Stamp, Zone};

pub use census::{Census, ChannelInfo};
pub use fanout::{Fanout, Note};
pub use history::{History, Missed};
pub use order::{Found, Order, Outcome, Terms, Told};
pub use registry::ChannelKey;
pub use subscriber::{Answer, Ask, AskKind, Registration};

use parts::CHANNELS;
use publisher::Created;
use zone::{Garbage, ZoneState};

/// Messages of which an act frees the memory itself; the janitor frees what is more.
const FREED_AT_ONCE: usize = 1024;

/// Wakes a worker.
type Waker = Box<dyn Fn() + Send + Sync>;

/// One zone, shared by all workers.
///
/// `wall` is what the wall clock shows when a call is made; the hub makes its own time of it, which never goes back.
pub struct Hub {
    state: Mutex<ZoneState>,
    /// What took too long to be freed by those who let go of it.
    graveyard: Mutex<Vec<Garbage>>,
    wakers: Box<[ArcSwapOption<Waker>]>,
    log: ArcSwapOption<Log>,
    order: OnceLock<Arc<dyn Order>>,
}

impl Hub {
    /// A hub without channels, but for the events channel if the zone has one. Its stamps are greater than `floor`, the last one that
    /// the process before gave; where that is not known, tags of the first second begin far beyond any it can have given.
    pub fn new(zone: Zone, capabilities: Capabilities, workers: usize, wall: Now, floor: Option<Stamp>) -> Self {
        Self {
            state: Mutex::new(ZoneState::new(zone, capabilities, workers, wall, floor)),
            graveyard: Mutex::default(),
            wakers: (0..workers).map(|_| ArcSwapOption::empty()).collect(),
            log: ArcSwapOption::empty(),
            order: OnceLock::new(),
        }
    }

    /// Tells how many bytes each message template adds to a text. Where full memory refuses, each message is taken to be held
    /// rendered too, as the module holds it; told once, before the first message.
    pub fn count_rendered(&self, added: Box<[usize]>) {
        if let Some(shared) = &mut self.state.lock().shared {
            shared.count_rendered(added);
        }
    }

    /// Takes the settings of a reload. Channels, messages and counters stay; another memory size is ignored.
    pub fn reconfigure(&self, zone: Zone, capabilities: Capabilities, wall: Now) {
        self.locked(wall, |state, now| state.reconfigure(zone, capabilities, now));
    }

    /// Sets what is called, without the lock, when the first note for a worker is posted.
    pub fn set_waker(&self, worker: usize, waker: Box<dyn Fn() + Send + Sync>) {
        if let Some(place) = self.wakers.get(worker) {
            place.store(Some(Arc::new(waker)));
        }
    }

    /// Takes nothing more from publishers, or takes it again: what was published before is all there is.
    pub fn set_closed(&self, closed: bool) {
        self.state.lock().closed = closed;
    }

    /// Whether every publish that was admitted before [`Hub::set_closed`] has reached all of its channels.
    pub fn is_settled(&self) -> bool {
        self.state.lock().in_parts == 0 && self.order.get().is_none_or(|order| order.is_idle())
    }

    /// Checks the channels of a publish, in order, and creates the missing ones. Comes before the body is read.
    pub fn admit_publish(&self, ids: &[ChannelId], wall: Now) -> Result<(), Refusal> {
        if ids.is_empty() {
            return Err(Refusal::NoChannelId);
        }
        if ids.len() > CHANNELS {
            return parts::admit_publish(self, ids, wall);
        }
        self.locked(wall, |state, now| {
            let mut created = Created::new();
            let admitted = state.admit_publish(ids, &mut created, now);
            state.conclude(&created, admitted.is_err(), now);
            admitted
        })
    }

    /// Checks the channels of a delete.
    pub fn admit_delete(&self, ids: &[ChannelId]) -> Result<(), Refusal> {
        if ids.is_empty() {
            return Err(Refusal::NoChannelId);
        }
        ids.chunks(CHANNELS).try_for_each(|part| self.state.lock().check_delete(part))
    }

    /// Checks the channels of a question.
    pub fn admit_info(&self, ids: &[ChannelId]) -> Result<(), Refusal> {
        if ids.is_empty() {
            return Err(Refusal::NoChannelId);
        }
        ids.chunks(CHANNELS).try_for_each(|part| self.state.lock().check_ids(part))
    }

    /// Publishes one message per id; they share the text. A channel that went since it was admitted is created again; refused
    /// with [`Refusal::MemoryFull`] or [`Refusal::Leaving`], and then nothing was published.
    pub fn publish(&self, ids: &[ChannelId], draft: &Draft, wall: Now) -> Result<(), Refusal> {
        self.publish_in_parts(ids, draft, wall, ZoneState::publish)
    }

    /// Publishes one message per subscription of a connection; the events channel and deleted channels are skipped.
    pub fn publish_to(&self, keys: &[ChannelKey], draft: &Draft, wall: Now) -> Result<(), Refusal> {
        self.publish_in_parts(keys, draft, wall, ZoneState::publish_to)
    }

    fn publish_in_parts<T>(
        &self,
        channels: &[T],
        draft: &Draft,
        wall: Now,
        publish: impl Fn(&mut ZoneState, &[T], &Draft, Now),
    ) -> Result<(), Refusal> {
        let (first, rest) = channels.split_at(channels.len().min(CHANNELS));
        self.locked(wall, |state, now| {
            state.check_open()?;
            state.admit_copies(draft, channels.len())?;
            state.reserve_copies(draft, rest.len());
            state.in_parts += usize::from(!rest.is_empty());
            publish(state, first, draft, now);
            Ok(())
        })?;
        for part in rest.chunks(CHANNELS) {
            self.locked(wall, |state, now| {
                state.unreserve_copies(draft, part.len());
                publish(state, part, draft, now);
            });
        }
        if !rest.is_empty() {
            self.state.lock().in_parts -= 1;
        }
        Ok(())
    }

    /// Deletes the channels that exist and tells their subscribers, with `text` or the configured one; returns how many
    /// existed.
    pub fn delete(&self, ids: &[ChannelId], text: Option<&[u8]>, wall: Now) -> usize {
        ids.chunks(CHANNELS).map(|part| self.locked(wall, |state, now| state.delete(part, text, now))).sum()
    }

    /// Checks a subscribe request, creates the missing channels, reads what was missed and registers, all in one step.
    pub fn subscribe(&self, ask: &Ask<'_>, wall: Now) -> Result<Answer, Refusal> {
        match ask.path.len() {
            0 => Err(Refusal::NoChannelId),
            1..=CHANNELS => self.locked(wall, |state, now| state.subscribe(ask, now)),
            _ => parts::subscribe(self, ask, wall),
        }
    }

    /// The next page of what was missed; empty when there is no more. Of several channels too, pages come in the order in which
    /// they are to be sent. Messages that were dropped meanwhile are left out.
    pub fn history_page(&self, history: &mut History) -> Vec<Missed> {
        loop {
            if let Some(page) = history.take_page() {
                return page;
            }
            self.state.lock().read_page(history);
        }
    }

    /// All pages of what was missed.
    pub fn pages<'a>(&'a self, history: &'a mut History) -> impl Iterator<Item = Vec<Missed>> {
        std::iter::from_fn(|| Some(self.history_page(history)).filter(|page| !page.is_empty()))
    }

    /// Ends the subscriptions of one connection of the worker; keys of channels deleted meanwhile are ignored.
    pub fn leave(&self, worker: usize, keys: &[ChannelKey], wall: Now) {
        let (first, rest) = keys.split_at(keys.len().min(CHANNELS));
        self.locked(wall, |state, now| {
            state.exit(worker);
            state.leave(worker, first, now);
        });
        for part in rest.chunks(CHANNELS) {
            self.locked(wall, |state, now| state.leave(worker, part, now));
        }
    }

    /// Moves the notes for a worker behind those in `into`. A worker that was woken must call this.
    ///
    /// Returns what a client of the worker has seen once these notes are delivered: on its channels every message up to this
    /// stamp, and any that is still to come bears a greater one. It is where a client goes on that is told nothing else.
    pub fn take_notes(&self, worker: usize, into: &mut Vec<Note>, wall: Now) -> Stamp {
        let mut state = self.state.lock();
        state.clock.tick(wall);
        state.notes.take(worker, into);
        state.seen()
    }

    /// Whether a worker is so far behind with its notes that whoever publishes should wait before the next message: the
    /// queues have no other bound.
    pub fn is_congested(&self) -> bool {
        self.has_many_notes() || self.order.get().is_some_and(|order| order.is_full())
    }

    /// Whether a worker is so far behind with its notes that no more should come.
    pub fn has_many_notes(&self) -> bool {
        self.state.lock().notes.are_many()
    }

    /// The numbers of the zone.
    pub fn census(&self, wall: Now) -> Census {
        let mut state = self.state.lock();
        let now = state.clock.tick(wall);
        state.census(now)
    }

    /// The numbers of the channels that exist, in the order asked for.
    pub fn find(&self, ids: &[ChannelId]) -> Vec<ChannelInfo> {
        let mut found = Vec::with_capacity(ids.len().min(CHANNELS));
        for part in ids.chunks(CHANNELS) {
            self.state.lock().find(part, &mut found);
        }
        found
    }

    /// Up to `most` channels whose id begins with `prefix`, in order of creation, from the one after `after` on. Fewer
    /// than `most` means that there are no more. The lock is released from time to time.
    pub fn list(&self, prefix: &[u8], after: Option<ChannelKey>, most: usize) -> Vec<(ChannelKey, ChannelInfo)> {
        let mut found = Vec::new();
        let mut after = after;
        loop {
            let page = self.state.lock().page(prefix, after, CHANNELS, most - found.len());
            found.extend(page.found);
            after = page.last;
            if after.is_none() || found.len() >= most {
                return found;
            }
        }
    }

    /// The newest stored messages of a channel before the one with this sequence number, newest first: a page, and whether there are
    /// older ones. `None`: there is no such channel.
    pub fn newest(&self, channel: ChannelKey, before: u64) -> Option<(Vec<Arc<Message>>, bool)> {
        self.state.lock().newest(channel, before)
    }

    /// Does a batch of what the janitor has to do; to be called a few times a second, and again at once while it returns
    /// true.
    pub fn sweep(&self, wall: Now) -> bool {
        // Freed by the caller, which has no clients.
        let freed = std::mem::take(&mut *self.graveyard.lock());
        drop(freed);
        self.locked(wall, ZoneState::sweep)
    }

    /// How many workers share the hub.
    pub fn workers(&self) -> usize {
        self.wakers.len()
    }

    /// Acts under the lock, and settles what that leaves to do in batches; wakes workers and frees memory without it.
    fn locked<R>(&self, wall: Now, act: impl FnOnce(&mut ZoneState, Now) -> R) -> R {
        let mut state = self.state.lock();
        let now = state.clock.tick(wall);
        let result = act(&mut state, now);
        loop {
            let more = state.settle(now);
            let woken = state.notes.take_woken();
            let sleeper = state.journal.take_sleeper();
            let garbage = std::mem::take(&mut state.garbage);
            let outgoing = state.take_outgoing();
            drop(state);
            if let Some(bell) = sleeper {
                bell.ring();
            }
            if let (Some(outgoing), Some(order)) = (outgoing, self.order.get()) {
                outgoing.hand_in(&**order);
            }
            for worker in woken {
                if let Some(waker) = self.wakers.get(worker).and_then(ArcSwapOption::load_full) {
                    waker();
                }
            }
            if garbage.len() > FREED_AT_ONCE {
                self.graveyard.lock().push(garbage);
            }
            if !more {
                return result;
            }
            state = self.state.lock();
        }
    }
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub").field("workers", &self.wakers.len()).finish_non_exhaustive()
    }
}
