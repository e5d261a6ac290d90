//! Whatever is asked for is made as it is taken: in order, nothing lost or doubled, and for whoever does not read at the price
//! of a page.

use std::io::Read;
use std::time::Duration;

use hyper::http::Request;

use super::trial::{BUDGET, Client, Trial, with_trial};
use crate::metrics::Cause;
use crate::model::FrameRules;
use crate::render::{Decoder, Event};

const LOCATIONS: &str = "
    location ~ ^/sub/(.*)$ { push_stream_subscriber; push_stream_channels_path $1; push_stream_message_template '<~text~>'; }
    location = /pub { push_stream_publisher; push_stream_channels_path $arg_id; push_stream_store_messages on; client_max_body_size 0; }
    location ~ ^/ev/(.*)$ { push_stream_subscriber eventsource; push_stream_channels_path $1; push_stream_message_template '<~text~>'; }
    location ~ ^/zip/(.*)$ { push_stream_subscriber; push_stream_channels_path $1; push_stream_message_template '<~text~>';
        default_type text/plain; gzip on; gzip_types *; gzip_min_length 0; }
    location ~ ^/poll/(.*)$ { push_stream_subscriber polling; push_stream_channels_path $1; push_stream_message_template '<~text~>'; }
    location ~ ^/zippoll/(.*)$ { push_stream_subscriber polling; push_stream_channels_path $1; push_stream_message_template '<~text~>';
        default_type text/plain; gzip on; gzip_types *; gzip_min_length 0; }
    location ~ ^/ws/(.*)$ { push_stream_subscriber websocket; push_stream_channels_path $1; push_stream_message_template '<~text~>';
        push_stream_websocket_deflate on; }
";
const STORED: usize = 300;
const SIZE: usize = 7_000;

/// Message number `n`, which nothing compresses to nothing.
fn text(n: usize) -> Vec<u8> {
    let mut state = n as u64 + 1;
    let mut text = format!("{n}:").into_bytes();
    while text.len() < SIZE {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        text.push(b'a' + (state >> 59) as u8 % 26);
    }
    text
}

fn store(trial: &Trial) {
    for n in 0..STORED {
        trial.publish("a", &text(n));
    }
}

async fn ask(client: &mut Client, target: &str) {
    let since = "If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT\r\n";
    if target.starts_with("/ws") {
        client.open_websocket(target, &format!("{since}Sec-WebSocket-Extensions: permessage-deflate\r\n")).await;
    } else {
        let accept = if target.starts_with("/zip") { "Accept-Encoding: gzip\r\n" } else { "" };
        client.send(format!("GET {target} HTTP/1.1\r\nHost: h\r\n{since}{accept}\r\n").as_bytes()).await;
    }
}

/// The body behind chunks that may have been cut anywhere.
fn unchunked(mut wire: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = memchr::memmem::find(wire, b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&wire[..end]).unwrap(), 16).unwrap();
        let chunk = wire.get(end + 2..end + 2 + size).unwrap_or(&wire[end + 2..]);
        body.extend_from_slice(chunk);
        wire = wire.get(end + 4 + size..).unwrap_or_default();
    }
    body
}

/// The texts a client has been sent, as far as they are complete.
fn texts(target: &str, body: &[u8]) -> Vec<Vec<u8>> {
    let mut plain = Vec::new();
    if target.starts_with("/ws") {
        let mut decoder = Decoder::new(FrameRules::Rfc, 1 << 20).with_deflate();
        let mut rest = body;
        while let Some(Event::Text(text)) = decoder.decode(&mut rest) {
            plain.extend_from_slice(&text);
        }
    } else {
        plain = unchunked(body);
        if target.starts_with("/zip") {
            let mut unzipped = Vec::new();
            let mut decoder = flate2::read::GzDecoder::new(plain.as_slice());
            let mut piece = [0; 4096];
            while let Ok(read @ 1..) = decoder.read(&mut piece) {
                unzipped.extend_from_slice(&piece[..read]);
            }
            plain = unzipped;
        }
    }
    let mut texts = Vec::new();
    for part in plain.split(|&byte| byte == b'<').skip(1) {
        if let Some(end) = memchr::memchr(b'>', part) {
            texts.push(part[..end].to_vec());
        }
    }
    texts
}

#[test]
fn a_reader_at_any_pace_gets_history_and_what_comes_meanwhile_once_and_in_order() {
    for target in ["/sub/a", "/ev/a", "/ws/a", "/zip/a", "/poll/a", "/zippoll/a"] {
        with_trial(LOCATIONS, async |trial| {
            store(trial);
            let mut client = trial.client();
            ask(&mut client, target).await;
            client.see(b"\r\n\r\n").await;
            let live = if target.contains("poll") { 0 } else { 20 };
            let (mut body, mut seen) = (Vec::new(), 0);
            while seen < STORED + live {
                body.extend(client.some(30_000).await);
                let published = trial.published("a");
                if published < STORED + live && body.len() / 20_000 > published - STORED {
                    trial.publish("a", &text(published));
                }
                if trial.worker.waiting() == 0 {
                    seen = texts(target, &body).len();
                }
                for n in trial.published("a")..if seen >= STORED { STORED + live } else { 0 } {
                    trial.publish("a", &text(n));
                }
            }
            let texts = texts(target, &body);
            assert_eq!(texts.len(), STORED + live, "{target}");
            for (n, seen) in texts.iter().enumerate() {
                assert_eq!(*seen, text(n), "{target}: message {n}");
            }
            assert_eq!(trial.tally.totals().cut(Cause::SlowReader), 0, "{target}");
        });
    }
}

#[test]
fn who_asks_for_everything_and_does_not_read_costs_a_few_pages() {
    for target in ["/sub/a", "/ev/a", "/ws/a", "/zip/a", "/poll/a", "/zippoll/a"] {
        with_trial(LOCATIONS, async |trial| {
            store(trial);
            let mut clients: Vec<_> = (0..20).map(|_| trial.client()).collect();
            for client in &mut clients {
                ask(client, target).await;
            }
            trial.until("all wait for their clients", |trial| trial.worker.waiting() > 19 * 64 * 1024).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
            let waiting = trial.worker.waiting();
            assert!(waiting < 20 * 300 * 1024, "{target}: {waiting}");
            drop(clients);
            trial.until("all are gone", |trial| trial.worker.connections() == 0).await;
            assert_eq!(trial.census().subscribers, 0);
        });
    }
}

#[test]
fn live_messages_cut_off_who_leaves_them_and_not_who_has_history_to_read() {
    with_trial(LOCATIONS, async |trial| {
        store(trial);
        let mut client = trial.client();
        ask(&mut client, "/sub/a").await;
        trial.until("history waits", |trial| trial.worker.waiting() > 64 * 1024).await;
        let most = BUDGET / SIZE;
        for n in 0..most - 10 {
            trial.publish("a", &text(STORED + n));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(trial.tally.totals().cut(Cause::SlowReader), 0);
        for n in most - 10..most + 10 {
            trial.publish("a", &text(STORED + n));
        }
        trial.until("it is cut off", |trial| trial.tally.totals().cut(Cause::SlowReader) == 1).await;
        trial.until("it is gone", |trial| trial.worker.connections() == 0).await;
        assert_eq!(trial.census().subscribers, 0);
    });
}

#[test]
fn a_message_larger_than_the_budget_leaves_room_for_the_next() {
    with_trial(LOCATIONS, async |trial| {
        let mut client = trial.client();
        client.get("/sub/a").await;
        trial.until("it has subscribed", |trial| trial.census().subscribers == 1).await;
        let large = vec![b'x'; 8 * BUDGET];
        trial.publish("a", &large);
        trial.publish("a", b"next");
        let body = client.see(b"<next>").await;
        assert!(body.len() > large.len());
        assert_eq!(trial.tally.totals().cut(Cause::SlowReader), 0);
    });
}

#[test]
fn a_stream_of_http2_gets_history_as_it_opens_its_window() {
    with_trial(LOCATIONS, async |trial| {
        store(trial);
        let (mut client, connection) = h2::client::handshake(trial.http2()).await.unwrap();
        tokio::task::spawn_local(connection);
        let request = Request::get("http://h/sub/a").header("if-modified-since", "Thu, 01 Jan 1970 00:00:00 GMT");
        let (answer, _) = client.send_request(request.body(()).unwrap(), true).unwrap();
        let mut body = answer.await.unwrap().into_body();
        tokio::time::sleep(Duration::from_millis(20)).await;
        let waiting = trial.worker.waiting();
        assert!(waiting < 300 * 1024, "{waiting}");
        trial.publish("a", &text(STORED));
        let mut plain = Vec::new();
        while !plain.ends_with(&[&b"<"[..], &text(STORED), b">"].concat()) {
            let data = body.data().await.unwrap().unwrap();
            body.flow_control().release_capacity(data.len()).unwrap();
            plain.extend_from_slice(&data);
        }
        let expected: Vec<u8> = (0..=STORED).flat_map(|n| [&b"<"[..], &text(n), b">"].concat()).collect();
        assert!(plain == expected);
    });
}

#[test]
fn a_large_file_is_read_as_it_is_taken() {
    let directory = std::env::temp_dir().join(format!("pushstreamd-file-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let content: Vec<u8> = (0..3_000_000u32).flat_map(u32::to_le_bytes).collect();
    std::fs::write(directory.join("large"), &content).unwrap();
    let location = format!(
        "location /sub {{ push_stream_subscriber; push_stream_channels_path $arg_id; }}
         location / {{ root {}; }}",
        directory.display()
    );
    with_trial(&location, async |trial| {
        let mut idle: Vec<_> = (0..20).map(|_| trial.client()).collect();
        for client in &mut idle {
            client.get("/large").await;
        }
        trial.until("all wait", |trial| trial.worker.waiting() > 19 * 64 * 1024).await;
        assert!(trial.worker.waiting() < 20 * 200 * 1024);
        let mut client = trial.client();
        client.send(b"GET /large HTTP/1.1\r\nHost: h\r\n\r\nGET /large HTTP/1.1\r\nHost: h\r\nRange: bytes=5000000-5999999\r\n\r\n").await;
        let mut head = client.see(b"\r\n\r\n").await;
        for expected in [&content[..], &content[5_000_000..6_000_000]] {
            let length = format!("Content-Length: {}\r\n", expected.len());
            assert!(memchr::memmem::find(&head, length.as_bytes()).is_some());
            let mut body = Vec::new();
            while body.len() < expected.len() {
                body.extend(client.some(expected.len() - body.len()).await);
            }
            assert!(body == expected);
            if expected.len() == content.len() {
                head = client.see(b"\r\n\r\n").await;
            }
        }
    });
    std::fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn a_client_that_takes_its_answer_slowly_is_not_idle() {
    let directory = std::env::temp_dir().join(format!("pushstreamd-slow-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(directory.join("large"), vec![b'x'; 2_000_000]).unwrap();
    let location = format!(
        "keepalive_timeout 200ms; location /sub {{ push_stream_subscriber; push_stream_channels_path $arg_id; }}
         location / {{ root {}; }}",
        directory.display()
    );
    with_trial(&location, async |trial| {
        let mut client = trial.client();
        client.get("/large").await;
        client.see(b"\r\n\r\n").await;
        let mut left = 2_000_000;
        while left > 0 {
            left -= client.some(100_000.min(left)).await.len();
            // All of it takes several times as long as a connection may be idle.
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
        assert_eq!(client.rest().await, b"", "idle from now on");
        trial.until("it is closed", |trial| trial.worker.connections() == 0).await;
    });
    std::fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn who_sends_too_much_ahead_is_seen_to_leave() {
    with_trial(LOCATIONS, async |trial| {
        for length in [1000, 64 * 1024, 300_000] {
            let mut client = trial.client();
            client.get("/sub/a").await;
            trial.until("it has subscribed", |trial| trial.census().subscribers == 1).await;
            client.send(&vec![b'x'; length]).await;
            drop(client);
            trial.until("it is gone", |trial| trial.worker.connections() == 0).await;
            assert_eq!(trial.census().subscribers, 0);
        }
    });
}

#[test]
fn a_large_body_loses_nothing_of_itself_nor_of_what_follows_it() {
    with_trial(LOCATIONS, async |trial| {
        let body: Vec<u8> = (0..600_000u32).flat_map(u32::to_le_bytes).collect();
        let exact = [format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes(), &body].concat();
        let mut chunked = b"Transfer-Encoding: chunked\r\n\r\n".to_vec();
        for chunk in body.chunks(70_001) {
            chunked.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            chunked.extend_from_slice(chunk);
            chunked.extend_from_slice(b"\r\n");
        }
        chunked.extend_from_slice(b"0\r\n\r\n");
        for (id, sent) in [("exact", exact), ("chunked", chunked)] {
            let mut client = trial.client();
            let mut wire = format!("POST /pub?id={id} HTTP/1.1\r\nHost: h\r\n").into_bytes();
            wire.extend_from_slice(&sent);
            wire.extend_from_slice(
                format!("POST /pub?id={id} HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx").as_bytes(),
            );
            client.send(&wire).await;
            client.see(b"200 OK").await;
            client.see(b"200 OK").await;
            assert_eq!(trial.published(id), 2, "{id}");
            let mut reader = trial.client();
            ask(&mut reader, &format!("/sub/{id}")).await;
            let seen = reader.see(b"\r\n3\r\n<x>\r\n").await;
            assert!(memchr::memmem::find(&seen, &[b"<", &body[..], b">"].concat()).is_some(), "{id}");
        }
    });
}
