//! The logs: what a line tells, in nginx's spelling and as JSON, whatever clients send; and what no line ever tells.

use std::collections::BTreeMap;
use std::fs;

use nix::sys::signal::Signal;
use proptest::prelude::*;
use serde_json::Value;

use crate::support::{
    Client, PATIENCE, Prefix, Server, eventually, exchange, free_port, masked, property, request, said,
};

/// An id as Bitrix makes those of private channels, and what may be seen of it.
const SECRET: &str = "3f2a9c77d1e04b5f8a6b7c8d9e0f1a2b";
const SHOWN: &str = "3f2a9c77\u{2026}";
const BODY: &str = "a-message-nobody-else-may-read";

const LOCATIONS: &str = "
    location /pub { push_stream_publisher admin; push_stream_channels_path $arg_id; push_stream_store_messages on; }
    location /stream { push_stream_subscriber; push_stream_header_template hello; push_stream_channels_path $arg_id; push_stream_message_template \"~text~\\n\"; }
    location /known { push_stream_subscriber; push_stream_channels_path $arg_id; push_stream_authorized_channels_only on; }
    location /short { push_stream_subscriber long-polling; push_stream_channels_path $arg_id;
                      push_stream_longpolling_connection_ttl 20ms; }
    location /poll { push_stream_subscriber long-polling; push_stream_channels_path $arg_id; }
    location /slow { push_stream_subscriber; push_stream_header_template hello; push_stream_channels_path $arg_id; send_timeout 1s; }
    location /ws { push_stream_subscriber websocket; push_stream_channels_path $arg_id; push_stream_websocket_allow_publish on;
                   push_stream_message_template \"~text~\"; }
    location /shut { deny all; push_stream_subscriber; push_stream_channels_path $arg_id; }
    location /stats { push_stream_channels_statistics; push_stream_channels_path $arg_id; }";

/// A configuration with these directives of the main context and of `http`; both logs are in the prefix.
fn conf(level: &str, http: &str) -> String {
    format!(
        "daemon off; pid nginx.pid; error_log error.log {level}; worker_processes 1; events {{ }}
         http {{ access_log access.log; push_stream_shared_memory_size 64m; client_max_body_size 32m; {http}
                 server {{ listen 127.0.0.1:@PORT@; {LOCATIONS} }} }}"
    )
}

fn objects(text: &str) -> Vec<Value> {
    let read = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
    text.lines().map(read).collect()
}

fn handshake(target: &str) -> String {
    request(
        "GET",
        target,
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n",
    )
}

fn began(server: &Server, bytes: &str) -> Client {
    let mut client = server.connect();
    client.send(bytes);
    client.head();
    client
}

/// How many subscriptions have ended, by mode and reason, as the metrics count them.
fn ended(port: u16) -> BTreeMap<(String, String), u64> {
    let page = exchange(port, "GET", "/metrics", "").unwrap();
    let mut ended = BTreeMap::new();
    for line in page.lines().filter(|line| line.starts_with("pushstreamd_subscriptions_ended_total{")) {
        let (labels, value) = line.rsplit_once(' ').unwrap();
        let label =
            |name: &str| labels.split_once(&format!("{name}=\"")).unwrap().1.split('"').next().unwrap().to_owned();
        let value: f64 = value.parse().unwrap();
        if value > 0.0 {
            ended.insert((label("mode"), label("reason")), value as u64);
        }
    }
    ended
}

/// The same as the lines of a log tell it.
fn told(text: &str) -> BTreeMap<(String, String), u64> {
    let mut told: BTreeMap<(String, String), u64> = BTreeMap::new();
    for line in objects(text).iter().filter(|line| line["mode"].is_string()) {
        let word = |name: &str| line[name].as_str().unwrap().to_owned();
        *told.entry((word("mode"), word("reason"))).or_default() += 1;
        assert_eq!(word("client"), "127.0.0.1");
        assert!(word("request").starts_with("GET /") && word("channel") == SHOWN, "{line}");
        assert!(line["connection"].as_u64().unwrap() > 0 && line["seconds"].as_f64().unwrap() >= 0.0, "{line}");
    }
    told
}

#[test]
fn who_is_let_go_for_memory_is_one_line_with_that_reason_too() {
    let port = free_port();
    let http = format!("push_stream_status {port}; push_stream_connections_memory 4m;");
    let server = Server::configured(&conf("info", &http), &["--log-format", "json"]);
    server.eventually("the operators' listener", || exchange(port, "GET", "/readyz", "").is_ok());
    let message = masked(0x81, &vec![b'x'; 1_000_000]);
    // Messages that are begun and not ended.
    let begin = |id| began(&server, &handshake(&format!("/ws?id={SECRET}{id}")));
    let mut greedy: Vec<_> = (0..20).map(begin).collect();
    for client in &mut greedy {
        client.try_send(&message[..900_000]);
    }
    let of_memory = || ended(port).get(&("websocket".to_owned(), "memory".to_owned())).copied().unwrap_or_default();
    server.eventually("most are let go", || of_memory() >= 14);
    drop(greedy);
    server.eventually("all have ended", || ended(port).values().sum::<u64>() == 20);
    assert!(of_memory() < 20);
    server.eventually("all has been told", || told(&server.file("error.log")) == ended(port));
}

#[test]
fn the_page_of_operators_leaves_no_line_when_it_is_closed() {
    let port = free_port();
    let server = Server::configured(&conf("info", &format!("push_stream_status {port};")), &["--log-format", "json"]);
    server.eventually("the operators' listener", || exchange(port, "GET", "/readyz", "").is_ok());
    let look = || {
        let mut looking = Client::open(([127, 0, 0, 1], port).into(), PATIENCE);
        looking.send("GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n");
        looking.until("data: ");
        looking
    };
    drop(look());
    drop(began(&server, &request("GET", &format!("/stream?id={SECRET}"), "")));
    // Each second something is written to whoever looks: the first is known to have gone by now, as the other is.
    let mut other = look();
    (0..3).for_each(|_| drop(other.until("data: ")));
    server.eventually("the other is told", || server.file("error.log").contains("subscriber disconnected"));
    let told = objects(&server.file("error.log"));
    let figures = told.iter().filter(|line| line["channel"] == "figures" || line.to_string().contains("/live"));
    assert_eq!(figures.count(), 0, "{told:?}");
}

#[test]
fn each_end_of_a_subscription_is_one_line_with_the_reason_that_the_metrics_count() {
    let port = free_port();
    let mut server =
        Server::configured(&conf("info", &format!("push_stream_status {port};")), &["--log-format", "json"]);
    let waits = |id: usize, location: &str| {
        let bytes = request("GET", &format!("/{location}?id={SECRET}{id}"), "");
        began(&server, &bytes)
    };
    // Gone, twice; deleted; over its time; answered; broken; not reading, by either measure.
    drop((waits(1, "stream"), began(&server, &handshake(&format!("/ws?id={SECRET}1")))));
    let deleted = waits(2, "stream");
    server.ask(&format!("DELETE /pub?id={SECRET}2"), &[], b"");
    assert_eq!(server.get(&format!("/short?id={SECRET}3")).status, 304);
    let mut poll = server.connect();
    poll.send(request("GET", &format!("/poll?id={SECRET}4"), ""));
    server.eventually("it waits", || server.count("subscribers") > 0);
    server.publish(&format!("/pub?id={SECRET}4"), BODY);
    assert!(poll.reply().text().contains(BODY));
    let mut broken = began(&server, &handshake(&format!("/ws?id={SECRET}5")));
    // A reserved bit.
    broken.send([0xf1, 0x80, 0, 0, 0, 0]);
    let stuck = [waits(6, "stream"), waits(7, "slow")];
    for _ in 0..3 {
        server.publish(&format!("/pub?id={SECRET}6"), vec![b'x'; 12 << 20]);
    }
    server.publish(&format!("/pub?id={SECRET}7"), vec![b'x'; 20 << 20]);
    let wanted = [
        ("long-polling", "answered", 1),
        ("long-polling", "ttl", 1),
        ("streaming", "client", 1),
        ("streaming", "deleted", 1),
        ("streaming", "send_timeout", 1),
        ("streaming", "slow_reader", 1),
        ("websocket", "client", 1),
        ("websocket", "protocol", 1),
    ];
    let mut wanted: BTreeMap<_, _> =
        wanted.into_iter().map(|(mode, reason, count)| ((mode.to_owned(), reason.to_owned()), count)).collect();
    server.eventually("all have ended", || ended(port) == wanted);
    // A poll that is answered comes again: its lines are for who looks for mistakes.
    wanted.remove(&("long-polling".to_owned(), "answered".to_owned()));
    server.eventually("all has been told", || told(&server.file("error.log")) == wanted);
    let _leaves = waits(8, "stream");
    server.signal(Signal::SIGTERM);
    assert!(server.end().success());
    wanted.insert(("streaming".to_owned(), "farewell".to_owned()), 1);
    assert_eq!(told(&server.file("error.log")), wanted);
    drop((deleted, stuck));
}

#[test]
fn a_reload_as_the_module_does_it_is_the_reason_it_says() {
    let server = Server::configured(&conf("info", ""), &["--strict"]);
    let _waits = began(&server, &request("GET", "/stream?id=a", ""));
    server.signal(Signal::SIGHUP);
    server.eventually("it is told", || {
        server.log().contains("mode: streaming, seconds: ") && server.log().contains("reason: reload")
    });
}

#[test]
fn channel_ids_are_shortened_unless_asked_for_and_no_line_holds_a_message() {
    for (args, http, whole) in [
        (&[][..], "", false),
        (&["--log-format", "json"], "", false),
        (&[], "push_stream_log_channel_ids full;", true),
        (&["--strict"], "", true),
    ] {
        let mut server = Server::configured(&conf("debug", http), args);
        server.publish(&format!("/pub?id={SECRET}"), BODY);
        drop(began(&server, &request("GET", &format!("/stream?id={SECRET}/{SECRET}.b1"), "")));
        let mut socket = server.websocket(&format!("/ws?id={SECRET}"));
        socket.send(0x81, BODY.as_bytes());
        assert_eq!(socket.frame().payload, BODY.as_bytes());
        drop(socket);
        let mut poll = server.connect();
        poll.send(request("GET", &format!("/poll?id=new{SECRET}"), ""));
        server.eventually("it waits", || server.count("subscribers") > 0);
        server.publish(&format!("/pub?id=new{SECRET}"), BODY);
        assert!(poll.reply().text().contains(BODY));
        assert_eq!(server.get(&format!("/known?id=un{SECRET}")).status, 403);
        assert_eq!(server.get(&format!("/shut?id={SECRET}")).status, 403);
        assert_eq!(server.ask(&format!("POST /pub?id=%33{}", &SECRET[1..]), &[], BODY.as_bytes()).status, 200);
        assert_eq!(server.ask(&format!("POST /pub?id=ALL/{SECRET}"), &[], BODY.as_bytes()).status, 403);
        server.eventually("both have gone", || server.count("subscribers") == 0);
        server.signal(Signal::SIGTERM);
        assert!(server.end().success());
        let errors = server.file("error.log");
        assert_eq!(errors.contains(SECRET), whole, "{args:?} {http}\n{errors}");
        assert_eq!(errors.contains(SHOWN), !whole, "{args:?} {http}\n{errors}");
        assert!(errors.contains("access forbidden by rule") && errors.contains("not_authorized"), "{errors}");
        assert_eq!(errors.matches("long-poll answered").count(), 1, "{errors}");
        assert!(server.file("access.log").contains(SECRET), "those are nginx's lines");
        for name in ["error.log", "access.log", "stderr"] {
            assert!(!server.file(name).contains(&BODY[2..]), "{name}");
        }
    }
}

#[test]
fn whatever_clients_send_each_line_is_one_object_and_each_line_of_text_is_one() {
    let anything = (
        prop::collection::vec(any::<u8>(), 0..40),
        "[!-~]{0,20}",
        prop::sample::select(vec!["\n", "\r", "\u{1b}[31m", "\"", "\\", "\u{0}", "\u{85}\u{2028}", "{\"a\":1}"]),
        prop::sample::select(vec!["/stream?id=", "/known?id=", "/shut?id=", "/none/", "/poll?id=", "/pub?id=ALL"]),
    );
    for args in [&[][..], &["--log-format", "json"]] {
        let mut server = Server::configured(&conf("info", ""), args);
        property(96)
            .run(&anything, |(bytes, word, special, target)| {
                let mut client = server.connect();
                let ugly = [word.as_bytes(), special.as_bytes(), &bytes].concat();
                let id: String = ugly.iter().map(|byte| format!("%{byte:02X}")).collect();
                client.send(format!("GET {target}{id}"));
                // Mostly what can be understood, or nothing would be told of it.
                let raw = bytes.len() % 4 == 0;
                client.try_send(if raw { &bytes } else { b"" });
                client.try_send(b" HTTP/1.1\r\nHost: h");
                client.try_send(if raw { special.as_bytes() } else { b"" });
                client.try_send(b"\r\nUser-Agent: ");
                client.try_send(&ugly);
                client.try_send(b"\r\nReferer: ");
                client.try_send(&ugly);
                client.try_send(b"\r\n\r\n");
                client.shutdown();
                client.end();
                Ok(())
            })
            .unwrap();
        server.signal(Signal::SIGTERM);
        assert!(server.end().success());
        for name in ["error.log", "access.log"] {
            let bytes = fs::read(server.dir().join(name)).unwrap();
            let text = String::from_utf8(bytes).unwrap();
            assert!(text.lines().count() > 20, "{name}: {text}");
            assert!(!text.replace('\n', "").chars().any(char::is_control), "{name}");
            if args.is_empty() {
                let begins = |line: &str| {
                    if name == "error.log" { line.get(4..5) == Some("/") } else { line.starts_with("127.0.0.1 - ") }
                };
                assert!(text.lines().all(begins), "{name}: {text}");
            } else {
                for line in objects(&text) {
                    let time: jiff::Timestamp = line["time"].as_str().unwrap().parse().unwrap();
                    assert!(time.as_second() > 1_700_000_000 && !line.as_object().unwrap().contains_key("a"), "{line}");
                }
            }
        }
    }
}

#[test]
fn json_is_asked_for_by_a_directive_too_and_by_name_for_one_log_alone() {
    let http = "push_stream_log_format json; access_log access.log; access_log nginx.log combined; access_log own.log json if=$arg_x;";
    let server = Server::configured(&conf("notice", http).replace("access_log access.log; push", "push"), &[]);
    server.get("/none?x=1");
    assert_eq!(server.get("/known?id=nobody").status, 403);
    let refusals: Vec<_> =
        objects(&server.file("error.log")).into_iter().filter(|line| line["reason"].is_string()).collect();
    let refusal = &refusals[0];
    assert_eq!(
        (refusals.len(), &refusal["level"], &refusal["reason"]),
        (1, &"notice".into(), &"not_authorized".into())
    );
    assert_eq!((&refusal["channel"], &refusal["server"]), (&"nobody".into(), &"".into()));
    let access = objects(&server.file("access.log"));
    assert_eq!((access.len(), &access[0]["status"], &access[0]["remote_user"]), (2, &404.into(), &"".into()));
    assert_eq!(access[1]["request"], "GET /known?id=nobody HTTP/1.1");
    assert!(access[0]["request_time"].is_f64() && access[0]["body_bytes_sent"].is_u64(), "{}", access[0]);
    assert_eq!(objects(&server.file("own.log")).len(), 1);
    assert!(server.file("nginx.log").starts_with("127.0.0.1 - - ["));
    // What the strict do not know is what nginx does not know.
    for word in ["push_stream_log_format json;", "push_stream_log_channel_ids full;"] {
        let prefix = Prefix::new("strict-log");
        prefix.configure(&conf("notice", word));
        let said = said(&prefix.run(&["--strict", "-t"]));
        assert!(said.contains("unknown directive"), "{said}");
    }
    let prefix = Prefix::new("strict-log");
    prefix.configure(&conf("notice", "access_log a.log json;").replace("access_log access.log; push", "push"));
    assert!(said(&prefix.run(&["--strict", "-t"])).contains("unknown log format \"json\""));
    let prefix = Prefix::new("own-json");
    prefix.configure(
        &conf("notice", "log_format json 'mine'; access_log a.log json;")
            .replace("access_log access.log; push", "push"),
    );
    assert!(prefix.run(&["-t"]).status.success(), "a format of the configuration's own may be called so");
}

#[test]
fn a_reload_changes_what_is_logged_and_how_it_is_spelled() {
    let prefix = Prefix::new("log-reload");
    let write = |level: &str, http: &str| {
        prefix.configure(&conf(level, http).replace("daemon off; pid nginx.pid", "pid logs/nginx.pid"));
    };
    write("warn", "");
    let running = prefix.start(&[]);
    let refuse = || assert!(prefix.request("GET", "/known?id=nobody", "").unwrap().starts_with("HTTP/1.1 403"));
    let count = || prefix.read("error.log").matches("not_authorized").count();
    refuse();
    write("notice", "");
    running.signal(Signal::SIGHUP);
    eventually("it is told from now on", || {
        refuse();
        count() > 0
    });
    write("notice", "push_stream_log_format json;");
    running.signal(Signal::SIGHUP);
    eventually("it is an object from now on", || {
        refuse();
        prefix
            .read("error.log")
            .lines()
            .last()
            .is_some_and(|line| line.starts_with('{') && line.contains("not_authorized"))
    });
    write("warn", "");
    running.signal(Signal::SIGHUP);
    eventually("it is told no more", || {
        let before = count();
        refuse();
        refuse();
        count() == before
    });
}

#[test]
fn json_goes_through_rotation_a_full_disk_and_syslog() {
    let heard = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    heard.set_read_timeout(Some(PATIENCE)).unwrap();
    let syslog = format!("syslog:server={},nohostname,tag=x", heard.local_addr().unwrap());
    let http = format!("access_log {syslog}; access_log /dev/full; access_log access.log;");
    let text = conf(&format!("notice; error_log /dev/full notice; error_log {syslog} notice"), &http)
        .replace("access_log access.log; push", "push");
    let prefix = Prefix::new("log-disk");
    prefix.configure(&text.replace("daemon off; pid nginx.pid", "pid logs/nginx.pid"));
    let running = prefix.start(&["--log-format", "json"]);
    let ask = || assert!(prefix.request("GET", "/known?id=nobody", "").unwrap().starts_with("HTTP/1.1 403"));
    ask();
    for name in ["error.log", "access.log"] {
        fs::rename(prefix.path(name), prefix.path(&format!("{name}.1"))).unwrap();
    }
    running.signal(Signal::SIGUSR1);
    eventually("both are there again", || {
        ask();
        ["error.log", "access.log"].iter().all(|name| prefix.read(name).contains("nobody"))
    });
    for name in ["error.log", "access.log", "error.log.1", "access.log.1"] {
        assert!(objects(&prefix.read(name)).iter().any(|line| line["request"].is_string()), "{name}");
    }
    let errors = prefix.read("error.log.1") + &prefix.read("error.log");
    assert_eq!(
        errors.matches("write() to \\\"/dev/full\\\" failed (28: No space left on device)").count(),
        1,
        "{errors}"
    );
    let (mut seen, mut buffer) = ((false, false), [0; 4096]);
    while seen != (true, true) {
        let length = heard.recv(&mut buffer).unwrap();
        let message = String::from_utf8(buffer[..length].to_vec()).unwrap();
        let (head, line) = message.split_once(" x: ").unwrap();
        let line: Value = serde_json::from_str(line).unwrap();
        seen.0 |= line["level"] == "notice" && line["reason"] == "not_authorized" && head.starts_with("<189>");
        seen.1 |= line["status"] == 403 && head.starts_with("<190>");
    }
}

#[test]
fn a_start_that_fails_says_so_in_json_when_asked() {
    let prefix = Prefix::new("log-start");
    prefix.configure("http { nonsense");
    let said = said(&prefix.run(&["--log-format", "json"]));
    assert_eq!(objects(&said)[0]["level"], "emerg", "{said}");
    let wrong = prefix.run(&["--log-format", "xml"]);
    assert!(!wrong.status.success());
}

#[test]
fn files_that_requests_name_are_as_many_as_there_are_names_and_stay_in_their_directory() {
    let dir = "access_log logs/$arg_site.log; access_log logs/$status-$host.log;";
    let prefix = Prefix::new("named-log");
    // Who may make files in the directory of the test.
    let text = format!("user root; {}", conf("info", dir));
    prefix.configure(
        &text.replace("access_log access.log; push", "push").replace("daemon off; pid nginx.pid", "pid logs/nginx.pid"),
    );
    let running = prefix.start(&[]);
    let files = || fs::read_dir(running.proc("fd")).unwrap().count();
    let ask = |site: &str| {
        let mut client = Client::open(prefix.address(), PATIENCE);
        client.send(format!("GET /none?site={site} HTTP/1.1\r\nHost: h{site}\r\nConnection: close\r\n\r\n"));
        client.end();
    };
    ask("first");
    let before = files();
    (0..100).for_each(|number| ask(&number.to_string()));
    eventually("nothing stays open", || files() <= before);
    assert!((0..100).all(|number| prefix.read(&format!("logs/{number}.log")).lines().count() == 1));
    assert_eq!(prefix.read("logs/404-h7.log").lines().count(), 1, "what only the end knows is in a name too");
    // Outside, and below a directory that is not there.
    ask("../../outside");
    ask("none/x");
    ask("none/x");
    let log = prefix.read("error.log");
    assert_eq!(log.matches("a request names an access log outside of its directory").count(), 1, "{log}");
    assert_eq!(log.matches("none/x.log\" failed (2: No such file or directory)").count(), 1, "{log}");
    assert!(!prefix.dir.parent().unwrap().join("outside.log").exists());
    fs::create_dir(prefix.path("logs/none")).unwrap();
    eventually("it is tried again", || {
        ask("none/x");
        prefix.read("logs/none/x.log").contains("none/x")
    });
}
