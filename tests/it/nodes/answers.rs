//! A Redis that answers something else than it was asked, late, or slowly.

use std::time::Duration;

use nix::sys::signal::Signal;

use super::liar::{Liar, Wrong};
use super::node::Node;
use super::redis::Redis;
use crate::support::{PATIENCE, within};

/// What it may answer in each state it can be in, to anything it is asked.
const ERRORS: [&str; 13] = [
    "LOADING Redis is loading the dataset in memory",
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    "READONLY You can't write against a read only replica.",
    "CLUSTERDOWN The cluster is down",
    "TRYAGAIN Multiple keys request during rehashing of slot",
    "ASK 1234 127.0.0.1:1",
    "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
    "MISCONF Redis is configured to save RDB snapshots, but it is currently unable to persist to disk.",
    "NOREPLICAS Not enough good replicas to write.",
    "OOM command not allowed when used memory > 'maxmemory'.",
    "NOAUTH Authentication required.",
    "NOPERM this user has no permissions to run the 'evalsha' command",
    "ERR max number of clients reached",
];

#[test]
fn errors_of_every_state_are_waited_out_and_what_they_refuse_never_comes() {
    let redis = Redis::start();
    let liar = Liar::before(redis.port);
    let (one, two) = (Node::start(&liar.url()), Node::start(&redis.url()));
    let mut streams = [one.subscribe("a"), two.subscribe("a")];
    let mut expected = Vec::new();
    for (n, error) in ERRORS.into_iter().enumerate() {
        let all = if n < 2 { Some("") } else { None };
        for of in ["EVALSHA", "XREAD"].into_iter().chain(all) {
            liar.set(Wrong { answer: Some((of, error)), ..Wrong::default() });
            if of != "XREAD" {
                let reply = one.try_publish("a", b"never");
                assert_eq!(reply.status, 503, "{error}: {}", reply.head);
                assert!(!reply.head.contains("may have been published"), "{error}: {}", reply.head);
            }
            two.publish("a", format!("two-{n}{of}"));
            liar.set(Wrong::default());
            one.publish_when_possible("a", &format!("one-{n}{of}"));
            expected.extend([format!("two-{n}{of}"), format!("one-{n}{of}")]);
        }
    }
    for stream in &mut streams {
        let text = stream.until(&format!("{}\n", expected.last().unwrap()));
        let seen: Vec<&str> = text.lines().filter_map(|line| Some(line.rsplit_once(" a ")?.1)).collect();
        assert_eq!(seen, expected);
    }
    assert_eq!(one.backplane()["losses"], 0);
}

#[test]
fn a_server_that_refuses_for_long_is_not_asked_again_and_again_without_a_pause() {
    let redis = Redis::start();
    let liar = Liar::before(redis.port);
    let node = Node::start(&liar.url());
    liar.set(Wrong { answer: Some(("EVALSHA", ERRORS[0])), ..Wrong::default() });
    within(PATIENCE, "it is away", || !node.backplane()["fault"].is_null());
    let before = liar.answered();
    std::thread::sleep(Duration::from_secs(2));
    assert!(liar.answered() - before <= 10, "{} times in 2 s", liar.answered() - before);
    liar.set(Wrong::default());
    node.publish_when_possible("a", "x");
}

#[test]
fn a_server_that_refuses_what_it_is_asked_first_is_written_to_when_it_takes_it() {
    let redis = Redis::start();
    let liar = Liar::before(redis.port);
    let node = Node::start(&liar.url());
    for error in [ERRORS[0], ERRORS[9]] {
        liar.set(Wrong { answer: Some(("EVALSHA", error)), ..Wrong::default() });
        redis.ask(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
        let before = liar.answered();
        within(PATIENCE, "a new connection is refused", || liar.answered() > before + 1);
        liar.set(Wrong::default());
        node.publish_when_possible("a", "x");
    }
}

#[test]
fn a_dead_node_and_one_whose_answers_come_late_are_left_out_when_subscribers_are_counted() {
    let redis = Redis::start();
    let liar = Liar::before(redis.port);
    let (one, two, slow) = (Node::start(&redis.url()), Node::start(&redis.url()), Node::start(&liar.url()));
    let mut dead = Node::start(&redis.url());
    let _streams = [&one, &two, &slow, &dead].map(|node| node.subscribe("a"));
    one.publish("a", "x");
    let counted = || {
        let text = one.ask("GET /pub?id=a", &[], b"").text();
        serde_json::from_str::<serde_json::Value>(&text).unwrap()["subscribers"].as_u64().unwrap()
    };
    within(PATIENCE, "all are counted", || counted() == 4);
    liar.set(Wrong { late: Duration::from_millis(300), ..Wrong::default() });
    dead.kill();
    // What was asked before is answered by now.
    std::thread::sleep(Duration::from_millis(400));
    let mut most = 0;
    for _ in 0..20 {
        let began = std::time::Instant::now();
        let count = counted();
        assert!(count <= 2 && began.elapsed() < Duration::from_secs(2), "{count} in {:?}", began.elapsed());
        most = most.max(count);
    }
    assert_eq!(most, 2, "the one that answers");
    liar.set(Wrong::default());
    within(PATIENCE, "the slow one is counted again", || counted() == 3);
}

#[test]
fn answers_that_come_late_cost_publishers_their_certainty_and_nothing_else() {
    let redis = Redis::start();
    let liar = Liar::before(redis.port);
    let (one, two) = (Node::start(&liar.url()), Node::start(&redis.url()));
    let mut streams = [one.subscribe("a"), two.subscribe("a")];
    liar.set(Wrong { late: Duration::from_millis(700), ..Wrong::default() });
    one.publish("a", "in-time");
    liar.set(Wrong { late: Duration::from_secs(4), ..Wrong::default() });
    let mut refused = Vec::new();
    for n in 0..6 {
        let reply = one.try_publish("a", format!("late-{n}").as_bytes());
        assert_eq!(reply.status, 503, "{}", reply.head);
        if !reply.head.contains("may have been published") {
            refused.push(format!("late-{n}"));
        }
        two.publish("a", format!("two-{n}"));
    }
    assert_eq!(one.stored("a"), ["1 in-time"], "polls are answered from memory");
    within(PATIENCE, "balancers are told", || one.readiness().status == 503);
    liar.set(Wrong::default());
    one.publish_when_possible("a", "last");
    let certain = ["in-time", "two-0", "two-1", "two-2", "two-3", "two-4", "two-5", "last"];
    for stream in &mut streams {
        let text = stream.until(" a last\n");
        let seen: Vec<&str> = text.lines().filter_map(|line| Some(line.rsplit_once(" a ")?.1)).collect();
        assert!(!seen.iter().any(|text| refused.iter().any(|refused| refused == text)), "{seen:?} {refused:?}");
        for n in 0..6 {
            assert!(seen.iter().filter(|text| **text == format!("late-{n}")).count() <= 1, "{seen:?}");
        }
        let seen: Vec<&str> = seen.into_iter().filter(|text| !text.starts_with("late")).collect();
        assert_eq!(seen, certain);
    }
}

#[test]
fn over_a_narrow_line_a_node_joins_and_follows_in_portions() {
    let redis = Redis::start();
    let one = Node::start(&redis.url());
    let text = "x".repeat(400_000);
    for n in 0..40 {
        one.publish("large", format!("{n} {text}"));
    }
    let liar = Liar::before(redis.port);
    // 16 MB in one channel take 4 s.
    liar.set(Wrong { narrow: Some(4 << 20), ..Wrong::default() });
    let two = Node::begin(&["--backplane", &liar.url()], "");
    within(PATIENCE, "it has joined", || two.readiness().status == 200);
    let has = |count| two.ask("GET /pub?id=large", &[], b"").text().contains(&format!("\"stored_messages\": {count},"));
    assert!(has(40));
    two.process().signal(Signal::SIGSTOP);
    for n in 40..100 {
        one.publish("large", format!("{n} {text}"));
    }
    two.process().signal(Signal::SIGCONT);
    within(PATIENCE * 2, "it has come there", || has(100));
    assert_eq!(two.backplane()["snapshots"], 1, "{}", two.log());
}
