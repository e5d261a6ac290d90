//! One message to many subscribers of one channel.

use anyhow::{Result, bail};

use super::idle::{join, join_secure};
use crate::answer::Answer;
use crate::requests::{self, Transport};
use crate::servers::Server;
use crate::swarm::Swarm;

const WARM_UP: usize = 20;

/// Microseconds a delivery. With `window` 1 a message follows when the one before has reached everybody; else that many are
/// on their way at once.
pub(super) fn run(
    server: &Server,
    transport: Transport,
    subscribers: usize,
    messages: usize,
    window: usize,
) -> Result<f64> {
    let mut swarm = Swarm::new()?;
    join(&mut swarm, server, transport, subscribers, |_| "fan".to_owned())?;
    measure(swarm, server, subscribers, messages, window)
}

/// Microseconds a delivery over TLS.
pub(super) fn secure(server: &Server, subscribers: usize, messages: usize) -> Result<f64> {
    let mut swarm = Swarm::new()?;
    join_secure(&mut swarm, server, subscribers, |_| "fan".to_owned())?;
    measure(swarm, server, subscribers, messages, 1)
}

fn measure(mut swarm: Swarm, server: &Server, subscribers: usize, messages: usize, window: usize) -> Result<f64> {
    let publisher = swarm.connect(server.address)?;
    let mut run = Run { swarm, publisher, subscribers, window, answers: Vec::new(), scratch: Vec::new() };
    run.publish(WARM_UP)?;
    let before = server.family.cpu()?;
    run.publish(messages)?;
    // The last writes are counted when they are done.
    server.family.settle()?;
    Ok((server.family.cpu()? - before) as f64 / (messages * subscribers) as f64 / 1e3)
}

struct Run {
    swarm: Swarm,
    publisher: usize,
    subscribers: usize,
    window: usize,
    answers: Vec<u8>,
    scratch: Vec<u8>,
}

impl Run {
    fn publish(&mut self, messages: usize) -> Result<()> {
        let request = requests::publish("pub", "fan", &requests::message(200));
        let (mut sent, mut answered, mut delivered) = (0, 0, 0);
        while delivered < messages * self.subscribers || answered < messages {
            while sent < messages
                && sent < answered + self.window
                && (self.window > 1 || delivered == sent * self.subscribers)
            {
                self.swarm.send(self.publisher, &request)?;
                sent += 1;
            }
            for number in self.swarm.ready_soon()? {
                if number == self.publisher {
                    answered += self.read_answers()?;
                    continue;
                }
                self.scratch.clear();
                if !self.swarm.drain(number, &mut self.scratch)? {
                    bail!("a subscriber was cut off");
                }
                delivered += requests::count(&self.scratch);
            }
        }
        Ok(())
    }

    fn read_answers(&mut self) -> Result<usize> {
        if !self.swarm.drain(self.publisher, &mut self.answers)? {
            bail!("the publisher was cut off");
        }
        let mut count = 0;
        while let Some((answer, used)) = Answer::read(&self.answers) {
            if !(200..300).contains(&answer.status) {
                bail!("a publish was answered by {}", answer.status);
            }
            self.answers.drain(..used);
            count += 1;
        }
        Ok(count)
    }
}
