//! HTTP/2, without TLS: publishing, and subscribers as streams of a few connections.

use anyhow::{Context as _, Result, bail};

use super::publish::{CHANNELS, CONNECTIONS};
use crate::http2::{self, Arrived};
use crate::requests;
use crate::servers::Server;
use crate::swarm::Swarm;

/// Subscribers a connection.
const STREAMS: usize = 50;

/// Connections of HTTP/2.
struct Clients {
    swarm: Swarm,
    /// Bytes of each that are no whole frame yet.
    partial: Vec<Vec<u8>>,
}

impl Clients {
    fn connect(server: &Server, count: usize) -> Result<Self> {
        let door = server.doors.context("it has no HTTP/2")?.http2;
        let mut swarm = Swarm::new()?;
        for _ in 0..count {
            let number = swarm.connect(door)?;
            swarm.send(number, &http2::opening())?;
        }
        Ok(Self { swarm, partial: vec![Vec::new(); count] })
    }

    /// Waits for frames; from which connections they are.
    fn arrived(&mut self) -> Result<Vec<(usize, Arrived)>> {
        let mut all = Vec::new();
        for number in self.swarm.ready_soon()? {
            let Some(bytes) = self.partial.get_mut(number) else { continue };
            let open = self.swarm.drain(number, bytes)?;
            let arrived = Arrived::take(bytes);
            if !open || arrived.refused > 0 {
                bail!("a client of HTTP/2 was cut off");
            }
            all.push((number, arrived));
        }
        Ok(all)
    }

    /// Subscribes [`STREAMS`] streams on each connection, and waits until all are in.
    fn join(&mut self, channel: impl Fn(usize) -> String) -> Result<usize> {
        for number in 0..self.partial.len() {
            let request = |n: usize| http2::get(2 * n as u32 + 1, &format!("/sub/{}", channel(number * STREAMS + n)));
            let requests: Vec<_> = (0..STREAMS).flat_map(request).collect();
            self.swarm.send(number, &requests)?;
        }
        let (mut heads, all) = (0, self.partial.len() * STREAMS);
        while heads < all {
            heads += self.arrived()?.iter().map(|(_, arrived)| arrived.heads).sum::<usize>();
        }
        Ok(all)
    }
}

/// Microseconds a publish.
pub(super) fn publish(server: &Server) -> Result<f64> {
    let mut clients = Clients::connect(server, CONNECTIONS)?;
    let body = requests::message(200);
    let mut stream = 1;
    publish_all(&mut clients, &body, &mut stream, CHANNELS * 20)?;
    let count = 30_000;
    let before = server.family.cpu()?;
    publish_all(&mut clients, &body, &mut stream, count)?;
    Ok((server.family.cpu()? - before) as f64 / count as f64 / 1e3)
}

/// Publishes one message after the other on each connection; the streams of all are numbered alike.
fn publish_all(clients: &mut Clients, body: &[u8], stream: &mut u32, count: usize) -> Result<()> {
    let rounds = count / CONNECTIONS;
    for round in 0..rounds {
        let request = http2::post(*stream, &format!("/pub?id=p{}", round % CHANNELS), body);
        *stream += 2;
        for number in 0..CONNECTIONS {
            clients.swarm.send(number, &request)?;
        }
        let mut ended = 0;
        while ended < CONNECTIONS {
            ended += clients.arrived()?.iter().map(|(_, arrived)| arrived.ended).sum::<usize>();
        }
    }
    Ok(())
}

/// Microseconds a delivery to `connections` x [`STREAMS`] streams, a message after the other.
pub(super) fn fan_out(server: &Server, connections: usize, messages: usize) -> Result<f64> {
    let mut clients = Clients::connect(server, connections)?;
    let subscribers = clients.join(|_| "fan".to_owned())?;
    let publisher = clients.swarm.connect(server.address)?;
    let request = requests::publish("pub", "fan", &requests::message(200));
    let mut before = 0;
    for message in 0..messages + WARM_UP {
        if message == WARM_UP {
            server.family.settle()?;
            before = server.family.cpu()?;
        }
        clients.swarm.send(publisher, &request)?;
        let mut delivered = 0;
        while delivered < subscribers {
            delivered += clients.arrived()?.iter().map(|(_, arrived)| requests::count(&arrived.body)).sum::<usize>();
        }
    }
    server.family.settle()?;
    Ok((server.family.cpu()? - before) as f64 / (messages * subscribers) as f64 / 1e3)
}

const WARM_UP: usize = 20;

/// Bytes a waiting subscriber, each a stream.
pub(super) fn memory(server: &Server) -> Result<f64> {
    let mut first = Clients::connect(server, 2)?;
    first.join(|n| format!("w{n}"))?;
    server.family.settle()?;
    let before = server.family.memory()?;
    let mut clients = Clients::connect(server, 100)?;
    let all = clients.join(|n| format!("i{n}"))?;
    server.family.settle()?;
    Ok((server.family.memory()? as f64 - before as f64) / all as f64)
}
