//! Zones of several nodes: each has an order of its own at the backplane, in a cluster in a place of its own.

use nix::sys::signal::Signal;

use super::redis::{Redis, cluster};
use crate::support::{Client, PATIENCE, exchange, free_port, within};
use crate::zones::{HOSTS, Site, configuration};

/// A host of each zone, and the zone.
const ZONES: [(&str, &str); 3] = [("first.example", "default"), ("chat.example", "chat"), ("news.example", "news.v2")];

/// A node that serves zones.
struct Node {
    site: Site,
    status: u16,
}

impl Node {
    fn start(url: &str, servers: &[(&str, &str)]) -> Self {
        let status = free_port();
        let words = ["--backplane", url, "--status", &format!("127.0.0.1:{status}")];
        let node = Self { site: Site::start("", servers, &words), status };
        node.await_ready();
        node
    }

    fn readiness(&self) -> String {
        exchange(self.status, "GET", "/readyz", "").unwrap_or_default()
    }

    fn await_ready(&self) {
        within(PATIENCE, "the node is ready", || self.readiness().starts_with("HTTP/1.1 200"));
    }

    fn reload(&self, servers: &[(&str, &str)]) {
        let done = || self.site.prefix.read("logs/error.log").matches("reconfigured").count();
        let before = done();
        self.site.prefix.configure(&configuration("", servers));
        self.site.process.signal(Signal::SIGHUP);
        within(PATIENCE, "it is reconfigured", || done() > before);
    }

    fn status(&self) -> serde_json::Value {
        let answer = exchange(self.status, "GET", "/status", "").unwrap();
        serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
    }

    #[track_caller]
    fn await_stored(&self, host: &str, expected: &[&str]) {
        within(PATIENCE, &format!("{expected:?} at {host}"), || self.site.stored(host, "x") == expected);
    }

    fn publish_when_possible(&self, host: &str, text: &str) {
        within(PATIENCE, "it is published", || {
            let reply = self.site.ask(host, "POST /pub?id=x", text);
            assert!(reply.status == 200 || !reply.head.contains("may have been"), "{}", reply.head);
            reply.status == 200
        });
    }
}

#[test]
fn nodes_share_each_zone_and_zones_share_nothing() {
    let redis = Redis::start();
    let nodes = [Node::start(&redis.url(), &HOSTS), Node::start(&redis.url(), &HOSTS)];
    let mut streams: Vec<(&str, Client)> =
        ZONES.iter().map(|(host, zone)| (*zone, nodes[1].site.subscribe(host, "x"))).collect();
    for (host, zone) in ZONES {
        nodes[0].site.publish(host, "x", &format!("one in {zone}"));
        nodes[1].site.publish(host, "x", &format!("two in {zone}"));
    }
    for (zone, client) in &mut streams {
        let text = client.until(&format!("x 2 two in {zone}\n"));
        let told: Vec<&str> = text.lines().filter(|line| line.starts_with("x ")).collect();
        assert_eq!(told, [format!("x 1 one in {zone}"), format!("x 2 two in {zone}")]);
    }
    for (host, zone) in ZONES {
        for node in &nodes {
            node.await_stored(host, &[&format!("x 1 one in {zone}"), &format!("x 2 two in {zone}")]);
        }
        within(PATIENCE, "the other node's subscriber is counted", || {
            nodes[0].site.ask(host, "GET /pub?id=x", "").text().contains("\"subscribers\": 1")
        });
    }
    assert_eq!(nodes[0].site.ask("chat2.example", "DELETE /pub?id=x", "").status, 200);
    nodes[1].await_stored("chat.example", &[]);
    nodes[1].await_stored("news.example", &["x 1 one in news.v2", "x 2 two in news.v2"]);
    // The first zone is where it always was.
    for zone in ["pushstreamd", "pushstreamd/chat", "pushstreamd/news.v2"] {
        assert_eq!(redis.ask(&["EXISTS", &format!("{{pushstreamd.{zone}}}:log")]), redis::Value::Int(1), "{zone}");
    }
    let status = nodes[0].status();
    within(PATIENCE, "both nodes are told once", || {
        nodes[0].status()["backplane"]["nodes"].as_array().unwrap().len() == 2
    });
    assert!(status["zones"].as_array().unwrap().iter().all(|zone| zone["backplane"]["joined"] == true), "{status}");
}

#[test]
fn who_joins_has_all_zones_and_what_was_shared_before_there_were_zones_is_the_first_ones() {
    let redis = Redis::start();
    let old = Node::start(&redis.url(), &HOSTS[..1]);
    old.site.publish("first.example", "x", "before zones");
    let node = Node::start(&redis.url(), &HOSTS);
    node.await_stored("named.example", &["x 1 before zones"]);
    node.site.publish("chat.example", "x", "in chat");
    // A reload makes the old node one that has zones.
    old.reload(&HOSTS);
    within(PATIENCE, "every worker serves the zone", || {
        (0..16).all(|_| old.site.stored("chat.example", "x") == ["x 1 in chat"])
    });
    old.await_ready();
    old.site.publish("chat2.example", "x", "from the old one");
    node.await_stored("chat.example", &["x 1 in chat", "x 2 from the old one"]);
    let third = Node::start(&redis.url(), &HOSTS);
    third.await_stored("chat.example", &["x 1 in chat", "x 2 from the old one"]);
    third.await_stored("first.example", &["x 1 before zones"]);
    third.await_stored("news.example", &[]);
}

#[test]
fn zones_spread_over_a_cluster_and_each_fails_and_comes_back_by_itself() {
    let mut cluster = cluster();
    // As many zones as it takes for some to be elsewhere.
    let names = ["default", "z1", "z2", "z3", "z4", "z5"];
    let servers: Vec<(String, String)> =
        names.iter().map(|name| (format!("{name}.example"), format!("push_stream_zone {name};"))).collect();
    let servers: Vec<(&str, &str)> = servers.iter().map(|(host, words)| (host.as_str(), words.as_str())).collect();
    let nodes = [Node::start(&cluster[0].url(), &servers), Node::start(&cluster[1].url(), &servers)];
    let key = |name: &str| match name {
        "default" => "{pushstreamd.pushstreamd}:log".to_owned(),
        name => format!("{{pushstreamd.pushstreamd/{name}}}:log"),
    };
    let place = |cluster: &[Redis], name: &str| {
        cluster.iter().position(|redis| redis.try_ask(&["EXISTS", &key(name)]) == Ok(redis::Value::Int(1))).unwrap()
    };
    let mut places = Vec::new();
    for name in names {
        let host = format!("{name}.example");
        let mut stream = nodes[1].site.subscribe(&host, "x");
        nodes[0].site.publish(&host, "x", name);
        stream.until(&format!("x 1 {name}\n"));
        places.push(place(&cluster, name));
    }
    let there = places[0];
    let away: Vec<&str> =
        names.into_iter().zip(&places).filter(|(_, at)| **at == there).map(|(name, _)| name).collect();
    let well: Vec<&str> =
        names.into_iter().zip(&places).filter(|(_, at)| **at != there).map(|(name, _)| name).collect();
    assert!(!well.is_empty(), "zones spread: {places:?}");
    // Without this the cluster refuses everything while one of it is away.
    for redis in &cluster {
        redis.ask(&["CONFIG", "SET", "cluster-require-full-coverage", "no"]);
    }
    cluster[there].kill();
    for name in &away {
        within(PATIENCE, "it is refused", || {
            nodes[1].site.ask(&format!("{name}.example"), "POST /pub?id=x", "never").status == 503
        });
        nodes[0].await_stored(&format!("{name}.example"), &[&format!("x 1 {name}")]);
    }
    for name in &well {
        nodes[1].publish_when_possible(&format!("{name}.example"), "meanwhile");
        nodes[0].await_stored(&format!("{name}.example"), &[&format!("x 1 {name}"), "x 2 meanwhile"]);
    }
    within(PATIENCE, "the node says which zone it cannot follow", || {
        let said = nodes[0].readiness();
        said.starts_with("HTTP/1.1 503") && said.contains("cannot follow the backplane (zone default)")
    });
    // It is ready for whoever comes when no server is of those.
    let left: Vec<(&str, &str)> =
        servers.iter().copied().filter(|(host, _)| well.iter().any(|name| host.starts_with(name))).collect();
    nodes[0].reload(&left);
    nodes[0].await_ready();
    nodes[0].reload(&servers);
    cluster[there].go_on();
    for node in &nodes {
        node.await_ready();
    }
    for name in &away {
        let host = format!("{name}.example");
        nodes[0].publish_when_possible(&host, "after");
        within(PATIENCE, "both have it", || nodes.iter().all(|node| node.site.stored(&host, "x").len() == 2));
    }
}
