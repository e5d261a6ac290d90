//! Subscribers that come one after the other while messages are published, up to the end of the server, on a machine that has no time.
//!
//! A subscriber whose head has come is registered: whatever a publisher began to send after that, and was told to be published, it
//! gets once. What came before is not its due, so each knows when its head came.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{JoinHandle, spawn};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::server_ends::{HANDSHAKE, LOCATIONS, Published, http2_publisher, publisher};
use crate::support::{PATIENCE, request, within};
use crate::tls_server::TlsServer;

/// Threads that keep the processors from everybody else.
const BUSY: usize = 6;
/// Between two subscribers.
const PAUSE: Duration = Duration::from_millis(4);

/// What came for a subscriber, and when its head did.
type Told = Option<(Instant, String)>;

/// Follows to the end. Whose head has not come was not there.
fn follow(mut stream: impl Read + Write, head: &str) -> Told {
    stream.write_all(head.as_bytes()).ok()?;
    let (mut all, mut joined) = (Vec::new(), None);
    let mut buffer = [0; 16384];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => all.extend_from_slice(&buffer[..read]),
            Err(error) if joined.is_some() => panic!("{error} after {} bytes", all.len()),
            Err(_) => return None,
        }
        if joined.is_none() && all.windows(4).any(|four| four == b"\r\n\r\n") {
            joined = Some(Instant::now());
        }
    }
    Some((joined?, String::from_utf8_lossy(&all).into_owned()))
}

fn subscriber(server: &TlsServer, number: usize) -> (&'static str, JoinHandle<Told>) {
    let plain = |head: String| {
        let stream = server.plain();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        spawn(move || follow(stream, &head))
    };
    match number % 5 {
        0 => ("stream", plain(request("GET", "/s?id=x", ""))),
        1 => ("stream of HTTP/1.0", plain("GET /s?id=x HTTP/1.0\r\n\r\n".into())),
        2 => ("eventsource", plain(request("GET", "/e?id=x", ""))),
        3 => ("websocket", plain(request("GET", "/w?id=x", HANDSHAKE))),
        _ => {
            let config = server.client("a.example").config();
            let tcp = TcpStream::connect(("127.0.0.1", server.tls_port)).unwrap();
            tcp.set_read_timeout(Some(PATIENCE)).unwrap();
            let session = rustls::ClientConnection::new(config, "a.example".try_into().unwrap()).unwrap();
            let stream = rustls::StreamOwned::new(session, tcp);
            ("stream over TLS", spawn(move || follow(stream, &request("GET", "/s?id=x", ""))))
        }
    }
}

fn all_that_is_due_comes_once_up_to(signal: Signal) {
    let server = TlsServer::start(LOCATIONS);
    let over = Arc::new(AtomicBool::new(false));
    let spin = || {
        let over = Arc::clone(&over);
        spawn(move || while !over.load(Ordering::Relaxed) {})
    };
    let busy: Vec<_> = (0..BUSY).map(|_| spin()).collect();
    let acknowledged = Arc::new(AtomicUsize::new(0));
    let port = server.plain().peer_addr().unwrap().port();
    let mut publishers: Vec<_> = (0..3).map(|name| publisher(port, name, Arc::clone(&acknowledged))).collect();
    publishers.push(http2_publisher(server.http2_port, Arc::clone(&acknowledged)));
    let mut subscribers: Vec<_> = (0..5).map(|number| subscriber(&server, number)).collect();
    within(PATIENCE, "messages are published", || {
        subscribers.push(subscriber(&server, subscribers.len()));
        std::thread::sleep(PAUSE);
        acknowledged.load(Ordering::Relaxed) > 150 && subscribers.len() > 60
    });
    server.signal(signal);
    let messages: Vec<Published> = publishers.into_iter().flat_map(|publisher| publisher.join().unwrap()).collect();
    let (mut there, mut due) = (0, 0);
    for (name, subscriber) in subscribers {
        let Some((joined, text)) = subscriber.join().unwrap() else { continue };
        there += 1;
        for message in &messages {
            let times = text.matches(&format!("<{}>", message.text)).count();
            let owed = message.begun > joined;
            due += usize::from(owed);
            assert!(
                times == 1 || times == 0 && !owed,
                "{name}: {} of {} came {times} times",
                message.text,
                messages.len()
            );
        }
    }
    over.store(true, Ordering::Relaxed);
    for thread in busy {
        thread.join().unwrap();
    }
    assert!(there > 20 && due > 500, "{there} subscribers were there, {due} messages were due");
}

#[test]
fn what_is_due_comes_once_up_to_a_term() {
    all_that_is_due_comes_once_up_to(Signal::SIGTERM);
}

#[test]
fn what_is_due_comes_once_up_to_a_quit() {
    all_that_is_due_comes_once_up_to(Signal::SIGQUIT);
}
