//! Websockets as RFC 6455 has them, where the module lost frames, garbled them, or cut the line.

use std::time::Duration;

use crate::support::{Frame, LOCATIONS, Server, Socket, masked, request};

#[test]
fn frames_that_arrive_together_are_all_handled() {
    let server = Server::usual();
    let first = [masked(0x81, b"one"), masked(0x81, b"two")].concat();
    let mut socket = Socket::open(server.connect(), "/ws/a", &first);
    assert_eq!([socket.frame(), socket.frame()], [Frame::text("<one>"), Frame::text("<two>")]);
    socket.wire.send([masked(0x81, b"three"), masked(0x89, b"p"), masked(0x81, b"four")].concat());
    let pong = Frame { first: 0x8A, payload: b"p".to_vec() };
    let mut got = [socket.frame(), socket.frame(), socket.frame()];
    got.sort_by_key(|frame| frame.first);
    assert_eq!(got, [Frame::text("<three>"), Frame::text("<four>"), pong]);
}

#[test]
fn a_close_is_answered_with_its_code() {
    let server = Server::usual();
    for code in [1000u16, 1001, 3000] {
        let mut socket = server.websocket("/ws/a");
        socket.send(0x88, &code.to_be_bytes());
        let answer = socket.frame();
        assert_eq!((answer.first, answer.code()), (0x88, Some(code)));
        socket.wire.end();
    }
    server.await_count("subscribers", 0);
}

#[test]
fn a_character_cut_by_fragments_and_a_ping_between_them_are_fine() {
    let server = Server::usual();
    let mut socket = server.websocket("/ws/a");
    let snow = "\u{2603}".as_bytes();
    socket.send(0x01, &snow[..1]);
    socket.send(0x89, b"are you there");
    assert_eq!(socket.frame(), Frame { first: 0x8A, payload: b"are you there".to_vec() });
    socket.send(0x00, &snow[1..2]);
    socket.send(0x80, &snow[2..]);
    assert_eq!(socket.frame(), Frame::text("<\u{2603}>"));
}

#[test]
fn a_length_field_is_not_believed() {
    let server = Server::usual();
    let before = server.resident_kib();
    for _ in 0..20 {
        let mut socket = server.websocket("/ws/a");
        socket.wire.send([&[0x81, 0xFF][..], &(1u64 << 40).to_be_bytes(), &[0; 4]].concat());
        assert_eq!(socket.frame().code(), Some(1009));
    }
    assert!(server.resident_kib() < before + 20 * 1024, "{} KiB from {before}", server.resident_kib());
}

#[test]
fn what_breaks_the_protocol_is_closed_with_a_reason_291() {
    let server = Server::usual();
    for (first, payload, code) in [(0x81, &b"\xc3\x28"[..], 1007), (0x83, b"x", 1002), (0x80, b"x", 1002)] {
        let mut socket = server.websocket("/ws/a");
        socket.send(first, payload);
        assert_eq!(socket.frame().code(), Some(code), "{first:x}");
    }
}

#[test]
fn a_binary_message_is_published_and_stays_binary() {
    let server = Server::usual();
    let mut socket = server.websocket("/ws/a");
    socket.send(0x82, b"\xff\x00");
    socket.send(0x81, b"text");
    assert_eq!(socket.frame(), Frame { first: 0x82, payload: b"<\xff\x00>".to_vec() });
    assert_eq!(socket.frame(), Frame::text("<text>"));
}

#[test]
fn a_handshake_without_a_channel_is_told_so() {
    let server = Server::usual();
    let mut socket = server.websocket("/ws/");
    let close = socket.frame();
    assert_eq!(close.code(), Some(1008));
    assert_eq!(&close.payload[2..], b"{\"http_status\": 400, \"explain\":\"No channel id provided.\"}");
}

#[test]
fn a_handshake_that_lacks_something_is_told_what_291() {
    let server = Server::usual();
    let answer = server.get("/ws/a");
    assert_eq!(answer.status, 400);
    assert!(answer.field("X-Nginx-PushStream-Explain").unwrap().starts_with("Don't have at least one"));
}

#[test]
fn quick_messages_arrive_whole_and_in_order_209_202() {
    let server = Server::usual();
    let mut sockets: Vec<_> = (0..20).map(|_| server.websocket("/ws/a")).collect();
    let mut publisher = server.connect();
    let texts: Vec<_> = (0..100).map(|n| format!("{n}-{}", "x".repeat(n * 7 % 400))).collect();
    for text in &texts {
        publisher.send_request("POST /pub?id=a", &[], text.as_bytes());
    }
    for socket in &mut sockets {
        for text in &texts {
            assert_eq!(socket.frame(), Frame::text(&format!("<{text}>")));
        }
    }
}

#[test]
fn a_big_frame_reaches_a_slow_reader_86_149() {
    let server = Server::start("client_max_body_size 16m;", LOCATIONS);
    for size in [100_000, 8 << 20] {
        let mut socket = server.websocket("/ws/a");
        let text = vec![b'x'; size];
        server.publish("/pub?id=a", &text);
        std::thread::sleep(Duration::from_millis(200));
        let got = socket.frame();
        assert_eq!(got.payload.len(), size + 2);
        socket.send(0x81, b"still here");
        assert_eq!(socket.frame(), Frame::text("<still here>"));
    }
}

#[test]
fn pings_go_out_as_often_as_configured_190() {
    let server = Server::start(
        "",
        &LOCATIONS.replace("push_stream_websocket_allow_publish on;", "push_stream_ping_message_interval 100ms;"),
    );
    let mut socket = server.websocket("/ws/a");
    for _ in 0..3 {
        assert_eq!(socket.frame(), Frame { first: 0x89, payload: Vec::new() });
    }
}

#[test]
fn messages_go_only_to_channels_of_the_connection_185() {
    let server = Server::usual();
    let mut other = server.websocket("/ws/other");
    let mut socket = server.websocket("/ws/a/b");
    socket.send(0x81, b"x");
    assert_eq!([socket.frame(), socket.frame()], [Frame::text("<x>"), Frame::text("<x>")]);
    assert_eq!(other.wire.rest(Duration::from_millis(50)), "");
}

#[test]
fn messages_are_compressed_where_both_sides_want_it_273() {
    let server = Server::start("", &format!("location /zip {{ push_stream_subscriber websocket; {ZIP} }} {LOCATIONS}"));
    let mut plain = server.websocket("/zip?id=a");
    let mut wire = server.connect();
    let offer = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x\r\n\
                 Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
    wire.send(request("GET", "/zip?id=a", offer));
    assert!(wire.head().contains("\r\nSec-WebSocket-Extensions: permessage-deflate; "));
    server.publish("/pub?id=a", "again and ".repeat(40));
    assert_eq!(plain.frame(), Frame::text(&"again and ".repeat(40)));
    let head = wire.take(2);
    assert_eq!(head[0], 0xC1, "a compressed text");
    assert!(head[1] < 60, "{} bytes", head[1]);
}

const ZIP: &str = "push_stream_channels_path $arg_id; push_stream_websocket_deflate on;";

#[test]
fn a_message_that_finds_no_memory_ends_its_websocket_and_says_so() {
    let ids: Vec<String> = (0..600).map(|number| format!("{number:x}")).collect();
    let path = format!("/ws/{}", ids.join("/"));
    for (strict, code) in [(false, Some(1013)), (true, None)] {
        let args: &[&str] = if strict { &["--strict"] } else { &[] };
        let place = "location ~ ^/ws/(.*) { push_stream_subscriber websocket; push_stream_channels_path $1;
                     push_stream_websocket_allow_publish on; push_stream_store_messages on; }";
        let server = Server::with_args(args, "push_stream_shared_memory_size 32m;", place);
        let mut socket = server.websocket(&path);
        // Its text is shared, and yet all of it together is more than the zone may hold.
        socket.send(0x81, &vec![b'x'; 1_000_000]);
        let mut frame = socket.frame();
        while frame.first == 0x89 {
            frame = socket.frame();
        }
        assert_eq!((frame.first, frame.code()), (0x88, code), "strict {strict}");
        assert!(server.log().contains("unable to allocate message in shared memory"));
        // Nobody else is harmed, and what fits is published.
        let mut other = server.websocket("/ws/a");
        other.send(0x81, b"fits");
        assert_eq!(other.frame(), Frame::text("fits"));
    }
}
