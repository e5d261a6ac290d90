//! Three nodes with two zones each, a Redis with a replica and a sentinel or a cluster, and everything that can go wrong with them and the network
//! between them, or that is done to them by whoever runs them, while
//! clients of all modes move from node to node: each sees every acknowledged message that Redis has not lost once, in order; what Redis lost was
//! told.
//!
//! `CHAOS_SECONDS` makes it longer, `CHAOS_SEED` other than usual, `CHAOS_REDIS=valkey` has Valkey in its place (`make chaos`).

mod cluster;
mod disaster;
mod reckoning;
mod relay;
mod site;
mod stage;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use self::cluster::Cluster;
use self::disaster::Nodes;
use self::reckoning::Reckoning;
use self::stage::Stage;
use crate::nodes::redis::Redis;
use crate::support::{Door, Follower, LAST, Random, Seen, number_from_environment};

/// A zone: the host whose server is of it, and its name at the backplane.
#[derive(PartialEq, Eq)]
struct Zone {
    host: &'static str,
    name: &'static str,
}

impl Zone {
    /// A key of it.
    fn key(&self, key: &str) -> String {
        format!("{{pushstreamd.{}}}:{key}", self.name)
    }
}

const ZONES: [Zone; 2] = [Zone { host: "first", name: "pushstreamd" }, Zone { host: "chat", name: "pushstreamd/chat" }];

/// A channel that clients follow.
struct Channel {
    zone: &'static Zone,
    name: &'static str,
}

/// The same names in both zones.
const CHANNELS: [Channel; 4] = [
    Channel { zone: &ZONES[0], name: "a" },
    Channel { zone: &ZONES[0], name: "b" },
    Channel { zone: &ZONES[1], name: "a" },
    Channel { zone: &ZONES[1], name: "b" },
];
/// How long the clients may take for the rest when everything is well again.
const REST: Duration = Duration::from_secs(60);

/// Where it happens.
trait Scene {
    fn nodes(&self) -> &Nodes;

    /// One disaster after the other; what happened.
    fn strike(&mut self, random: &mut Random, total: Duration) -> Vec<String>;

    /// The server that has a zone, once there is one.
    fn master(&self, zone: &Zone) -> &Redis;

    /// What else is known of it.
    fn said(&self) -> String;
}

/// What became of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Outcome {
    Acknowledged {
        node: usize,
        at: SystemTime,
    },
    /// The node said that it was not published.
    Refused,
    Uncertain,
}

/// A message of a publisher.
struct Attempt {
    number: u64,
    channel: &'static Channel,
    outcome: Outcome,
}

/// A request to a node, and the whole answer.
fn ask(address: SocketAddr, zone: &Zone, line: &str, fields: &str, text: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(8)))?;
    let (host, length) = (zone.host, text.len());
    write!(stream, "{line} HTTP/1.0\r\nHost: {host}\r\n{fields}Content-Length: {length}\r\n\r\n{text}")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn publish(address: SocketAddr, node: usize, channel: &'static Channel, number: u64) -> Attempt {
    let (line, id) = (format!("POST /pub?id={}", channel.name), format!("Event-Id: {number}\r\n"));
    let outcome = match ask(address, channel.zone, &line, &id, &number.to_string()) {
        Ok(answer) if answer.starts_with("HTTP/1.1 200") => Outcome::Acknowledged { node, at: SystemTime::now() },
        Ok(answer) if answer.starts_with("HTTP/1.1 503") && !answer.contains("may have been published") => {
            Outcome::Refused
        }
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => Outcome::Refused,
        _ => Outcome::Uncertain,
    };
    Attempt { number, channel, outcome }
}

/// Publishes numbers, each once: `NUMBER % 3` is the publisher.
fn publish_until(addresses: [SocketAddr; 3], publisher: usize, stop: &AtomicBool) -> Vec<Attempt> {
    let mut attempts = Vec::new();
    let mut node = publisher;
    for number in (1..).map(|count| count * 3 + publisher as u64) {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let channel = &CHANNELS[number as usize % CHANNELS.len()];
        let attempt = publish(addresses[node], node, channel, number);
        if !matches!(attempt.outcome, Outcome::Acknowledged { .. }) {
            node = (node + 1) % 3;
        }
        attempts.push(attempt);
        std::thread::sleep(Duration::from_millis(15));
    }
    attempts
}

/// Fills many channels that nobody follows, and deletes some of them again.
fn stir_until(addresses: [SocketAddr; 3], mut random: Random, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let (address, zone) = (*random.pick(&addresses), random.pick(&ZONES));
        let verb = if random.below(8) == 0 { "DELETE" } else { "POST" };
        // It may be refused.
        let _ = ask(address, zone, &format!("{verb} /pub?id=stirred{}", random.below(150)), "", "stirred");
        std::thread::sleep(Duration::from_millis(20));
    }
}

struct Client {
    follower: Follower<'static>,
    seen: Seen,
}

fn followers() -> Vec<Follower<'static>> {
    let modes = ["streaming", "polling", "long-polling", "eventsource", "websocket"];
    let (a_while, long) = (Duration::from_secs(3), Duration::from_secs(3600));
    let with = |zone: &'static Zone, channels, stays| {
        let by_event_id = |mode| mode == "eventsource" && channels == "a";
        modes.map(|mode| Follower { host: zone.host, mode, channels, by_event_id: by_event_id(mode), stays })
    };
    let [first, chat] = &ZONES;
    [with(first, "a", a_while), with(first, "a/b", a_while), with(first, "b", long), with(chat, "b/a", a_while)]
        .concat()
}

#[test]
fn whatever_breaks_each_client_sees_each_acknowledged_message_once_in_order() {
    play(&mut Stage::new(), 60);
}

#[test]
fn whatever_a_cluster_goes_through_each_client_sees_each_acknowledged_message_once_in_order() {
    play(&mut Cluster::new(), 30);
}

/// Ends those who follow and publish, also when the test has failed.
struct Curtain<'a>([&'a AtomicBool; 2]);

impl Drop for Curtain<'_> {
    fn drop(&mut self) {
        self.0.iter().for_each(|over| over.store(true, Ordering::Relaxed));
    }
}

fn play(stage: &mut impl Scene, usual: u64) {
    let total = Duration::from_secs(number_from_environment("CHAOS_SECONDS", usual));
    let seed = number_from_environment("CHAOS_SEED", 1);
    println!("CHAOS_SEED={seed}");
    let mut random = Random(seed);
    let addresses = [0, 1, 2].map(|node: usize| stage.nodes().all[node].address());
    let (stop, give_up) = (AtomicBool::new(false), AtomicBool::new(false));
    let (attempts, clients, told) = std::thread::scope(|scope| {
        let (stop, give_up) = (&stop, &give_up);
        let _curtain = Curtain([stop, give_up]);
        let clients: Vec<_> = followers()
            .into_iter()
            .enumerate()
            .map(|(at, follower)| {
                let mut random = Random(seed + 1000 * at as u64);
                let next = move || Door::Plain(addresses[random.below(3) as usize]);
                (follower, scope.spawn(move || follower.follow(next, give_up)))
            })
            .collect();
        let publishers = [0, 1, 2].map(|publisher| scope.spawn(move || publish_until(addresses, publisher, stop)));
        scope.spawn(move || stir_until(addresses, Random(seed), stop));
        let told = stage.strike(&mut random, total);
        stop.store(true, Ordering::Relaxed);
        let attempts: Vec<Attempt> = publishers.into_iter().flat_map(|publisher| publisher.join().unwrap()).collect();
        for (number, channel) in (LAST..).zip(&CHANNELS) {
            stage.master(channel.zone);
            let until = Instant::now() + REST;
            // Nothing may be acknowledged twice; what is uncertain must not count as another last one.
            while matches!(publish(addresses[0], 0, channel, number).outcome, Outcome::Refused) {
                assert!(Instant::now() < until, "nothing can be published any more\n{}", told.join("\n"));
                std::thread::sleep(Duration::from_millis(100));
            }
        }
        let until = Instant::now() + REST;
        while clients.iter().any(|(_, thread)| !thread.is_finished()) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(20));
        }
        give_up.store(true, Ordering::Relaxed);
        let clients: Vec<Client> =
            clients.into_iter().map(|(follower, thread)| Client { follower, seen: thread.join().unwrap() }).collect();
        (attempts, clients, told)
    });
    let found = Reckoning::new(stage, &attempts).judge(stage.nodes(), &clients);
    println!("{}", told.join("\n"));
    println!("{}", stage.said());
    assert!(found.is_empty(), "CHAOS_SEED={seed}:\n{}", found.join("\n"));
}
