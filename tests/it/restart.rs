//! A server that ends and one that begins from its log: clients go on as if nothing had happened.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{Client, Frame, PATIENCE, Prefix, Running, Socket, eventually, percent_encoded, said};

const LOCATIONS: &str = "
    location /pub { push_stream_publisher admin; push_stream_channels_path $arg_id; push_stream_store_messages on; }
    location /memory { push_stream_publisher; push_stream_channels_path $arg_id; }
    location /stats { push_stream_channels_statistics; push_stream_channels_path $arg_id; }
    location ~ ^/poll/(.*) {
        push_stream_subscriber long-polling;
        push_stream_longpolling_connection_ttl 20s;
        push_stream_channels_path $1;
        push_stream_last_received_message_time $arg_time;
        push_stream_last_received_message_tag $arg_tag;
        push_stream_message_template \"~id~ ~text~\\n\";
    }
    location ~ ^/events/(.*) { push_stream_subscriber eventsource; push_stream_channels_path $1; }
    location ~ ^/ws/(.*) {
        push_stream_subscriber websocket;
        push_stream_websocket_allow_publish on;
        push_stream_store_messages on;
        push_stream_channels_path $1;
        push_stream_last_received_message_time $arg_time;
        push_stream_last_received_message_tag $arg_tag;
        push_stream_message_template \"~id~ ~text~\";
    }";

/// A directory with a configuration whose log is below it.
pub fn prefix(state: &str) -> Prefix {
    let prefix = Prefix::new("restart");
    prefix.configure(&format!(
        "daemon off; pid logs/nginx.pid; error_log logs/error.log info;
        events {{ }}
        http {{
            push_stream_shared_memory_size 64m;
            {state}
            server {{ listen 127.0.0.1:@PORT@; {LOCATIONS} }}
        }}"
    ));
    prefix
}

pub fn usual() -> Prefix {
    prefix("push_stream_state state;")
}

pub fn start(prefix: &Prefix) -> Running {
    let running = prefix.spawn(&[]);
    prefix.wait_until_serving();
    running
}

pub fn end(mut running: Running, signal: Signal) {
    running.signal(signal);
    running.wait();
}

/// A poll: its texts, and time and tag for the next one.
fn poll(prefix: &Prefix, channels: &str, position: Option<&(String, String)>) -> (Vec<String>, (String, String)) {
    let mut client = Client::open(prefix.address(), PATIENCE);
    let (time, tag) = position.cloned().unwrap_or_else(|| ("Thu, 01 Jan 1970 00:00:00 GMT".into(), "0".into()));
    let time = percent_encoded(time.as_bytes());
    let reply = client.ask(&format!("GET /poll/{channels}?time={time}&tag={tag}"), &[], b"");
    assert_eq!(reply.status, 200, "{}", reply.head);
    let field = |name: &str| {
        let line = reply.head.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("no {name}"));
        line.trim().trim_start_matches("W/").to_owned()
    };
    let position = (field("Last-Modified:"), field("Etag:"));
    (reply.text().lines().map(str::to_owned).collect(), position)
}

/// All messages of a channel.
pub fn stored(prefix: &Prefix, channel: &str) -> Vec<String> {
    poll(prefix, channel, None).0
}

pub fn statistics(prefix: &Prefix, channel: &str) -> serde_json::Value {
    let answer = prefix.request("GET", &format!("/stats?id={channel}"), "").unwrap();
    let body = answer.split_once("\r\n\r\n").unwrap().1;
    serde_json::from_str(body).unwrap_or(serde_json::Value::Null)
}

#[test]
fn clients_go_on_where_they_were_after_an_ordinary_restart() {
    for signal in [Signal::SIGTERM, Signal::SIGQUIT] {
        let prefix = usual();
        let server = start(&prefix);
        prefix.publish("a", "one");
        prefix.publish("b", "other");
        prefix.publish("a", "two");
        let (seen, position) = poll(&prefix, "a/b", None);
        assert_eq!(seen, ["1 one", "1 other", "2 two"]);
        prefix.publish_at("/memory?id=counted", "not stored");
        prefix.publish("deleted", "x");
        assert!(prefix.request("DELETE", "/pub?id=deleted", "").unwrap().starts_with("HTTP/1.1 200"));
        for (id, text) in [("first", "e1"), ("second", "e2")] {
            let mut client = Client::open(prefix.address(), PATIENCE);
            let reply = client.ask("POST /pub?id=events", &[&format!("Event-Id: {id}")], text.as_bytes());
            assert_eq!(reply.status, 200);
        }
        prefix.publish("a", "missed");
        prefix.publish("b", "missed too");
        end(server, signal);

        let server = start(&prefix);
        let (seen, position) = poll(&prefix, "a/b", Some(&position));
        assert_eq!(seen, ["3 missed", "2 missed too"]);
        let mut events = Client::open(prefix.address(), PATIENCE);
        events.send_request("GET /events/events", &["Last-Event-Id: first"], b"");
        assert!(!events.until("data: e2").contains("data: e1"));
        drop(events);
        assert_eq!(statistics(&prefix, "counted")["published_messages"], 1);
        assert_eq!(statistics(&prefix, "counted")["stored_messages"], 0);
        assert_eq!(statistics(&prefix, "deleted"), serde_json::Value::Null);
        assert_eq!(statistics(&prefix, "a")["published_messages"], 3);
        // And what is new is new, with the next id.
        prefix.publish("a", "after");
        let (seen, _) = poll(&prefix, "a/b", Some(&position));
        assert_eq!(seen, ["4 after"]);
        end(server, Signal::SIGTERM);
    }
}

#[test]
fn a_websocket_goes_on_by_time_and_tag() {
    let prefix = usual();
    let server = start(&prefix);
    prefix.publish("a", "seen");
    let (_, (time, tag)) = poll(&prefix, "a", None);
    prefix.publish("a", "missed");
    end(server, Signal::SIGTERM);
    let _server = start(&prefix);
    let time = percent_encoded(time.as_bytes());
    let mut socket =
        Socket::open(Client::open(prefix.address(), PATIENCE), &format!("/ws/a?time={time}&tag={tag}"), b"");
    assert_eq!(socket.frame(), Frame::text("2 missed"));
    prefix.publish("a", "live");
    assert_eq!(socket.frame(), Frame::text("3 live"));
}

#[test]
fn a_kill_costs_no_more_than_the_last_moment() {
    let prefix = usual();
    let server = start(&prefix);
    let stop = AtomicBool::new(false);
    let acknowledged = std::thread::scope(|scope| {
        let publisher = scope.spawn(|| {
            let mut acknowledged = Vec::new();
            for n in 0.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                prefix.publish("a", &format!("text {n}"));
                acknowledged.push(Instant::now());
            }
            acknowledged
        });
        std::thread::sleep(Duration::from_millis(700));
        stop.store(true, Ordering::Relaxed);
        publisher.join().unwrap()
    });
    let killed = Instant::now();
    end(server, Signal::SIGKILL);
    let server = start(&prefix);
    let left = stored(&prefix, "a");
    // A busy machine may let the writer wait longer than it wants to.
    let safe = acknowledged.iter().filter(|at| killed.duration_since(**at) > Duration::from_millis(400)).count();
    assert!(safe > 10 && left.len() >= safe, "{} of {}, {safe} were safe", left.len(), acknowledged.len());
    for (n, text) in left.iter().enumerate() {
        assert_eq!(*text, format!("{} text {n}", n + 1));
    }
    // Ids and stamps are behind all that were handed out.
    let (_, position) = poll(&prefix, "a", None);
    prefix.publish("a", "after");
    let (seen, _) = poll(&prefix, "a", Some(&position));
    let id: usize = seen[0].split(' ').next().unwrap().parse().unwrap();
    assert!(seen.len() == 1 && id > acknowledged.len(), "{seen:?}");
    end(server, Signal::SIGTERM);
}

#[test]
fn with_sync_always_nothing_that_was_acknowledged_is_lost() {
    let prefix = prefix("push_stream_state state; push_stream_state_sync always;");
    let mut total = 0;
    for round in 0..3 {
        let server = start(&prefix);
        for n in 0..5 {
            prefix.publish("a", &format!("{round} {n}"));
            total += 1;
        }
        assert!(prefix.request("DELETE", "/pub?id=gone", "").unwrap().contains("404"));
        end(server, Signal::SIGKILL);
    }
    let _server = start(&prefix);
    assert_eq!(stored(&prefix, "a").len(), total);
}

#[test]
fn a_directory_in_use_stops_the_start_and_names_the_process() {
    let prefix = usual();
    let mut server = start(&prefix);
    let other = Prefix::new("in-use");
    other.configure(&format!(
        "daemon off; pid logs/nginx.pid; events {{ }}
        http {{ push_stream_shared_memory_size 1m; push_stream_state {}; server {{ listen 127.0.0.1:@PORT@; {LOCATIONS} }} }}",
        prefix.path("state").display()
    ));
    let output = other.run(&[]);
    assert!(!output.status.success());
    let expected = format!("{} is in use by process {}", prefix.path("state").display(), server.0.id());
    assert!(said(&output).contains(&expected), "{}", said(&output));
    assert!(server.ended().is_none());
}

#[test]
fn the_command_line_goes_before_the_configuration() {
    let prefix = usual();
    let server = {
        let running = prefix.spawn(&["--state", "elsewhere", "--state-sync", "off"]);
        prefix.wait_until_serving();
        running
    };
    prefix.publish("a", "one");
    end(server, Signal::SIGTERM);
    assert!(prefix.path("elsewhere/lock").exists() && !prefix.path("state").exists());
    let server = {
        let running = prefix.spawn(&["--state", "off"]);
        prefix.wait_until_serving();
        running
    };
    assert_eq!(statistics(&prefix, "a"), serde_json::Value::Null);
    end(server, Signal::SIGTERM);
    let wrong = prefix.run(&["--state-sync", "2s"]);
    assert!(!wrong.status.success() && said(&wrong).contains("\"2s\" of option \"--state-sync\""), "{}", said(&wrong));
}

#[test]
fn a_file_that_is_damaged_or_of_the_future_is_told() {
    let prefix = usual();
    let server = start(&prefix);
    for n in 0..20 {
        prefix.publish("a", &format!("text {n}"));
    }
    end(server, Signal::SIGTERM);
    let name = prefix.path("state/0000000000000001.log");
    let mut bytes = std::fs::read(&name).unwrap();
    let at = bytes.windows(7).position(|window| window == b"text 10").unwrap();
    bytes[at] ^= 1;
    std::fs::write(&name, &bytes).unwrap();
    let server = start(&prefix);
    let left = stored(&prefix, "a");
    assert_eq!(left.len(), 19);
    assert!(!left.iter().any(|text| text.ends_with("text 10")));
    prefix.error_log_has("0000000000000001.log: unreadable from ");
    assert!(prefix.read("logs/error.log").contains("[alert]"));
    assert_eq!(std::fs::read(prefix.path("state/damaged/0000000000000001.log")).unwrap(), bytes);
    end(server, Signal::SIGTERM);
    // The start after that has nothing to tell.
    std::fs::write(prefix.path("logs/error.log"), "").unwrap();
    let server = start(&prefix);
    assert_eq!(stored(&prefix, "a").len(), 19);
    assert!(!prefix.read("logs/error.log").contains("unreadable"));
    end(server, Signal::SIGTERM);
}

/// A server that is no child of the test; killed in the end.
pub struct Stranger(i32);

impl Stranger {
    pub fn process(&self) -> i32 {
        self.0
    }

    /// Whether it has not ended: whose end nobody has heard of has ended all the same.
    pub fn lives(&self) -> bool {
        let told = std::fs::read_to_string(format!("/proc/{}/stat", self.0)).unwrap_or_default();
        told.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with('Z'))
    }

    /// The one with this id.
    pub fn of(id: i32) -> Self {
        Self(id)
    }

    pub fn kill(&self) {
        self.signal(Signal::SIGKILL);
    }

    pub fn signal(&self, signal: Signal) {
        Self::signal_to(self.0, signal);
    }

    pub fn signal_to(id: i32, signal: Signal) {
        kill(Pid::from_raw(id), signal).unwrap();
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        // It may be gone.
        let _ = kill(Pid::from_raw(self.0), Signal::SIGKILL);
    }
}

/// USR2; returns once the successor serves.
pub fn succeed(prefix: &Prefix, server: i32) -> Stranger {
    let told = || prefix.read("logs/error.log").matches("serves from now on").count();
    let before = told();
    kill(Pid::from_raw(server), Signal::SIGUSR2).unwrap();
    eventually("a successor serves", || told() > before);
    Stranger(prefix.pid().unwrap())
}

#[test]
fn a_new_binary_goes_on_with_the_messages_of_the_old_one() {
    let prefix = usual();
    let old = start(&prefix);
    prefix.publish("a", "one");
    prefix.publish("a", "two");
    let (_, position) = poll(&prefix, "a", None);
    prefix.publish("a", "missed");
    let new = succeed(&prefix, old.process());
    let (seen, position) = poll(&prefix, "a", Some(&position));
    assert_eq!(seen, ["3 missed"]);
    prefix.publish("a", "to the new one");
    assert_eq!(poll(&prefix, "a", Some(&position)).0, ["4 to the new one"]);
    end(old, Signal::SIGQUIT);
    prefix.publish("a", "alone");
    assert_eq!(stored(&prefix, "a").len(), 5);
    // The last of a line is an ordinary server: what it has is there after it.
    std::thread::sleep(Duration::from_millis(400));
    new.kill();
    eventually("the new one is gone", || std::net::TcpStream::connect(prefix.address()).is_err());
    let _again = start(&prefix);
    assert_eq!(stored(&prefix, "a").len(), 5);
}

#[test]
fn an_old_server_that_serves_again_has_what_its_successor_was_given() {
    let prefix = usual();
    let old = start(&prefix);
    let old_pid = prefix.pid();
    prefix.publish("a", "to the old one");
    for round in 0..2 {
        let new = succeed(&prefix, old.process());
        prefix.publish("a", &format!("to successor {round}"));
        std::thread::sleep(Duration::from_millis(400));
        new.kill();
        eventually("the old name", || prefix.pid() == old_pid);
        let texts = || -> Vec<String> {
            let text = |line: String| line.split_once(' ').unwrap().1.to_owned();
            stored(&prefix, "a").into_iter().map(text).collect()
        };
        eventually("the old one has the message", || texts().len() == 2 + 2 * round);
        prefix.publish("a", &format!("to the old one after {round}"));
        assert_eq!(texts().last().unwrap(), &format!("to the old one after {round}"));
    }
    end(old, Signal::SIGTERM);
    let _again = start(&prefix);
    assert_eq!(stored(&prefix, "a").len(), 5);
}

#[test]
fn a_waiting_long_poll_and_a_restart_lose_nothing_between_them() {
    let prefix = usual();
    let mut position = None;
    let mut seen = Vec::new();
    for round in 0..3 {
        let server = start(&prefix);
        prefix.publish("a", &format!("before {round}"));
        let (texts, at) = poll(&prefix, "a", position.as_ref());
        seen.extend(texts);
        position = Some(at);
        // Published while nobody polls, right before the end.
        prefix.publish("a", &format!("last words {round}"));
        end(server, Signal::SIGTERM);
    }
    let _server = start(&prefix);
    let (texts, _) = poll(&prefix, "a", position.as_ref());
    seen.extend(texts);
    let expected: Vec<String> = (0..3)
        .flat_map(|round| [format!("before {round}"), format!("last words {round}")])
        .enumerate()
        .map(|(n, text)| format!("{} {text}", n + 1))
        .collect();
    assert_eq!(seen, expected);
    eventually("the log names where its messages come from", || {
        prefix.log().contains("messages in 1 channels come from")
    });
}

#[test]
fn without_a_log_unknown_channels_are_waited_for_as_long_as_the_grace_says() {
    let with = |directive: &str| {
        let prefix = Prefix::new("grace");
        prefix.configure(&format!(
            "daemon off; pid logs/nginx.pid; error_log logs/error.log info; events {{ }}
            http {{
                push_stream_shared_memory_size 1m;
                {directive}
                server {{
                    listen 127.0.0.1:@PORT@;
                    {LOCATIONS}
                    location ~ ^/known/(.*) {{
                        push_stream_subscriber long-polling;
                        push_stream_authorized_channels_only on;
                        push_stream_channels_path $1;
                    }}
                }}
            }}"
        ));
        prefix
    };
    let id = "0123456789abcdef0123456789abcdef";
    let prefix = with("push_stream_unknown_channel_grace 60s;");
    let _server = start(&prefix);
    let mut client = Client::open(prefix.address(), PATIENCE);
    client.send_request(&format!("GET /known/{id}"), &[], b"");
    eventually("the client waits", || statistics(&prefix, id)["subscribers"] == 1);
    prefix.publish(id, "it is there after all");
    let reply = client.reply();
    assert_eq!((reply.status, reply.text().as_str()), (200, "it is there after all"));
    assert!(prefix.request("GET", "/known/a", "").unwrap().starts_with("HTTP/1.1 403"));
    let prefix = with("");
    let _server = start(&prefix);
    assert!(prefix.request("GET", &format!("/known/{id}"), "").unwrap().starts_with("HTTP/1.1 403"));
}
