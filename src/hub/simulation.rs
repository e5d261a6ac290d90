//! A seeded simulation of publishers, clients and the clock against a model that is too simple to be wrong.
//!
//! Clients follow the protocol (they resume by the time and tag of what they saw last). The law: each sees every stored
//! message of its channels once and in order, unless it was dropped before the client asked; streams also see what was
//! published live without being stored.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::tests::{FLOOR, START, strict, zone};
use super::*;
use crate::model::{Replay, Requested};

const NAMES: [&str; 3] = ["a", "b", "c"];
const WORKERS: usize = 2;

/// Checks that counters, budget and index agree with the channels.
pub(super) fn audit(hub: &Hub) {
    let state = hub.state.lock();
    let (mut stored, mut kinds, mut messages) = (0, [0, 0], 0);
    for (key, channel) in state.registry.after(None) {
        assert_eq!(state.registry.find(&channel.id), state.registry.find_key(key));
        if !channel.for_events {
            stored += channel.backlog.len();
        }
        kinds[usize::from(channel.wildcard)] += 1;
        messages += channel.backlog.bytes();
    }
    stored += state.trash.deleted.iter().map(|deleted| deleted.stored).sum::<usize>();
    assert_eq!(state.counters.stored, stored as u64);
    assert_eq!([state.counters.channels, state.counters.wildcard_channels], kinds);
    assert!(state.budget.used() >= messages);
    let channels = state.registry.after(None).map(|(_, channel)| channel);
    state.due.audit(channels, |slot| state.registry.get(slot));
}

#[derive(Clone, Debug)]
enum Step {
    Publish {
        channels: Vec<usize>,
        store: bool,
    },
    Delete(usize),
    /// A client does the next thing it would do.
    Act(usize),
    /// A stream or a waiting long-poll loses its connection.
    Drop(usize),
    Pass(i64),
    Reload,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (prop::collection::vec(0..3usize, 1..3), prop::bool::weighted(0.7))
            .prop_map(|(channels, store)| Step::Publish { channels, store }),
        1 => (0..3usize).prop_map(Step::Delete),
        8 => (0..6usize).prop_map(Step::Act),
        1 => (0..6usize).prop_map(Step::Drop),
        3 => (-500..6000i64).prop_map(Step::Pass),
        1 => Just(Step::Reload),
    ]
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Poller,
    LongPoller,
    Stream,
}

/// A client and, by the model, what it has yet to see.
struct Client {
    kind: Kind,
    worker: usize,
    path: Vec<usize>,
    replay: Replay,
    registration: Option<Registration>,
    /// Messages on their way: sequence number, channel, whether stored, whether the stream was there at the publish.
    pending: VecDeque<(u64, usize, bool, bool)>,
}

/// The model of a channel: sequence number and expiry of its stored messages.
type Stored = VecDeque<(u64, u32)>;

struct World {
    hub: Hub,
    settings: Zone,
    options: HubOptions,
    now: u64,
    seq: u64,
    stored: [Stored; 3],
    clients: Vec<Client>,
}

impl World {
    fn new(settings: Zone, options: HubOptions) -> Self {
        let now = START * 1000;
        let clients = [
            (Kind::Poller, 0, vec![0, 1]),
            (Kind::Poller, 1, vec![2]),
            (Kind::LongPoller, 0, vec![0, 1, 2]),
            (Kind::LongPoller, 1, vec![1]),
            (Kind::Stream, 0, vec![2, 0]),
            (Kind::Stream, 1, vec![1]),
        ];
        let replay = Replay { time: Some(0), tag: None, event_id: None };
        let client = |(kind, worker, path)| Client {
            kind,
            worker,
            path,
            replay: replay.clone(),
            registration: None,
            pending: VecDeque::new(),
        };
        Self {
            hub: Hub::new(settings.clone(), options.clone(), WORKERS, Now(now), FLOOR),
            settings,
            options,
            now,
            seq: 0,
            stored: Default::default(),
            clients: clients.into_iter().map(client).collect(),
        }
    }

    fn run(&mut self, step: &Step) {
        match step {
            Step::Publish { channels, store } => self.publish(channels, *store),
            Step::Delete(channel) => self.delete(*channel),
            Step::Act(client) => self.act(*client),
            Step::Drop(client) => self.leave(*client),
            Step::Pass(ms) => self.pass(*ms),
            Step::Reload => self.hub.reconfigure(self.settings.clone(), self.options.clone(), Now(self.now)),
        }
        self.drop_what_the_hub_dropped();
        audit(&self.hub);
    }

    fn publish(&mut self, channels: &[usize], store: bool) {
        let ids: Vec<ChannelId> = channels.iter().map(|&c| NAMES[c].into()).collect();
        let draft = Draft { text: vec![b'x'; 40].into(), event: None, store, ..Draft::default() };
        let events = self.hub.state.lock().clock.last().seq;
        self.hub.admit_publish(&ids, Now(self.now)).unwrap();
        self.hub.publish(&ids, &draft, Now(self.now)).unwrap();
        let last = self.hub.state.lock().clock.last().seq;
        let first = last + 1 - channels.len() as u64;
        assert!(first > events);
        self.seq = last;
        let ttl = self.settings.message_ttl;
        let second = self.hub.state.lock().clock.last().stamp.time;
        for (&channel, seq) in channels.iter().zip(first..) {
            if store {
                self.stored[channel].push_back((seq, second + ttl));
            }
            for client in self.clients.iter_mut().filter(|client| client.path.contains(&channel)) {
                let there = client.registration.is_some();
                if store || there {
                    client.pending.push_back((seq, channel, store, there));
                }
            }
        }
    }

    fn delete(&mut self, channel: usize) {
        // Streams and long-polls read what is on its way first: a deletion is told after it.
        (0..self.clients.len()).for_each(|client| self.receive(client));
        let expected = usize::from(!self.hub.find(&[NAMES[channel].into()]).is_empty());
        assert_eq!(self.hub.delete(&[NAMES[channel].into()], None, Now(self.now)), expected);
        self.stored[channel].clear();
        for client in 0..self.clients.len() {
            self.clients[client].pending.retain(|&(_, at, ..)| at != channel);
            self.receive(client);
        }
    }

    fn pass(&mut self, ms: i64) {
        (0..self.clients.len()).for_each(|client| self.receive(client));
        self.now = self.now.saturating_add_signed(ms);
        while self.hub.sweep(Now(self.now)) {}
    }

    /// Takes from the model what cap, budget or expiry took from the hub: always from the front.
    fn drop_what_the_hub_dropped(&mut self) {
        for (channel, stored) in self.stored.iter_mut().enumerate() {
            let left = self.hub.find(&[NAMES[channel].into()]).first().map_or(0, |info| info.stored as usize);
            while stored.len() > left {
                let (seq, _) = stored.pop_front().unwrap();
                for client in &mut self.clients {
                    client.pending.retain(|&(at, _, _, there)| at != seq || there);
                }
            }
            assert_eq!(stored.len(), left);
        }
    }

    fn act(&mut self, client: usize) {
        if self.clients[client].registration.is_some() {
            self.receive(client);
        } else {
            self.ask(client);
        }
    }

    fn ask(&mut self, client: usize) {
        let c = &self.clients[client];
        let path: Vec<Requested> =
            c.path.iter().map(|&channel| Requested { id: NAMES[channel].into(), backtrack: 0 }).collect();
        let kind = match c.kind {
            Kind::Poller => AskKind::Poll,
            Kind::LongPoller => AskKind::LongPoll,
            Kind::Stream => AskKind::Stream,
        };
        let ask = Ask {
            worker: c.worker,
            path: &path,
            replay: &c.replay,
            kind,
            authorized_only: false,
            wildcard_limit: None,
            events_allowed: false,
        };
        let mut answer = self.hub.subscribe(&ask, Now(self.now)).unwrap();
        let mut seen: Vec<u64> =
            self.hub.pages(&mut answer.history).flatten().map(|missed| missed.message.seq).collect();
        if self.options.merge_replay {
            assert!(seen.is_sorted(), "merged replay is in order of publish: {seen:?}");
        }
        seen.sort_unstable();
        // The events of the request itself may have pushed messages out of a small memory, before or after they were read.
        let before: Vec<u64> = self.clients[client].pending.iter().map(|&(seq, ..)| seq).collect();
        self.drop_what_the_hub_dropped();
        let c = &mut self.clients[client];
        let after: Vec<u64> = c.pending.drain(..).map(|(seq, ..)| seq).collect();
        assert!(after.iter().all(|seq| seen.contains(seq)), "client {client} missed {after:?} and saw {seen:?}");
        let rightly = seen.iter().all(|seq| before.contains(seq)) && seen.windows(2).all(|pair| pair[0] < pair[1]);
        assert!(rightly, "client {client} missed {before:?} and saw {seen:?}");
        c.replay.time = Some(answer.resume.time);
        c.replay.tag = answer.resume.tag;
        assert_eq!(
            answer.subscription.is_some(),
            kind == AskKind::Stream || (kind == AskKind::LongPoll && seen.is_empty())
        );
        c.registration = answer.subscription;
    }

    /// Handles the notes for the client's worker.
    fn receive(&mut self, client: usize) {
        let worker = self.clients[client].worker;
        let mut notes = Vec::new();
        self.hub.take_notes(worker, &mut notes, Now(self.now));
        for note in notes {
            for client in 0..self.clients.len() {
                if self.clients[client].worker == worker {
                    self.receive_note(client, &note);
                }
            }
        }
    }

    fn receive_note(&mut self, client: usize, note: &Note) {
        let c = &mut self.clients[client];
        let Some(registration) = &c.registration else { return };
        match note {
            Note::Message(fanout) => {
                let news = registration.keys.contains(&fanout.channel) && fanout.message.seq > registration.seq;
                if !news {
                    return;
                }
                let (seq, ..) = c.pending.pop_front().unwrap();
                assert_eq!(fanout.message.seq, seq, "client {client} sees the next message");
                c.replay.time = Some(i64::from(fanout.message.stamp.time));
                c.replay.tag = Some(i64::from(fanout.message.stamp.tag));
                if c.kind == Kind::LongPoller {
                    self.leave_now(client);
                }
            }
            Note::Deleted(fanout) => {
                if registration.keys.contains(&fanout.channel) {
                    self.leave_now(client);
                }
            }
        }
    }

    fn leave(&mut self, client: usize) {
        // What was in the queue when the connection broke is read first by those on the same worker.
        self.receive(client);
        if self.clients[client].registration.is_some() {
            self.leave_now(client);
        }
    }

    fn leave_now(&mut self, client: usize) {
        let c = &mut self.clients[client];
        if let Some(registration) = c.registration.take() {
            self.hub.leave(c.worker, &registration.keys, Now(self.now));
        }
        // What was not stored is lost for who is not there, and what was dropped meanwhile too.
        let stored = &self.stored;
        c.pending.retain(|&(seq, channel, kept, _)| kept && stored[channel].iter().any(|&(at, _)| at == seq));
        c.pending.iter_mut().for_each(|pending| pending.3 = false);
    }
}

fn settings() -> impl Strategy<Value = (Zone, HubOptions)> {
    let caps = prop::option::of(1..4u32);
    let memory = prop_oneof![Just(1u64 << 20), Just(2_000)];
    (caps, prop::bool::ANY, 1..20u32, 0..10u32, prop::bool::ANY, memory).prop_map(
        |(cap, events, message_ttl, inactivity, follow, memory)| {
            let zone = Zone {
                max_messages_per_channel: cap,
                message_ttl,
                inactivity,
                memory: if follow { 1 << 20 } else { memory },
                events_channel_id: if events { (*b"EV").into() } else { Box::default() },
                ..zone()
            };
            (zone, if follow { strict() } else { HubOptions::default() })
        },
    )
}

proptest! {

    #[test]
    fn clients_that_follow_the_protocol_see_each_message_once_in_order(
        (zone, options) in settings(),
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let mut world = World::new(zone, options);
        for step in &steps {
            world.run(step);
        }
        // All leave; then nothing but what never goes is left.
        (0..6).for_each(|client| world.leave(client));
        for _ in 0..10 {
            world.pass(10_000);
            world.drop_what_the_hub_dropped();
        }
        world.pass(60_000);
        world.pass(60_000);
        let census = world.hub.census(Now(world.now));
        prop_assert_eq!(census.subscribers, 0);
        prop_assert_eq!(census.channels, u32::from(!world.settings.events_channel_id.is_empty()));
        prop_assert_eq!((census.stored, census.channels_in_delete, census.channels_in_trash), (0, 0, 0));
    }
}
