//! What came of it: what each client must have seen, what it must not, and what nodes have to tell.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, SystemTime};

use super::disaster::Nodes;
use super::{Attempt, CHANNELS, Channel, Client, Outcome, Scene, Zone};
use crate::nodes::node::Node;
use crate::support::{Follower, Seen};

/// What nodes say when Redis has lost what they had.
const LOST: &str = "the backplane has lost";

/// What must have been seen.
pub struct Reckoning<'a> {
    attempts: HashMap<u64, &'a Attempt>,
    /// What Redis has in the end, channel by channel.
    kept: Vec<u64>,
    has: HashSet<u64>,
    /// What may have been among the entries that nodes told to be lost, whether or not a later failover has brought it back.
    told_lost: HashSet<u64>,
}

impl<'a> Reckoning<'a> {
    pub fn new(stage: &impl Scene, attempts: &'a [Attempt]) -> Self {
        let kept: Vec<u64> =
            CHANNELS.iter().flat_map(|channel| numbers_in(stage, channel.zone, channel.name)).collect();
        let has = kept.iter().copied().collect();
        let told_lost = told_lost(stage.nodes(), attempts);
        Self { attempts: attempts.iter().map(|attempt| (attempt.number, attempt)).collect(), kept, has, told_lost }
    }

    fn has(&self, number: u64) -> bool {
        self.has.contains(&number)
    }

    /// What is wrong.
    pub fn judge(&self, nodes: &Nodes, clients: &[Client]) -> Vec<String> {
        let mut wrong = self.untold_losses(nodes);
        for client in clients {
            let Follower { host, mode, channels, .. } = client.follower;
            let faults = first_of(self.faults(client));
            wrong.extend(faults.into_iter().map(|fault| format!("{mode} of {channels} at {host}: {fault}")));
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
        let told: Vec<Vec<SystemTime>> = nodes.all.iter().map(|node| moments(&node.log(), LOST)).collect();
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
        let is_followed = |channel: &Channel| {
            follower.host == channel.zone.host && follower.channels.split('/').any(|name| name == channel.name)
        };
        let mut last: HashMap<(u64, *const Channel), u64> = HashMap::new();
        for number in &seen.numbers {
            let Some(attempt) = self.attempts.get(number) else {
                faults.push(format!("nobody has published {number}"));
                continue;
            };
            if !is_followed(attempt.channel) {
                faults.push(format!("{number} is of another channel"));
            }
            match attempt.outcome {
                Outcome::Refused => faults.push(format!("{number} was refused, and came")),
                Outcome::Acknowledged { .. } => {
                    let before = last.insert((number % 3, std::ptr::from_ref(attempt.channel)), *number).unwrap_or(0);
                    if before > *number {
                        faults.push(format!("{number} after {before}"));
                    }
                }
                Outcome::Uncertain => {}
            }
        }
        let wanted = self.attempts.values().filter(|attempt| {
            matches!(attempt.outcome, Outcome::Acknowledged { .. })
                && is_followed(attempt.channel)
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

/// The messages that may be meant where a node says that so many of the last entries are lost: so many that each node acknowledged last in each
/// zone until then. (Sentinel may make a server the master again whose entries were lost before; who has gone on without them is not shown them
/// then.)
fn told_lost(nodes: &Nodes, attempts: &[Attempt]) -> HashSet<u64> {
    let mut acknowledged: HashMap<(usize, &str), Vec<(SystemTime, u64)>> = HashMap::new();
    for attempt in attempts {
        if let Outcome::Acknowledged { node, at } = attempt.outcome {
            acknowledged.entry((node, attempt.channel.zone.name)).or_default().push((at, attempt.number));
        }
    }
    for list in acknowledged.values_mut() {
        list.sort_unstable();
    }
    let mut told = HashSet::new();
    for log in nodes.all.iter().map(Node::log) {
        for line in log.lines().filter(|line| line.contains(LOST)) {
            let count = line.split(' ').find_map(|word| word.parse::<usize>().ok()).unwrap_or(usize::MAX);
            let until = moment_of(line).unwrap() + Duration::from_secs(1);
            for list in acknowledged.values() {
                let last = list.partition_point(|(at, _)| *at <= until);
                told.extend(list[last.saturating_sub(count)..last].iter().map(|(_, number)| *number));
            }
        }
    }
    told
}

/// The numbers that are stored in a channel.
fn numbers_in(stage: &impl Scene, zone: &Zone, channel: &str) -> Vec<u64> {
    let (master, key) = (stage.master(zone), zone.key(&format!("m:{channel}")));
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
