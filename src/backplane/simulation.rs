//! A seeded simulation of nodes, clients and a server that loses its end, against a model that is too simple to be wrong.
//!
//! The server is a model of the script (its entries are the bytes the script writes); nodes are real hubs that follow real positions and join by real
//! snapshots, each as far behind as chance has it; to join takes steps, between which everything goes on. The law: a client that goes from node to node sees each message at most once and in order,
//! and in the end each stored message of its channels that was not deleted and not lost by the server.
//!
//! A failure prints its seed (`model/seeds`).

mod node;
mod server;

use std::collections::{BTreeSet, HashMap};

use node::Node;
use server::{AHEAD, Server};

use super::record::{Record, What, seq};
use crate::hub::{Ask, AskKind, Note, Registration};
use crate::log::Entry;
use crate::model::seeds::{Random, for_each_seed};
use crate::model::{Now, Replay, Requested, Stamp};

const CHANNELS: [&str; 4] = ["a", "b", "c", "d"];
const NODES: usize = 3;
const STEPS: u32 = 300;

/// A client that goes on by time and tag, on any node.
struct Client {
    path: Vec<&'static str>,
    kind: AskKind,
    at: usize,
    replay: Replay,
    registration: Option<Registration>,
    seen: BTreeSet<u64>,
    last: u64,
}

impl Client {
    fn sees(&mut self, seq: u64) {
        assert!(seq > self.last, "{seq} after {}: twice or out of order", self.last);
        self.last = seq;
        self.seen.insert(seq);
    }

    fn goes_on_from(&mut self, stamp: Stamp) {
        let (time, tag) = (Some(i64::from(stamp.time)), Some(i64::from(stamp.tag)));
        assert!((time, tag) >= (self.replay.time, self.replay.tag), "the place of a client goes back");
        (self.replay.time, self.replay.tag) = (time, tag);
    }
}

struct World {
    random: Random,
    server: Server,
    /// The one before it, which takes what nodes ask that have not heard of it, up to a second.
    before: Option<(Server, u32)>,
    nodes: Vec<Node>,
    clients: Vec<Client>,
    /// What every client of a channel must see in the end.
    wanted: HashMap<u64, &'static str>,
    zones: u64,
    epochs: u32,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut server = Server { time: 1000, ..Server::default() };
        server.begin(1, 0, Stamp::default());
        let mut nodes: Vec<Node> = (0..NODES).map(|_| Node::new()).collect();
        for node in &mut nodes {
            while !node.joined {
                node.read(&server, usize::MAX);
            }
        }
        let client = |path: &[&'static str], kind| Client {
            path: path.to_vec(),
            kind,
            at: 0,
            replay: Replay { time: Some(0), tag: Some(0), event_id: None },
            registration: None,
            seen: BTreeSet::new(),
            last: 0,
        };
        let clients = vec![
            client(&["a"], AskKind::Poll),
            client(&["a", "b", "c", "d"], AskKind::Poll),
            client(&["b", "c"], AskKind::LongPoll),
            client(&["a", "b", "c", "d"], AskKind::LongPoll),
            client(&["d"], AskKind::Stream),
            client(&["c", "a", "b"], AskKind::Stream),
        ];
        Self {
            random: Random::new(seed),
            server,
            before: None,
            nodes,
            clients,
            wanted: HashMap::new(),
            zones: 1,
            epochs: 0,
        }
    }

    fn step(&mut self) {
        let node = self.random.up_to(NODES as u64 - 1) as usize;
        let client = self.random.up_to(self.clients.len() as u64 - 1) as usize;
        match self.random.up_to(99) {
            0..25 => {
                let channel = CHANNELS[self.random.up_to(3) as usize];
                let stored = !self.random.one_in(4);
                self.publish(node, channel, stored);
            }
            25 => {
                // What is not stored any more nobody has to see who has not seen it yet.
                let channel = CHANNELS[self.random.up_to(3) as usize];
                let keep = self.random.up_to(4) as usize;
                for seq in self.server.trim(channel, keep) {
                    self.wanted.remove(&seq);
                }
            }
            26..50 => {
                let most = self.random.up_to(4) as usize;
                self.read(node, most);
            }
            50..80 => self.ask(client, node),
            80..86 => self.deliver(node),
            86..91 => {
                let seconds = self.random.up_to(2) as u32;
                self.pass(seconds);
                self.server.beat();
            }
            91 => {
                let channel = CHANNELS[self.random.up_to(3) as usize];
                self.server.delete(channel);
                self.wanted.retain(|_, other| *other != channel);
            }
            92 | 93 => {
                self.nodes[node].connected = false;
                self.nodes[node].behind_the_times = false;
            }
            94 => {
                // The log is short: who is further behind than it reaches reads the zone anew.
                let keep = self.random.up_to(3) as usize + 1;
                let gone = self.server.log.len().saturating_sub(keep);
                self.server.log.drain(..gone);
            }
            95 | 96 => self.fail_over(),
            97 => self.lose_everything(),
            98 => self.restart(node),
            _ => self.leave(client),
        }
    }

    fn publish(&mut self, node: usize, channel: &'static str, stored: bool) {
        match &mut self.before {
            Some((before, until)) if self.nodes[node].behind_the_times => {
                // What it takes is lost; later than that it takes nothing.
                if before.time <= *until {
                    before.publish(channel, stored);
                }
            }
            _ => {
                let stamp = self.server.publish(channel, stored);
                if stored {
                    self.wanted.insert(seq(stamp), channel);
                }
            }
        }
    }

    fn pass(&mut self, seconds: u32) {
        self.server.time += seconds;
        if let Some((before, _)) = &mut self.before {
            before.time += seconds;
        }
    }

    /// A server takes over that is some entries behind, and a second or more passes meanwhile. Some nodes hear of it later.
    fn fail_over(&mut self) {
        let before = self.server.clone();
        let lost = self.random.up_to(5) as usize;
        let keep = self.server.log.len().saturating_sub(lost).max(1);
        let gone: Vec<Record> = self.server.log.drain(keep..).map(|(_, bytes)| Record::read(&bytes).unwrap()).collect();
        for record in gone.iter().rev() {
            self.server.number -= 1;
            if let What::Change(Entry::Publish(published), _) = &record.what {
                self.wanted.remove(&published.message.seq);
            }
        }
        // A replica that has lost its last deletion has the channel again; the model does not follow that.
        let (last, bytes) = self.server.log.last().unwrap();
        let record = Record::read(bytes).unwrap();
        self.server.next_id = last.0;
        self.server.last = record.stamp;
        let until = record.stamp;
        for stored in self.server.stored.values_mut() {
            stored.retain(|bytes| Record::read(bytes).unwrap().stamp <= until);
        }
        self.epoch_of_log();
        self.before = Some((before, self.server.time + AHEAD - 2));
        let seconds = 1 + self.random.up_to(1) as u32;
        self.pass(seconds);
        let seen = self.nodes[self.random.up_to(NODES as u64 - 1) as usize].hub.last_stamp();
        self.epochs += 1;
        self.server.begin(0, self.epochs, seen);
        for node in 0..NODES {
            // Who has not heard of the last one either hears of both.
            let hears = self.nodes[node].behind_the_times || self.random.one_in(2);
            self.nodes[node].behind_the_times = !hears;
            self.nodes[node].connected &= !hears;
        }
    }

    /// The epoch that the entries tell which are left.
    fn epoch_of_log(&mut self) {
        let told = self.server.log.iter().rev().find_map(|(_, bytes)| match Record::read(bytes).unwrap().what {
            What::Epoch(epoch) => Some(epoch),
            _ => None,
        });
        if let Some(epoch) = told {
            self.server.lineage = self.server.lineage.up_to(self.server.number);
            self.server.epoch = epoch;
        }
    }

    fn lose_everything(&mut self) {
        // Where nobody is left who knows how far it was, only clients do, and may be ahead of the clock by what an epoch is.
        if !self.nodes.iter().any(|node| node.joined) {
            return;
        }
        self.zones += 1;
        self.server = Server { time: self.server.time + 1, next_id: self.server.next_id + 1, ..Server::default() };
        let seen = self.nodes.iter().find(|node| node.joined).unwrap().hub.last_stamp();
        self.epochs += 1;
        self.server.begin(self.zones, self.epochs, seen);
        self.wanted.clear();
        self.before = None;
        for node in &mut self.nodes {
            (node.connected, node.behind_the_times) = (false, false);
        }
    }

    fn restart(&mut self, node: usize) {
        for at in (0..self.clients.len()).filter(|at| self.clients[*at].at == node).collect::<Vec<_>>() {
            self.clients[at].registration = None;
        }
        self.nodes[node] = Node::new();
    }

    fn read(&mut self, node: usize, most: usize) {
        let server = match &self.before {
            Some((before, _)) if self.nodes[node].behind_the_times => before,
            _ => &self.server,
        };
        self.nodes[node].read(server, most);
    }

    /// A client without a connection asks a node, which may be behind.
    fn ask(&mut self, at: usize, node: usize) {
        let client = &mut self.clients[at];
        if client.registration.is_some() {
            return;
        }
        let hub = &self.nodes[node].hub;
        if hub.check_joined().is_err() {
            return;
        }
        if client.kind != AskKind::Poll && hub.behind(&client.replay).is_some() {
            return;
        }
        client.at = node;
        let path: Vec<Requested> = client.path.iter().map(|id| Requested { id: (*id).into(), backtrack: 0 }).collect();
        let ask = Ask::unrestricted(0, &path, &client.replay, client.kind);
        let mut answer = hub.subscribe(&ask, Now::default()).unwrap();
        let missed: Vec<_> = hub.pages(&mut answer.history).flatten().collect();
        let last = missed.last().map(|missed| missed.message.stamp);
        for missed in &missed {
            client.sees(missed.message.seq);
        }
        client.registration = answer.subscription;
        if client.kind == AskKind::Stream {
            if let Some(last) = last {
                client.goes_on_from(last);
            }
        } else {
            let (time, tag) = (answer.resume.time as u32, answer.resume.tag.unwrap_or(0) as u32);
            client.goes_on_from(Stamp { time, tag });
        }
    }

    fn deliver(&mut self, node: usize) {
        let mut notes = Vec::new();
        let seen = self.nodes[node].hub.take_notes(0, &mut notes, Now::default());
        for client in self.clients.iter_mut().filter(|client| client.at == node) {
            for note in &notes {
                let Some(registration) = &client.registration else { break };
                let (Note::Message(fanout) | Note::Deleted(fanout)) = note;
                if !registration.keys.contains(&fanout.channel) {
                    continue;
                }
                if let Note::Message(fanout) = note {
                    if fanout.message.seq <= registration.seq {
                        continue;
                    }
                    client.sees(fanout.message.seq);
                    client.goes_on_from(fanout.seen);
                }
                if client.kind == AskKind::LongPoll || matches!(note, Note::Deleted(_)) {
                    let keys = client.registration.take().unwrap().keys;
                    self.nodes[node].hub.leave(0, &keys, Now::default());
                }
            }
            // A long-poll whose time is over is told what it has seen.
            if client.kind == AskKind::LongPoll
                && let Some(registration) = client.registration.take_if(|_| self.random.one_in(4))
            {
                client.goes_on_from(seen);
                self.nodes[node].hub.leave(0, &registration.keys, Now::default());
            }
        }
    }

    fn leave(&mut self, at: usize) {
        let node = self.clients[at].at;
        self.deliver(node);
        if let Some(registration) = self.clients[at].registration.take() {
            self.nodes[node].hub.leave(0, &registration.keys, Now::default());
        }
    }

    /// Everything comes to rest: every node has everything, and so has every client.
    fn end(mut self) {
        self.server.time += 1;
        self.server.beat();
        for node in self.nodes.iter_mut().filter(|node| node.behind_the_times) {
            (node.connected, node.behind_the_times) = (false, false);
        }
        for node in 0..NODES {
            // What it was at, twice what it takes to join, and what came meanwhile.
            (0..30).for_each(|_| self.read(node, usize::MAX));
            assert!(self.nodes[node].joined, "a node never joins");
            self.deliver(node);
        }
        for at in 0..self.clients.len() {
            self.leave(at);
            let node = self.random.up_to(NODES as u64 - 1) as usize;
            for _ in 0..2 {
                self.ask(at, node);
                self.leave(at);
            }
            let client = &self.clients[at];
            for (seq, channel) in &self.wanted {
                assert!(
                    !client.path.contains(channel) || client.seen.contains(seq),
                    "client {at} never saw {seq} of {channel}"
                );
            }
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
fn clients_that_go_from_node_to_node_see_each_message_once_in_order() {
    for_each_seed(500, run);
}
