//! USR2: who serves, who holds the pid file, and where messages are, however the succession goes.

use super::*;

/// A server in a prefix that is told USR2: its successor serves, and what was asked for holds.
struct Succession {
    prefix: Prefix,
    old: support::Running,
    old_pid: i32,
    new: Stranger,
}

fn succession(name: &str) -> Succession {
    let prefix = Prefix::new(name);
    prefix.write_conf("worker_processes 2;", "");
    let old = prefix.start(&[]);
    let old_pid = prefix.pid().unwrap();
    old.signal(Signal::SIGUSR2);
    prefix.error_log_has("serves from now on");
    let new = Stranger(prefix.pid().unwrap());
    assert_ne!(new.0, old_pid);
    Succession { prefix, old, old_pid, new }
}

#[test]
fn hup_of_the_old_process_spoils_no_pid_file_and_has_it_serve_again() {
    let Succession { prefix, old, old_pid, new } = succession("usr2-hup");
    let oldbin = || prefix.read("logs/nginx.pid.oldbin").trim().to_owned();
    old.signal(Signal::SIGHUP);
    prefix.error_log_has("serving again with the configuration in force");
    assert_eq!((prefix.pid(), oldbin()), (Some(new.0), old_pid.to_string()));
    // The new one is given up: the old one has its name back and loses nobody.
    kill(Pid::from_raw(new.0), Signal::SIGQUIT).unwrap();
    eventually("the old name", || prefix.pid() == Some(old_pid));
    let mut subscriber = prefix.subscribe("a");
    prefix.publish("a", "the old one");
    subscriber.until_line("the old one");
}

#[test]
fn a_successor_that_is_killed_leaves_the_server_as_it_was() {
    let prefix = Prefix::new("usr2-killed");
    prefix.write_conf("worker_processes 2;", "");
    let old = prefix.start(&[]);
    let old_pid = prefix.pid().unwrap();
    for round in 0..3 {
        old.signal(Signal::SIGUSR2);
        eventually("a successor serves", || {
            prefix.read("logs/error.log").matches("serves from now on").count() > round
        });
        let new = Stranger(prefix.pid().unwrap());
        kill(Pid::from_raw(new.0), Signal::SIGKILL).unwrap();
        eventually("the old name", || prefix.pid() == Some(old_pid));
        let mut subscriber = prefix.subscribe("a");
        prefix.publish("a", "still here");
        subscriber.until_line("still here");
    }
}

#[test]
fn the_listener_of_operators_goes_to_the_successor_and_comes_back() {
    let prefix = Prefix::new("usr2-status");
    prefix.write_conf("", "");
    let port = free_port();
    let old = prefix.start(&["--status", &format!("127.0.0.1:{port}")]);
    let old_pid = prefix.pid().unwrap();
    let answers = || {
        let text = exchange(port, "GET", "/status", "").unwrap();
        let body = text.split_once("\r\n\r\n").unwrap().1;
        serde_json::from_str::<serde_json::Value>(body).unwrap()["pid"].as_i64().unwrap()
    };
    assert_eq!(answers(), i64::from(old_pid));
    old.signal(Signal::SIGUSR2);
    prefix.error_log_has("serves from now on");
    let new = Stranger(prefix.pid().unwrap());
    for _ in 0..10 {
        assert_eq!(answers(), i64::from(new.0));
    }
    kill(Pid::from_raw(new.0), Signal::SIGKILL).unwrap();
    eventually("the old one answers", || answers() == i64::from(old_pid));
}

#[test]
fn messages_go_to_the_successor_and_come_back_with_what_it_has_taken() {
    let prefix = Prefix::new("usr2-state");
    prefix.write_conf("worker_processes 2;", "push_stream_state state; push_stream_store_messages on;");
    let old = prefix.start(&[]);
    let old_pid = prefix.pid().unwrap();
    let stored = || prefix.request("GET", "/pub?id=a", "").unwrap_or_default();
    for number in 0..5 {
        prefix.publish("a", &format!("old {number}"));
    }
    old.signal(Signal::SIGUSR2);
    prefix.error_log_has("serves from now on");
    let new = Stranger(prefix.pid().unwrap());
    eventually("the successor has all", || stored().contains("\"stored_messages\": 5,"));
    for number in 0..3 {
        prefix.publish("a", &format!("new {number}"));
    }
    kill(Pid::from_raw(new.0), Signal::SIGQUIT).unwrap();
    eventually("the old name", || prefix.pid() == Some(old_pid));
    eventually("the old one has all", || stored().contains("\"stored_messages\": 8,"));
    prefix.publish("a", "after all");
    assert!(stored().contains("\"stored_messages\": 9,"), "{}", stored());
}
