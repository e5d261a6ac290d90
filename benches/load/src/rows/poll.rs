//! The long-poll cycle: a message comes, everybody is answered, everybody polls again.

use anyhow::{Result, bail};

use super::idle::join;
use crate::answer::Answer;
use crate::requests::{self, Transport};
use crate::servers::Server;
use crate::swarm::Swarm;

const CLIENTS: usize = 1000;
const CHANNELS: usize = 100;
const ROUNDS: usize = 40;

/// Microseconds a delivery together with the next poll; the publishes (one for ten deliveries) are in it.
pub(super) fn run(server: &Server) -> Result<f64> {
    let mut swarm = Swarm::new()?;
    join(&mut swarm, server, Transport::LongPoll, CLIENTS, channel)?;
    let publisher = swarm.connect(server.address)?;
    let mut input = vec![Vec::new(); CLIENTS];
    round(&mut swarm, publisher, &mut input)?;
    server.family.settle()?;
    let before = server.family.cpu()?;
    for _ in 0..ROUNDS {
        round(&mut swarm, publisher, &mut input)?;
    }
    server.family.settle()?;
    Ok((server.family.cpu()? - before) as f64 / (ROUNDS * CLIENTS) as f64 / 1e3)
}

fn channel(client: usize) -> String {
    format!("l{}", client % CHANNELS)
}

fn round(swarm: &mut Swarm, publisher: usize, input: &mut [Vec<u8>]) -> Result<()> {
    for n in 0..CHANNELS {
        swarm.send(publisher, &requests::publish("pub", &channel(n), &requests::message(200)))?;
    }
    let (mut answered, mut published) = (0, 0);
    let mut answers = Vec::new();
    while answered < CLIENTS || published < CHANNELS {
        for number in swarm.ready_soon()? {
            let bytes = if number == publisher { &mut answers } else { &mut input[number] };
            if !swarm.drain(number, bytes)? {
                bail!("a client was cut off");
            }
            while let Some((answer, used)) = Answer::read(bytes) {
                if number == publisher {
                    published += 1;
                } else {
                    if answer.status != 200 {
                        bail!("a poll was answered by {}", answer.status);
                    }
                    answered += 1;
                    let modified = answer.field("last-modified").unwrap_or_default();
                    let tag = answer.field("etag").unwrap_or_default();
                    swarm.send(number, &requests::next_poll(&channel(number), modified, tag))?;
                }
                bytes.drain(..used);
            }
        }
    }
    Ok(())
}
