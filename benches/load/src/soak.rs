//! Correctness under load: long-poll clients follow numbered messages that come in bursts of three.
//!
//! Every message of a channel must reach every client of the channel once, in order, whatever falls between two polls.
//! With `stalled`, some more subscribers stop reading while long messages come their way: the server must cut them off,
//! and nobody else may notice.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::answer::Answer;
use crate::requests::{self, Transport};
use crate::rows::join;
use crate::servers::{Kind, Server, Setup};
use crate::swarm::Swarm;

const BURST: usize = 3;
/// Clients of one channel.
const SHARE: usize = 10;
/// A stalled reader is sent more than any server should keep for it.
const FLOOD: usize = 24;
const FLOOD_SIZE: usize = 1_000_000;
/// How long the last messages may take.
const REST: Duration = Duration::from_secs(30);

/// How to soak.
#[derive(Clone, Debug)]
pub(crate) struct Soak {
    pub(crate) workers: usize,
    pub(crate) clients: usize,
    pub(crate) seconds: u64,
    pub(crate) bursts_per_second: u64,
    /// Subscribers that do not read, beside the clients.
    pub(crate) stalled: usize,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) published: usize,
    pub(crate) delivered: usize,
    pub(crate) polls: usize,
    pub(crate) lost: usize,
    pub(crate) repeated: usize,
    /// Stalled subscribers that were cut off.
    pub(crate) cut: usize,
}

/// Runs against a fresh server.
pub(crate) fn run(kind: &Kind, soak: &Soak) -> Result<Outcome> {
    let server = Server::start(kind, &Setup { workers: soak.workers, ..Setup::default() })?;
    let channels = soak.clients / SHARE;
    let mut swarm = Swarm::new()?;
    join(&mut swarm, &server, Transport::LongPoll, soak.clients, |n| channel(n, channels))?;
    let publisher = swarm.connect(server.address)?;
    let mut run = Run {
        swarm,
        publisher,
        channels,
        clients: (0..soak.clients).map(|_| Client::default()).collect(),
        sent: vec![0; channels],
        answers: Vec::new(),
        outcome: Outcome::default(),
    };
    run.stall(&server, soak.stalled)?;
    // What the server has cut off is seen by what it still holds: a peer that does not read sees no end either.
    let open = server.family.descriptors();
    let began = Instant::now();
    let length = Duration::from_secs(soak.seconds);
    let mut bursts = 0;
    let mut floods = 0;
    while began.elapsed() < length {
        let due = began.elapsed().as_millis() as u64 * soak.bursts_per_second / 1000;
        while bursts < due {
            run.burst(bursts as usize % channels)?;
            bursts += 1;
        }
        let flood = FLOOD as u128 * began.elapsed().as_millis() / length.as_millis();
        if soak.stalled > 0 && floods < flood {
            let message = requests::message(FLOOD_SIZE);
            run.swarm.send(publisher, &requests::publish("note", "flood", &message))?;
            floods += 1;
        }
        run.follow(Duration::from_millis(2))?;
    }
    let last = Instant::now();
    while run.outcome.delivered + run.outcome.lost < run.outcome.published * SHARE && last.elapsed() < REST {
        run.follow(Duration::from_millis(20))?;
    }
    run.outcome.cut = open.saturating_sub(server.family.descriptors());
    Ok(run.finish())
}

fn channel(client: usize, channels: usize) -> String {
    format!("s{}", client % channels)
}

/// A long-poll client.
#[derive(Default)]
struct Client {
    input: Vec<u8>,
    /// The last number it has seen.
    seen: usize,
}

struct Run {
    swarm: Swarm,
    publisher: usize,
    channels: usize,
    clients: Vec<Client>,
    /// Messages published, by channel.
    sent: Vec<usize>,
    answers: Vec<u8>,
    outcome: Outcome,
}

impl Run {
    /// Subscribes readers that never read.
    fn stall(&mut self, server: &Server, count: usize) -> Result<()> {
        for _ in 0..count {
            let number = self.swarm.connect_with(server.address, Some(4096))?;
            self.swarm.neglect(number)?;
            self.swarm.send(number, &Transport::Streaming.request("flood"))?;
        }
        server.family.settle()
    }

    /// Publishes three messages at once.
    fn burst(&mut self, channel: usize) -> Result<()> {
        let sent = self.sent.get_mut(channel).context("no such channel")?;
        let mut requests = Vec::new();
        for _ in 0..BURST {
            *sent += 1;
            let body = format!("#{:<199}", *sent);
            requests.extend_from_slice(&requests::publish("pub", &format!("s{channel}"), body.as_bytes()));
        }
        self.outcome.published += BURST;
        self.swarm.send(self.publisher, &requests)
    }

    /// Reads what has come and polls again.
    fn follow(&mut self, pause: Duration) -> Result<()> {
        for number in self.swarm.ready(pause)? {
            if number == self.publisher {
                self.read_publisher()?;
            } else if number < self.clients.len() {
                self.read_client(number)?;
            }
        }
        Ok(())
    }

    fn read_publisher(&mut self) -> Result<()> {
        if !self.swarm.drain(self.publisher, &mut self.answers)? {
            bail!("the publisher was cut off");
        }
        while let Some((answer, used)) = Answer::read(&self.answers) {
            if answer.status != 200 {
                bail!("a publish was answered by {}", answer.status);
            }
            self.answers.drain(..used);
        }
        Ok(())
    }

    fn read_client(&mut self, number: usize) -> Result<()> {
        let Some(client) = self.clients.get_mut(number) else { return Ok(()) };
        if !self.swarm.drain(number, &mut client.input)? {
            bail!("client {number} was cut off");
        }
        while let Some((answer, used)) = Answer::read(&client.input) {
            for seen in numbers(&answer.body) {
                self.outcome.delivered += 1;
                if seen <= client.seen {
                    self.outcome.repeated += 1;
                } else {
                    self.outcome.lost += seen - client.seen - 1;
                    client.seen = seen;
                }
            }
            self.outcome.polls += 1;
            let modified = answer.field("last-modified").unwrap_or_default();
            let tag = answer.field("etag").unwrap_or_default();
            let poll = requests::next_poll(&channel(number, self.channels), modified, tag);
            client.input.drain(..used);
            self.swarm.send(number, &poll)?;
        }
        Ok(())
    }

    fn finish(mut self) -> Outcome {
        for (number, client) in self.clients.iter().enumerate() {
            // What is missing at the end is lost too.
            self.outcome.lost += self.sent.get(number % self.channels).map_or(0, |sent| sent - client.seen.min(*sent));
        }
        self.outcome
    }
}

/// The numbers of the messages in a body.
fn numbers(body: &[u8]) -> impl Iterator<Item = usize> {
    body.split(|&byte| byte == b'#').skip(1).filter_map(|message| {
        let digits = message.split(|byte| !byte.is_ascii_digit()).next()?;
        std::str::from_utf8(digits).ok()?.parse().ok()
    })
}
