//! The ways to a backplane: a socket, TLS, a password, sentinels; and what does not go with one.

use std::fs;

use super::node::Node;
use super::redis::{Redis, cluster};
use crate::support::{PATIENCE, Prefix, Running, free_port, said, test_configuration, within};

const PUBLISHER: &str = "location /pub { push_stream_publisher; push_stream_channels_path $arg_id; }";

#[test]
fn a_password_comes_from_a_file_or_the_environment_and_is_told_to_nobody() {
    let redis = Redis::with(&["--requirepass", "hush-hush"]);
    let secrets = Prefix::new("secrets");
    secrets.write("password", "hush-hush\n");
    let file = secrets.path("password");
    let directive = format!("push_stream_backplane_password_file {};", file.display());
    let node = Node::with(&redis.url(), &directive);
    node.publish("a", "x");
    secrets.write("password", "not-that-one\n");
    let refused = Node::begin(&["--backplane", &redis.url()], &directive);
    refused.await_log("the backplane is away");
    for log in [node.log(), refused.log()] {
        assert!(!log.contains("hush-hush") && !log.contains("not-that-one"), "{log}");
    }
}

#[test]
fn a_password_that_is_changed_is_read_again_when_a_connection_is_made() {
    let redis = Redis::start();
    redis.ask(&["ACL", "SETUSER", "push", "on", ">first", "~*", "&*", "+@all"]);
    let secrets = Prefix::new("secrets");
    secrets.write("password", "first\n");
    let directive = format!("push_stream_backplane_password_file {};", secrets.path("password").display());
    let node = Node::with(&redis.url().replace("://", "://push@"), &directive);
    node.publish("a", "one");
    redis.ask(&["ACL", "SETUSER", "push", "resetpass", ">second"]);
    redis.ask(&["CLIENT", "KILL", "USER", "push"]);
    node.await_log("the backplane is away");
    assert_eq!(node.stored("a"), ["1 one"]);
    secrets.write("password", "second\n");
    node.publish_when_possible("a", "two");
    node.await_stored("a", &["1 one", "2 two"]);
    assert!(!node.log().contains("first") && !node.log().contains("second"), "{}", node.log());
}

#[test]
fn a_unix_socket_and_tls_lead_there_too() {
    let place = Prefix::new("ways");
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let pair = rcgen::generate_simple_self_signed(names).unwrap();
    place.write("cert.pem", &pair.cert.pem());
    place.write("key.pem", &pair.signing_key.serialize_pem());
    let path = |name: &str| place.path(name).to_str().unwrap().to_owned();
    let (socket, tls) = (path("redis.sock"), free_port());
    let _redis = Redis::with(&[
        "--unixsocket",
        &socket,
        // A server that root has started is nobody.
        "--unixsocketperm",
        "777",
        "--tls-port",
        &tls.to_string(),
        "--tls-cert-file",
        &path("cert.pem"),
        "--tls-key-file",
        &path("key.pem"),
        "--tls-auth-clients",
        "no",
    ]);
    let over_socket = Node::start(&format!("redis+unix://{socket}?db=3"));
    let directive = format!("push_stream_backplane_ca {};", path("cert.pem"));
    let over_tls = Node::with(&format!("rediss://localhost:{tls}/3"), &directive);
    over_socket.publish("a", "x");
    over_tls.await_stored("a", &["1 x"]);
    // One whose signer is not known is not spoken to.
    let refused = Node::begin(&["--backplane", &format!("rediss://localhost:{tls}/3")], "");
    refused.await_log("the backplane is away");
    assert_eq!(refused.readiness().status, 503);
}

#[test]
fn sentinels_tell_where_the_master_is_and_nodes_follow_it() {
    let mut master = Redis::start();
    let replica = Redis::with(&["--replicaof", &format!("127.0.0.1 {}", master.port)]);
    let place = Prefix::new("sentinel");
    let port = free_port();
    place.write(
        "sentinel.conf",
        &format!(
            "port {port}\nbind 127.0.0.1\ndir {}\nsentinel monitor push 127.0.0.1 {} 1\n\
             sentinel down-after-milliseconds push 500\nsentinel failover-timeout push 3000\n",
            place.dir.display(),
            master.port
        ),
    );
    let watch = || {
        let mut command = std::process::Command::new(super::redis::program());
        command.arg(place.path("sentinel.conf")).arg("--sentinel");
        Running(command.stdout(fs::File::create(place.path("stderr")).unwrap()).spawn().unwrap())
    };
    let sentinel = watch();
    let url = format!("redis+sentinel://127.0.0.1:{port}/push");
    let (one, two) = (Node::start(&url), Node::start(&url));
    one.publish("a", "before");
    two.await_stored("a", &["1 before"]);
    within(PATIENCE, "the replica has it, and the sentinel knows it", || {
        let stored = replica.ask(&["XLEN", "{pushstreamd.pushstreamd}:m:a"]) == redis::Value::Int(1);
        stored && fs::read_to_string(place.path("sentinel.conf")).unwrap().contains("known-replica")
    });
    master.kill();
    within(PATIENCE, "the replica is the master", || {
        let role = redis::from_redis_value::<Vec<redis::Value>>(replica.ask(&["ROLE"])).unwrap();
        role[0] == redis::Value::BulkString(b"master".to_vec())
    });
    one.publish_when_possible("a", "after");
    within(PATIENCE, "both have both", || two.stored("a").len() == 2 && one.stored("a").len() == 2);
    assert!(two.stored("a")[1].ends_with(" after"));
    assert_eq!(one.backplane()["server"], format!("127.0.0.1:{}", replica.port));
    // A master for which nobody vouches any more may have been replaced.
    drop(sentinel);
    within(PATIENCE, "it is refused", || one.try_publish("b", b"x").status == 503);
    assert_eq!(two.stored("a").len(), 2, "polls are answered");
    let _sentinel = watch();
    one.publish_when_possible("a", "again");
    within(PATIENCE, "both have it", || two.stored("a").len() == 3 && one.stored("a").len() == 3);
}

#[test]
fn valkey_serves_as_redis_does() {
    let mut valkey = Redis::valkey();
    let url = valkey.url().replace("redis://", "valkey://");
    let (one, two) = (Node::start(&url), Node::start(&url));
    let mut stream = two.subscribe("a/b");
    one.publish("a", "before");
    valkey.ask(&["SCRIPT", "FLUSH"]);
    two.publish("b", "x");
    within(PATIENCE, "subscribers are counted over both", || {
        one.ask("GET /pub?id=a", &[], b"").text().contains("\"subscribers\": 1")
    });
    valkey.kill();
    within(PATIENCE, "it is refused", || one.try_publish("a", b"never").status == 503);
    valkey.go_on();
    one.publish_when_possible("a", "after");
    let text = stream.until(" after\n");
    let texts: Vec<&str> = text.lines().filter_map(|line| Some(line.rsplit_once(' ')?.1)).collect();
    assert_eq!(texts, ["before", "x", "after"]);
    let three = Node::start(&url);
    within(PATIENCE, "who joins has all of it", || three.stored("a").len() == 2 && three.stored("b").len() == 1);
    assert_eq!((one.backplane()["losses"].as_u64(), two.backplane()["losses"].as_u64()), (Some(0), Some(0)));
}

#[test]
fn a_cluster_is_entered_by_any_of_its_nodes_and_each_zone_lives_on_one() {
    let mut cluster = cluster();
    let keeps = |cluster: &[Redis], key: &str| {
        cluster.iter().position(|redis| redis.try_ask(&["EXISTS", key]) == Ok(redis::Value::Int(1)))
    };
    let mut places = Vec::new();
    for zone in ["one", "two", "three", "four"] {
        let http = format!("push_stream_backplane_zone {zone};");
        let nodes: Vec<Node> = cluster.iter().map(|redis| Node::with(&redis.url(), &http)).collect();
        let mut stream = nodes[2].subscribe("a");
        nodes[0].publish("a", zone);
        nodes[1].publish("b", "x");
        assert!(stream.until(&format!("{zone}\n")).ends_with(&format!("1 a {zone}\n")));
        nodes[2].await_stored("b", &["1 x"]);
        within(PATIENCE, "subscribers are counted over all", || {
            nodes[0].ask("GET /pub?id=a", &[], b"").text().contains("\"subscribers\": 1")
        });
        let at = keeps(&cluster, &format!("{{pushstreamd.{zone}}}:log")).unwrap();
        assert_eq!(keeps(&cluster, &format!("{{pushstreamd.{zone}}}:m:a")), Some(at), "a zone lives in one place");
        if zone == "one" {
            cluster[at].kill();
            within(PATIENCE, "it is refused", || nodes[(at + 1) % 3].try_publish("a", b"never").status == 503);
            cluster[at].go_on();
            nodes[0].publish_when_possible("a", "after");
            within(PATIENCE, "all have it", || nodes.iter().all(|node| node.stored("a").len() == 2));
        }
        places.push(at);
    }
    // While the slot goes to another one nobody publishes, and then everybody goes on there.
    let zone = "{pushstreamd.moving}";
    let nodes: Vec<Node> =
        cluster.iter().map(|redis| Node::with(&redis.url(), "push_stream_backplane_zone moving;")).collect();
    let mut stream = nodes[2].subscribe("a");
    nodes[0].publish("a", "before");
    let at = keeps(&cluster, &format!("{zone}:log")).unwrap();
    let (from, to) = (&cluster[at], &cluster[(at + 1) % 3]);
    let id = |redis: &Redis| ::redis::from_redis_value::<String>(redis.ask(&["CLUSTER", "MYID"])).unwrap();
    let number = |words: &[&str]| ::redis::from_redis_value::<u64>(from.ask(words)).unwrap().to_string();
    let slot = number(&["CLUSTER", "KEYSLOT", zone]);
    to.ask(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &id(from)]);
    from.ask(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &id(to)]);
    for part in [":log", ":zone", ":nodes", ":c:a", ":m:a"] {
        let key = format!("{zone}{part}");
        from.ask(&["MIGRATE", "127.0.0.1", &to.port.to_string(), &key, "0", "5000"]);
        let reply = nodes[1].try_publish("a", b"never");
        assert!(reply.status == 503 && !reply.head.contains("may have been"), "{part}: {}", reply.head);
        assert_eq!(nodes[0].stored("a"), ["1 before"], "polls are answered");
    }
    for redis in [to, from, &cluster[(at + 2) % 3]] {
        redis.ask(&["CLUSTER", "SETSLOT", &slot, "NODE", &id(to)]);
    }
    nodes[1].publish_when_possible("a", "after");
    nodes[0].publish_when_possible("a", "last");
    let text = stream.until(" a last\n");
    let seen: Vec<&str> = text.lines().filter_map(|line| Some(line.rsplit_once(" a ")?.1)).collect();
    assert_eq!(seen, ["before", "after", "last"]);
    assert!(nodes.iter().all(|node| node.backplane()["losses"] == 0));
    assert!(places.iter().any(|at| *at != places[0]), "zones spread: {places:?}");
}

#[test]
fn what_does_not_go_with_a_backplane_is_said() {
    let tested = test_configuration(&["--backplane", "redis://h"], "push_stream_state state;", PUBLISHER);
    assert!(tested.status.success() && said(&tested).contains("is not used"), "{}", said(&tested));
    let tested = test_configuration(&["--backplane", "off"], "push_stream_backplane redis://h;", PUBLISHER);
    assert!(tested.status.success(), "{}", said(&tested));
    let refused = Prefix::new("refused").run(&["--backplane", "redis://u:secret@h", "-t"]);
    assert!(!refused.status.success() && !said(&refused).contains("invalid value \"redis://u:s"), "{}", said(&refused));
}
