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

#[test]
fn a_long_listing_is_made_as_it_is_taken_and_whole_by_every_door() {
    let server = Server::usual();
    let mut publisher = server.connect();
    // Many ids at once, so that it does not take for ever.
    for hundred in 0..30 {
        let ids: Vec<String> = (0..100).map(|n| format!("channel-{hundred:02}-{n:02}")).collect();
        assert_eq!(publisher.ask(&format!("POST /pub?id={}", ids.join("/")), &[], b"m").status, 200);
    }
    let names = |text: &str| -> Vec<String> {
        let list: serde_json::Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text:.200}"));
        list["infos"].as_array().unwrap().iter().map(|info| info["channel"].as_str().unwrap().to_owned()).collect()
    };
    let reply = server.get("/stats?id=ALL");
    assert_eq!(reply.field("transfer-encoding"), Some("chunked"), "{}", reply.head);
    let all = names(&reply.text());
    assert_eq!(all.len(), 3000);
    assert_eq!(names(&server.get("/stats?id=channel-07-*").text()).len(), 100);
    // A body that nobody wants does not become a request.
    let mut client = server.connect();
    client.send("GET /stats?id=ALL HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\n");
    client.send("GET /");
    client.send("GET /stats?id=ALL HTTP/1.0\r\nConnection: close\r\n\r\n");
    let reply = client.reply();
    assert_eq!(names(&reply.text()), all);
    let reply = client.reply();
    assert_eq!(reply.field("transfer-encoding"), None);
    assert_eq!(names(&reply.text()), all);
}
