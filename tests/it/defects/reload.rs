//! Reload and stop: what changes, what stays, and that both come to an end.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::support::{Frame, LOCATIONS, Server};

const EVENTS: &str = "push_stream_events_channel_id EV; push_stream_allow_connections_to_events_channel on;";

#[test]
fn an_events_channel_that_comes_by_a_reload_tells_events_263() {
    let mut server = Server::usual();
    server.publish("/pub?id=old", "x");
    server.reload(EVENTS, LOCATIONS);
    server.publish("/pub?id=new", "x");
    let mut events = server.subscribe("/sub/EV.b5");
    events.until("{\"type\": \"channel_created\", \"channel\": \"new\"}");
    server.assert_alive();
}

#[test]
fn old_messages_are_shown_in_the_templates_of_the_new_configuration() {
    let server = Server::usual();
    server.publish("/pub?id=a", "old");
    let first = "location ~ ^/before/(.*) { push_stream_subscriber; push_stream_channels_path $1; push_stream_message_template \"A~text~\"; }";
    server.reload("", &format!("{first} {}", LOCATIONS.replace("\"<~text~>\"", "\"{~text~}\"")));
    assert_eq!(server.get("/poll/a.b1").text(), "{old}");
    assert_eq!(server.websocket("/ws/a.b1").frame(), Frame::text("{old}"));
}

#[test]
fn a_shorter_life_of_messages_counts_for_those_that_come_after_long_ones() {
    let server = Server::usual();
    server.publish("/pub?id=a", "long");
    server.reload("push_stream_message_ttl 1s;", LOCATIONS);
    server.publish("/pub?id=b", "short");
    server.publish("/pub?id=a", "short");
    server.await_count("stored_messages", 1);
    assert_eq!(server.get("/poll/a.b5").text(), "<long>");
}

#[test]
fn messages_channels_and_subscribers_stay_over_a_reload_12_113() {
    let server = Server::usual();
    server.publish("/pub?id=a", "stored");
    let mut stream = server.subscribe("/sub/a");
    let mut socket = server.websocket("/ws/a");
    stream.head();
    let files = || std::fs::read_dir(server.proc("fd")).unwrap().count();
    server.reload("", LOCATIONS);
    let before = files();
    for _ in 0..10 {
        server.reload("", LOCATIONS);
    }
    assert_eq!(server.get("/poll/a.b1").text(), "<stored>");
    server.publish("/pub?id=a", "live");
    stream.until("<live>");
    assert_eq!(socket.frame(), Frame::text("<live>"));
    let summary: serde_json::Value = serde_json::from_str(&server.get("/stats").text()).unwrap();
    let workers: u64 =
        summary["by_worker"].as_array().unwrap().iter().map(|w| w["subscribers"].as_u64().unwrap()).sum();
    assert_eq!((workers, summary["subscribers"].as_u64()), (2, Some(2)));
    assert!(files() <= before + 2, "{} descriptors from {before}", files());
}

#[test]
fn a_broken_configuration_changes_nothing_32() {
    let mut server = Server::usual();
    let mut stream = server.subscribe("/sub/a");
    stream.head();
    std::fs::write(server.dir().join("nginx.conf"), "nonsense").unwrap();
    server.signal(Signal::SIGHUP);
    server.eventually("the line", || server.log().contains("[error]") || server.log().contains("[emerg]"));
    server.assert_alive();
    server.publish("/pub?id=a", "x");
    stream.until("<x>");
}

#[test]
fn a_stop_says_farewell_and_is_quick_80_191() {
    let mut server = Server::usual();
    let mut stream = server.subscribe("/sub/a");
    stream.head();
    let mut socket = server.websocket("/ws/a");
    let mut poll = server.subscribe("/lp/a");
    server.await_count("subscribers", 3);
    let asked = Instant::now();
    server.signal(Signal::SIGTERM);
    assert!(server.end().success());
    assert!(asked.elapsed() < Duration::from_secs(4), "{:?}", asked.elapsed());
    assert!(stream.end().ends_with("0\r\n\r\n"));
    assert_eq!(socket.frame().first, 0x88);
    assert_eq!(poll.answer(false).status, 304);
    assert!(!server.dir().join("server.pid").exists());
}

#[test]
fn a_graceful_stop_ends_though_a_stream_would_go_on_for_ever_191() {
    let mut server = Server::usual();
    let mut stream = server.subscribe("/sub/a");
    stream.head();
    let mut socket = server.websocket("/ws/a");
    server.signal(Signal::SIGQUIT);
    assert!(server.end().success());
    assert!(stream.end().ends_with("0\r\n\r\n"));
    assert_eq!(socket.frame().first, 0x88);
}
