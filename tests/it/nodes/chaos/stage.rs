//! Where it happens: three nodes, a Redis with a replica and a sentinel, and a network of relays between all of them.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::time::SystemTime;

use tokio::runtime::Runtime;

use super::relay::{Lookout, Relay};
use crate::nodes::node::Node;
use crate::nodes::redis::{Redis, program};
use crate::support::{PATIENCE, Prefix, Running, TEMPLATE, free_port, within};

/// The key of the zone's log.
pub const LOG: &str = "{pushstreamd.pushstreamd}:log";

const LOCATIONS: &str = "
    location /pub { push_stream_publisher; push_stream_channels_path $arg_id; push_stream_store_messages on; }
    location ~ ^/streaming/(.*) { push_stream_subscriber; push_stream_channels_path $1; }
    location ~ ^/polling/(.*) { push_stream_subscriber polling; push_stream_channels_path $1; }
    location ~ ^/long-polling/(.*) {
        push_stream_subscriber long-polling; push_stream_longpolling_connection_ttl 2s; push_stream_channels_path $1;
    }
    location ~ ^/eventsource/(.*) { push_stream_subscriber eventsource; push_stream_channels_path $1; }
    location ~ ^/websocket/(.*) { push_stream_subscriber websocket; push_stream_channels_path $1; }";

/// Everything that may break. Processes go before the network.
pub struct Stage {
    pub nodes: Vec<Node>,
    /// When each node was killed.
    pub kills: [Vec<SystemTime>; 3],
    _sentinel: Running,
    pub servers: [Redis; 2],
    /// The way of each node to each server.
    pub relays: [[Relay; 2]; 3],
    /// The sentinel as each node sees it.
    pub lookouts: [Lookout; 3],
    /// The way of the other server and of the sentinel to each server.
    pub between: [Relay; 2],
    place: Prefix,
    sentinel: u16,
    _runtime: Runtime,
}

impl Stage {
    pub fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let network = runtime.handle();
        let names = [free_port(), free_port()];
        let servers = names.map(|name| {
            let name = name.to_string();
            Redis::with(&[
                "--appendonly",
                "yes",
                "--appendfsync",
                "everysec",
                "--repl-diskless-sync-delay",
                "0",
                "--replica-announce-ip",
                "127.0.0.1",
                "--replica-announce-port",
                &name,
            ])
        });
        let between = [0, 1].map(|at| Relay::at(network, names[at], servers[at].port));
        servers[1].ask(&["REPLICAOF", "127.0.0.1", &names[0].to_string()]);
        let sentinel = free_port();
        let place = Prefix::new("sentinel");
        place.write(
            "sentinel.conf",
            &format!(
                "port {sentinel}\nbind 127.0.0.1\ndir {}\nsentinel monitor push 127.0.0.1 {} 1\n\
                 sentinel down-after-milliseconds push 1200\nsentinel failover-timeout push 4000\n",
                place.dir.display(),
                names[0]
            ),
        );
        let process = Command::new(program())
            .arg(place.path("sentinel.conf"))
            .arg("--sentinel")
            .stdout(fs::File::create(place.path("stderr")).unwrap())
            .spawn()
            .unwrap();
        within(PATIENCE, "the sentinel knows the replica", || {
            fs::read_to_string(place.path("sentinel.conf")).unwrap().contains("known-replica")
        });
        let relays = [0, 1, 2].map(|_| [0, 1].map(|at| Relay::start(network, servers[at].port)));
        let lookouts = [0, 1, 2].map(|node| {
            let ways: &[Relay; 2] = &relays[node];
            Lookout::start(network, sentinel, [(names[0], ways[0].port), (names[1], ways[1].port)])
        });
        let nodes = lookouts.iter().map(|lookout| {
            let url = format!("redis+sentinel://127.0.0.1:{}/push", lookout.port);
            let http = format!(
                "push_stream_shared_memory_size 256m; push_stream_message_ttl 1d;
                push_stream_max_messages_stored_per_channel 200000;
                push_stream_last_received_message_time $arg_time; push_stream_last_received_message_tag $arg_tag;
                push_stream_message_template '{TEMPLATE}';"
            );
            let node = Node::serving(&["--backplane", &url], &http, LOCATIONS);
            node.await_ready();
            node
        });
        Self {
            nodes: nodes.collect(),
            kills: [const { Vec::new() }; 3],
            _sentinel: Running(process),
            servers,
            relays,
            lookouts,
            between,
            place,
            sentinel,
            _runtime: runtime,
        }
    }

    pub fn addresses(&self) -> [SocketAddr; 3] {
        [0, 1, 2].map(|node| self.nodes[node].address())
    }

    pub fn hold_up(&self, node: usize, deaf: bool, mute: bool) {
        self.relays[node].iter().for_each(|relay| relay.hold_up(deaf, mute));
    }

    /// Tells both servers something, if they hear it.
    pub fn tell_all(&self, words: &[&str]) {
        for server in &self.servers {
            let _ = server.try_ask(words);
        }
    }

    /// The server that the sentinel calls the master, once it is one.
    pub fn master(&self) -> &Redis {
        let mut found = None;
        within(PATIENCE, "there is a master", || {
            found = self.named().filter(|&at| self.says(at, "role:master"));
            found.is_some()
        });
        &self.servers[found.unwrap()]
    }

    /// Whether there is a master, and a replica that has all it has.
    pub fn is_whole(&self) -> bool {
        self.named().is_some_and(|at| self.says(at, "role:master") && self.says(1 - at, "master_link_status:up"))
    }

    /// The server that the sentinel names.
    fn named(&self) -> Option<usize> {
        let mut asked = redis::cmd("SENTINEL");
        asked.arg("get-master-addr-by-name").arg("push");
        let client = redis::Client::open(format!("redis://127.0.0.1:{}", self.sentinel)).unwrap();
        let (_, port): (String, u16) = client.get_connection().and_then(|mut link| asked.query(&mut link)).ok()?;
        (0..2).find(|&at| self.between[at].port == port)
    }

    fn says(&self, server: usize, line: &str) -> bool {
        let told = self.servers[server].try_ask(&["INFO", "replication"]);
        told.is_ok_and(|told| redis::from_redis_value::<String>(told).is_ok_and(|told| told.contains(line)))
    }

    /// What the sentinel has said.
    pub fn sentinel_log(&self) -> String {
        self.place.read("stderr")
    }
}
