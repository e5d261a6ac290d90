//! HTTP/2 beside nginx's: whatever a client may ask for, in whatever frames its head comes, is answered the same.
//!
//! The client is `h2`; on its way to the servers each HEADERS frame is made into those that are wanted: cut into CONTINUATION,
//! padded, with a priority. `PROPTEST_CASES` sets how many requests are asked (600).

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::client;
use http::Request;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;

use super::Both;
use crate::support::{PATIENCE, property};

const METHODS: [&str; 9] = ["GET", "GET", "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "FOO-BAR"];
const TARGETS: [&str; 18] = [
    "/t",
    "/t?a=1&b=2",
    "/t?a=%zz&%61=x",
    "/t?",
    "/t??a=1",
    "/t//x/./y/../z",
    "/t%2Fx%3f",
    "/t/%d0%ba",
    "/t;x=1,2",
    "/t/%2e%2e/t",
    "/../t",
    "/t%00",
    "/t?a=`{|}^",
    "/204",
    "/301",
    "/deny",
    "/small",
    "/none",
];
const AUTHORITIES: [&str; 7] =
    ["main.test", "MAIN.test:80", "a.wild.test", "second.test", "unknown.test.", "[::1]:99", "user@main.test"];
const FIELDS: [(&str, &str); 20] = [
    ("cookie", "a=1"),
    ("cookie", "b=2; a=3"),
    ("cookie", ""),
    ("x", "one"),
    ("x", "two"),
    ("x", ""),
    ("x_y", "1"),
    ("x-y", "1"),
    ("x.y", "1"),
    ("user-agent", "u"),
    ("referer", "http://r/"),
    ("te", "trailers"),
    ("content-type", "a/b"),
    ("content-length", "4"),
    ("expect", "100-continue"),
    ("range", "bytes=0-1"),
    ("if-none-match", "\"x\""),
    ("if-modified-since", "x"),
    ("authorization", "Basic dTpw"),
    ("x-forwarded-for", "1.2.3.4"),
];

const SITE: &str = r#"
    listen unix:@DIR@/h2 http2;
    location /t { return 200 "$request_method|$host|$http_host|$uri|$request_uri|$args|$arg_a|$arg_b|$http_cookie|$cookie_a|$cookie_b|$http_x|$http_x_y|$http_user_agent|$http_referer|$http_te|$content_type|$content_length|$http_expect|$remote_user|$http_x_forwarded_for|$server_protocol|$scheme|$request"; }
    location /204 { return 204; }
    location /301 { return 301 /t; }
    location /deny { deny all; }
    location /small { client_max_body_size 3; alias /etc/debian_version; }
    error_page 404 /t/404;
"#;
const SECOND: &str =
    "} server { listen unix:@DIR@/h2 http2; server_name second.test; location / { return 200 second; }";

/// What is asked, and the frames its head comes in.
#[derive(Clone, Debug)]
struct Case {
    method: &'static str,
    authority: &'static str,
    target: &'static str,
    fields: Vec<(&'static str, &'static str)>,
    body: Option<&'static [u8]>,
    frames: Frames,
}

#[derive(Clone, Debug)]
struct Frames {
    cuts: Vec<Index>,
    padding: Option<u8>,
    priority: bool,
}

fn case() -> impl Strategy<Value = Case> {
    let frames = (prop::collection::vec(any::<Index>(), 0..4), any::<Option<u8>>(), any::<bool>())
        .prop_map(|(cuts, padding, priority)| Frames { cuts, padding, priority });
    let line = (select(&METHODS[..]), select(&AUTHORITIES[..]), select(&TARGETS[..]));
    let body = select(vec![None, None, Some(&b""[..]), Some(&b"body"[..])]);
    (line, prop::collection::vec(select(&FIELDS[..]), 0..5), body, frames).prop_map(
        |((method, authority, target), mut fields, body, frames)| {
            // A length that is not the body's, or told twice, is no request.
            let mut lengths = 0;
            fields.retain(|(name, _)| {
                lengths += usize::from(*name == "content-length");
                *name != "content-length" || lengths == 1 && body.is_some_and(|body| body.len() == 4)
            });
            Case { method, authority, target, fields, body, frames }
        },
    )
}

/// A connection whose HEADERS frames are made anew.
struct Reframed {
    stream: UnixStream,
    frames: Frames,
    preface: usize,
    /// What the client has written and is no whole frame yet.
    held: Vec<u8>,
    out: Vec<u8>,
}

impl Reframed {
    fn reframe(&mut self) {
        let preface = self.preface.min(self.held.len());
        self.preface -= preface;
        self.out.extend(self.held.drain(..preface));
        while let Some(&[_, a, b, kind, flags, ..]) = self.held.get(..9) {
            let length = 9 + (usize::from(a) << 8 | usize::from(b));
            if self.held.len() < length {
                return;
            }
            let frame: Vec<u8> = self.held.drain(..length).collect();
            if kind == 1 && flags & 4 != 0 {
                self.put_head(flags, &frame[5..9], &frame[9..]);
            } else {
                self.out.extend(frame);
            }
        }
    }

    fn put_head(&mut self, flags: u8, stream: &[u8], block: &[u8]) {
        let Frames { cuts, padding, priority } = self.frames.clone();
        // nginx takes no HEADERS frame without anything in it.
        let mut places: Vec<usize> = cuts.iter().map(|place| 1 + place.index(block.len() - 1)).collect();
        places.sort_unstable();
        places.dedup();
        let ends = places.iter().copied().chain([block.len()]);
        let begins = [0].into_iter().chain(places.iter().copied());
        let pieces: Vec<&[u8]> = begins.zip(ends).map(|(begin, end)| &block[begin..end]).collect();
        for (number, piece) in pieces.iter().enumerate() {
            let mut payload = piece.to_vec();
            let mut signs = if number + 1 == pieces.len() { 4 } else { 0 };
            if number == 0 {
                signs |= flags & 1;
                if priority {
                    signs |= 0x20;
                    payload.splice(0..0, [0, 0, 0, 0, 9]);
                }
                if let Some(padding) = padding {
                    signs |= 8;
                    payload.insert(0, padding);
                    payload.extend(vec![0; padding.into()]);
                }
            }
            self.out.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
            self.out.extend_from_slice(&[if number == 0 { 1 } else { 9 }, signs]);
            self.out.extend_from_slice(stream);
            self.out.extend(payload);
        }
    }
}

impl AsyncWrite for Reframed {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.held.extend_from_slice(bytes);
        self.reframe();
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while !this.out.is_empty() {
            let written = ready!(Pin::new(&mut this.stream).poll_write(cx, &this.out))?;
            this.out.drain(..written);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl AsyncRead for Reframed {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, room: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, room)
    }
}

/// Status, some fields and the body, up to where a page of nginx's names the server.
async fn told(socket: &Path, case: &Case) -> Result<String, h2::Error> {
    let stream = UnixStream::connect(socket).await.unwrap();
    let frames = case.frames.clone();
    let reframed = Reframed { stream, frames, preface: 24, held: Vec::new(), out: Vec::new() };
    let (client, connection) = client::handshake(reframed).await?;
    let driving = tokio::spawn(connection);
    let mut client = client.ready().await?;
    let uri = format!("http://{}{}", case.authority, case.target);
    let mut request = Request::builder().method(case.method).uri(uri);
    for (name, value) in &case.fields {
        request = request.header(*name, *value);
    }
    let (answer, mut body) = client.send_request(request.body(()).unwrap(), case.body.is_none())?;
    if let Some(bytes) = case.body {
        // Whoever has answered may want none.
        let _ = body.send_data(Bytes::from_static(bytes), true);
    }
    let (head, mut incoming) = answer.await?.into_parts();
    let mut text = Vec::new();
    while let Some(piece) = incoming.data().await {
        match piece {
            Ok(piece) => text.extend_from_slice(&piece),
            // nginx resets what it has answered without reading.
            Err(error) if error.reason() == Some(h2::Reason::NO_ERROR) => break,
            Err(error) => return Err(error),
        }
    }
    driving.abort();
    let fields = ["content-type", "location", "content-range", "www-authenticate"];
    let fields: Vec<_> = fields.iter().map(|name| head.headers.get(*name)).collect();
    let text = String::from_utf8_lossy(&text).into_owned();
    let text = text.split("<hr>").next().unwrap_or_default();
    Ok(format!("{} {fields:?} {text}", head.status.as_u16()))
}

#[test]
fn whatever_a_client_asks_over_http2_is_answered_as_nginx_answers_it() {
    let both = Both::start("", &format!("{SITE} {SECOND}"));
    let sockets: [PathBuf; 2] = [both.own.path("h2"), both.other.path("h2")];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let result = property(600).run(&case(), |case| {
        let [own, nginx] = [0, 1].map(|which| {
            let asked = runtime.block_on(async { tokio::time::timeout(PATIENCE, told(&sockets[which], &case)).await });
            asked.map_or_else(|_| "nothing".to_owned(), |told| told.unwrap_or_else(|error| error.to_string()))
        });
        prop_assert_eq!(own, nginx, "{:?}", case);
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
}
