//! Subscribers that wait: what joining costs, what waiting costs, in memory and in time.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::requests::Transport;
use crate::servers::Server;
use crate::swarm::Swarm;

const SUBSCRIBERS: usize = 15_000;
const SECURE: usize = 5_000;
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
    join_by(|swarm| swarm.connect(server.address), swarm, server, transport, count, channel)
}

/// The same over TLS.
pub(super) fn join_secure(
    swarm: &mut Swarm,
    server: &Server,
    count: usize,
    channel: impl Fn(usize) -> String,
) -> Result<()> {
    let tls = server.doors.context("it has no TLS")?.tls;
    join_by(|swarm| swarm.connect_tls(tls), swarm, server, Transport::Streaming, count, channel)
}

fn join_by(
    connect: impl Fn(&mut Swarm) -> Result<usize>,
    swarm: &mut Swarm,
    server: &Server,
    transport: Transport,
    count: usize,
    channel: impl Fn(usize) -> String,
) -> Result<()> {
    let mut answered = 0;
    let mut scratch = Vec::new();
    for n in 0..count {
        let number = connect(swarm)?;
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

/// Bytes a waiting subscriber over TLS.
pub(super) fn secure_memory(server: &Server) -> Result<f64> {
    let mut swarm = Swarm::new()?;
    // What the first handshakes leave behind is no subscriber's.
    join_secure(&mut swarm, server, 500, |n| format!("w{n}"))?;
    let before = server.family.memory()?;
    join_secure(&mut swarm, server, SECURE, |n| format!("i{n}"))?;
    Ok((server.family.memory()? as f64 - before as f64) / SECURE as f64)
}

/// Microseconds a new subscriber over TLS, its whole handshake included.
pub(super) fn secure_connect(server: &Server) -> Result<f64> {
    let mut swarm = Swarm::new()?;
    join_secure(&mut swarm, server, 500, |n| format!("w{n}"))?;
    let before = server.family.cpu()?;
    join_secure(&mut swarm, server, 2000, |n| format!("c{n}"))?;
    Ok((server.family.cpu()? - before) as f64 / 2000e3)
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
