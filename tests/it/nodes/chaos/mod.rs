//! Three nodes, a Redis with a replica and a sentinel or a cluster, and everything that can go wrong with them and the network between them, while
//! clients of all modes move from node to node: each sees every acknowledged message that Redis has not lost once, in order; what Redis lost was
//! told.
//!
//! `CHAOS_SECONDS` makes it longer, `CHAOS_SEED` other than usual, `CHAOS_REDIS=valkey` has Valkey in its place (`make chaos`).

mod cluster;
mod disaster;
mod relay;
mod stage;

use std::collections::{HashMap, HashSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use self::cluster::Cluster;
use self::disaster::Nodes;
use self::stage::Stage;
use crate::nodes::node::Node;
use crate::nodes::redis::Redis;
use crate::support::{Door, Follower, LAST, Random, Seen, number_from_environment};

/// The key of the zone's log.
const LOG: &str = "{pushstreamd.pushstreamd}:log";
const CHANNELS: [&str; 2] = ["a", "b"];
/// How long the clients may take for the rest when everything is well again.
const REST: Duration = Duration::from_secs(60);

/// Where it happens.
trait Scene {
    fn nodes(&self) -> &Nodes;

    /// One disaster after the other; what happened.
    fn strike(&mut self, random: &mut Random, total: Duration) -> Vec<String>;

    /// The server that has the zone, once there is one.
    fn master(&self) -> &Redis;

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
    channel: usize,
    outcome: Outcome,
}

fn publish(address: SocketAddr, node: usize, channel: usize, number: u64) -> Attempt {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(8)))?;
        let text = number.to_string();
        write!(
            stream,
            "POST /pub?id={} HTTP/1.0\r\nHost: a\r\nEvent-Id: {number}\r\nContent-Length: {}\r\n\r\n{text}",
            CHANNELS[channel],
            text.len()
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let outcome = match ask() {
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
        let channel = usize::from(number % 2 == 0);
        let attempt = publish(addresses[node], node, channel, number);
        if !matches!(attempt.outcome, Outcome::Acknowledged { .. }) {
            node = (node + 1) % 3;
        }
        attempts.push(attempt);
        std::thread::sleep(Duration::from_millis(15));
    }
    attempts
}

struct Client {
    follower: Follower<'static>,
    seen: Seen,
}

fn followers() -> Vec<Follower<'static>> {
    let modes = ["streaming", "polling", "long-polling", "eventsource", "websocket"];
    let (a_while, long) = (Duration::from_secs(3), Duration::from_secs(3600));
    let with = |channels, stays| {
        modes.map(|mode| Follower { mode, channels, by_event_id: mode == "eventsource" && channels == "a", stays })
    };
    [with("a", a_while), with("a/b", a_while), with("b", long)].concat()
}

#[test]
fn whatever_breaks_each_client_sees_each_acknowledged_message_once_in_order() {
    play(&mut Stage::new(), 60);
}

#[test]
fn whatever_a_cluster_goes_through_each_client_sees_each_acknowledged_message_once_in_order() {
    play(&mut Cluster::new(), 30);
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
        let told = stage.strike(&mut random, total);
        stop.store(true, Ordering::Relaxed);
        let attempts: Vec<Attempt> = publishers.into_iter().flat_map(|publisher| publisher.join().unwrap()).collect();
        stage.master();
        for (number, channel) in (LAST..).zip(0..CHANNELS.len()) {
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

/// What must have been seen.
struct Reckoning<'a> {
    attempts: HashMap<u64, &'a Attempt>,
    /// What Redis has in the end, channel by channel.
    kept: Vec<u64>,
    has: HashSet<u64>,
    /// What may have been among the entries that nodes told to be lost, whether or not a later failover has brought it back.
    told_lost: HashSet<u64>,
}

impl<'a> Reckoning<'a> {
    fn new(stage: &impl Scene, attempts: &'a [Attempt]) -> Self {
        let kept: Vec<u64> = CHANNELS.iter().flat_map(|channel| numbers_in(stage, channel)).collect();
        let has = kept.iter().copied().collect();
        let told_lost = told_lost(stage.nodes(), attempts);
        Self { attempts: attempts.iter().map(|attempt| (attempt.number, attempt)).collect(), kept, has, told_lost }
    }

    fn has(&self, number: u64) -> bool {
        self.has.contains(&number)
    }

    /// What is wrong.
    fn judge(&self, nodes: &Nodes, clients: &[Client]) -> Vec<String> {
        let mut wrong = self.untold_losses(nodes);
        for client in clients {
            let Follower { mode, channels, .. } = client.follower;
            let faults = first_of(self.faults(client));
            wrong.extend(faults.into_iter().map(|fault| format!("{mode} of {channels}: {fault}")));
        }
        let count = |wanted: fn(&Outcome) -> bool| self.attempts.values().filter(|it| wanted(&it.outcome)).count();
        let acknowledged = count(|outcome| matches!(outcome, Outcome::Acknowledged { .. }));
        println!(
            "{acknowledged} acknowledged of which Redis lost {} (at most {} were told), {} refused, {} uncertain; {} connections of {} \
             clients",
            self.lost().count(),
            self.told_lost.len(),
            count(|outcome| *outcome == Outcome::Refused),
            count(|outcome| *outcome == Outcome::Uncertain),
            clients.iter().map(|client| client.seen.connections).sum::<u32>(),
            clients.len()
        );
        if acknowledged < 200 {
            wrong.push(format!("only {acknowledged} messages were acknowledged"));
        }
        wrong
    }

    fn lost(&self) -> impl Iterator<Item = (&'a Attempt, usize, SystemTime)> {
        self.attempts.values().filter_map(|attempt| match attempt.outcome {
            Outcome::Acknowledged { node, at } if !self.has(attempt.number) => Some((*attempt, node, at)),
            _ => None,
        })
    }

    /// A node that has acknowledged what Redis then lost tells it, unless it was killed before it could.
    fn untold_losses(&self, nodes: &Nodes) -> Vec<String> {
        let told: Vec<Vec<SystemTime>> = nodes.all.iter().map(|node| moments(&node.log(), "has lost")).collect();
        let after = |moments: &[SystemTime], at| moments.iter().any(|moment| *moment + Duration::from_secs(1) >= at);
        let untold = self.lost().filter(|(_, node, at)| !after(&told[*node], *at) && !after(&nodes.ends[*node], *at));
        let mut untold: Vec<(SystemTime, usize, u64)> =
            untold.map(|(attempt, node, at)| (at, node, attempt.number)).collect();
        untold.sort_unstable();
        let shown = untold.iter().map(|(at, node, number)| {
            let at = jiff::Timestamp::try_from(*at).unwrap();
            format!("node {node} did not tell the loss of {number}, acknowledged at {at}")
        });
        first_of(shown.collect())
    }

    /// The messages that a client may have missed which went on by the id of an event that Redis has lost: for a server that has not got it, it
    /// is one that has expired.
    fn excused(&self, seen: &Seen) -> HashSet<u64> {
        let place = |number: &u64| self.kept.iter().position(|kept| kept == number);
        let mut excused = HashSet::new();
        for &count in &seen.resumed {
            let (before, after) = seen.numbers.split_at(count);
            if before.last().is_some_and(|last| self.has(*last)) {
                continue;
            }
            let from = before.iter().rev().find_map(place).unwrap_or(0);
            let to = after.iter().find_map(place).unwrap_or(self.kept.len());
            excused.extend(self.kept.get(from..to).unwrap_or_default());
        }
        excused
    }

    fn faults(&self, client: &Client) -> Vec<String> {
        let Client { follower, seen } = client;
        let mut faults = seen.wrong.clone();
        if seen.lasts < follower.channels.split('/').count() {
            faults.push(format!("has not come to the end but to {:?}", seen.numbers.last()));
        }
        let numbers: HashSet<u64> = seen.numbers.iter().copied().collect();
        if numbers.len() < seen.numbers.len() {
            faults.push(format!("{} came twice", seen.numbers.len() - numbers.len()));
        }
        let mut last: HashMap<(u64, usize), u64> = HashMap::new();
        for number in &seen.numbers {
            let Some(attempt) = self.attempts.get(number) else {
                faults.push(format!("nobody has published {number}"));
                continue;
            };
            match attempt.outcome {
                Outcome::Refused => faults.push(format!("{number} was refused, and came")),
                Outcome::Acknowledged { .. } => {
                    let before = last.insert((number % 3, attempt.channel), *number).unwrap_or(0);
                    if before > *number {
                        faults.push(format!("{number} after {before}"));
                    }
                }
                Outcome::Uncertain => {}
            }
        }
        let wanted = self.attempts.values().filter(|attempt| {
            matches!(attempt.outcome, Outcome::Acknowledged { .. })
                && follower.channels.split('/').any(|channel| channel == CHANNELS[attempt.channel])
                && self.has(attempt.number)
                && !self.told_lost.contains(&attempt.number)
        });
        let excused = self.excused(seen);
        let mut missing: Vec<u64> = wanted
            .map(|attempt| attempt.number)
            .filter(|number| !numbers.contains(number) && !excused.contains(number))
            .collect();
        missing.sort_unstable();
        faults.extend(missing.into_iter().map(|number| format!("{number} never came")));
        faults
    }
}

/// The first faults of many, and how many more there are.
fn first_of(mut faults: Vec<String>) -> Vec<String> {
    let more = faults.len().saturating_sub(5);
    faults.truncate(5);
    faults.extend((more > 0).then(|| format!("{more} more")));
    faults
}

/// The messages that may be meant where a node says that so many of the last entries are lost: so many that each node acknowledged last until
/// then. (Sentinel may make a server the master again whose entries were lost before; who has gone on without them is not shown them then.)
fn told_lost(nodes: &Nodes, attempts: &[Attempt]) -> HashSet<u64> {
    let mut acknowledged: [Vec<(SystemTime, u64)>; 3] = Default::default();
    for attempt in attempts {
        if let Outcome::Acknowledged { node, at } = attempt.outcome {
            acknowledged[node].push((at, attempt.number));
        }
    }
    for of_node in &mut acknowledged {
        of_node.sort_unstable();
    }
    let mut told = HashSet::new();
    for log in nodes.all.iter().map(Node::log) {
        for line in log.lines().filter(|line| line.contains("the backplane has lost")) {
            let count = line.split(' ').find_map(|word| word.parse::<usize>().ok()).unwrap_or(usize::MAX);
            let until = moment_of(line).unwrap() + Duration::from_secs(1);
            for of_node in &acknowledged {
                let last = of_node.partition_point(|(at, _)| *at <= until);
                told.extend(of_node[last.saturating_sub(count)..last].iter().map(|(_, number)| *number));
            }
        }
    }
    told
}

/// The numbers that are stored in a channel.
fn numbers_in(stage: &impl Scene, channel: &str) -> Vec<u64> {
    let master = stage.master();
    let key = format!("{{pushstreamd.pushstreamd}}:m:{channel}");
    let entries: Vec<(String, Vec<Vec<u8>>)> =
        redis::from_redis_value(master.ask(&["XRANGE", &key, "-", "+"])).unwrap();
    // Behind the head come the channel, of one letter, and the text, which is the first number there.
    let number = |value: &[u8]| {
        let body = value.splitn(2, |byte| *byte == b'\n').nth(1)?;
        let digits = body.iter().skip_while(|byte| !byte.is_ascii_digit()).take_while(|byte| byte.is_ascii_digit());
        String::from_utf8(digits.copied().collect()).ok()?.parse().ok()
    };
    entries.iter().filter_map(|(_, fields)| number(&fields[1])).collect()
}

/// The moments of the lines of a log that hold a text.
fn moments(log: &str, text: &str) -> Vec<SystemTime> {
    let lines = log.lines().filter(|line| line.contains(text));
    lines.map(|line| moment_of(line).unwrap_or_else(|| panic!("{line}"))).collect()
}

/// `2026/11/25 20:00:00 [alert] ...`
fn moment_of(line: &str) -> Option<SystemTime> {
    let moment = jiff::civil::DateTime::strptime("%Y/%m/%d %H:%M:%S", line.get(..19)?).ok()?;
    let zoned = moment.to_zoned(jiff::tz::TimeZone::system()).ok()?;
    Some(SystemTime::from(zoned.timestamp()))
}
