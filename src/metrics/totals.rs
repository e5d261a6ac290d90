//! The sums over all workers, made when somebody asks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::cause::{Cause, Mode};
use super::count::Count;
use super::counts::Counts;
use super::histogram::Distribution;
use super::refused::Refused;

/// What all workers of a process count.
#[derive(Debug)]
pub struct Tally {
    workers: Box<[Arc<Counts>]>,
    /// Reloads that were done.
    pub reloads: AtomicU64,
    /// Ids of the workers' threads.
    threads: Mutex<Vec<u32>>,
}

/// No process or thread of Linux has an id as great as this.
const BEYOND_IDS: u64 = 1 << 22;
/// Reloads after which the numbers of workers begin anew: they stay below what 32 bits hold.
const NUMBERED: u64 = 500;

/// The numbers of all workers together.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Totals {
    /// Connections accepted.
    pub accepted: u64,
    /// Connections accepted and closed at once, because `worker_connections` were in use or their address had as many as it may
    /// have.
    pub turned_away: u64,
    /// Of these, those for their address.
    pub crowded: u64,
    /// Bodies that were not taken because too much was held.
    pub refused_bodies: u64,
    /// Connections that are over, those turned away among them.
    pub closed: u64,
    /// Connections that have sent part of a request's head.
    pub reading: u64,
    /// Requests that are being answered, waiting subscribers included.
    pub writing: u64,
    /// Connections that wait for a request.
    pub waiting: u64,
    /// Requests begun.
    pub requests: u64,
    /// Bytes of clients.
    pub received: u64,
    /// Bytes for clients.
    pub sent: u64,
    /// Messages handed to subscribers as they were published.
    pub delivered: u64,
    /// Messages handed to subscribers that had missed them.
    pub replayed: u64,
    /// Subscriptions begun, by mode.
    pub begun: [u64; Mode::ALL.len()],
    /// Subscriptions ended, by mode and cause.
    pub ended: [[u64; Cause::ALL.len()]; Mode::ALL.len()],
    /// Polls answered at once, by mode.
    pub polls: [u64; Mode::ALL.len()],
    /// From publish to write.
    pub delay: Distribution,
    /// Lag of each worker's loop now, microseconds.
    pub lag: Vec<u64>,
    /// Lags there have been, of each worker.
    pub lags: Vec<Distribution>,
    cut: [u64; Cause::ALL.len()],
    refused: [u64; Refused::COUNT],
}

impl Tally {
    /// For so many workers.
    pub fn new(workers: usize) -> Self {
        Self {
            workers: (0..workers.max(1)).map(|_| Arc::default()).collect(),
            reloads: AtomicU64::new(0),
            threads: Mutex::default(),
        }
    }

    /// The cells of worker `index`. One beyond those there are has cells that nobody sums.
    pub fn of(&self, index: usize) -> Arc<Counts> {
        self.workers.get(index).map(Arc::clone).unwrap_or_default()
    }

    /// Connections that are open.
    pub fn connections(&self) -> u64 {
        // A connection may end between the two sums, never begin twice.
        let left: u64 = self.workers.iter().map(|counts| counts.left.get()).sum();
        let seated: u64 = self.workers.iter().map(|counts| counts.seated.get()).sum();
        seated.saturating_sub(left)
    }

    /// Asks each worker how late it is; the answers come by themselves.
    pub fn ask_for_lag(&self) {
        self.workers.iter().for_each(|counts| counts.probe.ask());
    }

    /// Notes which thread worker `index` is.
    pub fn note_thread(&self, index: usize, thread: u32) {
        let mut threads = self.threads.lock();
        let length = threads.len().max(index + 1);
        threads.resize(length, 0);
        if let Some(place) = threads.get_mut(index) {
            *place = thread;
        }
    }

    /// What stands for the process id of a worker, which nginx's workers have and ours do not: the id of its thread, and
    /// after each reload, when nginx's are new ones, another number that no process can have.
    pub fn worker_number(&self, index: usize) -> u64 {
        let thread = self.threads.lock().get(index).copied().unwrap_or_else(std::process::id);
        u64::from(thread) + self.reloads.load(Ordering::Relaxed) % NUMBERED * BEYOND_IDS
    }

    /// The sums.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for counts in &self.workers {
            totals.add(counts);
        }
        totals
    }
}

impl Totals {
    fn add(&mut self, counts: &Counts) {
        let away = counts.turned_away.get();
        self.closed += counts.left.get() + away;
        self.accepted += counts.seated.get() + away;
        self.turned_away += away;
        self.crowded += counts.crowded.get();
        self.refused_bodies += counts.refused_bodies.get();
        self.reading += counts.reading.get();
        self.writing += counts.writing.get();
        self.waiting += counts.waiting.get();
        self.requests += counts.requests.get();
        self.received += counts.received.get();
        self.sent += counts.sent.get();
        self.delivered += counts.delivered.get();
        self.replayed += counts.replayed.get();
        for (sums, counts) in self.ended.iter_mut().zip(&counts.ended) {
            add_each(sums, counts);
        }
        add_each(&mut self.begun, &counts.begun);
        add_each(&mut self.polls, &counts.polls);
        add_each(&mut self.cut, &counts.cut);
        add_each(&mut self.refused, &counts.refused);
        counts.delay.add_to(&mut self.delay);
        let mut lags = Distribution::default();
        counts.probe.lags.add_to(&mut lags);
        self.lags.push(lags);
        self.lag.push(counts.probe.lag());
    }

    /// Connections that are open.
    pub fn connections(&self) -> u64 {
        self.accepted.saturating_sub(self.closed)
    }

    /// Subscriptions of a mode that are open.
    pub fn subscribers(&self, mode: Mode) -> u64 {
        let ended: u64 = self.ended.get(mode as usize).into_iter().flatten().sum();
        self.begun.get(mode as usize).copied().unwrap_or(0).saturating_sub(ended)
    }

    /// Connections that were cut off for this.
    pub fn cut(&self, cause: Cause) -> u64 {
        self.cut.get(cause as usize).copied().unwrap_or(0)
    }

    /// Requests that were refused for this.
    pub fn refused(&self, reason: Refused) -> u64 {
        self.refused.get(reason.index()).copied().unwrap_or(0)
    }
}

fn add_each(sums: &mut [u64], counts: &[Count]) {
    for (sum, count) in sums.iter_mut().zip(counts) {
        *sum += count.get();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_open_is_what_was_begun_and_has_not_ended(
            steps in prop::collection::vec((0usize..3, 0usize..5, prop::option::of(0usize..9)), 0..80),
        ) {
            let tally = Tally::new(3);
            let mut open = [0i64; 5];
            for (worker, mode, cause) in steps {
                let (counts, kind) = (tally.of(worker), Mode::ALL[mode]);
                match cause {
                    None => {
                        counts.begin_subscription(kind);
                        counts.seated.add(1);
                        open[mode] += 1;
                    }
                    Some(cause) if open[mode] > 0 => {
                        counts.end_subscription(kind, Cause::ALL[cause]);
                        counts.left.add(1);
                        open[mode] -= 1;
                    }
                    Some(_) => {}
                }
            }
            let totals = tally.totals();
            for (mode, open) in Mode::ALL.into_iter().zip(open) {
                prop_assert_eq!(totals.subscribers(mode) as i64, open);
            }
            prop_assert_eq!(totals.connections() as i64, open.iter().sum::<i64>());
            prop_assert_eq!(totals.connections(), tally.connections());
        }
    }
}
