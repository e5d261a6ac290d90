//! A slot that goes from one server of a cluster to another while it is in use, as `redis-cli --cluster reshard` has it: opened at both, its keys a
//! few at a time, closed at all.

use std::time::Duration;

use super::node::Node;
use super::redis::{Redis, cluster};
use crate::support::{PATIENCE, within};

/// Keys that go at once.
const AT_ONCE: usize = 10;

/// A slot on its way.
pub struct Move {
    slot: String,
    from: usize,
    to: usize,
}

impl Move {
    /// Opens the slot of a key.
    pub fn open(servers: &[Redis], key: &str, from: usize, to: usize) -> Self {
        let slot: u16 = redis::from_redis_value(servers[from].ask(&["CLUSTER", "KEYSLOT", key])).unwrap();
        let slot = slot.to_string();
        let names = [from, to].map(|at| name(&servers[at]));
        servers[to].ask(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &names[0]]);
        servers[from].ask(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &names[1]]);
        Self { slot, from, to }
    }

    /// Has about half of its keys go.
    pub fn move_half(&self, servers: &[Redis]) {
        let keys = self.keys(servers, 100_000);
        self.move_keys(servers, &keys[..keys.len() / 2]);
    }

    /// Has these go.
    pub fn move_keys(&self, servers: &[Redis], keys: &[String]) {
        let port = servers[self.to].port.to_string();
        for keys in keys.chunks(AT_ONCE) {
            let words = ["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
            servers[self.from].ask(&words.into_iter().chain(keys.iter().map(String::as_str)).collect::<Vec<_>>());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Has the rest go, and closes it.
    pub fn close(&self, servers: &[Redis]) {
        loop {
            let keys = self.keys(servers, AT_ONCE);
            if keys.is_empty() {
                break;
            }
            self.move_keys(servers, &keys);
        }
        let name = name(&servers[self.to]);
        let others = (0..servers.len()).filter(|at| *at != self.to && *at != self.from);
        for at in [self.to, self.from].into_iter().chain(others) {
            // A replica does not take it.
            let told = servers[at].try_ask(&["CLUSTER", "SETSLOT", &self.slot, "NODE", &name]);
            assert!(told.is_ok() || at != self.to, "{told:?}");
        }
    }

    fn keys(&self, servers: &[Redis], most: usize) -> Vec<String> {
        let words = ["CLUSTER", "GETKEYSINSLOT", &self.slot, &most.to_string()];
        redis::from_redis_value(servers[self.from].ask(&words)).unwrap()
    }
}

fn name(server: &Redis) -> String {
    redis::from_redis_value(server.ask(&["CLUSTER", "MYID"])).unwrap()
}

#[test]
fn a_zone_on_its_way_to_another_server_is_joined_when_all_of_it_is_there() {
    let cluster = cluster();
    let one = Node::start(&cluster[0].url());
    for number in 0..40 {
        one.publish(&format!("c{number}"), "x");
    }
    let key = "{pushstreamd.pushstreamd}:log";
    let from = cluster.iter().position(|server| server.try_ask(&["EXISTS", key]).is_ok()).unwrap();
    let moving = Move::open(&cluster, key, from, (from + 1) % 3);
    // What is read first is still there.
    let mut keys = moving.keys(&cluster, 1000);
    keys.retain(|key| key.ends_with(['1', '2', '3']));
    moving.move_keys(&cluster, &keys);
    let mut stream = one.subscribe("c1/c5");
    let two = Node::begin(&["--backplane", &cluster[0].url()], "");
    std::thread::sleep(Duration::from_millis(700));
    assert_eq!(two.readiness().text(), "joining\n");
    let refused = one.try_publish("c1", b"y");
    assert_eq!(refused.status, 503, "{}", refused.head);
    moving.close(&cluster);
    two.await_ready();
    for number in 0..40 {
        assert_eq!(two.stored(&format!("c{number}")), ["1 x"]);
    }
    within(PATIENCE, "it is well again", || one.try_publish("c5", b"y").status == 200);
    assert!(stream.until(" c5 y\n").matches(" c").count() == 1);
}
