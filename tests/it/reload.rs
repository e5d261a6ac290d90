//! Reloads under load: subscribers stay connected, and nothing they are sent is lost, swapped or doubled.
//!
//! `PUSHSTREAMD_SUBSCRIBERS` sets the number of subscribers (a few hundred otherwise); it is lowered to what the limit of
//! open files allows, and the figures are printed.

use std::io::Read as _;
use std::net::TcpStream;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::support::{Client, PATIENCE, Prefix, eventually, exchange, free_port, request};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;

const CHANNELS: usize = 10;

/// Subscribers read without threads of their own: what each has received so far, checked as it comes.
struct Crowd {
    members: Vec<Member>,
    /// Messages published per channel.
    published: Vec<u64>,
}

struct Member {
    stream: TcpStream,
    channel: usize,
    unread: Vec<u8>,
    received: u64,
}

impl Crowd {
    fn join(prefix: &Prefix, count: usize) -> Self {
        let members = (0..count).map(|number| {
            let channel = number % CHANNELS;
            let stream = prefix.subscribe(&format!("c{channel}")).into_stream();
            stream.set_nonblocking(true).unwrap();
            Member { stream, channel, unread: Vec::new(), received: 0 }
        });
        Self { members: members.collect(), published: vec![0; CHANNELS] }
    }

    /// Publishes the next number to every channel.
    fn publish(&mut self, prefix: &Prefix) {
        for (channel, published) in self.published.iter_mut().enumerate() {
            *published += 1;
            prefix.publish(&format!("c{channel}"), &format!("m{published}"));
        }
    }

    /// Reads until everyone has everything.
    fn settle(&mut self) {
        let until = Instant::now() + PATIENCE;
        while self.members.iter().any(|member| member.received < self.published[member.channel]) {
            assert!(Instant::now() < until, "messages are missing");
            let mut polled: Vec<PollFd<'_>> =
                self.members.iter().map(|member| PollFd::new(borrow(&member.stream), PollFlags::POLLIN)).collect();
            poll(&mut polled, PollTimeout::from(100u8)).unwrap();
            let ready: Vec<bool> = polled.iter().map(|polled| polled.any() == Some(true)).collect();
            for (member, _) in self.members.iter_mut().zip(ready).filter(|(_, ready)| *ready) {
                member.read();
            }
        }
    }

    /// After a pause nobody has been sent anything more, and nobody has been disconnected.
    fn check(&mut self) {
        std::thread::sleep(Duration::from_millis(300));
        for member in &mut self.members {
            member.read();
            assert_eq!(member.received, self.published[member.channel]);
        }
    }
}

impl Member {
    fn read(&mut self) {
        let mut buffer = [0; 4096];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => panic!("a subscriber was disconnected after {} messages", self.received),
                Ok(count) => self.unread.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                Err(error) => panic!("a subscriber was disconnected: {error}"),
            }
        }
        while let Some(end) = self.unread.windows(2).position(|two| two == b"\r\n") {
            let line: Vec<u8> = self.unread.drain(..end + 2).collect();
            // Chunk sizes and empty lines are framing, everything else is a message: the next one.
            if let Some(number) = line.strip_prefix(b"m") {
                self.received += 1;
                assert_eq!(String::from_utf8_lossy(number).trim(), self.received.to_string());
            }
        }
    }
}

fn borrow(stream: &TcpStream) -> BorrowedFd<'_> {
    stream.as_fd()
}

/// How many subscribers there may be.
fn wanted(usual: usize) -> usize {
    let wanted = std::env::var("PUSHSTREAMD_SUBSCRIBERS").ok().and_then(|text| text.parse().ok()).unwrap_or(usual);
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    // Server and subscribers are two processes; each needs a few more.
    wanted.min(usize::try_from(hard).unwrap().saturating_sub(200))
}

fn broken(prefix: &Prefix, number: usize) -> &'static str {
    let (conf, complaint) = match number % 4 {
        0 => ("nonsense".to_owned(), "unexpected end of file, expecting \";\" or \"}\""),
        1 => (prefix.read("good.conf").replace("push_stream_publisher admin", "push_stream_publisher boss"), "boss"),
        2 => (
            prefix.read("good.conf").replace("logs/access.log", "missing/access.log"),
            "missing/access.log\" failed (2",
        ),
        _ => (
            prefix.read("good.conf").replace("listen 127.0.0.1", "listen 192.0.2.1:1; listen 127.0.0.1"),
            "bind() to 192.0.2.1:1",
        ),
    };
    prefix.write("nginx.conf", &conf);
    complaint
}

#[test]
fn subscribers_notice_nothing_of_three_reloads() {
    let prefix = Prefix::new("reloads");
    prefix.write_conf("worker_processes 2;", "");
    let server = prefix.start(&[]);
    let begin = Instant::now();
    let mut crowd = Crowd::join(&prefix, wanted(300));
    let joined = begin.elapsed();
    for reload in 0..3 {
        crowd.publish(&prefix);
        prefix.write_conf("worker_processes 2;", &format!("add_header X-Reload {reload};"));
        server.signal(Signal::SIGHUP);
        // Messages flow while the settings are swapped.
        for _ in 0..5 {
            crowd.publish(&prefix);
        }
        eventually("the reload", || {
            prefix.request("GET", "/pub?id=c0", "").unwrap().contains(&format!("X-Reload: {reload}"))
        });
        crowd.publish(&prefix);
        crowd.settle();
    }
    crowd.check();
    eprintln!(
        "{} subscribers joined in {joined:?}, 3 reloads, {} messages each, all in order, {:?} in all",
        crowd.members.len(),
        crowd.published[0],
        begin.elapsed()
    );
}

#[test]
fn subscribers_notice_nothing_of_ten_wrong_reloads() {
    let prefix = Prefix::new("wrong-reloads");
    prefix.write_conf("worker_processes 2;", "");
    prefix.write("good.conf", &prefix.read("nginx.conf"));
    let server = prefix.start(&[]);
    let mut crowd = Crowd::join(&prefix, wanted(300));
    for number in 0..10 {
        let complaint = broken(&prefix, number);
        let told = prefix.read("logs/error.log").matches(complaint).count();
        server.signal(Signal::SIGHUP);
        crowd.publish(&prefix);
        eventually(complaint, || prefix.read("logs/error.log").matches(complaint).count() > told);
        crowd.publish(&prefix);
        crowd.settle();
    }
    crowd.check();
    eprintln!("{} subscribers, 10 wrong reloads, {} messages each", crowd.members.len(), crowd.published[0]);
}

#[test]
fn a_reload_opens_and_closes_ports_and_moves_logs() {
    let prefix = Prefix::new("reload-ports");
    prefix.write_conf("", "");
    let server = prefix.start(&[]);
    let more = free_port();
    let mut subscriber = prefix.subscribe("a");
    let push = "location /pub { push_stream_publisher; push_stream_channels_path $arg_id; }";
    prefix.write_conf("", &format!("server {{ listen 127.0.0.1:{more}; {push} location / {{ return 204; }} }}"));
    let conf =
        prefix.read("nginx.conf").replace("logs/error.log", "logs/other.log").replace("access.log", "second.log");
    prefix.write("nginx.conf", &conf);
    server.signal(Signal::SIGHUP);
    eventually("the new port", || exchange(more, "GET", "/", "").is_ok_and(|answer| answer.contains(" 204 ")));
    eventually("the new access log", || prefix.read("logs/second.log").contains("GET / HTTP/1.1"));
    prefix.write_conf("worker_processes 3;", "");
    server.signal(Signal::SIGHUP);
    eventually("the port is closed", || TcpStream::connect(("127.0.0.1", more)).is_err());
    prefix.error_log_has("worker_processes 3 needs a restart, 1 workers go on");
    prefix.publish("a", "after");
    subscriber.until_line("after");
}

#[test]
fn strict_says_farewell_on_reload() {
    let prefix = Prefix::new("reload-strict");
    prefix.write_conf("", "push_stream_header_template HI; push_stream_footer_template BYE;");
    let server = prefix.start(&["--strict"]);
    let mut subscriber = prefix.subscribe("a");
    server.signal(Signal::SIGHUP);
    subscriber.until_line("BYE");
    let rest = subscriber.end();
    assert!(rest.ends_with("0\r\n\r\n"), "{rest:?}");
    prefix.publish("a", "served on");
}

/// Publishes numbered texts one after the other on connections that are kept: those that were answered, and those that were not.
fn publish_on(prefix: &Prefix, name: usize, over: &AtomicBool) -> (Vec<String>, Vec<String>) {
    let (mut answered, mut unanswered) = (Vec::new(), Vec::new());
    let mut client = Client::open(prefix.address(), PATIENCE);
    for number in 0.. {
        if over.load(Ordering::Relaxed) {
            break;
        }
        let text = format!("{name}.{number}");
        let head = request("POST", "/pub?id=a", &format!("Content-Length: {}\r\n", text.len()));
        client.try_send(&[head.as_bytes(), text.as_bytes()].concat());
        let reply = client.try_reply();
        if reply.as_ref().is_none_or(|reply| reply.field("connection") == Some("close")) {
            client = Client::open(prefix.address(), PATIENCE);
        }
        match reply {
            Some(reply) => {
                assert_eq!(reply.status, 200, "{}", reply.head);
                answered.push(text);
            }
            None => unanswered.push(text),
        }
    }
    (answered, unanswered)
}

#[test]
fn a_publisher_is_answered_or_has_published_nothing_whenever_a_reload_closes_its_connection() {
    let prefix = Prefix::new("publishers");
    prefix.write_conf("worker_processes 2;", "");
    let running = prefix.start(&[]);
    let mut observer = prefix.subscribe("a");
    let over = AtomicBool::new(false);
    let published: Vec<_> = std::thread::scope(|scope| {
        let (prefix, over) = (&prefix, &over);
        let publishers: Vec<_> = (0..4).map(|name| scope.spawn(move || publish_on(prefix, name, over))).collect();
        for reload in 1..=20 {
            running.signal(Signal::SIGHUP);
            eventually("it is reloaded", || reloads(prefix) >= reload);
        }
        over.store(true, Ordering::Relaxed);
        publishers.into_iter().map(|publisher| publisher.join().unwrap()).collect()
    });
    prefix.publish("a", "end");
    let seen = observer.until("end\n");
    let seen: Vec<&str> =
        seen.split(|c: char| !c.is_ascii_digit() && c != '.').filter(|text| text.contains('.')).collect();
    for (name, (answered, unanswered)) in published.iter().enumerate() {
        let of = format!("{name}.");
        let own: Vec<&str> = seen.iter().copied().filter(|text| text.starts_with(&of)).collect();
        assert!(!answered.is_empty(), "{name} could not publish");
        assert_eq!(own, *answered, "once, in order, and nothing of {unanswered:?}");
    }
}

fn reloads(prefix: &Prefix) -> usize {
    prefix.read("logs/error.log").matches("reconfigured").count()
}
