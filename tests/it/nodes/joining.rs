//! A node that joins, or comes back, while publishing goes on: it keeps what comes while it reads the zone, so that the log need not hold it.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use nix::sys::signal::Signal;

use super::liar::{Liar, Wrong};
use super::node::Node;
use super::redis::Redis;
use crate::support::{PATIENCE, within};

const LOG: &str = "{pushstreamd.pushstreamd}:log";
/// Bytes of a message that fills the log.
const LARGE: usize = 256 << 10;
/// More than the log holds.
const MUCH: usize = 80 << 20;

/// A server that many others use too, so that it takes long to look for what belongs to a zone, and a line to it that makes it longer.
fn crowded(args: &[&str]) -> (Redis, Liar) {
    let redis = Redis::with(args);
    for part in 0..50 {
        let script = "for i = 1, 2000 do redis.call('SET', ARGV[1] .. ':' .. i, '') end";
        redis.ask(&["EVAL", script, "0", &format!("other{part}")]);
    }
    let liar = Liar::before(redis.port);
    (redis, liar)
}

/// Has whoever reads the zone over it take for ever, as long as it is so.
fn hold_up(liar: &Liar) {
    liar.set(Wrong { slow: Some(("SCAN", Duration::from_millis(100))), ..Wrong::default() });
}

/// Publishers that do not pause: after each large message, which is not stored, comes a small one that is.
#[derive(Default)]
struct Press {
    over: AtomicBool,
    /// Bytes that were published.
    bytes: AtomicUsize,
}

/// What was published.
#[derive(Default)]
struct Published {
    acknowledged: Vec<String>,
    /// What the server may have, or not.
    uncertain: HashSet<String>,
}

impl Press {
    /// Publishes on a node while something else is done.
    fn meanwhile(&self, node: &Node, act: impl FnOnce()) -> Published {
        struct Over<'a>(&'a AtomicBool);
        impl Drop for Over<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        std::thread::scope(|scope| {
            let press = scope.spawn(|| self.publish(node));
            let over = Over(&self.over);
            act();
            drop(over);
            press.join().unwrap()
        })
    }

    fn publish(&self, node: &Node) -> Published {
        let (large, mut published) = (vec![b'x'; LARGE], Published::default());
        let mut number = 0;
        while !self.over.load(Ordering::Relaxed) {
            if node.ask("POST /memory?id=large", &[], &large).status == 200 {
                self.bytes.fetch_add(LARGE, Ordering::Relaxed);
            }
            let text = format!("m{number}");
            let reply = node.try_publish("a", text.as_bytes());
            match reply.status {
                200 => published.acknowledged.push(text),
                503 if reply.head.contains("may have been") => {
                    published.uncertain.insert(text);
                }
                503 => continue,
                _ => panic!("{}", reply.head),
            }
            number += 1;
        }
        published
    }

    fn await_bytes(&self, count: usize) {
        let until = self.bytes.load(Ordering::Relaxed) + count;
        within(PATIENCE * 3, "more is published", || self.bytes.load(Ordering::Relaxed) >= until);
    }
}

impl Published {
    /// Everything that was acknowledged must have been seen once, in order; what is uncertain once at most.
    fn check(&self, seen: &[String], what: &str) {
        let mut once = HashSet::new();
        assert!(seen.iter().all(|text| once.insert(text)), "{what}: twice");
        let certain: Vec<&String> = seen.iter().filter(|text| !self.uncertain.contains(*text)).collect();
        let expected: Vec<&String> = self.acknowledged.iter().collect();
        let first = certain.iter().zip(&expected).position(|(seen, expected)| seen != expected);
        assert!(
            certain == expected,
            "{what}: {} of {} messages, other than expected from {first:?} on",
            certain.len(),
            expected.len()
        );
    }

    /// Waits until a node has the last one, and looks at all of them.
    fn check_stored(&self, node: &Node) {
        let texts = || node.stored("a").iter().map(|line| line.split_once(' ').unwrap().1.to_owned()).collect();
        let mut seen: Vec<String> = Vec::new();
        within(PATIENCE, "the last one is there", || {
            seen = texts();
            seen.contains(self.acknowledged.last().unwrap())
        });
        self.check(&seen, "stored");
    }
}

/// The place of the first entry that the log still holds.
fn first_of_log(redis: &Redis) -> (u64, u64) {
    let entries = ::redis::from_redis_value::<Vec<(String, Vec<::redis::Value>)>>(
        redis.ask(&["XRANGE", LOG, "-", "+", "COUNT", "1"]),
    );
    place(&entries.unwrap()[0].0)
}

fn place(id: &str) -> (u64, u64) {
    let (at, number) = id.split_once('-').unwrap();
    (at.parse().unwrap(), number.parse().unwrap())
}

#[test]
fn a_node_joins_by_one_reading_though_more_is_published_meanwhile_than_the_log_holds() {
    let (redis, liar) = crowded(&[]);
    let one = Node::start(&redis.url());
    one.publish("before", "x");
    let began = place(one.backplane()["position"].as_str().unwrap());
    hold_up(&liar);
    let two = Node::begin(&["--backplane", &liar.url()], "");
    let press = Press::default();
    let published = press.meanwhile(&one, || {
        press.await_bytes(MUCH);
        let reply = two.readiness();
        assert_eq!((reply.status, reply.text().as_str()), (503, "joining\n"));
        assert!(first_of_log(&redis) > began, "what was published when it began is not in the log any more");
        liar.set(Wrong::default());
        // While it goes on.
        two.await_ready();
    });
    published.check_stored(&two);
    two.await_stored("before", &["1 x"]);
    let told = two.backplane();
    assert_eq!((&told["snapshots"], &told["losses"], &told["passed_over"]), (&1.into(), &0.into(), &0.into()));
    two.publish("before", "y");
    one.await_stored("before", &["1 x", "2 y"]);
}

/// A node that stood still goes on where the log does not reach back to it, as if many more had come, and begins to read the zone.
fn go_on_behind_the_log(node: &Node, redis: &Redis, liar: &Liar) {
    hold_up(liar);
    redis.ask(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    redis.ask(&["XTRIM", LOG, "MAXLEN", "1"]);
    node.process().signal(Signal::SIGCONT);
    node.await_log("read anew");
}

#[test]
fn the_subscribers_of_a_node_that_was_away_see_everything_once_while_it_reads_the_zone() {
    let (redis, liar) = crowded(&[]);
    let (one, two) = (Node::start(&redis.url()), Node::start(&liar.url()));
    let mut stream = two.subscribe("a");
    one.publish("a", "before");
    two.await_stored("a", &["1 before"]);
    two.process().signal(Signal::SIGSTOP);
    for n in 0..20 {
        one.publish("a", format!("away{n}"));
    }
    go_on_behind_the_log(&two, &redis, &liar);
    let press = Press::default();
    let mut published = press.meanwhile(&one, || {
        press.await_bytes(MUCH);
        let stored = two.stored("a");
        assert!(!stored.iter().any(|line| line.ends_with(" away19")), "polls are answered meanwhile: {stored:?}");
        liar.set(Wrong::default());
        within(PATIENCE, "it has the zone", || two.backplane()["snapshots"] == 2);
        press.await_bytes(LARGE);
        // Its own come back among the others.
        two.publish("own", "x");
    });
    one.publish("a", "last");
    published.acknowledged.push("last".to_owned());
    let expected = ["before".to_owned()].into_iter().chain((0..20).map(|n| format!("away{n}")));
    published.acknowledged.splice(0..0, expected);
    let text = stream.until(" a last\n");
    let seen: Vec<String> = text.lines().filter_map(|line| Some(line.split_once(" a ")?.1.to_owned())).collect();
    published.check(&seen, "streamed");
    published.check_stored(&two);
    assert_eq!(two.backplane()["snapshots"], 2, "{}", two.log());
}

#[test]
fn a_cut_connection_and_a_server_that_is_killed_meanwhile_cost_another_reading() {
    // Written before it is answered: what a kill costs is not asked here.
    let (mut redis, liar) = crowded(&["--appendonly", "yes", "--appendfsync", "always"]);
    let one = Node::start(&redis.url());
    hold_up(&liar);
    let two = Node::begin(&["--backplane", &liar.url()], "");
    let press = Press::default();
    let published = press.meanwhile(&one, || {
        press.await_bytes(MUCH / 4);
        redis.ask(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
        press.await_bytes(MUCH / 4);
        redis.kill();
        redis.go_on();
        press.await_bytes(MUCH);
        assert_eq!(two.readiness().status, 503);
        liar.set(Wrong::default());
        two.await_ready();
    });
    published.check_stored(&two);
    published.check_stored(&one);
    let told = two.backplane();
    assert_eq!((&told["snapshots"], &told["losses"]), (&1.into(), &0.into()), "{}", two.log());
}

#[test]
fn a_zone_that_is_begun_anew_while_it_is_read_is_not_taken_for_what_is_left_of_it() {
    let (redis, liar) = crowded(&[]);
    let (one, two) = (Node::start(&redis.url()), Node::start(&liar.url()));
    let mut stream = two.subscribe("a/b");
    for channel in ["a", "b"] {
        one.publish(channel, "before");
        two.await_stored(channel, &["1 before"]);
    }
    two.process().signal(Signal::SIGSTOP);
    // The first of them it may have got before it stood still.
    for n in 0..3 {
        one.publish("a", format!("away{n}"));
    }
    go_on_behind_the_log(&two, &redis, &liar);
    redis.ask(&["FLUSHALL"]);
    one.publish("c", "new");
    liar.set(Wrong::default());
    two.await_log("the backplane has lost everything");
    one.publish("a", "after");
    let text = stream.until("after\n");
    assert!(!text.contains("deleted"), "what nodes have stays with them: {text}");
    assert_eq!(two.stored("b"), ["1 before"]);
    assert_eq!(two.stored("c").len(), 1);
    assert_eq!(two.backplane()["losses"], 1);
}
