//! Disasters, one after the other and some at once: each begins, lasts, and ends. What happens to nodes is here, what happens to servers and the
//! network between them is the scene's.

use std::fmt::Debug;
use std::time::{Duration, Instant, SystemTime};

use nix::sys::signal::Signal;

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
}

/// What happens to the processes of a node.
#[derive(Clone, Copy, Debug)]
pub enum NodeFault {
    /// It ends at once, and another one begins.
    Killed,
    Stopped,
    Reloaded,
    /// USR2, and then the end of the one before in order, or of the successor if that does not serve by then.
    Succeeded,
}

impl NodeFault {
    /// One of them, by chance.
    pub fn any(random: &mut Random) -> Self {
        match random.below(6) {
            0 | 1 => Self::Killed,
            2 => Self::Stopped,
            3 => Self::Reloaded,
            _ => Self::Succeeded,
        }
    }

    pub fn begin(self, nodes: &mut Nodes, at: usize) {
        let node = &mut nodes.all[at];
        match self {
            Self::Killed => {
                nodes.ends[at].push(SystemTime::now());
                node.kill();
            }
            Self::Stopped => node.signal(Signal::SIGSTOP),
            Self::Reloaded => node.signal(Signal::SIGHUP),
            Self::Succeeded => node.ask_for_successor(),
        }
    }

    pub fn end(self, nodes: &mut Nodes, at: usize) {
        let node = &mut nodes.all[at];
        match self {
            Self::Killed => node.go_on(),
            Self::Stopped => node.signal(Signal::SIGCONT),
            Self::Reloaded => {}
            Self::Succeeded => {
                if node.retire() {
                    nodes.ends[at].push(SystemTime::now());
                }
            }
        }
    }
}
