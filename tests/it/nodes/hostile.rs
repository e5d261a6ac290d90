//! A Redis that is not as it should be: entered with too few rights, short of memory, shared with others, its clock set back; nodes that are not
//! configured alike; requests that are larger than usual.

use super::node::Node;
use super::redis::Redis;
use crate::support::{PATIENCE, Prefix, percent_encoded, within};

const ZONE: &str = "{pushstreamd.pushstreamd}:zone";
const LOG: &str = "{pushstreamd.pushstreamd}:log";

#[test]
fn the_rights_of_the_documentation_suffice_and_one_that_is_missing_is_told() {
    // The block 'rights' of the page.
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/SCALING.md")).unwrap();
    let rule = page.lines().find(|line| line.starts_with("ACL SETUSER push ")).unwrap();
    let redis = Redis::start();
    redis.ask(&rule.split(' ').collect::<Vec<_>>());
    let secrets = Prefix::new("secrets");
    secrets.write("password", "PASSWORD\n");
    let url = redis.url().replace("://", "://push@");
    let directive = format!("push_stream_backplane_password_file {};", secrets.path("password").display());
    let (one, two) = (Node::with(&url, &directive), Node::with(&url, &directive));
    let _stream = two.subscribe("a");
    one.publish("a", "x");
    two.await_stored("a", &["1 x"]);
    within(PATIENCE, "nodes ask each other", || {
        one.ask("GET /pub?id=a", &[], b"").text().contains("\"subscribers\": 1")
    });
    redis.ask(&["ACL", "SETUSER", "push", "-xadd"]);
    assert_eq!(one.try_publish("a", b"never").status, 503);
    one.await_log("the backplane refuses what is published");
    redis.ask(&["ACL", "SETUSER", "push", "+xadd"]);
    one.publish_when_possible("a", "y");
    two.await_stored("a", &["1 x", "2 y"]);
    Node::with(&url, &directive).await_stored("a", &["1 x", "2 y"]);
}

#[test]
fn a_right_that_is_missing_halfway_costs_what_needs_it_and_no_place_in_the_order() {
    let redis = Redis::start();
    redis.ask(&["ACL", "SETUSER", "push", "on", "nopass", "~*", "&*", "+@all"]);
    let url = redis.url().replace("://", "://push@");
    let (one, two) = (Node::start(&url), Node::start(&url));
    let mut stream = two.subscribe("a/b");
    one.publish("a", "1");
    redis.ask(&["ACL", "SETUSER", "push", "-expire"]);
    let reply = one.try_publish("a", b"never");
    assert!(reply.status == 503 && !reply.head.contains("may have been published"), "{}", reply.head);
    assert_eq!(one.ask("POST /memory?id=a", &[], b"not stored").status, 200, "that needs it not");
    redis.ask(&["ACL", "SETUSER", "push", "+expire", "-set"]);
    assert_eq!(two.try_publish("a", b"never").status, 503);
    redis.ask(&["ACL", "SETUSER", "push", "+set", "-hset"]);
    assert_eq!(two.try_publish("a", b"never").status, 503);
    // One channel can be served and the other cannot.
    redis.ask(&["SET", "{pushstreamd.pushstreamd}:m:b", "odd"]);
    redis.ask(&["ACL", "SETUSER", "push", "+hset", "-del"]);
    let reply = one.try_publish("a/b", b"in part");
    assert!(reply.status == 503 && reply.head.contains("may have been published"), "{}", reply.head);
    redis.ask(&["ACL", "SETUSER", "push", "+del"]);
    two.publish("a/b", "last");
    let text = stream.until(" b last\n");
    let seen: Vec<&str> = text.lines().filter_map(|line| Some(line.split_once(' ')?.1)).collect();
    assert_eq!(seen, ["a 1", "a not stored", "a in part", "a last", "b last"]);
    let three = Node::start(&url);
    for node in [&one, &two, &three] {
        within(PATIENCE, "all have the same", || {
            let texts: Vec<String> =
                node.stored("a").iter().map(|line| line.split_once(' ').unwrap().1.to_owned()).collect();
            texts == ["1", "in part", "last"]
        });
        assert_eq!(node.backplane()["snapshots"], 1, "nobody has found a gap: {}", node.log());
    }
}

#[test]
fn what_strangers_have_put_under_the_keys_of_channels_and_nodes_is_replaced() {
    let redis = Redis::start();
    let key = |kind: &str, id: &str| format!("{{pushstreamd.pushstreamd}}:{kind}:{id}");
    for (id, counts) in [("words", "not counts"), ("few", "1 2"), ("huge", "99999999999999999999 0 1 1 1")] {
        redis.ask(&["SET", &key("c", id), counts]);
    }
    redis.ask(&["RPUSH", &key("c", "list"), "x"]);
    redis.ask(&["SET", &key("m", "text"), "x"]);
    redis.ask(&["SET", "{pushstreamd.pushstreamd}:nodes", "x"]);
    let (one, two) = (Node::start(&redis.url()), Node::start(&redis.url()));
    for id in ["words", "few", "list", "text"] {
        one.publish(id, "x");
        two.await_stored(id, &["1 x"]);
    }
    let _ = one.try_publish("huge", b"x");
    one.publish("last", "x");
    two.await_stored("last", &["1 x"]);
    within(PATIENCE, "each knows the other", || two.backplane()["nodes"].as_array().unwrap().len() == 2);
    assert_eq!(
        (&one.backplane()["fault"], &two.backplane()["fault"]),
        (&serde_json::Value::Null, &serde_json::Value::Null)
    );
}

#[test]
fn a_zone_to_which_a_newer_version_writes_is_left_alone_and_said_to_be_so() {
    let redis = Redis::start();
    let (one, two) = (Node::start(&redis.url()), Node::start(&redis.url()));
    let mut stream = two.subscribe("a");
    one.publish("a", "before");
    redis.ask(&["HSET", ZONE, "format", "2"]);
    let reply = one.try_publish("a", b"never");
    assert!(reply.status == 503 && !reply.head.contains("may have been published"), "{}", reply.head);
    one.await_log("a newer version of pushstreamd writes to this zone");
    // An entry of it that this one cannot read.
    let told = ::redis::from_redis_value::<Vec<String>>(redis.ask(&["HMGET", ZONE, "entry", "name"])).unwrap();
    redis.ask(&["XADD", LOG, "*", "e", &format!("{} {} Q new\n", told[0].parse::<u64>().unwrap() + 1, told[1])]);
    redis.ask(&["HINCRBY", ZONE, "entry", "1"]);
    two.await_log("holds entries that cannot be read: 1 so far");
    within(PATIENCE, "it says that it does not follow", || two.readiness().status == 503);
    let three = Node::begin(&["--backplane", &redis.url()], "");
    three.await_log("a newer version of pushstreamd writes to this zone");
    assert_eq!(three.readiness().text(), "joining\n");
    redis.ask(&["HSET", ZONE, "format", "1"]);
    one.publish_when_possible("a", "after");
    let text = stream.until("after\n");
    assert_eq!(text.matches(" a ").count(), 2, "{text}");
    three.await_ready();
    three.await_stored("a", &["1 before", "2 after"]);
}

#[test]
fn ids_of_any_bytes_are_the_same_channel_on_all_nodes() {
    let redis = Redis::start();
    let (one, two) = (Node::start(&redis.url()), Node::start(&redis.url()));
    let bytes: Vec<u8> = (1..=255).filter(|byte| !b"/*".contains(byte)).collect();
    let ids: Vec<String> = bytes.chunks(16).map(percent_encoded).chain(["%7D%7B%3A%0D%0A%20%00x".into()]).collect();
    for id in &ids {
        one.publish(id, b"\x00\xff\r\n{}".as_slice());
    }
    let three = Node::start(&redis.url());
    for id in &ids {
        for node in [&one, &two, &three] {
            within(PATIENCE, id, || {
                let told = node.ask(&format!("GET /pub?id={id}"), &[], b"").text();
                told.contains("\"stored_messages\": 1")
            });
        }
    }
    for id in &ids {
        assert_eq!(three.ask(&format!("DELETE /pub?id={id}"), &[], b"").status, 200, "{id}");
        within(PATIENCE, id, || one.ask(&format!("GET /pub?id={id}"), &[], b"").status == 404);
    }
}

#[test]
fn messages_that_are_to_live_for_longer_than_time_is_counted_are_messages() {
    let redis = Redis::start();
    let http = "push_stream_message_ttl 100y;";
    let (one, two) = (Node::with(&redis.url(), http), Node::with(&redis.url(), http));
    one.publish("a", "x");
    two.await_stored("a", &["1 x"]);
    Node::with(&redis.url(), http).await_stored("a", &["1 x"]);
}

#[test]
fn a_redis_that_drops_what_it_holds_is_told_and_so_is_what_it_has_dropped() {
    let redis = Redis::with(&["--maxmemory", "6mb", "--maxmemory-policy", "allkeys-lru"]);
    let node = Node::start(&redis.url());
    node.await_log("maxmemory-policy allkeys-lru");
    let large = "x".repeat(100_000);
    for n in 0..100 {
        // Whatever is dropped meanwhile, what is answered with 200 is on the node.
        let reply = node.try_publish(&format!("c{n}"), large.as_bytes());
        assert!(matches!(reply.status, 200 | 503), "{}", reply.head);
        if reply.status == 200 {
            assert_eq!(node.stored(&format!("c{n}")).len(), 1);
        }
    }
    // The marks of the zone are what is missed at once.
    redis.ask(&["DEL", ZONE]);
    node.publish_when_possible("last", "x");
    node.await_log("the backplane has lost everything");
}

#[test]
fn what_strangers_write_into_the_log_does_no_harm() {
    let redis = Redis::start();
    let (one, two) = (Node::start(&redis.url()), Node::start(&redis.url()));
    let mut stream = two.subscribe("a");
    one.publish("a", "before");
    for value in ["", "nonsense", "7 x P 1 2 3", "99999999999999999999 x M 1 1 1\n"] {
        redis.ask(&["XADD", LOG, "*", "e", value]);
    }
    redis.ask(&["SET", "{pushstreamd.pushstreamd}:c:odd", "1 2"]);
    redis.ask(&["XADD", "{pushstreamd.pushstreamd}:m:a", "*", "e", "nonsense"]);
    one.publish_when_possible("a", "last");
    let text = stream.until("last\n");
    assert_eq!(text.matches(" a ").count(), 2, "{text}");
    let three = Node::start(&redis.url());
    // What a stranger has put among the messages of a channel costs those before it.
    three.await_stored("a", &["2 last"]);
}

#[test]
fn a_clock_of_redis_that_is_set_back_gives_no_time_and_no_place_twice() {
    let redis = Redis::start();
    // What is published before must not have expired by then.
    let http = "push_stream_message_ttl 2h;";
    let (one, two) = (Node::with(&redis.url(), http), Node::with(&redis.url(), http));
    one.publish("a", "1");
    // As if it had been an hour later until now.
    redis.ask(&["HINCRBY", ZONE, "time", "3600"]);
    redis.ask(&["HINCRBY", ZONE, "beat", "3600"]);
    let mut position = two.poll("a", &None).1;
    let mut seen = Vec::new();
    for n in 2..20 {
        let node = if n % 2 == 0 { &one } else { &two };
        node.publish("a", n.to_string());
    }
    within(PATIENCE, "all of them, by places that go on", || {
        let (lines, next) = two.poll("a", &position);
        seen.extend(lines);
        position = next;
        seen.len() >= 18
    });
    let expected: Vec<String> = (2..20).map(|n| format!("{n} {n}")).collect();
    let from = seen.len() - 18;
    assert_eq!(seen[from..], expected);
    one.await_stored(
        "a",
        &(1..20).map(|n| format!("{n} {n}")).collect::<Vec<_>>().iter().map(String::as_str).collect::<Vec<_>>(),
    );
}

#[test]
fn nodes_that_are_not_configured_alike_say_so_and_keep_by_their_own_rules() {
    let redis = Redis::start();
    let few = Node::with(&redis.url(), "push_stream_max_messages_stored_per_channel 2;");
    let many = Node::with(&redis.url(), "push_stream_max_messages_stored_per_channel 5;");
    few.await_log("nodes belong to be configured alike");
    for n in 1..=5 {
        many.publish("a", n.to_string());
    }
    many.await_stored("a", &["1 1", "2 2", "3 3", "4 4", "5 5"]);
    few.await_stored("a", &["4 4", "5 5"]);
    few.publish("a", "6");
    many.await_stored("a", &["2 2", "3 3", "4 4", "5 5", "6 6"]);
    // Redis keeps what the last publisher keeps.
    let joined = Node::with(&redis.url(), "push_stream_max_messages_stored_per_channel 5;");
    joined.await_stored("a", &["5 5", "6 6"]);
}

#[test]
fn one_publish_to_thousands_of_channels_reaches_all_of_them_on_all_nodes() {
    let redis = Redis::start();
    let http = "large_client_header_buffers 4 128k;";
    let (one, two) = (Node::with(&redis.url(), http), Node::with(&redis.url(), http));
    let ids: Vec<String> = (0..6000).map(|n| format!("c{n}")).collect();
    let mut stream = two.subscribe("c5999");
    let reply = one.ask(&format!("POST /pub?id={}", ids.join("/")), &[], b"to all");
    assert_eq!(reply.status, 200, "{}", reply.head);
    stream.until("1 c5999 to all\n");
    for id in ["c0", "c255", "c256", "c3000", "c5999"] {
        two.await_stored(id, &["1 to all"]);
    }
    let counted = two.ask("GET /stats", &[], b"").text();
    assert!(counted.contains("\"stored_messages\": 6000"), "{counted}");
    assert_eq!(one.ask(&format!("DELETE /pub?id={}", ids.join("/")), &[], b"").status, 200);
    within(PATIENCE, "all are gone", || two.ask("GET /pub?id=c0/c3000/c5999", &[], b"").status == 404);
}

#[test]
fn metrics_tell_the_backplane() {
    let redis = Redis::start();
    let (one, two) = (Node::start(&redis.url()), Node::start(&redis.url()));
    let _stream = two.subscribe("a");
    one.publish("a", "x");
    let told = |name: &str| {
        let text = one.metrics();
        let line = text.lines().find(|line| line.starts_with(name)).map(str::to_owned);
        line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
    };
    within(PATIENCE, "two nodes, and the subscriber of the other", || {
        let text = one.metrics();
        let mut nodes = text.lines().filter(|line| line.starts_with("pushstreamd_backplane_node_subscribers{"));
        told("pushstreamd_backplane_nodes ") == Some(2.0)
            && nodes.any(|line| line.ends_with(" 1") || line.ends_with(" 1.0"))
    });
    assert_eq!(told("pushstreamd_backplane_joined "), Some(1.0));
    assert!(told("pushstreamd_backplane_applied_total ").unwrap() >= 2.0);
    assert_eq!(told("pushstreamd_backplane_snapshots_total "), Some(1.0));
    assert_eq!(told("pushstreamd_backplane_losses_total "), Some(0.0));
    redis.ask(&["FLUSHALL"]);
    one.publish("a", "y");
    within(PATIENCE, "the loss is counted", || told("pushstreamd_backplane_losses_total ") == Some(1.0));
    assert_eq!(told("pushstreamd_backplane_passed_over_total "), Some(0.0));
}
