//! How requests follow each other on a connection, and what a request may make the server say.

use std::time::Duration;

use crate::support::{LOCATIONS, Server};

#[test]
fn the_body_of_a_refused_request_is_not_the_next_request() {
    let server = Server::usual();
    let smuggled = b"GET /pub?id=smuggled HTTP/1.1\r\nHost: x\r\n\r\n";
    for line in ["POST /pub?id=ALL", "POST /pub", "PATCH /pub?id=a", "POST /sub/a", "POST /stats", "POST /ws/a"] {
        for chunked in [false, true] {
            let mut wire = server.connect();
            if chunked {
                wire.send(format!("{line} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"));
                wire.try_send(format!("{:x}\r\n", smuggled.len()).as_bytes());
                wire.try_send(&[smuggled, &b"\r\n0\r\n\r\n"[..]].concat());
            } else {
                wire.send_request(line, &[], smuggled);
            }
            wire.try_send(b"GET /stats HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
            let all = wire.end();
            let heads: Vec<_> = all.lines().filter(|text| text.starts_with("HTTP/1.1 ")).collect();
            assert!(heads[0].contains(" 40"), "{line}: {all}");
            let refusal = all.split("\r\n\r\n").next().unwrap();
            let rest: &[&str] = if refusal.contains("Connection: close") { &[] } else { &["HTTP/1.1 200 OK"] };
            assert_eq!(heads[1..], *rest, "{line}: {all}");
        }
    }
    assert_eq!(server.get("/pub?id=smuggled").status, 404);
}

#[test]
fn a_stream_without_a_header_template_shows_its_head_at_once_137_14() {
    let server = Server::usual();
    let mut stream = server.subscribe("/sub/a");
    assert!(stream.head().starts_with("HTTP/1.1 200 OK\r\n"));
}

#[test]
fn a_constant_path_is_decoded_alike_for_every_request() {
    let server = Server::start(
        "",
        &format!(
            "{LOCATIONS} location = /fixed {{ push_stream_publisher; push_stream_channels_path \"a%20b%2525\"; }}"
        ),
    );
    for published in 1..=3 {
        let text = server.publish("/fixed", "x").text();
        assert!(
            text.starts_with(&format!("{{\"channel\": \"a b%25\", \"published_messages\": {published},")),
            "{text}"
        );
    }
    assert_eq!(server.count("channels"), 1);
}

#[test]
fn a_callback_that_could_be_script_is_refused() {
    let server = Server::usual();
    server.publish("/pub?id=a", "x");
    for callback in ["%3Cscript%3E", "a%0Ab", "a(b)", "a;b"] {
        let answer = server.get(&format!("/poll/a.b1?callback={callback}"));
        assert_eq!(answer.status, 400, "{callback}: {}", answer.text());
        let waiting = server.get(&format!("/lp/other?callback={callback}"));
        assert_eq!(waiting.status, 400, "{callback}");
    }
    server.await_count("subscribers", 0);
    assert_eq!(server.get("/poll/a.b1?callback=a.b[%27c%27].$d_1").text(), "a.b['c'].$d_1([<x>]);");
}

#[test]
fn a_jsonp_answer_has_no_comma_too_many_on_any_wire_152() {
    for line in ["0.3.4", "0.3.5", "0.4.0", "0.5"] {
        let server = Server::with_args(&["--compat", line], "", LOCATIONS);
        server.publish("/pub?id=a", "x");
        server.publish("/pub?id=a", "y");
        let text = server.get("/poll/a.b2?callback=f").text().replace("\r\n", "");
        assert_eq!(text, "f([<x>,<y>]);", "{line}");
    }
}

#[test]
fn answers_without_a_body_leave_the_connection_ready_on_any_wire_25() {
    for line in ["0.3.5", "0.4.0", "0.5"] {
        let server = Server::with_args(&["--compat", line], "", LOCATIONS);
        let mut wire = server.connect();
        for _ in 0..2 {
            let answer = wire.ask("GET /lp/quiet", &[], b"");
            assert!(answer.head.starts_with("HTTP/1.1 304 Not Modified\r\n"), "{line}: {}", answer.head);
            assert_eq!(wire.rest(Duration::from_millis(30)), "", "{line}: nothing follows a head without a body");
        }
    }
}

#[test]
fn a_preflight_need_not_precede_every_poll_153() {
    let server = Server::start("push_stream_allowed_origins \"*\";", LOCATIONS);
    let fields = ["Origin: http://page", "Access-Control-Request-Method: GET"];
    assert_eq!(server.ask("OPTIONS /lp/a", &fields, b"").field("Access-Control-Max-Age"), Some("86400"));
    assert_eq!(server.ask("OPTIONS /lp/a", &[], b"").field("Access-Control-Max-Age"), None);
    let strict = Server::with_args(&["--strict"], "push_stream_allowed_origins \"*\";", LOCATIONS);
    assert_eq!(strict.ask("OPTIONS /lp/a", &fields, b"").field("Access-Control-Max-Age"), None);
}

#[test]
fn proxies_are_told_not_to_hold_streams_back_137() {
    let server = Server::usual();
    for target in ["/sub/a", "/ev/a"] {
        for (field, proxied) in
            [("X-Forwarded-For: 10.0.0.1", true), ("Connection: close", true), ("Accept: */*", false)]
        {
            let mut wire = server.connect();
            wire.send_request(&format!("GET {target}"), &[field], b"");
            let told = wire.head().contains("\r\nX-Accel-Buffering: no\r\n");
            assert_eq!(told, proxied, "{target} {field}");
        }
    }
}

#[test]
fn directives_of_old_versions_are_read_with_a_warning() {
    let old = "location /old { push_stream_publisher; push_stream_keepalive on; push_stream_channels_path $arg_id; }";
    let output = crate::support::test_configuration(&[], "", old);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("[warn]"), "{said}");
    assert!(!crate::support::test_configuration(&["--strict"], "", old).status.success());
}

#[test]
fn a_user_that_does_not_exist_is_a_warning() {
    const CONFIGURATION: &str = "user nobody-of-that-name; pid x.pid; events { } http { push_stream_shared_memory_size 4m; server { listen 127.0.0.1:1; \
        location /pub { push_stream_publisher; push_stream_channels_path $arg_id; } } }";
    let file = std::fs::read_to_string("/proc/self/status").unwrap();
    let root = file.lines().any(|line| line.starts_with("Uid:\t0\t"));
    let output = crate::support::test_whole(&[], CONFIGURATION);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("[warn]"), "{said}");
    let strict = crate::support::test_whole(&["--strict"], CONFIGURATION);
    assert_eq!(strict.status.success(), !root);
}
