//! Refusals: each is one count of its reason and one line of the error log, which says who was refused and why and shows no whole id,
//! wherever the request has come to.

use std::collections::BTreeSet;

use crate::support::{Server, exchange, free_port};

/// An id as Bitrix makes those of private channels.
const SECRET: &str = "3f2a9c77d1e04b5f8a6b7c8d9e0f1a2b";

const HTTP: &str = "push_stream_max_channel_id_length 40; push_stream_max_subscribers_per_channel 1; push_stream_max_number_of_channels 3;
    push_stream_events_channel_id events; push_stream_wildcard_channel_prefix w_; client_max_body_size 1k;
    limit_req_zone $binary_remote_addr zone=once:1m rate=1r/m;";

const SERVER: &str = r"
    location /pub { push_stream_publisher admin; push_stream_channels_path $arg_id; push_stream_store_messages on; }
    location /stream { push_stream_subscriber; push_stream_header_template hello; push_stream_channels_path $arg_id; }
    location /known { push_stream_subscriber; push_stream_channels_path $arg_id; push_stream_authorized_channels_only on; }
    location /wild { push_stream_subscriber; push_stream_channels_path $arg_id; push_stream_wildcard_channel_max_qtd 1; }
    location /ws { push_stream_subscriber websocket; push_stream_channels_path $arg_id; }
    location /shut { deny all; push_stream_subscriber; push_stream_channels_path $arg_id; }
    location /any { satisfy any; deny all; auth_basic x; auth_basic_user_file passwords; push_stream_subscriber; push_stream_channels_path $arg_id; }
    location /basic { auth_basic x; auth_basic_user_file passwords; push_stream_subscriber; push_stream_channels_path $arg_id; }
    location /lost { auth_basic x; auth_basic_user_file none; push_stream_subscriber; push_stream_channels_path $arg_id; }
    location /asked { auth_request /no; push_stream_subscriber; push_stream_channels_path $arg_id; }
    location = /no { return 403; }
    location /once { limit_req zone=once; limit_req_status 429; push_stream_publisher; push_stream_channels_path $arg_id; }
    location /twice { limit_req zone=once; push_stream_publisher; push_stream_channels_path $arg_id; }
    location /returned { return 403; }
    location /broken { return 500; }
    location /cycle { rewrite ^ /cycle last; }
    location /quiet { log_not_found off; root html; }
";

/// Reasons that want a server that leaves, is full, or shares its channels: tests/it/bounds, reload and nodes meet them.
const ELSEWHERE: [&str; 6] = ["leaving", "memory_full", "joining", "away", "crowded", "unanswered"];

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
}

fn with(target: &str, field: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{field}\r\n\r\n")
}

fn post(target: &str, body: &str) -> String {
    format!("POST {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// What is sent, the reason it counts for, and what its line says.
fn cases() -> Vec<(String, &'static str, &'static str)> {
    let upgrade = "Upgrade: websocket\r\nSec-WebSocket-Version: 1\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==";
    let module = "push stream module: ";
    vec![
        (get("/stream"), "no_channel_id", "400: No channel id provided."),
        (get(&format!("/stream?CHANNEL={SECRET}")), "no_channel_id", module),
        (get(&format!("/stream?id=ALL/{SECRET}")), "reserved_id", module),
        (get(&format!("/stream?id={SECRET}{SECRET}")), "id_too_large", module),
        (post(&format!("/pub?id={SECRET}"), ""), "empty_post", module),
        (post("/pub?id=events", "x"), "events_channel_read_only", module),
        (get("/stream?id=events"), "events_channel_forbidden", module),
        (get(&format!("/known?id={SECRET}un")), "not_authorized", module),
        (get("/wild?id=w_a/w_b"), "too_many_wildcards", module),
        (get("/stream?id=taken"), "subscribers_limit", module),
        (post(&format!("/pub?id=a/b/c/{SECRET}4"), "x"), "too_many_channels", module),
        (get(&format!("/ws?id={SECRET}")), "handshake", "request refused: 400 Bad Request"),
        (with(&format!("/ws?id={SECRET}"), upgrade), "handshake", "request refused: 400"),
        (get(&format!("/basic?id={SECRET}")), "unauthorized", "no user/password was provided for basic authentication"),
        (with("/basic?id=a", "Authorization: Basic dTp4"), "unauthorized", "user \"u\": password mismatch"),
        (with("/basic?id=a", "Authorization: Basic djp4"), "unauthorized", "user \"v\" was not found in \""),
        (with("/lost?id=a", "Authorization: Basic dTp4"), "forbidden", "/none\" failed (2: No such file or directory)"),
        (get("/any?id=a"), "unauthorized", "no user/password"),
        (get(&format!("/shut?id={SECRET}")), "forbidden", "access forbidden by rule"),
        (get(&format!("/asked?id={SECRET}")), "forbidden", "request refused: 403 Forbidden"),
        (get(&format!("/returned/{SECRET}")), "forbidden", "request refused: 403 Forbidden"),
        (get(&format!("/nowhere/{SECRET}?id={SECRET}")), "not_found", "failed (2: No such file or directory)"),
        (with("/nowhere", &format!("Referer: http://a/b?id={SECRET}")), "not_found", "failed (2: No such"),
        (
            format!("DELETE /pub?id={SECRET}7 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
            "not_found",
            "request refused: 404",
        ),
        (
            format!("PATCH /pub?id={SECRET} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
            "method",
            "request refused: 405 Not Allowed",
        ),
        (format!("TRACE /{SECRET} HTTP/1.1\r\nHost: a\r\n\r\n"), "method", "client sent method is not allowed"),
        (
            post(&format!("/pub?id={SECRET}"), &"x".repeat(2000)),
            "too_large",
            "client intended to send too large body: 2000 bytes",
        ),
        (
            format!(
                "POST /pub?id=taken HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n800\r\n{}\r\n0\r\n\r\n",
                "x".repeat(2048)
            ),
            "too_large",
            "client intended to send too large chunked body",
        ),
        (post("/once?id=taken", "x"), "limited", "limiting requests, excess: "),
        (post("/twice?id=taken", "x"), "unavailable", "limiting requests, excess: "),
        (get("/broken"), "failed", "request refused: 500 Internal Server Error"),
        (get("/cycle"), "failed", "rewrite or internal redirection cycle while processing"),
        ("GARBAGE\r\n\r\n".to_owned(), "bad_request", "client sent invalid request"),
        (
            format!("GET /stream?id={SECRET} HTTP/1.1\r\nHost: a b\r\n\r\n"),
            "bad_request",
            "client sent invalid request",
        ),
        (
            format!("GET /{}{SECRET} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(40_000)),
            "bad_request",
            "client sent too long URI",
        ),
        (
            "POST /pub?id=taken HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n".to_owned(),
            "bad_request",
            "client sent invalid chunked body",
        ),
        (
            "POST /pub?id=taken HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n".to_owned(),
            "failed",
            "client sent unknown Transfer-Encoding",
        ),
    ]
}

fn started(args: &[&str]) -> (Server, u16) {
    let port = free_port();
    let address = format!("127.0.0.1:{port}");
    let args = [args, &["--take-over", "--status", &address]].concat();
    let server = Server::with_args(&args, HTTP, SERVER);
    std::fs::write(server.dir().join("passwords"), "u:{PLAIN}p\n").unwrap();
    server.eventually("the operators' listener", || exchange(port, "GET", "/readyz", "").is_ok());
    (server, port)
}

fn refused(port: u16, reason: &str) -> Option<f64> {
    let page = exchange(port, "GET", "/metrics", "").unwrap();
    let name = format!("pushstreamd_refusals_total{{reason=\"{reason}\"}} ");
    page.lines().find_map(|line| line.strip_prefix(&*name)?.trim().parse().ok())
}

fn reasons(port: u16) -> BTreeSet<String> {
    let page = exchange(port, "GET", "/metrics", "").unwrap();
    let names =
        page.lines().filter_map(|line| line.strip_prefix("pushstreamd_refusals_total{reason=\"")?.split('"').next());
    names.map(str::to_owned).collect()
}

#[test]
fn each_refusal_is_one_line_that_says_who_and_why_and_one_count_of_its_reason() {
    let (server, port) = started(&[]);
    let mut first = server.connect();
    first.send(get("/stream?id=taken"));
    first.head();
    // The one request that the limit lets through.
    server.ask("POST /once?id=taken", &[], b"x");
    let mut met: BTreeSet<String> = ELSEWHERE.map(str::to_owned).into();
    for (sent, reason, text) in cases() {
        let shown = &sent[..sent.len().min(120)];
        let (before, told) = (refused(port, reason).unwrap(), server.file("error.log").len());
        let mut client = server.connect();
        client.send(&sent);
        client.shutdown();
        client.end();
        server.eventually(&format!("{reason} of {shown:?}"), || refused(port, reason) == Some(before + 1.0));
        let lines = || {
            server.file("error.log")[told..]
                .lines()
                .filter(|line| !line.contains("[info]"))
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        server.eventually(&format!("a line of {shown:?}"), || !lines().is_empty());
        let lines = lines();
        assert_eq!(lines.len(), 1, "{shown:?}: {lines:#?}");
        assert!(
            lines[0].contains(text) && lines[0].contains(", client: 127.0.0.1, server: "),
            "{shown:?}: {}",
            lines[0]
        );
        assert!(!lines[0].contains(&SECRET[..16]), "{shown:?}: {}", lines[0]);
        met.insert(reason.to_owned());
    }
    assert_eq!(met, reasons(port), "each reason there is was met");
    let before = server.file("error.log").len();
    assert_eq!(server.get("/quiet/nothing").status, 404);
    assert_eq!(server.get("/stream").status, 400);
    let log = server.file("error.log");
    assert!(!log[before..].contains("/quiet"), "nobody wants to hear of it: {}", &log[before..]);
}

#[test]
fn with_strict_the_log_says_of_refusals_what_nginx_says() {
    let (server, port) = started(&["--strict"]);
    for line in ["PATCH /pub?id=a", "GET /returned", "GET /ws?id=a"] {
        assert!(server.ask(line, &[], b"").status >= 400);
    }
    assert_eq!(server.get("/stream").status, 400);
    assert_eq!(refused(port, "method"), Some(1.0));
    assert!(!server.file("error.log").contains("request refused"), "{}", server.file("error.log"));
}
