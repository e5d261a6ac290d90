//! What goes wrong with the server: it is told, nothing acknowledged is lost on a node that lives, nothing comes twice.

use std::time::Duration;

use nix::sys::signal::Signal;

use super::node::Node;
use super::redis::Redis;
use crate::support::{Client, Frame, PATIENCE, within};

/// The lines of a stream that were published, up to the last one.
fn lines(stream: &mut Client, last: &str) -> Vec<String> {
    let text = stream.until(last);
    text.lines()
        .filter_map(|line| line.rsplit_once(' '))
        .map(|(_, text)| text.to_owned())
        .filter(|text| !text.is_empty())
        .collect()
}

fn pair(redis: &Redis) -> (Node, Node) {
    (Node::start(&redis.url()), Node::start(&redis.url()))
}

#[test]
fn a_redis_that_is_killed_and_comes_back_with_its_data_costs_nothing() {
    let mut redis = Redis::durable();
    let (one, two) = pair(&redis);
    let mut stream = two.subscribe("a");
    one.publish("a", "before");
    redis.kill();
    within(PATIENCE, "it is refused", || {
        let reply = one.try_publish("a", b"never");
        reply.status == 503
            && reply.head.contains("Retry-After: 1")
            && reply.head.contains("Explain: The backplane is not")
    });
    assert_eq!(two.stored("a"), ["1 before"], "polls are answered from memory");
    redis.go_on();
    one.publish_when_possible("a", "after");
    two.publish_when_possible("a", "last");
    assert_eq!(lines(&mut stream, "last\n"), ["before", "after", "last"]);
    assert_eq!(one.backplane()["losses"], 0);
    assert!(one.backplane()["epoch"].as_u64().unwrap() >= 2);
}

#[test]
fn a_redis_that_comes_back_empty_is_told_and_nodes_keep_what_they_have() {
    let mut redis = Redis::start();
    let (one, two) = pair(&redis);
    let mut stream = two.subscribe("a");
    one.publish("a", "before");
    two.await_stored("a", &["1 before"]);
    redis.kill();
    redis.go_on();
    one.publish_when_possible("a", "after");
    two.publish_when_possible("a", "last");
    assert_eq!(lines(&mut stream, "last\n"), ["before", "after", "last"]);
    for node in [&one, &two] {
        node.await_log("the backplane has lost everything");
        within(PATIENCE, "all three", || node.stored("a").len() == 3);
        let ids: Vec<u64> =
            node.stored("a").iter().map(|line| line.split(' ').next().unwrap().parse().unwrap()).collect();
        assert!(ids.is_sorted() && ids[1] > 10_000, "ids do not go back: {ids:?}");
    }
}

#[test]
fn a_redis_that_is_emptied_while_it_serves_is_told_too() {
    let redis = Redis::start();
    let (one, two) = pair(&redis);
    let mut stream = two.subscribe("a");
    one.publish("a", "before");
    two.await_stored("a", &["1 before"]);
    redis.ask(&["FLUSHALL"]);
    one.publish("a", "after");
    two.publish("a", "last");
    assert_eq!(lines(&mut stream, "last\n"), ["before", "after", "last"]);
    two.await_log("the backplane has lost everything");
    within(PATIENCE, "all three", || one.stored("a").len() == 3);
}

#[test]
fn cut_connections_and_a_flushed_script_cache_are_not_noticed_by_publishers() {
    let redis = Redis::start();
    let (one, two) = pair(&redis);
    let mut stream = two.subscribe("a");
    for n in 0..30 {
        match n % 3 {
            0 => {
                redis.ask(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
            }
            1 => {
                redis.ask(&["SCRIPT", "FLUSH"]);
            }
            _ => {}
        }
        let node = if n % 2 == 0 { &one } else { &two };
        node.publish("a", format!("m{n}"));
    }
    let expected: Vec<String> = (0..30).map(|n| format!("m{n}")).collect();
    assert_eq!(lines(&mut stream, "m29\n"), expected);
}

#[test]
fn a_redis_without_memory_refuses_publishers_and_nobody_else() {
    let redis = Redis::start();
    let (one, two) = pair(&redis);
    one.publish("a", "before");
    redis.ask(&["CONFIG", "SET", "maxmemory", "1"]);
    let reply = one.try_publish("a", b"never");
    assert_eq!(reply.status, 503, "{}", reply.head);
    one.await_log("the backplane refuses what is published");
    two.await_stored("a", &["1 before"]);
    redis.ask(&["CONFIG", "SET", "maxmemory", "0"]);
    one.publish("a", "after");
    two.await_stored("a", &["1 before", "2 after"]);
}

#[test]
fn a_master_that_becomes_a_replica_is_left_and_found_again() {
    let mut redis = Redis::durable();
    let (one, two) = pair(&redis);
    one.publish("a", "before");
    redis.ask(&["REPLICAOF", "127.0.0.1", "1"]);
    let reply = one.try_publish("a", b"never");
    assert_eq!(reply.status, 503, "{}", reply.head);
    redis.ask(&["REPLICAOF", "NO", "ONE"]);
    one.publish_when_possible("a", "after");
    two.await_stored("a", &["1 before", "2 after"]);
    redis.kill();
}

#[test]
fn a_redis_that_stands_still_is_waited_for_and_then_given_up() {
    let redis = Redis::start();
    let (one, two) = pair(&redis);
    let mut stream = two.subscribe("a");
    one.publish("a", "before");
    redis.signal(Signal::SIGSTOP);
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| one.try_publish("a", b"short"));
        std::thread::sleep(Duration::from_millis(700));
        redis.signal(Signal::SIGCONT);
        assert_eq!(waits.join().unwrap().status, 200, "a short pause is waited for");
    });
    redis.signal(Signal::SIGSTOP);
    let reply = one.try_publish("a", b"maybe");
    assert_eq!(reply.status, 503);
    assert!(reply.head.contains("may have been published"), "{}", reply.head);
    redis.signal(Signal::SIGCONT);
    one.publish_when_possible("a", "last");
    let seen = lines(&mut stream, "last\n");
    let certain: Vec<_> = seen.iter().filter(|text| *text != "maybe").collect();
    assert_eq!(certain, ["before", "short", "last"]);
    assert!(seen.iter().filter(|text| *text == "maybe").count() <= 1);
}

#[test]
fn where_it_is_wanted_messages_reach_the_node_itself_while_the_backplane_is_away() {
    let mut redis = Redis::start();
    let node = Node::with(&redis.url(), "push_stream_backplane_local_on_failure on;");
    let mut stream = node.subscribe("a");
    redis.kill();
    within(PATIENCE, "it is published here", || node.try_publish("a", b"alone").status == 200);
    redis.go_on();
    within(PATIENCE, "the backplane is back", || node.backplane()["fault"].is_null());
    node.publish("a", "together");
    let seen = lines(&mut stream, "together\n");
    assert_eq!(seen.first().map(String::as_str), Some("alone"));
    assert_eq!(seen.last().map(String::as_str), Some("together"));
}

#[test]
fn a_websocket_whose_message_is_refused_is_closed_and_told_to_come_again() {
    let redis = Redis::start();
    let (one, two) = pair(&redis);
    one.publish("a", "before");
    redis.ask(&["CONFIG", "SET", "maxmemory", "1"]);
    let mut socket = one.websocket("a");
    socket.send(0x81, b"never");
    let farewell = socket.frame();
    assert_eq!((farewell.first, farewell.code()), (0x88, Some(1013)));
    one.await_log("the backplane refuses what is published");
    assert_eq!(two.stored("a"), ["1 before"]);
    redis.ask(&["CONFIG", "SET", "maxmemory", "0"]);
    let mut socket = one.websocket("a");
    socket.send(0x81, b"after");
    assert_eq!(socket.frame(), Frame::text("after"));
    two.await_stored("a", &["1 before", "2 after"]);
}

#[test]
fn where_it_is_wanted_messages_of_websockets_reach_the_node_itself_too() {
    let mut redis = Redis::start();
    let node = Node::with(&redis.url(), "push_stream_backplane_local_on_failure on;");
    let mut stream = node.subscribe("a");
    let mut socket = node.websocket("a");
    redis.kill();
    within(PATIENCE, "the backplane is away", || !node.backplane()["fault"].is_null());
    socket.send(0x81, b"alone");
    assert_eq!(socket.frame(), Frame::text("alone"));
    stream.until("alone\n");
}

#[test]
fn a_node_that_was_away_longer_than_the_log_reaches_catches_up_all_the_same() {
    let redis = Redis::start();
    let (one, two) = pair(&redis);
    let mut stream = two.subscribe("a/b/gone");
    one.publish("a", "before");
    one.publish("gone", "x");
    two.await_stored("gone", &["1 x"]);
    two.process().signal(Signal::SIGSTOP);
    assert_eq!(one.ask("DELETE /pub?id=gone", &[], b"").status, 200);
    for n in 0..20 {
        one.publish(if n % 2 == 0 { "a" } else { "b" }, format!("m{n}"));
    }
    // As if many more had come.
    redis.ask(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    redis.ask(&["XTRIM", "{pushstreamd.pushstreamd}:log", "MAXLEN", "2"]);
    two.process().signal(Signal::SIGCONT);
    one.publish_when_possible("a", "last");
    two.await_log("read anew");
    let mut expected = vec!["before".to_owned(), "x".to_owned()];
    expected.extend((0..20).map(|n| format!("m{n}")));
    let mut seen = lines(&mut stream, "last\n");
    seen.retain(|text| text != "deleted");
    expected.push("last".to_owned());
    assert_eq!(seen, expected);
    within(PATIENCE, "what was deleted is gone", || two.ask("GET /pub?id=gone", &[], b"").status == 404);
}
