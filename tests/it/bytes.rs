//! Any bytes as message body, channel id, event id or argument, sent through the real server: they come out as they went in
//! where they belong, and nowhere else. Framing, statistics, event streams and logs stay what a parser expects.

use std::io::Read as _;

use proptest::prelude::*;

use crate::support::{Client, Frame, Server, eventually, framed, masked, percent_encoded, property, request};

const ZONE: &str = "push_stream_max_messages_stored_per_channel 1;";
const LOCATIONS: &str = "
    location /pub { push_stream_publisher admin; push_stream_channels_path $arg_id; push_stream_store_messages on; }
    location /stat { push_stream_channels_statistics; push_stream_channels_path $arg_id; }
    location /stream { push_stream_subscriber; push_stream_channels_path $arg_id; push_stream_header_template hello; }
    location /poll { push_stream_subscriber polling; push_stream_channels_path $arg_id; }
    location /lp { push_stream_subscriber long-polling; push_stream_channels_path $arg_id; }
    location /gz { push_stream_subscriber polling; push_stream_channels_path $arg_id; gzip on; gzip_types text/plain; }
    location /origin { push_stream_subscriber polling; push_stream_channels_path a; push_stream_allowed_origins $arg_id; }
    location /added { add_header X-Added $arg_id always; return 200 x; }
    location /uri/ { add_header X-Added $uri always; return 302 $uri; }
    location /ev { push_stream_subscriber eventsource; push_stream_channels_path $arg_id;
                   push_stream_message_template '~channel~|~event-id~|~event-type~|~text~'; }
    location /ws { push_stream_subscriber websocket; push_stream_channels_path $arg_id; push_stream_websocket_allow_publish on;
                   push_stream_store_messages on; }";

/// What means something to one framing or another.
const FRAMING: &[&[u8]] = &[
    b"\r\n",
    b"0\r\n\r\n",
    b"5\r\n",
    b"\n\n",
    b"data: x",
    b"\x88\x00",
    b"\x81\x7f",
    b"~text~",
    b"~id~",
    b"\0",
    b"HTTP/1.1 200 OK\r\n\r\n",
    b"</script>",
    b"]);",
];

/// What means something to one format or another.
const AWKWARD: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\r",
    b"\"",
    b"\\",
    b"'",
    b": ",
    b" #",
    b"<",
    b"&",
    b"]]>",
    b"-",
    b"{",
    b"\t",
    b"%",
    "\u{e9}".as_bytes(),
    "\u{85}".as_bytes(),
    "\u{2028}".as_bytes(),
    "\u{fffe}".as_bytes(),
    b"\x1b[2J",
    b"\x7f",
    b"\xff",
    b"\xc3",
    b"\xed\xa0\x80",
];

fn server() -> Server {
    Server::with_locations(1, ZONE, LOCATIONS)
}

fn check<S: Strategy>(cases: u32, strategy: S, test: impl Fn(S::Value)) {
    property(cases)
        .run(&strategy, |value| {
            test(value);
            Ok(())
        })
        .unwrap();
}

/// Bodies that look like framing, and noise.
fn body() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        prop::sample::select(FRAMING).prop_map(<[u8]>::to_vec),
        prop::collection::vec(any::<u8>(), 1..200),
    ];
    prop::collection::vec(piece, 1..12).prop_map(|pieces| pieces.concat())
}

/// Channel ids of one path element that are not reserved: any byte but `/`, `*`, `?` (ends the decoding) and NUL.
fn id() -> impl Strategy<Value = Vec<u8>> {
    let piece =
        prop_oneof![prop::sample::select(AWKWARD).prop_map(<[u8]>::to_vec), prop::collection::vec(any::<u8>(), 1..8),];
    prop::collection::vec(piece, 1..6).prop_map(|pieces| {
        let mut id = pieces.concat();
        id.retain(|byte| !b"/*?\0".contains(byte));
        id.push(b'x');
        id
    })
}

#[test]
fn a_body_of_any_bytes_arrives_unchanged_in_every_mode() {
    bodies_arrive(&server());
}

#[test]
fn a_body_of_any_bytes_arrives_unchanged_in_every_mode_of_the_module() {
    bodies_arrive(&Server::configured(&framed(1, ZONE, LOCATIONS), &["--strict"]));
}

fn bodies_arrive(server: &Server) {
    let mut publisher = server.connect();
    let mut stream = server.connect();
    stream.send(request("GET", "/stream?id=a", "").as_bytes());
    assert_eq!(stream.status(), 200);
    assert_eq!(stream.chunk().unwrap(), b"hello");
    let socket = server.websocket("/ws?id=a");
    let (stream, socket, publisher) = (cell(stream), cell(socket), cell(&mut publisher));
    check(48, body(), |body| {
        let mut long_poll = server.connect();
        long_poll.send(request("GET", "/lp?id=a", "").as_bytes());
        let mut publisher = publisher.borrow_mut();
        eventually("the long-poll waits", || subscribers(&mut publisher) == 3);
        assert_eq!(publisher.post("/pub?id=a", "", &body).status, 200);
        assert_eq!(stream.borrow_mut().chunk().unwrap(), body);
        assert_eq!(socket.borrow_mut().frame(), Frame { first: 0x81, payload: body.clone() });
        assert_eq!(long_poll.reply().body, body);
        assert_eq!(publisher.get("/poll?id=a.b1", "").body, body, "stored");
        let zipped = publisher.get("/gz?id=a.b1", "Accept-Encoding: gzip\r\n");
        assert_eq!(zipped.field("content-encoding"), Some("gzip"));
        let mut unzipped = Vec::new();
        flate2::read::MultiGzDecoder::new(&zipped.body[..]).read_to_end(&mut unzipped).unwrap();
        assert_eq!(unzipped, body, "compressed");
        let mut old = server.connect();
        old.send(b"GET /poll?id=a.b1 HTTP/1.0\r\n\r\n");
        assert_eq!(old.reply().body, body, "HTTP/1.0");
        assert_eq!(publisher.get("/poll?id=a.b1&callback=f", "").body, [b"f([", &body[..], b"]);"].concat());
    });
}

fn cell<T>(value: T) -> std::cell::RefCell<T> {
    std::cell::RefCell::new(value)
}

fn subscribers(client: &mut Client) -> u64 {
    let reply = client.get("/stat", "");
    let summary: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
    summary["subscribers"].as_u64().unwrap()
}

#[test]
fn statistics_are_well_formed_whatever_the_ids() {
    let server = server();
    let client = cell(server.connect());
    check(64, id(), |id| {
        let mut client = client.borrow_mut();
        let path = percent_encoded(&id);
        assert_eq!(client.post(&format!("/pub?id={path}"), "", b"x").status, 200);
        let shown = String::from_utf8_lossy(&id).into_owned();
        for target in [format!("/stat?id={path}"), format!("/stat?id={path}/{path}"), "/stat?id=ALL".to_owned()] {
            check_json(&client.get(&target, "").body, &shown);
            check_xml(&client.get(&target, "Accept: text/xml\r\n").body, &shown);
            check_yaml(&client.get(&target, "Accept: text/yaml\r\n").body, &shown);
            check_plain(&client.get(&target, "Accept: text/plain\r\n").body);
        }
        assert_eq!(client.delete(&format!("/pub?id={path}")).status, 200);
    });
}

fn check_json(body: &[u8], id: &str) {
    let value: serde_json::Value =
        serde_json::from_slice(body).unwrap_or_else(|error| panic!("{error}: {}", lossy(body)));
    let infos = value["infos"].as_array().map_or(vec![value.clone()], Clone::clone);
    assert!(infos.iter().any(|info| info["channel"].as_str() == Some(id)), "{id:?}: {}", lossy(body));
}

fn check_xml(body: &[u8], id: &str) {
    let text = std::str::from_utf8(body).unwrap_or_else(|error| panic!("{error}: {}", lossy(body)));
    let document = roxmltree::Document::parse(text.trim()).unwrap_or_else(|error| panic!("{error}: {text}"));
    let is_xml = |c: char| !matches!(c, '\0'..'\t' | '\x0b' | '\x0c' | '\x0e'..' ' | '\u{fffe}' | '\u{ffff}');
    let id: String = id.chars().map(|c| if is_xml(c) { c } else { '\u{fffd}' }).collect();
    let names = document.descendants().filter(|node| node.has_tag_name("name"));
    let names: Vec<_> = names.map(|node| node.text().unwrap_or_default().to_owned()).collect();
    assert!(names.contains(&id), "{id:?}: {names:?}");
}

fn check_yaml(body: &[u8], id: &str) {
    let text = std::str::from_utf8(body).unwrap_or_else(|error| panic!("{error}: {}", lossy(body)));
    let documents = yaml_rust2::YamlLoader::load_from_str(text).unwrap_or_else(|error| panic!("{error}: {text:?}"));
    let document = &documents[0];
    let infos = document["infos"].as_vec().map_or(vec![document.clone()], Clone::clone);
    let ids: Vec<_> = infos.iter().map(|info| info["channel"].clone()).collect();
    assert!(ids.iter().any(|found| found.as_str() == Some(id)), "{id:?}: {ids:?}");
}

/// Each line is one of ours.
fn check_plain(body: &[u8]) {
    let text = std::str::from_utf8(body).unwrap_or_else(|error| panic!("{error}: {}", lossy(body)));
    for line in text.trim_end().split("\r\n") {
        let ours = ["channel: ", "published_messages: ", "stored_messages: ", "active_subscribers: ", "hostname: "];
        assert!(ours.iter().any(|name| line.starts_with(name)), "{line:?}");
        assert!(!line.chars().any(char::is_control), "{line:?}");
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn an_event_stream_holds_only_the_lines_that_were_published() {
    let server = server();
    let publisher = cell(server.connect());
    let field = prop::collection::vec(prop_oneof![Just(b'a'), 0x21_u8..0x7f, 0x80_u8..], 0..20);
    check(48, (id(), body(), field), |(id, body, tag)| {
        let path = percent_encoded(&id);
        let mut stream = server.connect();
        stream.send(request("GET", &format!("/ev?id={path}"), "").as_bytes());
        assert_eq!(stream.status(), 200);
        assert_eq!(stream.chunk().unwrap(), b": \n");
        let mut publisher = publisher.borrow_mut();
        let mut request =
            format!("POST /pub?id={path} HTTP/1.1\r\nHost: t\r\nContent-Length: {}\r\n", body.len()).into_bytes();
        for name in ["Event-Id: ", "Event-Type: "] {
            request.extend_from_slice(name.as_bytes());
            request.extend_from_slice(&tag);
            request.extend_from_slice(b"\r\n");
        }
        request.extend_from_slice(b"\r\n");
        request.extend_from_slice(&body);
        publisher.send(&request);
        assert_eq!(publisher.reply().status, 200);
        let mut event = Vec::new();
        while !event.ends_with(b"\n\n") && event != [&b"id: "[..], &tag, b"\nevent: ", &tag, b"\n\n"].concat() {
            event.extend_from_slice(&stream.chunk().unwrap());
        }
        let lines: Vec<&[u8]> =
            event.split(|byte| matches!(byte, b'\r' | b'\n')).filter(|line| !line.is_empty()).collect();
        let texts = body.split(|byte| matches!(byte, b'\r' | b'\n')).filter(|line| !line.is_empty()).count();
        assert_eq!(lines.len(), 2 + texts, "{id:?} {body:?} {}", lossy(&event));
        assert!(lines[0].starts_with(b"id: ") && lines[1].starts_with(b"event: "), "{}", lossy(&event));
        assert!(lines[2..].iter().all(|line| line.starts_with(b"data: ")), "{}", lossy(&event));
    });
}

#[test]
fn line_ends_in_an_event_id_are_refused() {
    let server = server();
    for value in ["a\rb", "a\r\rdata: x", "a\0b"] {
        let mut client = server.connect();
        let reply = client.post("/pub?id=a", &format!("Event-Id: {value}\r\n"), b"x");
        assert_eq!(reply.status, 400, "{value:?}");
    }
}

#[test]
fn no_argument_begins_a_header_field() {
    let server = server();
    check(64, id(), |value| {
        let value = [&value[..], b"\r\nInjected: 1\r\n\r\nX"].concat();
        let value = percent_encoded(&value);
        // A redirect by a decoded URI may be refused, never be split.
        for target in [format!("/origin?id={value}"), format!("/added?id={value}"), format!("/uri/{value}")] {
            let mut client = server.connect();
            let reply = client.get(&target, "Connection: close\r\n");
            assert!(reply.field("injected").is_none(), "{target}");
            assert!(reply.fields.iter().all(|(_, value)| !value.contains(&0)), "{target}");
            assert_eq!(client.end(), "", "one answer to {target}");
        }
    });
}

#[test]
fn every_request_leaves_one_line_in_the_access_log_and_none_of_its_making_in_the_error_log() {
    let server = server();
    let count = std::cell::Cell::new(0);
    check(48, id(), |id| {
        let path = percent_encoded(&id);
        let raw: Vec<u8> = id.iter().copied().filter(|byte| *byte > b' ' && *byte != 0x7f).collect();
        let mut client = server.connect();
        client.send(format!("GET /poll?id={path} HTTP/1.1\r\nHost: t\r\nUser-Agent: ").as_bytes());
        client.send(&raw);
        client.send(b"\r\nReferer: ");
        client.send(&raw);
        client.send(b"\r\n\r\n");
        assert_eq!(client.reply().status, 304);
        let mut client = server.connect();
        client.send(format!("GET /missing/{path} HTTP/1.1\r\nHost: t\r\n\r\n").as_bytes());
        assert!(matches!(client.reply().status, 400 | 404), "{path}");
        let mut client = server.connect();
        client.send(format!("DELETE /pub?id=ALL{path} HTTP/1.1\r\nHost: t\r\n\r\n").as_bytes());
        assert_eq!(client.reply().status, 404);
        count.set(count.get() + 3);
    });
    let mut log = Vec::new();
    std::fs::File::open(server.dir().join("access.log")).unwrap().read_to_end(&mut log).unwrap();
    let log = String::from_utf8(log).unwrap();
    assert_eq!(log.lines().count(), count.get());
    for line in log.lines() {
        assert!(line.starts_with("127.0.0.1 - ") && line.ends_with('"'), "{line}");
        assert!(!line.chars().any(char::is_control), "{line:?}");
    }
    let errors = server.file("error.log");
    for line in errors.lines() {
        assert!(line.as_bytes().get(4) == Some(&b'/') && line.contains("] "), "{line:?}");
        assert!(!line.chars().any(char::is_control), "{line:?}");
    }
}

#[test]
fn any_bytes_on_a_websocket_are_answered_by_frames_or_a_close() {
    let server = server();
    check(64, prop::collection::vec(any::<u8>(), 1..300), |bytes| {
        let mut socket = server.websocket("/ws?id=w").wire;
        socket.send(&bytes);
        socket.send(masked(0x88, &1000_u16.to_be_bytes()));
        socket.shutdown();
        socket.end();
        let answer = socket.bytes;
        assert!(is_frames(&answer), "{bytes:?} -> {answer:?}");
    });
}

/// Whole unmasked frames; control frames no longer than they may be.
fn is_frames(mut bytes: &[u8]) -> bool {
    while let [first, second, rest @ ..] = bytes {
        let control = first & 8 != 0;
        let (head, length) = match second {
            126 if !control && rest.len() >= 2 => (2, usize::from(u16::from_be_bytes([rest[0], rest[1]]))),
            0..126 => (0, usize::from(*second)),
            _ => return false,
        };
        let Some(after) = rest.get(head + length..) else { return false };
        if ![0x81, 0x88, 0x8A].contains(first) {
            return false;
        }
        bytes = after;
    }
    bytes.is_empty()
}

#[test]
fn a_callback_cannot_carry_markup() {
    let server = server();
    server.connect().post("/pub?id=a", "", b"x");
    check(64, body(), |callback| {
        let reply = server.connect().get(&format!("/poll?id=a.b1&callback={}", percent_encoded(&callback)), "");
        let harmless = reply.status != 200
            || !reply.body.iter().any(|byte| b"<>\r\n;".contains(byte) && !reply.body.ends_with(b"]);"));
        assert!(harmless, "{}", lossy(&reply.body));
        if reply.status == 200 {
            let name = reply.body.split(|byte| *byte == b'(').next().unwrap();
            assert!(!name.iter().any(|byte| b"<>();\r\n\0".contains(byte)), "{}", lossy(&reply.body));
        }
    });
}
