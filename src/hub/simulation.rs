//! A seeded simulation of publishers, clients, clocks and processes around a hub, against a model that is too simple to be wrong.
//!
//! The law: a client that follows the protocol (it goes on from what its last answer said) sees every stored message of its
//! channels once and in order, unless it was dropped before the client could have it; streams also see what was published live
//! without being stored. It holds over clock steps both ways, slow bodies, deletions, reloads and restarts.
//!
//! A failure prints its seed (`model/seeds`).

mod audit;
mod client;
mod log;
mod threads;

pub(super) use audit::audit;

use std::collections::HashMap;

use client::{Client, Kind};
use log::Log;

use super::clock::Clock;
use super::tests::{START, strict, zone};
use super::*;
use crate::model::seeds::{Random, for_each_seed};

const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
const WORKERS: usize = 2;
const STEPS: u32 = 100;

struct World {
    random: Random,
    hub: Hub,
    settings: Zone,
    capabilities: Capabilities,
    /// What the wall clock shows, milliseconds.
    wall: u64,
    /// Sequence numbers of the stored messages, by channel, as they stand in the hub.
    stored: [Vec<u64>; NAMES.len()],
    /// Until when messages of the present process may not expire, by the hub's clock.
    lives_until: HashMap<u64, u32>,
    /// The greatest stamp of this process and all before.
    last: Stamp,
    clients: Vec<Client>,
    /// What workers have told clients that they have seen.
    seen: [Stamp; WORKERS],
    /// A publish whose body is on its way: its channels, whether it is stored, and what the clock showed when its head came.
    slow: Vec<(Vec<usize>, bool, u64)>,
    /// Where messages outlive the process.
    log: Option<Log>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let follow = random.one_in(2);
        let settings = Zone {
            max_messages_per_channel: random.one_in(2).then(|| random.up_to(9) as u32 + 1),
            message_ttl: random.up_to(19) as u32 + 1,
            inactivity: random.up_to(10) as u32,
            memory: if follow || random.one_in(2) { 1 << 20 } else { 4_000 },
            events_channel_id: if random.one_in(3) { (*b"EV").into() } else { Box::default() },
            ..zone()
        };
        let capabilities = if follow { strict() } else { Capabilities::default() };
        let wall = START * 1000 + random.up_to(999);
        let clients = [
            (Kind::Poller, 0, vec![0, 1]),
            (Kind::Poller, 1, vec![2]),
            (Kind::Poller, 1, vec![5, 4, 3, 2, 1, 0]),
            (Kind::LongPoller, 0, vec![0, 1, 2]),
            (Kind::LongPoller, 1, vec![1]),
            (Kind::LongPoller, 0, vec![0, 1, 2, 3, 4, 5]),
            (Kind::Stream, 0, vec![2, 0]),
            (Kind::Stream, 1, vec![1]),
            (Kind::Stream, 1, vec![3, 0, 5, 1, 4, 2]),
        ];
        let hub = Hub::new(settings.clone(), capabilities, WORKERS, Now(wall), None);
        let mut log = random.one_in(2).then(Log::default);
        if let Some(log) = &mut log {
            log.begin(&hub, false, Now(wall));
        }
        Self {
            hub,
            log,
            random,
            settings,
            capabilities,
            wall,
            stored: Default::default(),
            lives_until: HashMap::new(),
            last: Stamp::default(),
            clients: clients.into_iter().map(|(kind, worker, path)| Client::new(kind, worker, path)).collect(),
            seen: Default::default(),
            slow: Vec::new(),
        }
    }

    fn now(&self) -> Now {
        Now(self.wall)
    }

    fn step(&mut self) {
        let client = self.random.up_to(self.clients.len() as u64 - 1) as usize;
        match self.random.up_to(59) {
            0..18 => self.begin_publish(),
            18..21 => self.finish_publish(),
            21..44 => self.act(client),
            44..47 => self.time_out(client),
            47..49 => self.leave(client),
            49..51 => self.deliver(client % WORKERS),
            51..55 => self.pass_time(),
            55..57 => self.step_clock(),
            57 if self.random.one_in(2) => self.delete(),
            57 => self.write(),
            58 if self.random.one_in(2) => self.reload(),
            58 => self.renew(),
            _ => self.restart(),
        }
        self.look_at_the_hub();
        audit(&self.hub);
    }

    fn begin_publish(&mut self) {
        let most = if self.random.one_in(8) { 7 } else { 1 };
        let count = 1 + self.random.up_to(most);
        let channels: Vec<usize> = (0..count).map(|_| self.random.up_to(5) as usize).collect();
        let store = !self.random.one_in(4);
        let ids: Vec<ChannelId> = channels.iter().map(|&channel| NAMES[channel].into()).collect();
        self.hub.admit_publish(&ids, self.now()).unwrap();
        self.slow.push((channels, store, self.wall));
        if !self.random.one_in(4) {
            self.finish_publish();
        }
    }

    /// The body is there; the wall time that is handed in may be that of the head.
    fn finish_publish(&mut self) {
        let Some((channels, store, began)) = self.slow.pop() else { return };
        let wall = if self.random.one_in(4) { began } else { self.wall };
        let ids: Vec<ChannelId> = channels.iter().map(|&channel| NAMES[channel].into()).collect();
        let draft = Draft { text: (*b"forty bytes of text, or something like it").into(), store, ..Draft::default() };
        let before = self.hub.state.lock().clock.last();
        self.hub.publish(&ids, &draft, Now(wall)).unwrap();
        self.learn_what_was_published(before.seq, &channels, store);
    }

    /// Finds out which sequence numbers the messages have: channels may have come into being again, with events between.
    fn learn_what_was_published(&mut self, after: u64, channels: &[usize], store: bool) {
        let state = self.hub.state.lock();
        let last = state.clock.last();
        assert!(last.stamp > self.last, "stamps grow: {:?} after {:?}", last.stamp, self.last);
        self.last = last.stamp;
        let events = state.events.and_then(|slot| state.registry.get(slot));
        let is_event = |seq: u64| {
            events.is_some_and(|events| events.backlog.starting_at(seq).next().is_some_and(|m| m.seq == seq))
        };
        let mut seqs: Vec<u64> = (after + 1..=last.seq).filter(|&seq| !is_event(seq)).collect();
        // Events that memory has pushed out again came first.
        let surplus = seqs.len() - channels.len();
        seqs.drain(..surplus);
        let lives_until = last.stamp.time + self.settings.message_ttl;
        drop(state);
        for (&channel, seq) in channels.iter().zip(seqs) {
            self.lives_until.insert(seq, lives_until);
            if store {
                self.stored[channel].push(seq);
            }
            for client in self.clients.iter_mut().filter(|client| client.path.contains(&channel)) {
                client.is_published(seq, channel, store);
            }
        }
    }

    fn delete(&mut self) {
        let channel = self.random.up_to(5) as usize;
        let expected = usize::from(!self.hub.find(&[NAMES[channel].into()]).is_empty());
        assert_eq!(self.hub.delete(&[NAMES[channel].into()], None, self.now()), expected);
        for seq in std::mem::take(&mut self.stored[channel]) {
            self.clients.iter_mut().for_each(|client| client.is_dropped(seq));
        }
    }

    fn pass_time(&mut self) {
        let most = [30, 400, 1_500, 6_000][self.random.up_to(3) as usize];
        self.wall += self.random.up_to(most);
        while self.hub.sweep(self.now()) {}
        // The writer does not sleep as long.
        self.write();
    }

    fn write(&mut self) {
        if let Some(log) = &mut self.log {
            log.write(&self.hub);
        }
    }

    fn renew(&mut self) {
        let (count, from) = (self.random.up_to(40) as usize, self.random.up_to(60));
        if let Some(log) = &mut self.log {
            if self.random.one_in(3) {
                log.walk(&self.hub, from);
            } else {
                log.renew(&self.hub, count);
            }
        }
    }

    fn step_clock(&mut self) {
        let most = [900, 3_000, 3_000, 5_000_000][self.random.up_to(3) as usize];
        let step = self.random.up_to(2 * most) as i64 - most as i64;
        self.wall = self.wall.saturating_add_signed(step);
        self.hub.census(self.now());
        self.write();
    }

    fn reload(&mut self) {
        self.settings.message_ttl = self.random.up_to(19) as u32 + 1;
        self.settings.max_messages_per_channel = self.random.one_in(2).then(|| self.random.up_to(9) as u32 + 1);
        self.hub.reconfigure(self.settings.clone(), self.capabilities, self.now());
    }

    /// A new process, which knows where the old one has stopped or (if nothing makes that impossible) does not.
    fn restart(&mut self) {
        let told = self.hub.state.lock().clock.seen();
        if self.log.is_some() {
            return self.restart_from_log(told);
        }
        // No process starts, publishes and ends within a millisecond.
        let unknown = told < Clock::new(self.now(), None).seen() && self.random.one_in(2);
        let floor = (!unknown).then_some(told);
        self.hub = Hub::new(self.settings.clone(), self.capabilities, WORKERS, self.now(), floor);
        self.stored = Default::default();
        self.lives_until.clear();
        self.last = told;
        self.slow.clear();
        self.clients.iter_mut().for_each(Client::process_ended);
    }

    /// A new process, which has the log of the old one: clients miss nothing but what a crash has cost.
    fn restart_from_log(&mut self, told: Stamp) {
        let crash = self.random.one_in(2);
        for at in 0..self.clients.len() {
            self.break_off(at);
        }
        let Some(mut log) = self.log.take() else { return };
        let lost = log.end(&self.hub, crash);
        self.wall += self.random.up_to(3_000);
        self.hub = Hub::new(self.settings.clone(), self.capabilities, WORKERS, self.now(), Some(Stamp::default()));
        log.begin(&self.hub, crash, self.now());
        self.log = Some(log);
        for seq in lost {
            self.stored.iter_mut().for_each(|stored| stored.retain(|other| *other != seq));
            self.clients.iter_mut().for_each(|client| client.is_lost(seq));
        }
        // What had been pushed out by a message that is lost, or by a cap that was another one then.
        for (name, stored) in NAMES.iter().zip(&self.stored) {
            let state = self.hub.state.lock();
            let Some(channel) = state.registry.find(&(*name).into()).and_then(|slot| state.registry.get(slot)) else {
                continue;
            };
            for message in channel.backlog.starting_at(0).filter(|message| !stored.contains(&message.seq)) {
                self.lives_until.insert(message.seq, message.expires);
                self.clients.iter_mut().for_each(|client| client.is_back(message.seq));
            }
        }
        self.last = told;
        self.slow.clear();
    }

    /// Takes from the model what the hub has dropped, which must have had a reason.
    fn look_at_the_hub(&mut self) {
        let state = self.hub.state.lock();
        let now = state.clock.seen().time;
        for (channel, stored) in self.stored.iter_mut().enumerate() {
            let there = state.registry.find(&NAMES[channel].into()).and_then(|slot| state.registry.get(slot));
            let seqs: Vec<u64> =
                there.map_or(Vec::new(), |channel| channel.backlog.starting_at(0).map(|m| m.seq).collect());
            let cap = self.settings.max_messages_per_channel.map_or(usize::MAX, |cap| cap as usize);
            for &seq in stored.iter().filter(|seq| !seqs.contains(seq)) {
                let over_cap = stored.iter().filter(|&&other| other > seq).count() >= cap;
                let expired = self.lives_until[&seq] <= now;
                assert!(
                    over_cap || expired || self.settings.memory < 10_000,
                    "message {seq} was dropped for no reason"
                );
                self.clients.iter_mut().for_each(|client| client.is_dropped(seq));
            }
            *stored = seqs;
        }
    }
}

fn run(seed: u64) {
    let mut world = World::new(seed);
    for _ in 0..STEPS {
        world.step();
    }
    world.end();
}

#[test]
fn clients_that_follow_the_protocol_see_each_message_once_in_order() {
    for_each_seed(1_000, run);
}
