//! Disasters, one after the other and some at once: each begins, lasts, and ends. What happens to nodes is here, what happens to servers and the
//! network between them is the scene's.

use std::fmt::Debug;
use std::time::{Duration, Instant, SystemTime};

use nix::sys::signal::Signal;

use super::site::configuration;
use crate::nodes::node::Node;
use crate::support::Random;

/// Most that last at once.
const AT_ONCE: usize = 3;

/// What happens on a scene.
pub trait Disaster<S>: Copy + Debug {
    /// One of them, by chance; nothing: the scene is not as it has to be for it.
    fn any(random: &mut Random, scene: &S) -> Option<Self>;

    /// Whether both are about the same thing, and must not happen at once.
    fn touches(self, other: Self) -> bool;

    fn begin(self, scene: &mut S);

    fn end(self, scene: &mut S);
}

/// One disaster after the other until the time is over, then the end of all of them; what happened, for people.
pub fn strike<S, D: Disaster<S>>(scene: &mut S, random: &mut Random, total: Duration) -> Vec<String> {
    let began = Instant::now();
    let mut lasting: Vec<(D, Instant)> = Vec::new();
    let mut told = Vec::new();
    while began.elapsed() < total {
        if lasting.len() < AT_ONCE {
            let disaster = D::any(random, scene);
            let duration = random.duration();
            if let Some(disaster) = disaster
                && !lasting.iter().any(|(other, _)| other.touches(disaster))
            {
                told.push(format!("{:>6} ms {disaster:?} for {duration:?}", began.elapsed().as_millis()));
                disaster.begin(scene);
                lasting.push((disaster, Instant::now() + duration));
            }
        }
        std::thread::sleep(Duration::from_millis(100 + random.below(500)));
        for (disaster, _) in lasting.extract_if(.., |(_, until)| *until <= Instant::now()) {
            disaster.end(scene);
        }
    }
    for (disaster, _) in lasting {
        disaster.end(scene);
    }
    told
}

impl Random {
    /// Mostly short, sometimes long enough for a failover and for everybody's patience.
    fn duration(&mut self) -> Duration {
        Duration::from_millis(match self.below(3) {
            0 => 50 + self.below(400),
            1 => 400 + self.below(2_000),
            _ => 2_000 + self.below(4_000),
        })
    }
}

/// The nodes, and when each process of them ended that cannot tell any more what was lost.
pub struct Nodes {
    pub all: Vec<Node>,
    pub ends: [Vec<SystemTime>; 3],
    /// How often their configuration was changed.
    changes: usize,
}

/// How long a node may take to come back before the next one is restarted.
const COMES_BACK: Duration = Duration::from_secs(5);

/// What happens to the processes of a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NodeFault {
    /// It ends at once, and another one begins.
    Killed,
    /// It ends in order, and another one begins at once.
    Restarted(Signal),
    /// All of them, one after the other.
    AllRestarted,
    Stopped,
    Reloaded,
    /// A reload with another configuration.
    Changed,
    /// USR2, and then the end of the one before in order, or of the successor if that does not serve by then.
    Succeeded,
    /// USR2, HUP to the one before, so that both serve, and then the end of one of them: the successor's, or its own.
    Doubled(bool),
}

impl NodeFault {
    /// One of them, by chance.
    pub fn any(random: &mut Random) -> Self {
        match random.below(12) {
            0 | 1 => Self::Killed,
            2 => Self::Restarted(*random.pick(&[Signal::SIGTERM, Signal::SIGQUIT])),
            3 => Self::AllRestarted,
            4 | 5 => Self::Stopped,
            6 => Self::Reloaded,
            7 => Self::Changed,
            8 | 9 => Self::Succeeded,
            _ => Self::Doubled(random.below(2) == 0),
        }
    }

    /// Whether both, of one node each, must not happen at once.
    pub fn touches(self, node: usize, other: Self, of: usize) -> bool {
        node == of || self == Self::AllRestarted || other == Self::AllRestarted
    }

    pub fn begin(self, nodes: &mut Nodes, at: usize) {
        match self {
            Self::Killed => {
                nodes.ends[at].push(SystemTime::now());
                nodes.all[at].kill();
            }
            Self::Restarted(signal) => nodes.restart(at, signal),
            Self::AllRestarted => {
                for at in 0..nodes.all.len() {
                    nodes.restart(at, Signal::SIGQUIT);
                    let until = Instant::now() + COMES_BACK;
                    // There may be nobody to join.
                    while !nodes.all[at].is_ready() && Instant::now() < until {
                        std::thread::sleep(Duration::from_millis(20));
                    }
                }
            }
            Self::Stopped => nodes.all[at].signal(Signal::SIGSTOP),
            Self::Reloaded => nodes.all[at].tell(Signal::SIGHUP),
            Self::Changed => {
                nodes.changes += 1;
                nodes.all[at].configure(&configuration(nodes.changes));
                nodes.all[at].tell(Signal::SIGHUP);
            }
            Self::Succeeded | Self::Doubled(_) => nodes.all[at].ask_for_successor(),
        }
    }

    pub fn end(self, nodes: &mut Nodes, at: usize) {
        let node = &mut nodes.all[at];
        let ended = match self {
            Self::Killed => {
                node.go_on();
                false
            }
            Self::Stopped => {
                node.signal(Signal::SIGCONT);
                false
            }
            Self::Restarted(_) | Self::AllRestarted | Self::Reloaded | Self::Changed => false,
            Self::Succeeded => node.retire(),
            Self::Doubled(stays) => {
                node.signal(Signal::SIGHUP);
                std::thread::sleep(Duration::from_millis(300));
                if stays { node.dismiss() } else { node.retire() }
            }
        };
        if ended {
            nodes.ends[at].push(SystemTime::now());
        }
    }
}

impl Nodes {
    /// So many as there are.
    pub fn new(all: Vec<Node>) -> Self {
        Self { all, ends: Default::default(), changes: 0 }
    }

    fn restart(&mut self, at: usize, signal: Signal) {
        self.all[at].end(signal);
        self.ends[at].push(SystemTime::now());
        self.all[at].go_on();
    }
}
