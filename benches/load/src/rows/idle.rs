//! Subscribers that wait: what joining costs, what waiting costs, in memory and in time.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::requests::Transport;
use crate::servers::Server;
use crate::swarm::Swarm;

const SUBSCRIBERS: usize = 15_000;
/// Subscribers on their way at once.
const BATCH: usize = 200;

/// Subscribes `count` clients, each to a channel of its own (`channel(n)`), and waits until all are in.
pub(crate) fn join(
    swarm: &mut Swarm,
    server: &Server,
    transport: Transport,
    count: usize,
    channel: impl Fn(usize) -> String,
) -> Result<()> {
    let mut answered = 0;
    let mut scratch = Vec::new();
    for n in 0..count {
        let number = swarm.connect(server.address)?;
        swarm.send(number, &transport.request(&channel(n)))?;
        if (n + 1) % BATCH != 0 && n + 1 != count {
            continue;
        }
        if transport == Transport::LongPoll {
            sleep(Duration::from_millis(3));
            continue;
        }
        while answered < n + 1 {
            for number in swarm.ready_soon()? {
                scratch.clear();
                if !swarm.drain(number, &mut scratch)? {
                    bail!("a subscriber was refused");
                }
                answered += usize::from(scratch.starts_with(b"HTTP/1.1 200") || scratch.starts_with(b"HTTP/1.1 101"));
            }
        }
    }
    server.family.settle()
}

/// Bytes a waiting subscriber.
pub(super) fn memory(server: &Server, transport: Transport) -> Result<f64> {
    let mut swarm = Swarm::new()?;
    let before = server.family.memory()?;
    join(&mut swarm, server, transport, SUBSCRIBERS, |n| format!("i{n}"))?;
    let after = server.family.memory()?;
    Ok((after as f64 - before as f64) / SUBSCRIBERS as f64)
}

/// Microseconds a new subscriber.
pub(super) fn connect(server: &Server) -> Result<f64> {
    let mut swarm = Swarm::new()?;
    join(&mut swarm, server, Transport::Streaming, 500, |n| format!("w{n}"))?;
    let before = server.family.cpu()?;
    join(&mut swarm, server, Transport::Streaming, 5000, |n| format!("c{n}"))?;
    Ok((server.family.cpu()? - before) as f64 / 5000e3)
}

/// Milliseconds of cpu a second.
pub(super) fn cpu(server: &Server) -> Result<f64> {
    let mut swarm = Swarm::new()?;
    join(&mut swarm, server, Transport::LongPoll, SUBSCRIBERS, |n| format!("i{n}"))?;
    let before = server.family.cpu()?;
    sleep(Duration::from_secs(5));
    Ok((server.family.cpu()? - before) as f64 / 5e6)
}

/// Wake-ups of all threads a second.
pub(super) fn wakeups(server: &Server) -> Result<f64> {
    let mut swarm = Swarm::new()?;
    join(&mut swarm, server, Transport::LongPoll, SUBSCRIBERS, |n| format!("i{n}"))?;
    let before = server.family.wakeups()?;
    sleep(Duration::from_secs(5));
    Ok((server.family.wakeups()? - before) as f64 / 5.0)
}
