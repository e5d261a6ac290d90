//! Several nodes that share their channels over a Redis: what it costs, and how long it takes.
//!
//! `redis-server` is started here; without it these rows fail, as they cannot be measured.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::publish;
use crate::answer::Answer;
use crate::proc::Family;
use crate::requests::{self, Transport};
use crate::servers::{Kind, Server, Setup, free_addresses};
use crate::swarm::Swarm;

const PUBLISHES: usize = 20_000;
const ENTRIES: usize = 50_000;
const STORED: usize = 1_000_000;
/// Publishers while a node joins, and how often each of them publishes.
const PUBLISHERS: u32 = 4;
const EACH: Duration = Duration::from_millis(2);
const ROUNDS: u32 = 500;
/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Nodes, and what they share.
pub(super) struct Nodes {
    kind: Kind,
    setup: Setup,
    servers: Vec<Server>,
    redis: Option<Redis>,
}

struct Redis {
    child: Child,
    address: SocketAddr,
}

impl Nodes {
    /// So many nodes; none: a server that is alone.
    pub(super) fn start(kind: &Kind, environment: &[(String, String)], count: usize) -> Result<Self> {
        let redis = (count > 0).then(Redis::start).transpose()?;
        let backplane = redis.as_ref().map(|redis| format!("redis://{}", redis.address));
        let setup = Setup { environment: environment.to_vec(), backplane, ..Setup::default() };
        let servers: Vec<Server> = (0..count.max(1)).map(|_| Server::start(kind, &setup)).collect::<Result<_>>()?;
        for server in &servers {
            let until = Instant::now() + PATIENCE;
            // Before it has joined it answers nobody.
            while !server.get("/channels-stats")?.contains("\"subscribers\": 0") {
                wait(until, "a node does not join")?;
            }
            server.family.settle()?;
        }
        Ok(Self { kind: kind.clone(), setup, servers, redis })
    }

    fn first(&self) -> Result<&Server> {
        self.servers.first().context("no node")
    }

    fn last(&self) -> Result<&Server> {
        self.servers.last().context("no node")
    }
}

/// Microseconds of the node a publish, eight at a time.
pub(super) fn publish(nodes: &Nodes) -> Result<f64> {
    published(nodes, |_| nodes.first().map(|server| server.family))
}

/// Microseconds of Redis a publish, eight at a time.
pub(super) fn redis(nodes: &Nodes) -> Result<f64> {
    published(nodes, |redis| Ok(Family(redis.child.id())))
}

fn published(nodes: &Nodes, whose: impl FnOnce(&Redis) -> Result<Family>) -> Result<f64> {
    let family = whose(nodes.redis.as_ref().context("no Redis")?)?;
    let mut swarm = Swarm::new()?;
    fill(&mut swarm, nodes.first()?, PUBLISHES, publish::CHANNELS)?;
    let before = family.cpu()?;
    fill(&mut swarm, nodes.first()?, PUBLISHES, publish::CHANNELS)?;
    Ok((family.cpu()? - before) as f64 / PUBLISHES as f64 / 1e3)
}

fn fill(swarm: &mut Swarm, server: &Server, count: usize, channels: usize) -> Result<()> {
    let text = requests::message(200);
    publish::all(swarm, server, count, |n, out| {
        out.extend_from_slice(&requests::publish("pub", &format!("n{}", n % channels), &text));
    })
}

/// Seconds from the start of a node until it serves what a zone of a million messages holds.
pub(super) fn join(nodes: &Nodes) -> Result<f64> {
    fill(&mut Swarm::new()?, nodes.first()?, STORED, STORED / 100)?;
    joined(nodes)
}

/// The same while messages are published that are not stored: together more than the zone's log holds.
pub(super) fn join_busy(nodes: &Nodes) -> Result<f64> {
    let first = nodes.first()?;
    fill(&mut Swarm::new()?, first, STORED, STORED / 100)?;
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let publishers: Vec<_> = (0..PUBLISHERS).map(|_| scope.spawn(|| press(first, &over))).collect();
        let began = Instant::now();
        let took = joined(nodes);
        over.store(true, Ordering::Relaxed);
        let mut published = 0;
        for publisher in publishers {
            published += publisher.join().ok().context("a publisher has panicked")??;
        }
        let rate = f64::from(published) / began.elapsed().as_secs_f64();
        if rate < 0.9 * f64::from(PUBLISHERS) / EACH.as_secs_f64() {
            bail!("the machine is too slow: {rate:.0} publishes a second");
        }
        took
    })
}

/// Publishes large messages, one each [`EACH`], until it is over; how many.
fn press(server: &Server, over: &AtomicBool) -> Result<u32> {
    let mut publisher = Publisher::connect(server, requests::publish("note", "busy", &requests::message(16_384)))?;
    let (began, mut published) = (Instant::now(), 0);
    while !over.load(Ordering::Relaxed) {
        publisher.publish()?;
        published += 1;
        sleep((EACH * published).saturating_sub(began.elapsed()));
    }
    Ok(published)
}

/// Seconds until another node has everything that the first one has.
fn joined(nodes: &Nodes) -> Result<f64> {
    let began = Instant::now();
    let node = Server::start(&nodes.kind, &nodes.setup)?;
    let stored = format!("\"stored_messages\": {STORED},");
    loop {
        let before = counted(&nodes.first()?.get("/channels-stats")?);
        let statistics = node.get("/channels-stats")?;
        // One that has not joined tells none.
        if statistics.contains(&stored) && counted(&statistics) >= before {
            return Ok(began.elapsed().as_secs_f64());
        }
        wait(began + PATIENCE, "the node does not join")?;
    }
}

/// The messages published, of statistics.
fn counted(statistics: &str) -> Option<u64> {
    let (_, rest) = statistics.split_once("\"published_messages\": ")?;
    rest.split(|byte: char| !byte.is_ascii_digit()).next()?.parse().ok()
}

/// Microseconds until a publish is answered, one at a time.
pub(super) fn answer(nodes: &Nodes) -> Result<f64> {
    let mut publisher = Publisher::connect(nodes.first()?, latency())?;
    publisher.publish()?;
    let began = Instant::now();
    for _ in 0..ROUNDS {
        publisher.publish()?;
    }
    Ok(began.elapsed().as_secs_f64() * 1e6 / f64::from(ROUNDS))
}

/// Microseconds from a publish on the first node until a subscriber of the last one has it.
pub(super) fn delivery(nodes: &Nodes) -> Result<f64> {
    let mut subscriber = TcpStream::connect(nodes.last()?.address)?;
    subscriber.set_read_timeout(Some(PATIENCE))?;
    subscriber.write_all(&Transport::Streaming.request("latency"))?;
    let mut bytes = [0; 4096];
    // Its head.
    let _ = subscriber.read(&mut bytes)?;
    sleep(Duration::from_millis(200));
    let mut publisher = Publisher::connect(nodes.first()?, latency())?;
    let mut whole = Duration::ZERO;
    for round in 0..ROUNDS + 20 {
        let began = Instant::now();
        publisher.send()?;
        let mut seen = 0;
        while seen == 0 {
            let count = subscriber.read(&mut bytes)?;
            if count == 0 {
                bail!("the subscriber was cut off");
            }
            seen += requests::count(bytes.get(..count).unwrap_or_default());
        }
        // The first ones warm up.
        whole += if round < 20 { Duration::ZERO } else { began.elapsed() };
        publisher.answer()?;
    }
    Ok(whole.as_secs_f64() * 1e6 / f64::from(ROUNDS))
}

/// Microseconds an entry that waited for a node which had stood still.
pub(super) fn apply(nodes: &Nodes) -> Result<f64> {
    let (first, last) = (nodes.first()?, nodes.last()?);
    let pid = Pid::from_raw(last.family.0 as i32);
    kill(pid, Signal::SIGSTOP)?;
    let filled = fill(&mut Swarm::new()?, first, ENTRIES, publish::CHANNELS);
    kill(pid, Signal::SIGCONT)?;
    let began = Instant::now();
    filled?;
    let wanted = format!("\"published_messages\": {ENTRIES}");
    while !last.get("/channels-stats")?.contains(&wanted) {
        if began.elapsed() > PATIENCE {
            bail!("the node does not follow: {}", last.get("/channels-stats")?);
        }
        sleep(Duration::from_millis(1));
    }
    Ok(began.elapsed().as_secs_f64() * 1e6 / ENTRIES as f64)
}

fn latency() -> Vec<u8> {
    requests::publish("pub", "latency", &requests::message(200))
}

/// One that publishes again and again over one connection.
struct Publisher {
    stream: TcpStream,
    request: Vec<u8>,
    bytes: Vec<u8>,
}

impl Publisher {
    fn connect(server: &Server, request: Vec<u8>) -> Result<Self> {
        let stream = TcpStream::connect(server.address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { stream, request, bytes: Vec::new() })
    }

    fn publish(&mut self) -> Result<()> {
        self.send()?;
        self.answer()
    }

    fn send(&mut self) -> Result<()> {
        Ok(self.stream.write_all(&self.request)?)
    }

    fn answer(&mut self) -> Result<()> {
        let mut buffer = [0; 4096];
        loop {
            if let Some((answer, used)) = Answer::read(&self.bytes) {
                if answer.status != 200 {
                    bail!("a publish was answered by {}", answer.status);
                }
                self.bytes.drain(..used);
                return Ok(());
            }
            let count = self.stream.read(&mut buffer)?;
            if count == 0 {
                bail!("the publisher was cut off");
            }
            self.bytes.extend_from_slice(buffer.get(..count).unwrap_or_default());
        }
    }
}

impl Redis {
    fn start() -> Result<Self> {
        let [address] = free_addresses()?;
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--save", "", "--port"]).arg(address.port().to_string());
        command.stdin(Stdio::null()).stdout(Stdio::null()).current_dir(std::env::temp_dir());
        let child = command.spawn().context("redis-server is not installed")?;
        let redis = Self { child, address };
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect(address).is_err() {
            wait(until, "redis-server does not listen")?;
        }
        Ok(redis)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn wait(until: Instant, what: &'static str) -> Result<()> {
    if Instant::now() > until {
        bail!(what);
    }
    sleep(Duration::from_millis(10));
    Ok(())
}
