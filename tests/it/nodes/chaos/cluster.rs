//! Where it happens too: three nodes and a Redis Cluster of three primaries with a replica each, of which each zone's slot is at one.

use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::disaster::{Disaster, NodeFault, Nodes, strike};
use super::site::node;
use super::{Scene, ZONES, Zone};
use crate::nodes::redis::Redis;
use crate::nodes::slots::Move;
use crate::support::{PATIENCE, Random, within};

/// The scene. Nodes go before the servers.
pub struct Cluster {
    nodes: Nodes,
    servers: Vec<Redis>,
    /// A slot on its way.
    moving: Option<Move>,
}

impl Cluster {
    pub fn new() -> Self {
        let args = [
            "--cluster-enabled",
            "yes",
            "--cluster-node-timeout",
            "1200",
            // Whoever is left takes over, however long it has heard nothing.
            "--cluster-replica-validity-factor",
            "0",
            "--cluster-require-full-coverage",
            "no",
            "--cluster-allow-replica-migration",
            "no",
            "--repl-diskless-sync-delay",
            "0",
            "--appendonly",
            "yes",
            "--appendfsync",
            "everysec",
        ];
        let servers: Vec<Redis> = (0..6).map(|_| Redis::chosen(&args)).collect();
        let addresses: Vec<String> = servers.iter().map(|server| format!("127.0.0.1:{}", server.port)).collect();
        let made = Command::new("redis-cli")
            .args(["--cluster", "create"])
            .args(&addresses)
            .args(["--cluster-replicas", "1", "--cluster-yes"])
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stdout));
        let known = |server: &Redis| {
            let nodes = redis::from_redis_value::<String>(server.ask(&["CLUSTER", "NODES"])).unwrap();
            nodes.lines().filter(|line| line.contains("slave") && line.contains(" connected")).count() == 3
        };
        within(PATIENCE, "all know the replicas", || servers.iter().all(known));
        let url = format!("redis://{}", addresses.join(","));
        let all = (0..3).map(|_| node(&url)).collect();
        Self { nodes: Nodes::new(all), servers, moving: None }
    }

    /// The server that has a zone's slot: others say where that is.
    fn owner(&self, zone: &Zone) -> Option<usize> {
        let exists = ["EXISTS", &zone.key("log")];
        self.servers
            .iter()
            .position(|server| server.ask_shortly(&exists).is_ok() && says(server, "cluster", "cluster_state:ok"))
    }

    /// The replica of a primary, if it has all there is.
    fn replica(&self, owner: usize) -> Option<usize> {
        if !says(&self.servers[owner], "replication", "state=online") {
            return None;
        }
        let port = format!("master_port:{}\r", self.servers[owner].port);
        self.servers.iter().position(|server| {
            says(server, "replication", &port) && says(server, "replication", "master_link_status:up")
        })
    }

    /// Another primary than this one, with a replica.
    fn other(&self, owner: usize) -> Option<usize> {
        (0..self.servers.len()).find(|&at| {
            at != owner && says(&self.servers[at], "replication", "role:master") && self.replica(at).is_some()
        })
    }
}

fn says(server: &Redis, about: &str, line: &str) -> bool {
    let words: &[&str] = if about == "cluster" { &["CLUSTER", "INFO"] } else { &["INFO", about] };
    server
        .ask_shortly(words)
        .is_ok_and(|told| redis::from_redis_value::<String>(told).is_ok_and(|told| told.contains(line)))
}

impl Scene for Cluster {
    fn nodes(&self) -> &Nodes {
        &self.nodes
    }

    fn strike(&mut self, random: &mut Random, total: Duration) -> Vec<String> {
        strike::<Self, Fault>(self, random, total)
    }

    fn master(&self, zone: &Zone) -> &Redis {
        let mut found = None;
        within(PATIENCE, "the slot has a server", || {
            found = self.owner(zone);
            found.is_some()
        });
        &self.servers[found.unwrap()]
    }

    fn said(&self) -> String {
        redis::from_redis_value(self.master(&ZONES[0]).ask(&["CLUSTER", "NODES"])).unwrap()
    }
}

/// What happens; servers are numbered as they were made, whatever becomes of them.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Node(NodeFault, usize),
    Killed(usize),
    Stopped(usize),
    /// A replica becomes the primary, with the consent of that one or by vote alone.
    FailedOver(usize, bool),
    ConnectionsKilled,
    /// That of a zone.
    LogTrimmed(usize),
    /// The slot of a zone goes from one server to another.
    SlotMoved(usize, usize, usize),
}

impl Disaster<Cluster> for Fault {
    fn any(random: &mut Random, scene: &Cluster) -> Option<Self> {
        let (node, zone, kind) = (random.below(3) as usize, random.below(2) as usize, random.below(16));
        if kind < 6 {
            return Some(Self::Node(NodeFault::any(random), node));
        }
        // There is no second fault before the first is made good.
        let owner = scene.owner(&ZONES[zone])?;
        let replica = scene.replica(owner)?;
        Some(match kind {
            6 | 7 => Self::Killed(owner),
            8 | 9 => Self::Stopped(owner),
            10 => Self::Killed(replica),
            11 => Self::FailedOver(replica, random.below(2) == 0),
            12 => Self::LogTrimmed(zone),
            13 | 14 => Self::SlotMoved(zone, owner, scene.other(owner)?),
            _ => Self::ConnectionsKilled,
        })
    }

    fn touches(self, other: Self) -> bool {
        match (self, other) {
            (Self::Node(one, at), Self::Node(two, of)) => one.touches(at, two, of),
            (Self::Node(..), _) | (_, Self::Node(..)) => false,
            _ => true,
        }
    }

    fn begin(self, scene: &mut Cluster) {
        let tell_all = |words: &[&str]| {
            for server in &scene.servers {
                let _ = server.try_ask(words);
            }
        };
        match self {
            Self::Node(fault, node) => fault.begin(&mut scene.nodes, node),
            Self::Killed(server) => scene.servers[server].kill(),
            Self::Stopped(server) => scene.servers[server].signal(Signal::SIGSTOP),
            Self::FailedOver(replica, agreed) => {
                let words: &[&str] = if agreed { &["CLUSTER", "FAILOVER"] } else { &["CLUSTER", "FAILOVER", "FORCE"] };
                let _ = scene.servers[replica].try_ask(words);
            }
            Self::ConnectionsKilled => tell_all(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]),
            Self::LogTrimmed(zone) => tell_all(&["XTRIM", &ZONES[zone].key("log"), "MAXLEN", "2"]),
            Self::SlotMoved(zone, from, to) => {
                let moving = Move::open(&scene.servers, &ZONES[zone].key("log"), from, to);
                moving.move_half(&scene.servers);
                scene.moving = Some(moving);
            }
        }
    }

    fn end(self, scene: &mut Cluster) {
        match self {
            Self::Node(fault, node) => fault.end(&mut scene.nodes, node),
            Self::Killed(server) => scene.servers[server].go_on(),
            Self::Stopped(server) => scene.servers[server].signal(Signal::SIGCONT),
            Self::SlotMoved(..) => {
                if let Some(moving) = scene.moving.take() {
                    moving.close(&scene.servers);
                }
            }
            _ => {}
        }
    }
}
