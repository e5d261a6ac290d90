//! Where it happens too: three nodes and a Redis Cluster of three primaries with a replica each, one of which has the zone's slot.

use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::disaster::{Disaster, NodeFault, Nodes, strike};
use super::stage::node;
use super::{LOG, Scene};
use crate::nodes::redis::Redis;
use crate::support::{PATIENCE, Random, within};

/// The scene. Nodes go before the servers.
pub struct Cluster {
    nodes: Nodes,
    servers: Vec<Redis>,
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
        Self { nodes: Nodes { all, ends: Default::default() }, servers }
    }

    /// The server that has the zone's slot: others say where that is.
    fn owner(&self) -> Option<usize> {
        self.servers
            .iter()
            .position(|server| server.try_ask(&["EXISTS", LOG]).is_ok() && says(server, "cluster", "cluster_state:ok"))
    }

    /// Its replica, if it has all there is.
    fn replica(&self) -> Option<usize> {
        let owner = self.owner().filter(|owner| says(&self.servers[*owner], "replication", "state=online"))?;
        let port = format!("master_port:{}\r", self.servers[owner].port);
        self.servers.iter().position(|server| {
            says(server, "replication", &port) && says(server, "replication", "master_link_status:up")
        })
    }
}

fn says(server: &Redis, about: &str, line: &str) -> bool {
    let told = if about == "cluster" { server.try_ask(&["CLUSTER", "INFO"]) } else { server.try_ask(&["INFO", about]) };
    told.is_ok_and(|told| redis::from_redis_value::<String>(told).is_ok_and(|told| told.contains(line)))
}

impl Scene for Cluster {
    fn nodes(&self) -> &Nodes {
        &self.nodes
    }

    fn strike(&mut self, random: &mut Random, total: Duration) -> Vec<String> {
        strike::<Self, Fault>(self, random, total)
    }

    fn master(&self) -> &Redis {
        let mut found = None;
        within(PATIENCE, "the slot has a server", || {
            found = self.owner();
            found.is_some()
        });
        &self.servers[found.unwrap()]
    }

    fn said(&self) -> String {
        redis::from_redis_value(self.master().ask(&["CLUSTER", "NODES"])).unwrap()
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
    LogTrimmed,
}

impl Disaster<Cluster> for Fault {
    fn any(random: &mut Random, scene: &Cluster) -> Option<Self> {
        let (node, kind) = (random.below(3) as usize, random.below(13));
        if kind < 4 {
            return Some(Self::Node(NodeFault::any(random), node));
        }
        // There is no second fault before the first is made good.
        let (owner, replica) = scene.owner().zip(scene.replica())?;
        Some(match kind {
            4 | 5 => Self::Killed(owner),
            6 | 7 => Self::Stopped(owner),
            8 => Self::Killed(replica),
            9 => Self::FailedOver(replica, true),
            10 => Self::FailedOver(replica, false),
            11 => Self::LogTrimmed,
            _ => Self::ConnectionsKilled,
        })
    }

    fn touches(self, other: Self) -> bool {
        let node = |fault| if let Self::Node(_, node) = fault { Some(node) } else { None };
        node(self) == node(other)
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
            Self::LogTrimmed => tell_all(&["XTRIM", LOG, "MAXLEN", "2"]),
        }
    }

    fn end(self, scene: &mut Cluster) {
        match self {
            Self::Node(fault, node) => fault.end(&mut scene.nodes, node),
            Self::Killed(server) => scene.servers[server].go_on(),
            Self::Stopped(server) => scene.servers[server].signal(Signal::SIGCONT),
            _ => {}
        }
    }
}
