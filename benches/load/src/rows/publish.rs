//! Publishing alone: nobody listens.

use anyhow::{Result, bail};

use crate::answer::Answer;
use crate::requests;
use crate::servers::Server;
use crate::swarm::Swarm;

pub(super) const CONNECTIONS: usize = 8;
pub(super) const CHANNELS: usize = 100;

/// Microseconds a publish.
pub(super) fn run(server: &Server) -> Result<f64> {
    let channels: Vec<_> = (0..CHANNELS).map(|n| format!("p{n}")).collect();
    let requests: Vec<_> = channels.iter().map(|id| requests::publish("pub", id, &requests::message(200))).collect();
    let mut swarm = Swarm::new()?;
    // The backlog of every channel fills, so that each publish drops a message too.
    all(&mut swarm, server, CHANNELS * 100, |n, out| out.extend_from_slice(&requests[n % CHANNELS]))?;
    let count = 50_000;
    let before = server.family.cpu()?;
    all(&mut swarm, server, count, |n, out| out.extend_from_slice(&requests[n % CHANNELS]))?;
    Ok((server.family.cpu()? - before) as f64 / count as f64 / 1e3)
}

/// Seconds until a server serves that begins with a million messages.
pub(super) fn restore(server: &mut Server) -> Result<f64> {
    let text = requests::message(200);
    let mut swarm = Swarm::new()?;
    all(&mut swarm, server, 1_000_000, |n, out| {
        out.extend_from_slice(&requests::publish("pub", &format!("r{}", n % 10_000), &text));
    })?;
    let (took, statistics) = server.restart("/channels-stats")?;
    if !statistics.contains("\"stored_messages\": 1000000") {
        bail!("not all messages are there: {statistics}");
    }
    Ok(took.as_secs_f64())
}

/// Sends `count` requests over eight connections, one at a time on each, and waits for their answers.
pub(super) fn all(
    swarm: &mut Swarm,
    server: &Server,
    count: usize,
    mut request: impl FnMut(usize, &mut Vec<u8>),
) -> Result<()> {
    let mut sent = 0;
    let mut answered = 0;
    let mut out = Vec::new();
    let mut numbers = Vec::new();
    let mut partial = Vec::new();
    for _ in 0..CONNECTIONS.min(count) {
        let number = swarm.connect(server.address)?;
        numbers.push(number);
        partial.push(Vec::new());
        out.clear();
        request(sent, &mut out);
        swarm.send(number, &out)?;
        sent += 1;
    }
    let first = numbers.first().copied().unwrap_or_default();
    while answered < count {
        for number in swarm.ready_soon()? {
            let Some(bytes) = number.checked_sub(first).and_then(|at| partial.get_mut(at)) else { continue };
            if !swarm.drain(number, bytes)? {
                bail!("a publisher was cut off");
            }
            let Some((answer, used)) = Answer::read(bytes) else { continue };
            if !(200..300).contains(&answer.status) {
                bail!("a publish was answered by {}", answer.status);
            }
            bytes.drain(..used);
            answered += 1;
            if sent < count {
                out.clear();
                request(sent, &mut out);
                swarm.send(number, &out)?;
                sent += 1;
            }
        }
    }
    for number in numbers {
        swarm.close(number);
    }
    Ok(())
}
