//! Nodes of two versions: what an older one does where a newer one writes what it cannot read.

use super::node::Node;
use super::redis::Redis;
use crate::support::{PATIENCE, within};

const ZONE: &str = "{pushstreamd.pushstreamd}:zone";
const LOG: &str = "{pushstreamd.pushstreamd}:log";

/// A mark of the zone.
fn mark(redis: &Redis, name: &str) -> String {
    redis::from_redis_value(redis.ask(&["HGET", ZONE, name])).unwrap()
}

/// A newer version has written an entry, and says so.
fn write_as_newer(redis: &Redis) {
    let script = "local entry = redis.call('HGET', KEYS[1], 'entry') + 1
        local name = redis.call('HGET', KEYS[1], 'name')
        redis.call('XADD', KEYS[2], '*', 'e', string.format('%d %s Z what comes one day\\n', entry, name))
        return redis.call('HSET', KEYS[1], 'entry', entry, 'format', 2)";
    redis.ask(&["EVAL", script, "2", ZONE, LOG]);
}

#[test]
fn a_zone_to_which_a_newer_version_writes_is_left_alone_and_nothing_of_it_is_lost() {
    let redis = Redis::start();
    let node = Node::start(&redis.url());
    node.publish("a", "one");
    node.await_stored("a", &["1 one"]);
    write_as_newer(&redis);
    within(PATIENCE, "nothing is taken", || node.try_publish("a", b"refused").status == 503);
    let refused = node.try_publish("a", b"refused");
    assert!(!refused.head.contains("may have been"), "{}", refused.head);
    node.await_log("a newer version of pushstreamd writes to this zone");
    // Who is here goes on to be served, and whoever comes is sent to others.
    assert_eq!(node.stored("a"), ["1 one"]);
    within(PATIENCE, "it says so", || node.readiness().text().contains("cannot follow the backplane"));
    let mut old = Node::begin(&["--backplane", &redis.url()], "");
    old.await_log("a newer version of pushstreamd writes to this zone");
    assert_eq!(old.readiness().text(), "joining\n");
    assert_eq!(old.try_publish("a", b"refused").status, 503);
    assert_eq!(mark(&redis, "format"), "2", "nobody has taken it back");
    // The upgrade was a mistake, or the node is one of the newer version now.
    redis.ask(&["HSET", ZONE, "format", "1"]);
    old.kill_and_start();
    node.await_ready();
    old.publish("a", "two");
    for node in [&node, &old] {
        node.await_stored("a", &["1 one", "2 two"]);
    }
}
