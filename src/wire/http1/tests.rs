//! Heads of answers and log lines without sockets: requests against settings built by hand.

use std::sync::Arc;

use super::spelled::Spelled;
use crate::conf::settings::*;
use crate::model::Capabilities;
use crate::push::fields::{CorsSide, cors_headers, etag_prefix, expires_headers};
use crate::request::head::{BadHead, RequestHead};
use crate::request::peer::PeerAddress;
use crate::request::reply::Reply;
use crate::site::access_log::{Outcome, line as log_line};
use crate::site::exchange::Exchange;
use crate::site::fixture::*;
use crate::site::gzip;
use crate::site::phases::{Routed, error_reply, route};
use crate::site::phases_tests::{Directory, guarded, site, static_location};
use crate::wire::reply_head::{Framing, keep_alive, write_head};

#[test]
fn an_unreadable_request_is_answered_by_the_default_server() {
    let settings = site(vec![]);
    let head = RequestHead::unreadable(b"");
    let mut exchange = Exchange::new(&settings, &settings.listeners[0], peer(), head, NOW, 1);
    exchange.route.close = true;
    let location = exchange.location;
    let reply = error_reply(&mut exchange, location, BadHead::HeaderTooLarge.status());
    let (head, framing) = encode(&reply, &exchange);
    assert!(head.starts_with("HTTP/1.1 400 Bad Request\r\nServer: pushstreamd\r\n"), "{head}");
    assert!(head.contains("Content-Type: text/html\r\n") && head.contains("Connection: close\r\n"), "{head}");
    assert!(framing.with_body);
    exchange.route.error_page_used = false;
    assert_eq!(exchange.remote, PeerAddress::Ip("127.0.0.1:50000".parse().unwrap()));
}

#[test]
fn a_handler_can_fail_through_error_page() {
    let directory = Directory::new("handler");
    let mut publisher = location(1, "/pub");
    publisher.core.error_pages =
        Arc::new([ErrorPage { codes: vec![413, 500], replace: None, target: complex("/page.html") }]);
    let settings = site(vec![publisher, static_location(2, "/page.html", directory.path())]);
    with_exchange(&settings, "POST /pub", &["Content-Length: 5"], |exchange| {
        let Routed::Serve(location) = route(exchange) else { panic!("a publisher serves") };
        let reply = error_reply(exchange, location, 500);
        let mut out = Vec::new();
        let framing = write_head(&reply, exchange, exchange.location, true, &mut Spelled::new(&mut out));
        assert!(out.starts_with(b"HTTP/1.1 500 Internal Server Error\r\n"));
        assert!(!framing.keep_alive && framing.with_body);
    });
    assert_eq!(routed(&settings, "POST /pub", &["Content-Length: 2000000"]), "413 the page");
    assert_eq!(routed(&settings, "POST /pub", &["Transfer-Encoding: chunked"]), "serve 1");
}

trait Tagged {
    fn tagged(self, tag: i64) -> Self;
}

impl Tagged for Reply {
    fn tagged(self, tag: i64) -> Self {
        Self { etag: Some((etag_prefix(&Capabilities::default()), tag)), ..self }
    }
}

fn encode(reply: &Reply, exchange: &Exchange<'_>) -> (String, Framing) {
    let mut out = Vec::new();
    let keep = keep_alive(exchange, exchange.location, exchange.requests);
    let framing = write_head(reply, exchange, exchange.location, keep, &mut Spelled::new(&mut out));
    (String::from_utf8(out).unwrap(), framing)
}

/// The head of `reply` for a request to a location with these values.
fn head_of(reply: &Reply, core: Core, line: &str, headers: &[&str]) -> (String, Framing) {
    let settings = site(vec![Location { core, ..location(1, "/") }]);
    with_exchange(&settings, line, headers, |exchange| {
        route(exchange);
        let mut reply = reply.clone();
        gzip::apply(&mut reply, exchange, exchange.location);
        encode(&reply, exchange)
    })
}

#[test]
fn a_head_has_the_order_of_nginx() {
    let mut core = core();
    core.keepalive_header = Some(20);
    core.add_headers = Arc::new([
        AddHeader { name: "X-One".into(), value: complex("one $host"), always: false },
        AddHeader { name: "X-Empty".into(), value: complex("$arg_none"), always: false },
    ]);
    let reply = Reply::stream(200, "text/plain")
        .with(cors_headers(&Capabilities::default(), CorsSide::Subscriber, Some(b"*"), "GET"))
        .with(expires_headers())
        .tagged(3);
    let reply = Reply { last_modified: Some(1_795_373_030), ..reply };
    let (head, framing) = head_of(&reply, core, "GET /", &[]);
    assert_eq!(
        head,
        "HTTP/1.1 200 OK\r\nServer: pushstreamd\r\nDate: Sun, 22 Nov 2026 18:43:51 GMT\r\nContent-Type: text/plain\r\n\
         Last-Modified: Sun, 22 Nov 2026 18:43:50 GMT\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n\
         Keep-Alive: timeout=20\r\nAccess-Control-Allow-Origin: *\r\nAccess-Control-Allow-Methods: GET\r\n\
         Access-Control-Allow-Headers: If-Modified-Since,If-None-Match,Etag,Event-Id,Event-Type,Last-Event-Id\r\n\
         Expires: Thu, 01 Jan 1970 00:00:01 GMT\r\nCache-Control: no-cache, no-store, must-revalidate\r\nEtag: W/3\r\n\
         X-One: one some.host\r\n\r\n"
    );
    assert_eq!(framing, Framing { keep_alive: true, chunked: true, with_body: true });
}

#[test]
fn header_only_answers_and_added_headers_go_by_status() {
    let mut core = core();
    core.add_headers = Arc::new([
        AddHeader { name: "X-Some".into(), value: complex("1"), always: false },
        AddHeader { name: "X-Always".into(), value: complex("2"), always: true },
    ]);
    let told = |status| head_of(&Reply::header_only(status), core.clone(), "GET /", &[]).0;
    assert!(told(403).ends_with("Content-Length: 0\r\nConnection: keep-alive\r\nX-Always: 2\r\n\r\n"));
    assert!(told(304).ends_with("Content-Length: 0\r\nConnection: keep-alive\r\nX-Some: 1\r\nX-Always: 2\r\n\r\n"));
    let (head, framing) = head_of(&Reply::html_page(204, false), crate::site::fixture::core(), "GET /", &[]);
    assert!(!head.contains("Content-") && !framing.with_body, "{head}");
}

#[test]
fn no_value_can_begin_a_field() {
    let mut core = core();
    core.add_headers = Arc::new([AddHeader { name: "X-Path".into(), value: complex("$uri"), always: false }]);
    let (head, _) = head_of(&Reply::header_only(200), core, "GET /a%0d%0aX-Evil:%20b", &[]);
    assert!(head.ends_with("X-Path: /aX-Evil: b\r\n\r\n"), "{head}");
}

#[test]
fn expires_takes_the_place_of_the_modules_pair() {
    let mut core = core();
    core.expires = Some(Expires::In(3600));
    let reply = Reply::header_only(200).with(expires_headers()).tagged(1);
    let (head, _) = head_of(&reply, core.clone(), "GET /", &[]);
    let pair = "Expires: Sun, 22 Nov 2026 19:43:51 GMT\r\nCache-Control: max-age=3600\r\nEtag: W/1\r\n\r\n";
    assert!(head.ends_with(pair), "{head}");
    let (head, _) = head_of(&Reply { status: 403, ..reply }, core, "GET /", &[]);
    assert!(head.contains("Cache-Control: no-cache, no-store, must-revalidate\r\n"), "{head}");
}

#[test]
fn connections_are_kept_as_the_client_and_the_location_want() {
    let (reply, stream) = (Reply::header_only(200), Reply::stream(200, "text/plain"));
    let kept = |reply: &Reply, core: Core, headers: &[&str]| head_of(reply, core, "GET /", headers).1.keep_alive;
    assert!(kept(&reply, core(), &[]));
    assert!(kept(&reply, core(), &["Connection: Upgrade, Keep-Alive"]));
    assert!(!kept(&reply, core(), &["Connection: TE, Close"]));
    assert!(!kept(&reply, Core { keepalive_timeout: 0, ..core() }, &[]));
    assert!(!kept(&reply, Core { keepalive_requests: 1, ..core() }, &[]));
    assert!(!kept(&stream, Core { chunked_transfer_encoding: false, ..core() }, &[]));
    assert!(!kept(&Reply { close: true, ..reply.clone() }, core(), &[]));

    let settings = site(vec![location(1, "/")]);
    for (bytes, reply, expected, has_head) in [
        ("GET / HTTP/1.0\r\n\r\n", &reply, false, true),
        ("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", &reply, true, true),
        ("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", &stream, false, true),
        ("GET /\r\n", &reply, false, false),
    ] {
        let exchange = exchange(&settings, bytes).unwrap();
        let (text, framing) = encode(reply, &exchange);
        assert_eq!((framing.keep_alive, !text.is_empty(), framing.chunked), (expected, has_head, false), "{bytes:?}");
    }
}

#[test]
fn redirections_become_absolute() {
    let page = Reply { location: Some(b"/new".to_vec()), ..Reply::html_page(301, false) };
    let (head, _) = head_of(&page, core(), "GET /", &[]);
    assert!(head.contains("\r\nLocation: http://some.host:8080/new\r\nConnection: keep-alive\r\n"), "{head}");
    let (head, _) = head_of(&page, Core { absolute_redirect: false, ..core() }, "GET /", &[]);
    assert!(head.contains("\r\nLocation: /new\r\n"), "{head}");
    let split = Reply { location: Some(b"/a\r\nX: y".to_vec()), ..page };
    assert!(!head_of(&split, core(), "GET /", &[]).0.contains("\r\nX: y"));
}

#[test]
fn replies_are_compressed_where_the_location_and_the_client_allow() {
    let gzip = |types: &[&str], min_length| {
        let types = types.iter().map(|&listed| listed.into()).collect();
        let gzip = Gzip {
            types,
            all_types: false,
            min_length,
            comp_level: 1,
            http_version_10: false,
            vary: true,
            proxied: vec!["expired".into()],
            disable: vec![regex("MSIE")],
        };
        Core { gzip: Some(Arc::new(gzip)), ..core() }
    };
    let reply = Reply::full(200, "application/json", "{}").with(expires_headers());
    let accept = "Accept-Encoding: gzip";
    let compressed = |reply: &Reply, core: Core, headers: &[&str]| {
        let (head, framing) = head_of(reply, core, "GET /", headers);
        let gzipped = head.contains("Content-Encoding: gzip\r\n");
        assert_eq!(gzipped, framing.chunked && !head.contains("Content-Length"), "{head}");
        (gzipped, head.contains("Vary: Accept-Encoding\r\n"))
    };
    let json = || gzip(&["application/json"], 0);
    assert_eq!(compressed(&reply, json(), &[accept]), (true, true));
    assert_eq!(compressed(&reply, json(), &[]), (false, true));
    assert_eq!(compressed(&reply, gzip(&[], 0), &[accept]), (false, false));
    assert_eq!(compressed(&reply, gzip(&["application/json"], 20), &[accept]), (false, false));
    assert_eq!(compressed(&reply, core(), &[accept]), (false, false));
    assert_eq!(compressed(&reply, json(), &[accept, "User-Agent: MSIE 6"]), (false, true));
    assert_eq!(compressed(&reply, json(), &[accept, "Via: 1.1 x"]), (true, true));
    assert_eq!(compressed(&Reply::full(200, "application/json", "{}"), json(), &[accept, "Via: x"]), (false, true));
    assert_eq!(compressed(&Reply { status: 500, ..reply }, json(), &[accept]), (false, false));
}

#[test]
fn a_log_line_tells_request_and_outcome() {
    let settings = site(vec![location(1, "/")]);
    let format = LogFormat {
        line: complex(
            "$remote_addr - $remote_user \"$request\" $status $body_bytes_sent \"$http_referer\" $request_time",
        ),
        escape: LogEscape::Default,
    };
    with_exchange(&settings, "GET /a\"b", &["Authorization: Basic Ym9iOnNlY3JldA=="], |exchange| {
        let outcome = Outcome { status: 0, body_bytes_sent: 12, request_time: 1005, now: NOW, ..Outcome::default() };
        assert_eq!(
            String::from_utf8(log_line(&format, exchange, &outcome)).unwrap(),
            "127.0.0.1 - bob \"GET /a\\x22b HTTP/1.1\" 000 12 \"-\" 1.005\n"
        );
    });
}

proptest::proptest! {
    #[test]
    fn no_request_panics(target in "/[ -~]{0,40}", value in "[ -~]{0,40}", name in "(Host|Range|Authorization|Cookie|Via|X)") {
        let settings = guarded(&Directory(std::env::temp_dir().join("pushstreamd-http-none")));
        let bytes = format!("GET {target} HTTP/1.0\r\n{name}: {value}\r\n\r\n");
        let limits = crate::request::head::HeadLimits::of(&settings.listeners[0].names.default, &settings.capabilities);
        if let Ok(Some((head, _))) = crate::request::head_parser::parse(bytes.as_bytes(), &limits) {
            let mut exchange = Exchange::new(&settings, &settings.listeners[0], peer(), head, NOW, 1);
            let _ = exchange.understand();
            let routed = route(&mut exchange);
            if let Routed::Reply(reply) = routed {
                let (text, _) = encode(&reply, &exchange);
                proptest::prop_assert!(text.ends_with("\r\n\r\n"));
            }
            exchange.value(&complex("$remote_user$http_cookie$host"));
        }
    }
}
