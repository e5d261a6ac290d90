//! nginx's language at run time: what nginx 1.22 answers to nearly 700 requests, and pushstreamd has to answer as well.
//!
//! `nginx_semantics/site.conf` is the configuration of both. A line of `answers.jsonl` is a request as sent and the answers as
//! [`told`] writes them down. Limits and backends have tests of their own, as their answers depend on what came before.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use crate::support::{PATIENCE, Server, backend, eventually, framed, request};

const CONF: &str = include_str!("nginx_semantics/site.conf");
const ANSWERS: &str = include_str!("nginx_semantics/answers.jsonl");

/// Files of the site, below `html`.
const FILES: [(&str, &str); 9] = [
    ("index.html", "<p>index</p>\n"),
    ("a.txt", "0123456789"),
    ("a.xyz", "xyz"),
    ("50x.html", "50x page\n"),
    ("404.html", "404 page\n"),
    ("dir/index.htm", "dir index\n"),
    ("al/b.css", "css{}"),
    ("sp ace.txt", "sp"),
    ("perc%t.txt", "pc"),
];

/// Starts the site with its files and a backend for `auth_request`.
fn site() -> Server {
    let backend = backend();
    let server = Server::configured(&CONF.replace("@BACKEND@", &backend.to_string()), &["--take-over"]);
    let html = server.dir().join("html");
    fs::create_dir_all(html.join("sub/deep")).unwrap();
    for (name, text) in FILES {
        let path = html.join(name);
        fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).unwrap();
        fs::write(&path, text).unwrap();
        let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        fs::File::options().append(true).open(&path).unwrap().set_modified(modified).unwrap();
    }
    fs::write(server.dir().join("htpasswd"), "u:{PLAIN}p\nd:ab01FAX.bQRSU\n").unwrap();
    server
}

/// Sends bytes on a connection of their own and reads whatever comes.
fn exchange(server: &Server, request: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let _ = stream.write_all(request);
    let _ = stream.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    answer
}

/// Answers on one line each: `STATUS | FIELD | ... || BODY`, without Server and Date, nginx's own pages as `<page>` without
/// their length, moments to come as `later`.
fn told(mut answer: &[u8], is_head: bool) -> String {
    let mut all = Vec::new();
    while !answer.is_empty() {
        if !answer.starts_with(b"HTTP/") {
            let page = answer.starts_with(b"<html>");
            all.push(format!("|| {}", if page { "<page>".to_owned() } else { latin1(answer) }));
            break;
        }
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("a whole head");
        let head = latin1(&answer[..end]);
        answer = &answer[end + 4..];
        let mut fields: Vec<String> = head.split("\r\n").map(str::to_owned).collect();
        fields[0] = fields[0].replace("HTTP/1.1 ", "");
        let length = |field: &String| field.strip_prefix("Content-Length: ").and_then(|length| length.parse().ok());
        let bodiless = is_head || fields[0].starts_with("204") || fields[0].starts_with("304");
        let length: usize = if bodiless { 0 } else { fields.iter().find_map(length).unwrap_or(0) };
        let (body, rest) = answer.split_at(length.min(answer.len()));
        answer = rest;
        let page = body.starts_with(b"<html>");
        let of_page = page || (is_head && fields.iter().any(|field| field == "Content-Type: text/html"));
        fields.retain(|field| {
            let varies = field.starts_with("Server:") || field.starts_with("Date:");
            !(varies || of_page && field.starts_with("Content-Length:"))
        });
        for field in &mut fields {
            if field.starts_with("Expires: ") && !field.contains("01 Jan 1970") && !field.contains("31 Dec 2037") {
                "Expires: later".clone_into(field);
            }
        }
        let body = if page { "<page>".to_owned() } else { latin1(body) };
        all.push(format!("{} || {body}", fields.join(" | ")));
    }
    all.join(" ### ")
}

fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

fn get(server: &Server, target: &str, fields: &str) -> String {
    let request = format!("GET {target} HTTP/1.1\r\nHost: main.test\r\n{fields}\r\n");
    told(&exchange(server, request.as_bytes()), false)
}

#[test]
fn every_request_is_answered_as_nginx_does() {
    let server = site();
    let port = server.address().port().to_string();
    let mut wrong = Vec::new();
    for line in ANSWERS.lines() {
        let (request, expected): (String, String) = serde_json::from_str(line).unwrap();
        let request = request.replace("@PORT@", &port);
        let expected = expected.replace("@PORT@", &port);
        let bytes: Vec<u8> = request.chars().map(|c| c as u8).collect();
        let answer = told(&exchange(&server, &bytes), request.starts_with("HEAD"));
        if answer != expected {
            wrong.push(format!("{request:?}\n  nginx: {expected}\n  here:  {answer}"));
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn requests_above_the_rate_are_refused_with_the_status_that_is_set() {
    let server = site();
    let statuses = |target: &str, times: usize| -> Vec<String> {
        (0..times).map(|_| get(&server, target, "")[..3].to_owned()).collect()
    };
    assert_eq!(statuses("/lr1?k=a", 3), ["200", "503", "503"]);
    assert_eq!(statuses("/lr2?k=b", 4), ["200", "200", "429", "429"]);
    assert_eq!(statuses("/lr1", 3), ["200", "200", "200"], "an empty key is not counted");
    eventually("a line in the error log", || {
        let log = server.file("error.log");
        log.contains("limiting requests, excess: 1.000 by zone \"rq\", client: 127.0.0.1, server: main.test, request: \"GET /lr1?k=a HTTP/1.1\", host: \"main.test\"")
    });
}

#[test]
fn a_burst_waits_for_its_turn_in_order_on_one_connection() {
    let server = site();
    let began = Instant::now();
    let request = "GET /lr3?k=c HTTP/1.1\r\nHost: main.test\r\n\r\n".repeat(4);
    let answers = told(&exchange(&server, request.as_bytes()), false);
    assert_eq!(answers.matches("200 OK").count(), 4, "{answers}");
    // 20 a second: the last of four waits three twentieths.
    assert!(began.elapsed() >= Duration::from_millis(140), "{:?}", began.elapsed());
}

#[test]
fn subscribers_count_as_connections_until_they_leave() {
    let locations = "location /sub { push_stream_subscriber; push_stream_channels_path $arg_id; \
                     push_stream_header_template HELLO; limit_conn per 2; } \
                     location /ws { push_stream_subscriber websocket; push_stream_channels_path $arg_id; limit_conn per 2; } \
                     location /lp { push_stream_subscriber long-polling; push_stream_channels_path $arg_id; limit_conn per 2; } \
                     location /pub { push_stream_publisher admin; push_stream_channels_path $arg_id; }";
    let server = Server::with_locations(2, "limit_conn_zone $remote_addr zone=per:1m;", locations);
    let subscriber = |target: &str| {
        let mut client = server.connect();
        client.send(request("GET", target, "").as_bytes());
        let status = client.status();
        (client, status)
    };
    let (first, status) = subscriber("/sub?id=a");
    assert_eq!(status, 200);
    let mut poll = server.connect();
    poll.send(request("GET", "/lp?id=a", "").as_bytes());
    let mut publisher = server.connect();
    eventually("both wait", || publisher.get("/pub?id=a", "").text().contains("\"subscribers\": 2"));
    assert_eq!(subscriber("/sub?id=a").1, 503);
    drop(first);
    eventually("the stream is counted off", || subscriber("/sub?id=a").1 == 200);
    eventually("nobody but the poll is left", || subscriber("/sub?id=b").1 == 200);
    assert_eq!(publisher.post("/pub?id=a", "", b"x").status, 200);
    assert_eq!(poll.reply().status, 200);
    // An answered poll is counted off though its connection stays.
    eventually("both places are free", || {
        let (_one, first) = subscriber("/sub?id=c");
        let (_two, second) = subscriber("/sub?id=c");
        (first, second) == (200, 200)
    });
}

#[test]
fn a_backend_is_asked_with_the_fields_that_are_set_and_the_next_server_after_a_dead_one() {
    let server = site();
    let answer = get(&server, "/hdrs?a=1", "Cookie: secret\r\nX-Own: kept\r\nContent-Length: 0\r\n");
    assert!(answer.contains("X-Echo: Connection: close|Host: hh|PUT /echo HTTP/1.0|X-Own: kept |"), "{answer}");
    assert!(!answer.contains("secret"));
}

#[test]
fn an_error_page_may_lead_to_a_push_location() {
    let locations = "location /foreign { proxy_pass http://127.0.0.1:1; error_page 502 =200 @pub; } \
                     location @pub { push_stream_publisher; push_stream_channels_path $arg_id; }";
    let server = Server::configured(&framed(1, "", locations), &["--take-over"]);
    let reply = server.connect().get("/foreign?id=none", "");
    assert_eq!((reply.status, reply.field("X-Nginx-PushStream-Explain").is_some()), (200, false));
}

#[test]
fn variables_that_are_made_of_themselves_end() {
    let locations = "location /alias/ { alias $request_filename; } location /none/ { root $named; } \
                     location /link { secure_link $arg_a; secure_link_md5 $secure_link; if ($secure_link = '') { return 403; } return 204; }";
    let zone = "map $request_filename $named { default $request_filename; }";
    let server = Server::configured(&framed(1, zone, locations), &["--take-over"]);
    for (target, status) in
        [("/alias/x", 404), ("/none/x", 404), ("/link?a=1", 403), ("/link?a=AAAAAAAAAAAAAAAAAAAAAA", 403)]
    {
        assert_eq!(server.connect().get(target, "").status, status, "{target}");
    }
}
