//! Where it happens: three nodes, a Redis with a replica and a sentinel, and a network of relays between all of them.

use std::fs;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::runtime::Runtime;

use super::disaster::{Disaster, NodeFault, Nodes, strike};
use super::relay::{Lookout, Relay};
use super::site::node;
use super::{Scene, ZONES, Zone};
use crate::nodes::redis::{Redis, chosen};
use crate::support::{PATIENCE, Prefix, Random, Running, free_port, within};

/// Everything that may break. Processes go before the network.
pub struct Stage {
    nodes: Nodes,
    _sentinel: Running,
    servers: [Redis; 2],
    /// The way of each node to each server.
    relays: [[Relay; 2]; 3],
    /// The sentinel as each node sees it.
    lookouts: [Lookout; 3],
    /// The way of the other server and of the sentinel to each server.
    between: [Relay; 2],
    place: Prefix,
    sentinel: u16,
    _runtime: Runtime,
}

impl Stage {
    pub fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let network = runtime.handle();
        let names = [free_port(), free_port()];
        let servers = names.map(|name| {
            let name = name.to_string();
            Redis::chosen(&[
                "--appendonly",
                "yes",
                "--appendfsync",
                "everysec",
                "--repl-diskless-sync-delay",
                "0",
                "--replica-announce-ip",
                "127.0.0.1",
                "--replica-announce-port",
                &name,
            ])
        });
        let between = [0, 1].map(|at| Relay::at(network, names[at], servers[at].port));
        servers[1].ask(&["REPLICAOF", "127.0.0.1", &names[0].to_string()]);
        let sentinel = free_port();
        let place = Prefix::new("sentinel");
        place.write(
            "sentinel.conf",
            &format!(
                "port {sentinel}\nbind 127.0.0.1\ndir {}\nsentinel monitor push 127.0.0.1 {} 1\n\
                 sentinel down-after-milliseconds push 1200\nsentinel failover-timeout push 4000\n",
                place.dir.display(),
                names[0]
            ),
        );
        let process = Command::new(chosen())
            .arg(place.path("sentinel.conf"))
            .arg("--sentinel")
            .stdout(fs::File::create(place.path("stderr")).unwrap())
            .spawn()
            .unwrap();
        within(PATIENCE, "the sentinel knows the replica", || {
            fs::read_to_string(place.path("sentinel.conf")).unwrap().contains("known-replica")
        });
        let relays = [0, 1, 2].map(|_| [0, 1].map(|at| Relay::start(network, servers[at].port)));
        let lookouts = [0, 1, 2].map(|node| {
            let ways: &[Relay; 2] = &relays[node];
            Lookout::start(network, sentinel, [(names[0], ways[0].port), (names[1], ways[1].port)])
        });
        let nodes = lookouts.iter().map(|lookout| node(&format!("redis+sentinel://127.0.0.1:{}/push", lookout.port)));
        Self {
            nodes: Nodes::new(nodes.collect()),
            _sentinel: Running(process),
            servers,
            relays,
            lookouts,
            between,
            place,
            sentinel,
            _runtime: runtime,
        }
    }

    fn hold_up(&self, node: usize, deaf: bool, mute: bool) {
        self.relays[node].iter().for_each(|relay| relay.hold_up(deaf, mute));
    }

    /// Tells both servers something, if they hear it.
    fn tell_all(&self, words: &[&str]) {
        for server in &self.servers {
            let _ = server.try_ask(words);
        }
    }

    /// Whether there is a master, and a replica that has all it has.
    fn is_whole(&self) -> bool {
        self.named().is_some_and(|at| self.says(at, "role:master") && self.says(1 - at, "master_link_status:up"))
    }

    /// The server that the sentinel names.
    fn named(&self) -> Option<usize> {
        let mut asked = redis::cmd("SENTINEL");
        asked.arg("get-master-addr-by-name").arg("push");
        let client = redis::Client::open(format!("redis://127.0.0.1:{}", self.sentinel)).unwrap();
        let (_, port): (String, u16) = client.get_connection().and_then(|mut link| asked.query(&mut link)).ok()?;
        (0..2).find(|&at| self.between[at].port == port)
    }

    fn says(&self, server: usize, line: &str) -> bool {
        let told = self.servers[server].ask_shortly(&["INFO", "replication"]);
        told.is_ok_and(|told| redis::from_redis_value::<String>(told).is_ok_and(|told| told.contains(line)))
    }

    /// Has the sentinel make the replica the master though nothing has happened to that one.
    fn fail_over(&self) {
        let client = redis::Client::open(format!("redis://127.0.0.1:{}", self.sentinel)).unwrap();
        let mut told = redis::cmd("SENTINEL");
        told.arg("failover").arg("push");
        // It may be at it already.
        let _ = client.get_connection().and_then(|mut link| told.query::<()>(&mut link));
    }
}

impl Scene for Stage {
    fn nodes(&self) -> &Nodes {
        &self.nodes
    }

    fn strike(&mut self, random: &mut Random, total: Duration) -> Vec<String> {
        strike::<Self, Fault>(self, random, total)
    }

    fn master(&self, _zone: &Zone) -> &Redis {
        let mut found = None;
        within(PATIENCE, "there is a master", || {
            found = self.named().filter(|&at| self.says(at, "role:master"));
            found.is_some()
        });
        &self.servers[found.unwrap()]
    }

    fn said(&self) -> String {
        self.place.read("stderr")
    }
}

/// What happens.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Node(NodeFault, usize),
    /// Nothing from a node to Redis, nothing back, or neither.
    HeldUp(usize, bool, bool),
    Cut(usize),
    HalfOpen(usize),
    /// It reaches neither Redis nor the sentinel.
    Split(usize),
    RedisKilled(usize),
    RedisStopped(usize),
    /// Both, each either killed or stopped.
    AllRedis(bool, bool),
    /// The other Redis and the sentinel do not reach it; the nodes do.
    RedisSplit(usize),
    FailedOver,
    ConnectionsKilled,
    ScriptsForgotten,
    /// That of a zone.
    LogTrimmed(usize),
}

/// What a fault is about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum About {
    Node(usize),
    Redis,
    /// It is over at once.
    Nothing,
}

impl Fault {
    fn about(self) -> About {
        match self {
            Self::Node(_, node)
            | Self::HeldUp(node, ..)
            | Self::Cut(node)
            | Self::HalfOpen(node)
            | Self::Split(node) => About::Node(node),
            Self::RedisKilled(_)
            | Self::RedisStopped(_)
            | Self::RedisSplit(_)
            | Self::AllRedis(..)
            | Self::FailedOver => About::Redis,
            Self::ConnectionsKilled | Self::ScriptsForgotten | Self::LogTrimmed(_) => About::Nothing,
        }
    }
}

impl Disaster<Stage> for Fault {
    fn any(random: &mut Random, stage: &Stage) -> Option<Self> {
        let (node, redis) = (random.below(3) as usize, random.below(2) as usize);
        let fault = match random.below(20) {
            0..6 => Self::Node(NodeFault::any(random), node),
            6 => Self::HeldUp(node, true, false),
            7 => Self::HeldUp(node, false, true),
            8 => Self::Cut(node),
            9 => Self::HalfOpen(node),
            10 => Self::Split(node),
            11 | 12 => Self::RedisKilled(redis),
            13 | 14 => Self::RedisStopped(redis),
            15 => Self::RedisSplit(redis),
            16 => Self::AllRedis(node == 0, redis == 0),
            17 => Self::FailedOver,
            18 => Self::LogTrimmed(redis),
            _ if node == 0 => Self::ScriptsForgotten,
            _ => Self::ConnectionsKilled,
        };
        // A Redis that has lost its only copy loses everything: there is no second fault before the first is made good.
        (fault.about() != About::Redis || stage.is_whole()).then_some(fault)
    }

    fn touches(self, other: Self) -> bool {
        if let (Self::Node(one, at), Self::Node(two, of)) = (self, other) {
            return one.touches(at, two, of);
        }
        self.about() != About::Nothing && self.about() == other.about()
    }

    fn begin(self, stage: &mut Stage) {
        match self {
            Self::Node(fault, node) => fault.begin(&mut stage.nodes, node),
            Self::HeldUp(node, deaf, mute) => stage.hold_up(node, deaf, mute),
            Self::Cut(node) => stage.relays[node].iter().for_each(Relay::cut),
            Self::HalfOpen(node) => stage.relays[node].iter().for_each(Relay::leave_half_open),
            Self::Split(node) => {
                stage.hold_up(node, true, true);
                stage.lookouts[node].is_blind(true);
            }
            Self::RedisKilled(redis) => stage.servers[redis].kill(),
            Self::RedisStopped(redis) => stage.servers[redis].signal(Signal::SIGSTOP),
            Self::AllRedis(one, other) => {
                for (server, killed) in stage.servers.iter_mut().zip([one, other]) {
                    if killed {
                        server.kill();
                    } else {
                        server.signal(Signal::SIGSTOP);
                    }
                }
            }
            Self::RedisSplit(redis) => stage.between[redis].hold_up(true, true),
            Self::FailedOver => stage.fail_over(),
            Self::ConnectionsKilled => stage.tell_all(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]),
            Self::ScriptsForgotten => stage.tell_all(&["SCRIPT", "FLUSH"]),
            // As if many more entries had come: who is behind has to read everything.
            Self::LogTrimmed(zone) => stage.tell_all(&["XTRIM", &ZONES[zone].key("log"), "MAXLEN", "2"]),
        }
    }

    fn end(self, stage: &mut Stage) {
        match self {
            Self::Node(fault, node) => fault.end(&mut stage.nodes, node),
            Self::HeldUp(node, ..) => stage.hold_up(node, false, false),
            Self::Split(node) => {
                stage.lookouts[node].is_blind(false);
                stage.hold_up(node, false, false);
                // Systems give up connections over which nothing came for long.
                stage.relays[node].iter().for_each(Relay::cut);
            }
            Self::RedisKilled(redis) => stage.servers[redis].go_on(),
            Self::RedisStopped(redis) => stage.servers[redis].signal(Signal::SIGCONT),
            Self::AllRedis(one, other) => {
                for (server, killed) in stage.servers.iter_mut().zip([one, other]) {
                    if killed {
                        server.go_on();
                    } else {
                        server.signal(Signal::SIGCONT);
                    }
                }
            }
            Self::RedisSplit(redis) => stage.between[redis].hold_up(false, false),
            _ => {}
        }
    }
}
