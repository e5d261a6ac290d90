//! What happens to the nodes, to Redis and to the network between them: each disaster begins, lasts, and ends; several may last at once.

use std::time::{Duration, Instant, SystemTime};

use nix::sys::signal::Signal;

use super::stage::Stage;

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disaster {
    /// The node's process ends at once, and begins anew.
    NodeKilled(usize),
    NodeStopped(usize),
    NodeReloaded(usize),
    /// Nothing from a node to Redis, nothing back, or neither.
    NodeHeldUp(usize, bool, bool),
    NodeCut(usize),
    NodeHalfOpen(usize),
    /// It reaches neither Redis nor the sentinel.
    NodeSplit(usize),
    RedisKilled(usize),
    RedisStopped(usize),
    /// The other Redis and the sentinel do not reach it; the nodes do.
    RedisSplit(usize),
    ConnectionsKilled,
    ScriptsForgotten,
    LogTrimmed,
}

/// A number that depends on nothing but the seed (splitmix64).
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % most
    }

    fn one(&mut self) -> Disaster {
        let (node, redis) = (self.below(3) as usize, self.below(2) as usize);
        match self.below(16) {
            0 | 1 => Disaster::NodeKilled(node),
            2 => Disaster::NodeStopped(node),
            3 => Disaster::NodeReloaded(node),
            4 => Disaster::NodeHeldUp(node, true, false),
            5 => Disaster::NodeHeldUp(node, false, true),
            6 => Disaster::NodeCut(node),
            7 => Disaster::NodeHalfOpen(node),
            8 => Disaster::NodeSplit(node),
            9 | 10 => Disaster::RedisKilled(redis),
            11 | 12 => Disaster::RedisStopped(redis),
            13 => Disaster::RedisSplit(redis),
            14 => Disaster::LogTrimmed,
            _ if node == 0 => Disaster::ScriptsForgotten,
            _ => Disaster::ConnectionsKilled,
        }
    }

    /// Mostly short, sometimes long enough for a failover and for everybody's patience.
    fn duration(&mut self) -> Duration {
        Duration::from_millis(match self.below(3) {
            0 => 50 + self.below(400),
            1 => 400 + self.below(2_000),
            _ => 2_000 + self.below(4_000),
        })
    }
}

/// One disaster after the other until the time is over, then the end of all of them; what happened, for people.
pub fn strike(stage: &mut Stage, random: &mut Random, total: Duration) -> Vec<String> {
    let began = Instant::now();
    let mut lasting: Vec<(Disaster, Instant)> = Vec::new();
    let mut told = Vec::new();
    while began.elapsed() < total {
        if lasting.len() < 2 {
            let disaster = random.one();
            let duration = random.duration();
            // A Redis that has lost its only copy loses everything: there is no second one before the first is whole again.
            let begins = !lasting.iter().any(|(other, _)| other.touches(disaster))
                && (!disaster.is_of_redis() || stage.is_whole());
            if begins {
                told.push(format!("{:>6} ms {disaster:?} for {duration:?}", began.elapsed().as_millis()));
                disaster.begin(stage);
                lasting.push((disaster, Instant::now() + duration));
            }
        }
        std::thread::sleep(Duration::from_millis(100 + random.below(500)));
        for (disaster, _) in lasting.extract_if(.., |(_, until)| *until <= Instant::now()) {
            disaster.end(stage);
        }
    }
    for (disaster, _) in lasting {
        disaster.end(stage);
    }
    told
}

impl Disaster {
    fn is_of_redis(self) -> bool {
        matches!(self.about(), Some((false, _)))
    }

    /// Whether both are about the same node, or about Redis.
    fn touches(self, other: Self) -> bool {
        match (self.about(), other.about()) {
            (Some((true, one)), Some((true, other))) => one == other,
            (Some((false, _)), Some((false, _))) => true,
            _ => false,
        }
    }

    fn about(self) -> Option<(bool, usize)> {
        match self {
            Self::NodeKilled(node)
            | Self::NodeStopped(node)
            | Self::NodeReloaded(node)
            | Self::NodeHeldUp(node, ..)
            | Self::NodeCut(node)
            | Self::NodeHalfOpen(node)
            | Self::NodeSplit(node) => Some((true, node)),
            Self::RedisKilled(redis) | Self::RedisStopped(redis) | Self::RedisSplit(redis) => Some((false, redis)),
            _ => None,
        }
    }

    fn begin(self, stage: &mut Stage) {
        match self {
            Self::NodeKilled(node) => {
                stage.kills[node].push(SystemTime::now());
                stage.nodes[node].kill();
            }
            Self::NodeStopped(node) => stage.nodes[node].process().signal(Signal::SIGSTOP),
            Self::NodeReloaded(node) => stage.nodes[node].process().signal(Signal::SIGHUP),
            Self::NodeHeldUp(node, deaf, mute) => stage.hold_up(node, deaf, mute),
            Self::NodeCut(node) => stage.relays[node].iter().for_each(super::relay::Relay::cut),
            Self::NodeHalfOpen(node) => stage.relays[node].iter().for_each(super::relay::Relay::leave_half_open),
            Self::NodeSplit(node) => {
                stage.hold_up(node, true, true);
                stage.lookouts[node].is_blind(true);
            }
            Self::RedisKilled(redis) => stage.servers[redis].kill(),
            Self::RedisStopped(redis) => stage.servers[redis].signal(Signal::SIGSTOP),
            Self::RedisSplit(redis) => stage.between[redis].hold_up(true, true),
            Self::ConnectionsKilled => stage.tell_all(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]),
            Self::ScriptsForgotten => stage.tell_all(&["SCRIPT", "FLUSH"]),
            // As if many more entries had come: who is behind has to read everything.
            Self::LogTrimmed => stage.tell_all(&["XTRIM", super::stage::LOG, "MAXLEN", "2"]),
        }
    }

    fn end(self, stage: &mut Stage) {
        match self {
            Self::NodeKilled(node) => stage.nodes[node].go_on(),
            Self::NodeStopped(node) => stage.nodes[node].process().signal(Signal::SIGCONT),
            Self::NodeHeldUp(node, ..) => stage.hold_up(node, false, false),
            Self::NodeSplit(node) => {
                stage.lookouts[node].is_blind(false);
                stage.hold_up(node, false, false);
                // Systems give up connections over which nothing came for long.
                stage.relays[node].iter().for_each(super::relay::Relay::cut);
            }
            Self::RedisKilled(redis) => stage.servers[redis].go_on(),
            Self::RedisStopped(redis) => stage.servers[redis].signal(Signal::SIGCONT),
            Self::RedisSplit(redis) => stage.between[redis].hold_up(false, false),
            _ => {}
        }
    }
}
