//! The wires of the old versions, byte for byte where the order of a head matters; and that the table of differences tells
//! the truth about its tests.

use std::path::Path;

use crate::support::{Frame, LOCATIONS, Server};

/// The words the 0.3 line had.
const OLD: &str = r#"
    location /pub { push_stream_publisher admin; set $push_stream_channel_id $arg_id; push_stream_store_messages on; }
    location /keep { push_stream_publisher; push_stream_keepalive on; set $push_stream_channel_id $arg_id; }
    location /stats { push_stream_channels_statistics; set $push_stream_channel_id $arg_id; }
    location ~ ^/sub/(.*) {
        push_stream_subscriber; set $push_stream_channels_path $1; push_stream_content_type "text/x-push";
        push_stream_header_template "HEAD"; push_stream_footer_template "FOOT"; push_stream_message_template "~tag~:~text~";
    }
    location ~ ^/poll/(.*) { push_stream_subscriber polling; set $push_stream_channels_path $1; }
    location ~ ^/lp/(.*) {
        push_stream_subscriber long-polling; set $push_stream_channels_path $1; push_stream_longpolling_connection_ttl 300ms;
    }
    location ~ ^/evpoll/(.*) {
        push_stream_subscriber polling; push_stream_eventsource_support on; set $push_stream_channels_path $1;
    }
    location ~ ^/ws/(.*) {
        push_stream_websocket; set $push_stream_channels_path $1; push_stream_websocket_allow_publish on;
    }
"#;

const UNCACHED: &str =
    "Expires: Thu, 01 Jan 1970 00:00:01 GMT\r\nCache-Control: no-cache, no-store, must-revalidate\r\n";

/// What a head says behind its Server, Date and Last-Modified.
fn rest_of(head: &str) -> String {
    let moving = |line: &&str| !["Server:", "Date:", "Last-Modified:"].iter().any(|name| line.starts_with(name));
    head.split_inclusive("\r\n").filter(moving).collect()
}

#[test]
fn streams_of_0_3_come_in_chunks_of_the_modules_own_making_to_http_1_0_too() {
    for version in ["1.0", "1.1"] {
        let server = Server::with_args(&["--strict", "--compat", "0.3.5"], "", OLD);
        let mut stream = server.connect();
        stream.send(format!("GET /sub/a HTTP/{version}\r\nHost: x\r\nConnection: keep-alive\r\n\r\n"));
        assert_eq!(
            rest_of(&stream.head()),
            format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/x-push\r\nConnection: close\r\n{UNCACHED}Transfer-Encoding: chunked\r\n\r\n"
            )
        );
        server.publish("/pub?id=a", "x");
        server.ask("DELETE /pub?id=a", &[], b"ignored");
        assert_eq!(
            stream.end(),
            "6\r\nHEAD\r\n\r\n5\r\n0:x\r\n\r\n13\r\n0:Channel deleted\r\n\r\n6\r\nFOOT\r\n\r\n0\r\n\r\n"
        );
    }
}

#[test]
fn polls_of_0_3_name_their_framing_last_and_keep_the_connection_only_without_a_body() {
    let server = Server::with_args(&["--strict", "--compat", "0.3.5"], "", OLD);
    server.publish("/pub?id=a", "x");
    let mut wire = server.connect();
    let answer = wire.ask("GET /lp/none", &[], b"");
    assert_eq!(
        rest_of(&format!("{}\r\n", answer.head)),
        format!(
            "HTTP/1.1 304 Not Modified\r\nContent-Type: text/plain\r\nContent-Length: 0\r\nConnection: keep-alive\r\n{UNCACHED}Etag: 0\r\n"
        )
    );
    let answer = wire.ask("GET /poll/a", &[], b"");
    assert_eq!(
        rest_of(&format!("{}\r\n", answer.head)),
        format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n{UNCACHED}Etag: 0\r\nTransfer-Encoding: chunked\r\n"
        )
    );
    assert_eq!(answer.text(), "x\r\n");
    assert_eq!(wire.end(), "");
}

#[test]
fn a_waiting_poll_of_0_3_closes_after_a_message_and_stays_after_a_timeout() {
    let server = Server::with_args(&["--strict", "--compat", "0.3.5"], "", OLD);
    let mut wire = server.connect();
    assert_eq!(wire.ask("GET /lp/a", &[], b"").field("Connection"), Some("keep-alive"));
    wire.send_request("GET /lp/a", &[], b"");
    server.await_text("/stats", "\"subscribers\": \"1\"");
    server.publish("/pub?id=a", "x");
    let answer = wire.answer(false);
    assert_eq!((answer.field("Connection"), &*answer.text()), (Some("close"), "x\r\n"));
    assert_eq!(wire.end(), "");
}

#[test]
fn the_type_of_an_event_stream_is_its_own_in_polls_of_0_3_too() {
    let server = Server::with_args(&["--strict", "--compat", "0.3.5"], "", OLD);
    server.publish("/pub?id=a", "x");
    let answer = server.get("/evpoll/a");
    assert_eq!(answer.field("Content-Type"), Some("text/event-stream; charset=utf-8"));
    assert_eq!(answer.text(), "data: x\r\n\r\n");
}

#[test]
fn websockets_before_0_5_take_every_text_frame_and_nothing_else() {
    let server = Server::with_args(&["--strict", "--compat", "0.3.4"], "", OLD);
    let mut socket = server.websocket("/ws/a");
    for first in [0x89, 0x82, 0x80] {
        socket.send(first, b"x");
    }
    socket.send(0x01, b"Hel");
    assert_eq!(socket.frame(), Frame::text("Hel"));
    socket.send(0x88, &1000u16.to_be_bytes());
    assert_eq!(socket.frame(), Frame { first: 0x88, payload: Vec::new() });
}

#[test]
fn an_empty_publish_of_0_3_is_closed_as_its_head_says() {
    for target in ["/pub?id=a", "/keep?id=a"] {
        let server = Server::with_args(&["--compat", "0.3.5"], "", OLD);
        let mut wire = server.connect();
        let answer = wire.ask(&format!("POST {target}"), &[], b"");
        assert_eq!(answer.status, 400);
        assert_eq!(answer.field("X-Nginx-PushStream-Explain"), Some("Empty post requests are not allowed."));
        match answer.field("Connection") {
            Some("close") => assert_eq!(wire.end(), ""),
            _ => assert_eq!(wire.ask("POST /keep?id=a", &[], b"x").status, 200),
        }
    }
}

#[test]
fn the_words_of_0_3_choose_its_wire_by_themselves() {
    let old = Server::start("", OLD);
    assert!(old.publish("/pub?id=a", "x").text().contains("\"published_messages\": \"1\""));
    let new = Server::start("", LOCATIONS);
    assert!(new.publish("/pub?id=a", "x").text().contains("\"published_messages\": 1,"));
}

#[test]
fn every_test_the_table_of_differences_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = std::fs::read_to_string(root.join("docs/COMPATIBILITY.md")).unwrap();
    let mut named = 0;
    for row in table.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| where")) {
        let last = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        for name in last.split('`').filter(|text| text.contains("::")) {
            let (place, test) = name.split_once("::").unwrap();
            let file = if place.contains('/') { place.to_owned() } else { format!("tests/it/defects/{place}") };
            let text = std::fs::read_to_string(root.join(format!("{file}.rs"))).unwrap_or_default();
            assert!(text.contains(&format!("fn {test}()")), "{name}");
            named += 1;
        }
    }
    assert!(named > 40, "{named} tests are named");
}
