//! Several nodes over a real Redis: what one is told, all know, once and in order.

mod answers;
mod chaos;
mod failure;
mod hostile;
mod joining;
mod liar;
pub mod node;
mod program;
pub mod redis;
mod slots;
mod upgrade;
mod ways;
mod zones;

use std::time::Duration;

use nix::sys::signal::Signal;

use self::node::{Node, Position};
use self::redis::Redis;
use crate::support::{Frame, PATIENCE, within};

#[test]
fn what_is_published_on_one_node_comes_to_the_subscribers_of_all() {
    let redis = Redis::start();
    let nodes = [Node::start(&redis.url()), Node::start(&redis.url()), Node::start(&redis.url())];
    let mut streams: Vec<_> = nodes.iter().map(|node| node.subscribe("a/b")).collect();
    nodes[0].publish("a", "one");
    nodes[1].publish("b", "two");
    let reply = nodes[2].ask("POST /memory?id=a", &[], b"not stored");
    assert_eq!(reply.status, 200, "{}", reply.head);
    nodes[2].publish("a", "last");
    for stream in &mut streams {
        let text = stream.until("3 a last\n");
        let lines: Vec<_> = text.lines().filter(|line| line.contains(' ')).collect();
        assert_eq!(lines, ["1 a one", "1 b two", "2 a not stored", "3 a last"], "{text}");
    }
    for node in &nodes {
        node.await_stored("a", &["1 one", "3 last"]);
    }
    let mut position: Position = None;
    let mut seen = Vec::new();
    for round in 0..12 {
        nodes[round % 3].publish("a", format!("m{round}"));
        // The next poll goes to a node that may not have it yet: what it does not get now it gets later.
        let (lines, next) = nodes[(round + 1) % 3].poll("a/b", &position);
        seen.extend(lines);
        position = next;
    }
    within(PATIENCE, "the rest", || {
        let (lines, next) = nodes[0].poll("a/b", &position);
        seen.extend(lines);
        position = next;
        seen.len() == 15
    });
    let expected: Vec<String> = ["1 one", "1 two", "3 last"]
        .map(str::to_owned)
        .into_iter()
        .chain((0..12).map(|round| format!("{} m{round}", round + 4)))
        .collect();
    assert_eq!(seen, expected);
}

#[test]
fn deliveries_are_timed_on_every_node_and_the_way_over_the_backplane_is_in_it_where_they_were_published() {
    let redis = Redis::start();
    let (one, two) = (Node::start(&redis.url()), Node::start(&redis.url()));
    let mut streams = [one.subscribe("a"), two.subscribe("a")];
    for number in 1..=5 {
        one.publish("a", number.to_string());
        for stream in &mut streams {
            stream.until(&format!("{number} a {number}\n"));
        }
    }
    for node in [&one, &two] {
        within(PATIENCE, "five are timed", || node.metric("pushstreamd_delivery_seconds_count") as u64 == 5);
    }
    // There and back through another process.
    assert!(one.metric("pushstreamd_delivery_seconds_sum") > 0.0);
}

#[test]
fn event_ids_binary_messages_and_large_bodies_go_the_same_way() {
    let redis = Redis::start();
    let (one, two) = (Node::start(&redis.url()), Node::start(&redis.url()));
    let reply = one.ask("POST /pub?id=e", &["Event-Id: first", "Event-Type: news"], b"x");
    assert_eq!(reply.status, 200);
    one.publish("e", "y");
    two.await_stored("e", &["1 x", "2 y"]);
    let mut events = two.connect();
    events.send_request("GET /events/e", &["Last-Event-ID: first"], b"");
    assert!(!events.until("data: y").contains("data: x"));
    let mut listening = two.websocket("w");
    let mut talking = one.websocket("w");
    talking.send(0x82, b"\0\x01binary");
    talking.send(0x81, b"text");
    assert_eq!(listening.frame(), Frame { first: 0x82, payload: b"\0\x01binary".to_vec() });
    assert_eq!(listening.frame(), Frame::text("text"));
    let large = "x".repeat(3 << 20);
    one.publish("large", &large);
    within(PATIENCE, "the large one", || two.stored("large") == [format!("1 {large}")]);
}

#[test]
fn a_deletion_on_one_node_is_one_on_all() {
    let redis = Redis::start();
    let (one, two) = (Node::start(&redis.url()), Node::start(&redis.url()));
    one.publish("d", "x");
    let mut subscriber = two.subscribe("d");
    two.await_stored("d", &["1 x"]);
    let reply = one.ask("DELETE /pub?id=d", &[], b"");
    assert_eq!(reply.status, 200, "{}", reply.head);
    subscriber.until("Channel deleted");
    within(PATIENCE, "it is gone", || two.ask("GET /pub?id=d", &[], b"").status == 404);
    assert_eq!(one.ask("DELETE /pub?id=d", &[], b"").status, 404);
    // It begins anew.
    two.publish("d", "y");
    one.await_stored("d", &["1 y"]);
}

#[test]
fn a_channel_that_only_another_node_has_is_deleted_there_and_that_is_answered() {
    let redis = Redis::start();
    let (one, two) = (Node::start(&redis.url()), Node::start(&redis.url()));
    within(PATIENCE, "each knows the other", || one.backplane()["nodes"].as_array().unwrap().len() == 2);
    let mut subscriber = two.subscribe("only-there");
    let reply = one.ask("DELETE /pub?id=only-there", &[], b"");
    assert_eq!(reply.status, 200, "{}", reply.head);
    subscriber.until("Channel deleted");
    assert_eq!(one.ask("DELETE /pub?id=only-there", &[], b"").status, 404);
}

#[test]
fn the_events_channel_tells_of_all_nodes_and_of_each_thing_once() {
    let redis = Redis::start();
    let http = "push_stream_events_channel_id events; push_stream_allow_connections_to_events_channel on;";
    let (one, two) = (Node::with(&redis.url(), http), Node::with(&redis.url(), http));
    let mut told = [one.subscribe("events"), two.subscribe("events")];
    two.publish("a", "x");
    // A subscriber would make the channel, where it comes before the message.
    let created = told.each_mut().map(|client| client.until("\"channel\": \"a\"}"));
    drop(one.subscribe("a"));
    within(PATIENCE, "it has left", || one.ask("GET /pub?id=a", &[], b"").text().contains("\"subscribers\": 0"));
    assert_eq!(two.ask("DELETE /pub?id=a", &[], b"").status, 200);
    two.publish("last", "x");
    for (client, created) in told.iter_mut().zip(created) {
        let text = created + &client.until("\"channel\": \"last\"}");
        let events: Vec<&str> = text.lines().filter(|line| line.contains("\"a\"")).collect();
        let kinds = ["channel_created", "client_subscribed", "client_unsubscribed"];
        assert!(events.len() >= 3, "{text}");
        for (event, kind) in events.iter().zip(kinds) {
            assert!(event.contains(kind), "{kind}: {text}");
        }
        assert!(events.iter().skip(3).all(|event| event.contains("channel_destroyed")) && events.len() <= 4, "{text}");
    }
}

#[test]
fn who_goes_on_by_an_event_id_is_served_by_a_node_that_has_not_got_it_when_it_has() {
    let redis = Redis::start();
    let (one, two) = (Node::start(&redis.url()), Node::start(&redis.url()));
    within(PATIENCE, "each knows the other", || {
        [&one, &two].iter().all(|node| node.backplane()["nodes"].as_array().unwrap().len() == 2)
    });
    two.process().signal(Signal::SIGSTOP);
    for n in 0..3000 {
        assert_eq!(one.ask("POST /pub?id=e", &[&format!("Event-Id: e{n}")], format!("<{n}>").as_bytes()).status, 200);
    }
    let mut events = two.connect();
    events.send_request("GET /events/e", &["Last-Event-ID: e2990"], b"");
    two.process().signal(Signal::SIGCONT);
    let text = events.until("<2999>");
    assert!(text.contains("<2991>") && !text.contains("<2990>"), "{text}");
    // One that nobody has is served as one that has expired: with what is new.
    let mut events = two.connect();
    events.send_request("GET /events/e", &["Last-Event-ID: nowhere"], b"");
    events.head();
    one.publish("e", "<new>");
    assert!(!events.until("<new>").contains("<2999>"));
}

#[test]
fn subscribers_are_counted_over_all_nodes_that_live() {
    let redis = Redis::start();
    let (one, two, mut three) = (Node::start(&redis.url()), Node::start(&redis.url()), Node::start(&redis.url()));
    let _streams = [one.subscribe("a"), two.subscribe("a"), two.subscribe("a/only-there"), three.subscribe("a")];
    one.publish("a", "x");
    let counted = |node: &Node, target: &str| {
        let text = node.ask(&format!("GET {target}"), &[], b"").text();
        serde_json::from_str::<serde_json::Value>(&text).unwrap_or(serde_json::Value::Null)
    };
    for node in [&one, &two, &three] {
        within(PATIENCE, "four subscriptions", || counted(node, "/pub?id=a")["subscribers"] == 4);
        within(PATIENCE, "the same in the statistics", || counted(node, "/stats?id=a")["subscribers"] == 4);
        // A connection of two channels is one subscriber.
        within(PATIENCE, "four connections", || counted(node, "/stats")["subscribers"] == 4);
    }
    assert_eq!(counted(&one, "/pub?id=only-there")["subscribers"], 1, "a channel that only another node has");
    assert_eq!(counted(&one, "/stats?id=a/only-there")["infos"].as_array().unwrap().len(), 2);
    three.process().signal(Signal::SIGSTOP);
    within(PATIENCE, "one that does not answer is left out", || counted(&one, "/pub?id=a")["subscribers"] == 3);
    let began = std::time::Instant::now();
    assert_eq!(counted(&one, "/stats?id=a")["subscribers"], 3);
    assert!(began.elapsed() < Duration::from_secs(2));
    three.kill_and_start();
    within(PATIENCE, "its subscriber is gone", || counted(&two, "/stats")["subscribers"] == 3);
    assert_eq!(counted(&two, "/pub?id=a")["subscribers"], 3);
}

#[test]
fn a_node_that_joins_has_what_is_stored_and_counts_on() {
    let redis = Redis::start();
    let one = Node::with(&redis.url(), "push_stream_max_messages_stored_per_channel 3;");
    for n in 1..=5 {
        one.publish("a", format!("m{n}"));
    }
    assert_eq!(one.ask("POST /memory?id=counted", &[], b"x").status, 200);
    one.publish("gone", "x");
    assert_eq!(one.ask("DELETE /pub?id=gone", &[], b"").status, 200);
    let mut two = Node::with(&redis.url(), "push_stream_max_messages_stored_per_channel 3;");
    two.await_stored("a", &["3 m3", "4 m4", "5 m5"]);
    assert_eq!(two.ask("GET /pub?id=gone", &[], b"").status, 404);
    two.publish("a", "m6");
    one.await_stored("a", &["4 m4", "5 m5", "6 m6"]);
    two.kill_and_start();
    two.await_stored("a", &["4 m4", "5 m5", "6 m6"]);
    let reply = two.ask("POST /memory?id=counted", &[], b"y");
    assert!(reply.text().contains("\"published_messages\": 2"), "{}", reply.text());
    within(PATIENCE, "each knows the other", || {
        one.backplane()["nodes"].as_array().unwrap().len() == 2
            && two.backplane()["nodes"].as_array().unwrap().len() == 2
    });
}

#[test]
fn a_successor_has_joined_before_it_serves_and_nobody_misses_anything() {
    let redis = Redis::start();
    let (one, two) = (Node::start(&redis.url()), Node::start(&redis.url()));
    let mut stream = two.subscribe("a");
    one.publish("a", "before");
    let (seen, position) = one.poll("a", &None);
    assert_eq!(seen, ["1 before"]);
    let _successor = one.succeed();
    for text in ["m2", "m3"] {
        one.publish("a", text);
    }
    // Old and new are two nodes of one zone.
    within(PATIENCE, "three nodes", || two.backplane()["nodes"].as_array().unwrap().len() == 3);
    one.process().signal(Signal::SIGQUIT);
    one.publish("a", "last");
    assert_eq!(one.poll("a", &position).0, ["2 m2", "3 m3", "4 last"]);
    let text = stream.until("4 a last\n");
    assert_eq!(text.matches(" a ").count(), 4, "{text}");
    within(PATIENCE, "the old one is gone", || two.backplane()["nodes"].as_array().unwrap().len() == 2);
}

#[test]
fn a_node_that_has_not_joined_says_so_and_serves_nobody() {
    let mut redis = Redis::start();
    redis.kill();
    let node = Node::begin(&["--backplane", &redis.url()], "");
    let reply = node.readiness();
    assert_eq!((reply.status, reply.text().as_str()), (503, "joining\n"));
    for line in ["POST /pub?id=a", "GET /sub/a", "GET /poll/a", "GET /pub?id=a", "GET /stats", "GET /stats?id=a"] {
        let reply = node.ask(line, &[], b"x");
        assert_eq!(reply.status, 503, "{line}: {}", reply.head);
        assert!(reply.head.contains("Explain: This node is joining"), "{}", reply.head);
    }
    redis.go_on();
    node.await_ready();
    node.publish("a", "x");
    node.process().signal(Signal::SIGTERM);
    std::thread::sleep(Duration::from_millis(1));
}

#[test]
fn the_backplane_holds_no_more_than_its_bounds() {
    let redis = Redis::start();
    let node = Node::with(&redis.url(), "push_stream_max_messages_stored_per_channel 3; push_stream_message_ttl 2s;");
    for n in 0..5 {
        node.publish("capped", format!("m{n}"));
    }
    let number = |words: &[&str]| ::redis::from_redis_value::<i64>(redis.ask(words)).unwrap();
    let key = |kind: &str| format!("{{pushstreamd.pushstreamd}}:{kind}:capped");
    assert_eq!(number(&["XLEN", &key("m")]), 3);
    assert!((1..=7).contains(&number(&["TTL", &key("m")])));
    assert!((3600..=3700).contains(&number(&["TTL", &key("c")])));
    // About 64 MiB of log: large entries make it short.
    let large = "x".repeat(1 << 20);
    for _ in 0..200 {
        node.publish("large", &large);
    }
    let left = number(&["XLEN", "{pushstreamd.pushstreamd}:log"]);
    assert!((64..=90).contains(&left), "{left} entries of a MiB");
    within(PATIENCE, "what has expired is gone from the node", || node.stored("capped").is_empty());
}
