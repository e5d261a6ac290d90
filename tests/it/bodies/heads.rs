//! Heads that nobody should send: lines and fields of all kinds with bytes changed, one request behind the other, in pieces.
//!
//! Whatever they are, the answers, the fate of the connection and its end are those of Debian's nginx, byte for byte but for what
//! tells a moment or a name. `PROPTEST_CASES` sets how many are sent (256).

use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::cut;
use super::site::Site;
use crate::support::property;

const METHODS: [&str; 16] = [
    "GET", "GET", "GET", "GET", "HEAD", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "get", "G_T",
    "G-T", "PRI",
];
const TARGETS: [&str; 16] = [
    "/r200",
    "/r204",
    "/r301",
    "/r403",
    "/deny",
    "/page/x",
    "/file.txt",
    "/sub/",
    "/unknown",
    "/end",
    "http://h/r200",
    "http://h:80/file.txt",
    "https://[::1]/r200",
    "HTTP://other/r204",
    "http://h?x",
    "*",
];
const FRAGMENTS: [&str; 24] = [
    "", "", "", "", "%", "%2", "%zz", "%00", "%2e%2e", "%2F", "/..", "/./", "//", "/../", "?", "#", "?a=%zz", "&",
    "\\", "\t", "\u{7f}", "%C3%A9", "@h", ":x",
];
const VERSIONS: [&str; 20] = [
    " HTTP/1.1",
    " HTTP/1.1",
    " HTTP/1.1",
    " HTTP/1.1",
    " HTTP/1.1",
    " HTTP/1.0",
    " HTTP/1.0",
    "",
    "  HTTP/1.1",
    " HTTP/1.1 ",
    " HTTP/1.2",
    " HTTP/1.01",
    " HTTP/2.0",
    " HTTP/11",
    " HTTP/2=0",
    " HTTP/0.9",
    " HTTP/01.1",
    " HTTP/1.",
    " http/1.1",
    " HTTP/1.1x",
];
const FIELDS: [&str; 36] = [
    "Host: h",
    "Host: h",
    "Host: h:80",
    "Host: h:x",
    "Host: ",
    "Host: [::1]",
    "Host: h..",
    "Host: .h",
    "Host: a/b",
    "Host: h\u{1}",
    "Connection: close",
    "Connection: keep-alive",
    "Connection: x, close",
    "Connection: closex",
    "Content-Length: 0",
    "Content-Length: x",
    "Content-Length: ",
    "Content-Length: +0",
    "Content-Length: 99999999999999999999",
    "Transfer-Encoding: gzip",
    "Transfer-Encoding: identity",
    "Transfer-Encoding: \u{b}chunked",
    "X A: b",
    "X-A : b",
    "X_A: b",
    ": b",
    "X-A",
    " folded",
    "X-A: \u{0}",
    "X\u{0}A: b",
    "X-A: a\rb",
    "Range: bytes=0-0",
    "Range: bytes=5-3",
    "Range: bytes=-1",
    "If-None-Match: \"x\"",
    "If-Modified-Since: x",
];
const ENDS: [&str; 10] = ["\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\n", "\r\r\n", "\n\r\n"];
const BYTES: &[u8] = b"\r\n \t:/?#%\0\xff aA09;,.*-_=";

/// Replaces, inserts or takes away a byte.
type Change = (Index, Option<u8>, bool);

fn head() -> impl Strategy<Value = String> {
    let target = (select(&TARGETS[..]), select(&FRAGMENTS[..]), select(&FRAGMENTS[..]));
    let line = (select(&METHODS[..]), target, select(&VERSIONS[..]), select(&ENDS[..]));
    let fields = prop::collection::vec((select(&FIELDS[..]), select(&ENDS[..])), 0..4);
    (line, any::<bool>(), fields, select(&ENDS[..])).prop_map(|((method, target, version, end), host, fields, last)| {
        let host = if host { "Host: h\r\n" } else { "" };
        let fields: String = fields.iter().flat_map(|(field, end)| [*field, *end]).collect();
        format!("{method} {}{}{}{version}{end}{host}{fields}{last}", target.0, target.1, target.2)
    })
}

fn changed(mut bytes: Vec<u8>, changes: &[Change]) -> Vec<u8> {
    for (place, byte, inserts) in changes {
        let place = place.index(bytes.len());
        match (byte, inserts) {
            (Some(byte), true) => bytes.insert(place, *byte),
            (Some(byte), false) => bytes[place] = *byte,
            (None, _) if bytes.len() > 1 => drop(bytes.remove(place)),
            (None, _) => {}
        }
    }
    bytes
}

/// Without what tells a moment or the server's name.
fn comparable(told: &str) -> String {
    let moments = ["Date: ", "Server: ", "Last-Modified: ", "ETag: ", "Content-Length: ", "<hr><center>"];
    told.split_inclusive('\n').filter(|line| !moments.iter().any(|moment| line.starts_with(moment))).collect()
}

#[test]
fn whatever_comes_for_a_head_is_answered_as_nginx_answers_it() {
    // It takes spaces in targets as older ones did, unless it is to be strict.
    let site = Site::with(&["--strict"]);
    if !site.has_nginx() {
        return;
    }
    let change = (any::<Index>(), prop::option::weighted(0.8, select(BYTES)), any::<bool>());
    let changes = prop_oneof![2 => Just(Vec::new()), 1 => prop::collection::vec(change, 1..3)];
    let places = prop_oneof![2 => Just(Vec::new()), 1 => prop::collection::vec(any::<Index>(), 1..4)];
    let strategy = (prop::collection::vec(head(), 1..4), changes, places);
    let result = property(256).run(&strategy, |(heads, changes, places)| {
        let mut text = heads.concat().into_bytes();
        text.extend_from_slice(super::END.as_bytes());
        let bytes = changed(text, &changes);
        let mut places: Vec<usize> = places.iter().map(|place| place.index(bytes.len())).collect();
        places.sort_unstable();
        let [own, nginx] = site.told(&cut(&bytes, &places)).map(|told| comparable(&told));
        prop_assert_eq!(own, nginx, "{:?} cut at {:?}", String::from_utf8_lossy(&bytes), places);
        Ok(())
    });
    site.judge();
    result.unwrap_or_else(|error| panic!("{error}"));
}
