//! Many publishers and subscribers at once: a subscriber that follows the protocol sees each message of its channels once and
//! in the order of its publishing, whatever the workers do. Nothing lost, nothing twice, no gap.
//!
//! `STRESS_SECONDS` sets how long each run publishes (4).

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::{Client, Frame, PATIENCE, Reply, Server, eventually, request};

const CHANNELS: u64 = 4;
const ZONE: &str = "push_stream_message_ttl 30m; keepalive_requests 100000000;
    push_stream_message_template '[~channel~ ~id~ ~text~]'; push_stream_store_messages on;";
const LOCATIONS: &str = "
    location /pub { push_stream_publisher; push_stream_channels_path $arg_id; push_stream_channel_info_on_publish off; }
    location /stat { push_stream_channels_statistics; push_stream_channels_path $arg_id; }
    location /stream { push_stream_subscriber; push_stream_channels_path $arg_id; }
    location /lp { push_stream_subscriber long-polling; push_stream_channels_path $arg_id;
                   push_stream_longpolling_connection_ttl 1100ms; }
    location /poll { push_stream_subscriber polling; push_stream_channels_path $arg_id; }
    location /ws { push_stream_subscriber websocket; push_stream_channels_path $arg_id; }";

/// What one subscriber has seen: the last message id of each channel, every one of which is one more than before.
#[derive(Default)]
struct Seen {
    name: String,
    last: HashMap<String, u64>,
    publisher: HashMap<(String, String), u64>,
}

impl Seen {
    fn new(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// Takes `[channel id publisher number]...`.
    fn take(&mut self, text: &[u8]) {
        for message in std::str::from_utf8(text).unwrap().split_terminator(']') {
            let words: Vec<&str> = message.trim_start_matches('[').split(' ').collect();
            let [channel, id, publisher, number] = words[..] else { panic!("{}: {message:?}", self.name) };
            let last = self.last.entry(channel.to_owned()).or_default();
            let id: u64 = id.parse().unwrap();
            assert_eq!(id, *last + 1, "{}: {message} after {last}", self.name);
            *last = id;
            let number: u64 = number.parse().unwrap();
            let before = self.publisher.insert((channel.to_owned(), publisher.to_owned()), number);
            assert!(before < Some(number), "{}: {message} after {before:?}", self.name);
        }
    }

    fn has_all(&self, published: &[AtomicU64], channels: &[u64]) -> bool {
        channels.iter().all(|channel| {
            let published = published[*channel as usize].load(Ordering::SeqCst);
            self.last.get(&format!("c{channel}")).copied().unwrap_or_default() == published
        })
    }
}

/// What all threads share.
struct Run {
    server: Server,
    /// Messages answered with 200, by channel.
    published: Vec<AtomicU64>,
    /// Nothing is published any more.
    over: AtomicBool,
}

impl Run {
    fn is_complete(&self, seen: &Seen, channels: &[u64]) -> bool {
        self.over.load(Ordering::SeqCst) && seen.has_all(&self.published, channels)
    }

    fn publish(&self, name: &str, until: Instant) {
        let mut client = self.server.connect();
        let mut number = 0_u64;
        while Instant::now() < until {
            number += 1;
            // Some publish to one channel, some to several at once.
            let channels: Vec<u64> = match number % 5 {
                0 => (0..CHANNELS).collect(),
                1 => vec![number / 5 % CHANNELS, (number / 5 + 1) % CHANNELS],
                rest => vec![(number / 5 + rest) % CHANNELS],
            };
            let text = format!("{name} {number}");
            let head = request(
                "POST",
                &format!("/pub?id={}", path(&channels)),
                &format!("Content-Length: {}\r\n", text.len()),
            );
            let reply = self.ask(&mut client, &(head + &text));
            assert_eq!(reply.status, 200);
            for channel in channels {
                self.published[channel as usize].fetch_add(1, Ordering::SeqCst);
            }
            if number.is_multiple_of(16) {
                thread::sleep(Duration::from_millis(1));
            }
        }
    }

    /// Sends a request, and sends it again on a new connection if this one was closed without an answer, as a reload does with
    /// idle ones: then it has not been looked at.
    fn ask(&self, client: &mut Client, bytes: &str) -> Reply {
        loop {
            client.try_send(bytes.as_bytes());
            match client.try_reply() {
                Some(reply) => return reply,
                None => *client = self.server.connect(),
            }
        }
    }

    fn stream(&self, name: &str, channels: &[u64]) {
        let mut seen = Seen::new(name);
        let mut client = self.server.connect();
        client.send(request("GET", &format!("/stream?id={}", path(channels)), "").as_bytes());
        assert_eq!(client.status(), 200);
        self.until_complete(&mut seen, channels, |seen| {
            let quiet = client.is_silent_for(Duration::from_millis(50));
            if !quiet {
                seen.take(&client.chunk().unwrap());
            }
        });
    }

    fn websocket(&self, name: &str, channels: &[u64]) {
        let mut seen = Seen::new(name);
        let mut socket = self.server.websocket(&format!("/ws?id={}", path(channels)));
        self.until_complete(&mut seen, channels, |seen| {
            let quiet = socket.wire.is_silent_for(Duration::from_millis(50));
            if !quiet {
                let Frame { first, payload } = socket.frame();
                assert_eq!(first, 0x81);
                seen.take(&payload);
            }
        });
    }

    /// Follows the protocol (whose timeout says "from this second on", so waits last longer than a second): what `Last-Modified` and `Etag` said goes back as it is. Begins with "everything".
    fn polls(&self, name: &str, location: &str, channels: &[u64], reconnects: bool) {
        let mut seen = Seen::new(name);
        let target = format!("{location}?id={}", path(channels));
        let mut position = "If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT\r\nIf-None-Match: 0\r\n".to_owned();
        let mut client = self.server.connect();
        self.until_complete(&mut seen, channels, |seen| {
            if reconnects {
                client = self.server.connect();
            }
            let reply = self.ask(&mut client, &request("GET", &target, &position));
            seen.take(&reply.body);
            if let Some(next) = next_position(&reply) {
                position = next;
            }
            if reply.status == 304 && location == "/poll" {
                thread::sleep(Duration::from_millis(2));
            }
        });
    }

    fn until_complete(&self, seen: &mut Seen, channels: &[u64], mut step: impl FnMut(&mut Seen)) {
        let mut until = None;
        while !self.is_complete(seen, channels) {
            if self.over.load(Ordering::SeqCst) {
                let until = *until.get_or_insert_with(|| Instant::now() + PATIENCE);
                assert!(
                    Instant::now() < until,
                    "{} lacks messages: {:?} of {:?}",
                    seen.name,
                    seen.last,
                    self.published
                );
            }
            step(seen);
        }
    }
}

fn next_position(reply: &Reply) -> Option<String> {
    let (time, tag) = (reply.field("last-modified")?, reply.field("etag")?);
    Some(format!("If-Modified-Since: {time}\r\nIf-None-Match: {tag}\r\n"))
}

fn path(channels: &[u64]) -> String {
    channels.iter().map(|channel| format!("c{channel}")).collect::<Vec<_>>().join("/")
}

fn stress(workers: usize, reloads: bool) {
    let seconds = std::env::var("STRESS_SECONDS").ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(4);
    let run = Run {
        server: Server::with_locations(workers, ZONE, LOCATIONS),
        published: (0..CHANNELS).map(|_| AtomicU64::new(0)).collect(),
        over: AtomicBool::new(false),
    };
    let all: Vec<u64> = (0..CHANNELS).collect();
    thread::scope(|scope| {
        let (run, all) = (&run, &all);
        for number in 0..3_u64 {
            scope.spawn(move || run.stream(&format!("stream {number}"), &all[..=number as usize]));
            scope.spawn(move || run.websocket(&format!("websocket {number}"), &all[number as usize..]));
            scope.spawn(move || run.polls(&format!("long-poll {number}"), "/lp", &[number], number == 1));
            scope.spawn(move || {
                let several = &all[..2 + number.min(2) as usize];
                run.polls(&format!("long-poll of several {number}"), "/lp", several, number == 2);
            });
            scope.spawn(move || run.polls(&format!("poll {number}"), "/poll", &all[number as usize..], false));
        }
        // Streams begin with what comes after them, so they stand before the first message.
        eventually("the streams are there", || {
            let summary = run.server.connect().get("/stat", "Connection: close\r\n").body;
            let summary: serde_json::Value = serde_json::from_slice(&summary).unwrap();
            summary["subscribers"].as_u64().unwrap() >= 6 + 6
        });
        let until = Instant::now() + Duration::from_secs(seconds);
        let publishers: Vec<_> =
            (0..4).map(|number| scope.spawn(move || run.publish(&format!("p{number}"), until))).collect();
        while Instant::now() < until {
            thread::sleep(Duration::from_millis(300));
            if reloads {
                run.server.signal(nix::sys::signal::Signal::SIGHUP);
            }
        }
        for publisher in publishers {
            publisher.join().unwrap();
        }
        run.over.store(true, Ordering::SeqCst);
    });
    let published: u64 = run.published.iter().map(|count| count.load(Ordering::SeqCst)).sum();
    eprintln!("{workers} workers: {published} messages");
    assert!(published > 100, "only {published} messages");
    for (number, count) in run.published.iter().enumerate() {
        let body = run.server.connect().get(&format!("/stat?id=c{number}"), "Connection: close\r\n").body;
        let info: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(info["published_messages"].as_u64(), Some(count.load(Ordering::SeqCst)));
    }
    assert!(!run.server.stderr().contains("panicked"));
}

#[test]
fn nothing_is_lost_or_doubled_with_two_workers() {
    stress(2, false);
}

#[test]
fn nothing_is_lost_or_doubled_with_four_workers_over_reloads() {
    stress(4, true);
}
