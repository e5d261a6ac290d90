//! The rows of the table: what is measured, in which unit, and what is aimed at.
//!
//! Every measurement gets a server of its own, freshly started (memory that was freed is used again, so figures of memory
//! mean something only in a fresh process), and returns server cpu time or memory per unit of work.

mod crowd;
mod fanout;
mod idle;
mod nodes;
mod poll;
mod publish;
mod store;
mod streams;

pub(crate) use crowd::{Crowd, million, renewed};
pub(crate) use idle::join;

use anyhow::Result;
use nodes::Nodes;

use crate::requests::Transport;
use crate::servers::{Kind, Server, Setup};

/// One line of the table.
pub(crate) struct Row {
    /// Its key on the command line.
    pub(crate) key: &'static str,
    /// What is measured.
    pub(crate) what: &'static str,
    pub(crate) unit: &'static str,
    /// What is aimed at.
    pub(crate) goal: Goal,
    /// Whether the floor does the same work.
    pub(crate) has_floor: bool,
    measure: Measure,
}

/// How a figure comes about.
#[derive(Clone, Copy)]
enum Measure {
    /// On a server of its own.
    Alone(fn(&Server) -> Result<f64>),
    /// On two servers, one whose messages outlive it and one whose do not; the figure is the ratio.
    Log(fn(&Server) -> Result<f64>),
    /// On a server whose messages outlive it, and which is restarted.
    Restart(fn(&mut Server) -> Result<f64>),
    /// On so many nodes that share their channels; none: on a server that is alone.
    Nodes(usize, fn(&Nodes) -> Result<f64>),
}

/// What a row aims at.
#[derive(Clone, Copy)]
pub(crate) enum Goal {
    /// A figure in the unit of the row.
    AtMost(f64),
    /// A multiple of the floor.
    OfFloor(f64),
}

impl Row {
    /// Measures once, on a fresh server. `None` if servers of this kind cannot do it.
    pub(crate) fn measure(&self, kind: &Kind, environment: &[(String, String)]) -> Result<Option<f64>> {
        if matches!(kind, Kind::Floor) && !self.has_floor {
            return Ok(None);
        }
        let start = |state| {
            let setup = Setup { environment: environment.to_vec(), state, ..Setup::default() };
            let server = Server::start(kind, &setup)?;
            server.family.settle()?;
            Ok::<Server, anyhow::Error>(server)
        };
        match self.measure {
            Measure::Alone(measure) => measure(&start(false)?).map(Some),
            Measure::Log(_) | Measure::Restart(_) | Measure::Nodes(..) if !matches!(kind, Kind::Own(_)) => Ok(None),
            Measure::Log(measure) => {
                let without = measure(&start(false)?)?;
                Ok(Some(measure(&start(true)?)? / without))
            }
            Measure::Restart(measure) => measure(&mut start(true)?).map(Some),
            Measure::Nodes(count, measure) => measure(&Nodes::start(kind, environment, count)?).map(Some),
        }
    }
}

const fn row(
    key: &'static str,
    what: &'static str,
    unit: &'static str,
    goal: Goal,
    measure: fn(&Server) -> Result<f64>,
) -> Row {
    Row { key, what, unit, goal, has_floor: true, measure: Measure::Alone(measure) }
}

/// A row whose figure is memory or rest, of which the floor has none to compare.
const fn kept(
    key: &'static str,
    what: &'static str,
    unit: &'static str,
    goal: f64,
    measure: fn(&Server) -> Result<f64>,
) -> Row {
    Row { key, what, unit, goal: Goal::AtMost(goal), has_floor: false, measure: Measure::Alone(measure) }
}

/// A row of what no other server has.
const fn own(key: &'static str, what: &'static str, unit: &'static str, goal: f64, measure: Measure) -> Row {
    Row { key, what, unit, goal: Goal::AtMost(goal), has_floor: false, measure }
}

/// All rows, in the order of the table.
pub(crate) const ROWS: &[Row] = &[
    kept("idle-lp", "idle subscriber, long-poll", "B", 2000.0, |server| idle::memory(server, Transport::LongPoll)),
    kept("idle-stream", "idle subscriber, streaming", "B", 2000.0, |server| idle::memory(server, Transport::Streaming)),
    kept("idle-ev", "idle subscriber, eventsource", "B", 2000.0, |server| idle::memory(server, Transport::EventSource)),
    kept("idle-ws", "idle subscriber, websocket", "B", 2000.0, |server| idle::memory(server, Transport::WebSocket)),
    row("fan-stream", "fan-out to 1,000 streaming subscribers, a delivery", "µs", Goal::OfFloor(1.10), |server| {
        fanout::run(server, Transport::Streaming, 1000, 200, 1)
    }),
    row("fan-ev", "fan-out to 1,000 eventsource subscribers, a delivery", "µs", Goal::OfFloor(1.15), |server| {
        fanout::run(server, Transport::EventSource, 1000, 200, 1)
    }),
    row("fan-ws", "fan-out to 1,000 websocket subscribers, a delivery", "µs", Goal::OfFloor(1.15), |server| {
        fanout::run(server, Transport::WebSocket, 1000, 200, 1)
    }),
    row(
        "fan-16",
        "16 publishes in flight to 500 streaming subscribers, a delivery",
        "µs",
        Goal::OfFloor(0.20),
        |server| fanout::run(server, Transport::Streaming, 500, 400, 16),
    ),
    row("publish", "publish 200 B, stored, 8 connections", "µs", Goal::AtMost(13.0), publish::run),
    row(
        "poll",
        "long-poll cycle: deliver + next poll, 1,000 clients, 100 channels",
        "µs",
        Goal::AtMost(20.0),
        poll::run,
    ),
    row("connect", "accept + subscribe", "µs", Goal::AtMost(35.0), idle::connect),
    kept("tls-connect", "TLS 1.3 handshake + subscribe", "µs", 200.0, idle::secure_connect),
    kept("tls-fan", "fan-out to 1,000 streaming subscribers over TLS, a delivery", "µs", 4.0, |server| {
        fanout::secure(server, 1000, 100)
    }),
    kept("tls-idle", "idle subscriber, streaming over TLS", "B", 12_000.0, idle::secure_memory),
    kept("h2-publish", "publish 200 B over HTTP/2, stored, 8 connections", "µs", 20.0, streams::publish),
    kept("h2-fan", "fan-out to 1,000 streams of 20 HTTP/2 connections, a delivery", "µs", 2.0, |server| {
        streams::fan_out(server, 20, 100)
    }),
    kept("h2-idle", "idle subscriber, a stream of HTTP/2", "B", 8000.0, streams::memory),
    kept("idle-cpu", "15,000 idle long-polls, cpu a second", "ms", 0.5, idle::cpu),
    kept("idle-wake", "15,000 idle long-polls, wake-ups a second in all", "", 100.0, idle::wakeups),
    kept("message", "a stored message of 200 B", "B", 320.0, store::message),
    kept("channel", "a channel", "B", 400.0, store::channel),
    own("log", "publish with the log on, to one without", "x", 1.3, Measure::Log(publish::run)),
    own("restore", "start with 1,000,000 stored messages of 200 B", "s", 3.0, Measure::Restart(publish::restore)),
    own(
        "nodes-publish",
        "publish over Redis, stored, 8 connections: the node",
        "µs",
        30.0,
        Measure::Nodes(1, nodes::publish),
    ),
    own("nodes-redis", "publish over Redis, stored, 8 connections: Redis", "µs", 40.0, Measure::Nodes(1, nodes::redis)),
    own("nodes-answer", "publish over Redis, until it is answered", "µs", 1000.0, Measure::Nodes(1, nodes::answer)),
    own("nodes-apply", "an entry that waited for a node which stood still", "µs", 5.0, Measure::Nodes(2, nodes::apply)),
    own("nodes-join", "a node joins a zone of 1,000,000 messages of 200 B", "s", 10.0, Measure::Nodes(1, nodes::join)),
    own(
        "nodes-join-busy",
        "the same while 2,000 messages of 16 KB are published a second",
        "s",
        20.0,
        Measure::Nodes(1, nodes::join_busy),
    ),
    own("nodes-alone", "publish to delivery, without Redis", "µs", 1000.0, Measure::Nodes(0, nodes::delivery)),
    own(
        "nodes-one",
        "publish to delivery, over Redis, on the same node",
        "µs",
        2000.0,
        Measure::Nodes(1, nodes::delivery),
    ),
    own("nodes-two", "publish to delivery on the other of 2 nodes", "µs", 2000.0, Measure::Nodes(2, nodes::delivery)),
    own("nodes-three", "publish to delivery on another of 3 nodes", "µs", 2000.0, Measure::Nodes(3, nodes::delivery)),
];
