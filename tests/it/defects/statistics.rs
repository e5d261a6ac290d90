//! Statistics that are true and well-formed.

use crate::support::{LOCATIONS, Server};

#[test]
fn ids_are_escaped_in_every_format_186() {
    let server = Server::usual();
    let answer = server.publish("/pub?id=a%22b%5Cc%3Cd%26e%01", "x");
    let info: serde_json::Value = serde_json::from_str(&answer.text()).unwrap();
    assert_eq!(info["channel"], "a\"b\\c<d&e\u{1}");
    let xml = server.ask("GET /stats?id=ALL", &["Accept: text/xml"], b"").text();
    assert!(xml.contains("<name>a\"b\\c&lt;d&amp;e"), "{xml}");
    let strict = Server::with_args(&["--strict"], "", LOCATIONS);
    assert!(strict.publish("/pub?id=a%22b", "x").text().contains("\"a\"b\""));
}

#[test]
fn ids_are_escaped_in_events_186() {
    let server = Server::start(
        "push_stream_events_channel_id EV; push_stream_allow_connections_to_events_channel on;",
        LOCATIONS,
    );
    server.publish("/pub?id=a%22b", "x");
    let text = server.get("/poll/EV.b1").text();
    let event: serde_json::Value = serde_json::from_str(text.trim_matches(['<', '>'])).unwrap();
    assert_eq!(event["channel"], "a\"b");
}

#[test]
fn events_that_expire_do_not_spoil_the_count_of_stored_messages_267() {
    let server = Server::start("push_stream_events_channel_id EV; push_stream_message_ttl 1s;", LOCATIONS);
    for id in 0..5 {
        server.publish(&format!("/drop?id=c{id}"), "x");
    }
    let events = |server: &Server| server.get("/pub?id=EV").text();
    assert!(events(&server).contains("\"stored_messages\": 5"), "{}", events(&server));
    server.eventually("the expiry of events", || events(&server).contains("\"stored_messages\": 0"));
    assert_eq!(server.count("stored_messages"), 0);
    server.publish("/pub?id=c0", "x");
    assert_eq!(server.count("stored_messages"), 1);
}

#[test]
fn the_number_of_subscribers_is_that_of_open_connections_64_143_222() {
    let server = Server::usual();
    let mut streams: Vec<_> = (0..30).map(|n| server.subscribe(&format!("/sub/a{n}/b"))).collect();
    for stream in &mut streams {
        stream.head();
    }
    assert_eq!(server.count("subscribers"), 30);
    assert!(server.get("/pub?id=b").text().contains("\"subscribers\": 30"));
    streams.truncate(10);
    server.await_count("subscribers", 10);
    streams.clear();
    server.await_count("subscribers", 0);
    assert!(server.get("/pub?id=b").text().contains("\"subscribers\": 0"));
}

#[test]
fn all_channels_can_be_listed_and_watched_18_276() {
    let server = Server::start(
        "push_stream_events_channel_id EV; push_stream_allow_connections_to_events_channel on;",
        LOCATIONS,
    );
    let mut events = server.subscribe("/ev/EV");
    events.head();
    server.publish("/pub?id=a", "x");
    let mut stream = server.subscribe("/sub/a");
    stream.head();
    drop(stream);
    for kind in ["channel_created", "client_subscribed", "client_unsubscribed"] {
        events.until(&format!("event: {kind}\n"));
        events.until(&format!("data: {{\"type\": \"{kind}\", \"channel\": \"a\"}}\n\n"));
    }
    let list: serde_json::Value = serde_json::from_str(&server.get("/stats?id=ALL").text()).unwrap();
    assert_eq!(list["infos"].as_array().unwrap().len(), 2);
}

#[test]
fn several_ids_are_answered_by_a_list_whatever_exists_bitrix() {
    let server = Server::usual();
    server.publish("/pub?id=a", "x");
    let list: serde_json::Value = serde_json::from_str(&server.get("/pub?id=a/b").text()).unwrap();
    assert_eq!(list["infos"].as_array().unwrap().len(), 1);
    let strict = Server::with_args(&["--strict"], "", LOCATIONS);
    strict.publish("/pub?id=a", "x");
    assert!(strict.get("/pub?id=a/b").text().starts_with("{\"channel\": \"a\""));
}
