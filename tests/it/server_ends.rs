//! The server's own ends: TERM, QUIT and USR2 while messages are published, with subscribers of every mode at every door.
//!
//! What was acknowledged to a publisher must have reached every subscriber before its connection is closed, each with the last
//! words of its mode; what cannot be kept any more must not be acknowledged.

mod succession;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{JoinHandle, spawn};
use std::time::{Duration, Instant};

use crate::support::{self, PATIENCE, PROMPTLY, Prefix, Server, eventually, exchange, free_port, request, within};
use crate::tls_server::TlsServer;
use bytes::Bytes;
use h2::client;
use http::Request;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

pub(crate) const LOCATIONS: &str = "
    location /s { push_stream_subscriber; push_stream_message_template '<~text~>'; push_stream_footer_template BYE; }
    location /e { push_stream_subscriber eventsource; push_stream_message_template '<~text~>'; }
    location /p { push_stream_subscriber long-polling; push_stream_message_template '<~text~>'; }
    location /w { push_stream_subscriber websocket; push_stream_message_template '<~text~>'; }";
pub(crate) const HANDSHAKE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
/// Subscribers of each kind.
const EACH: usize = 4;
const PUBLISHERS: usize = 3;

/// A process that is not a child of the test; it ends with the test.
struct Stranger(i32);

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.0), Signal::SIGKILL);
    }
}

/// Everything a connection brings until it is closed in order; a reset or silence fails the test.
fn to_the_end(mut stream: impl Read) -> Vec<u8> {
    let mut all = Vec::new();
    let mut buffer = [0; 16384];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return all,
            Ok(read) => all.extend_from_slice(&buffer[..read]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => panic!("{error} after {:.300}", String::from_utf8_lossy(&all)),
        }
    }
}

fn plain(server: &TlsServer, line: &str) -> TcpStream {
    let mut stream = server.plain();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(line.as_bytes()).unwrap();
    stream
}

/// A subscriber: what it is, and everything it was sent.
type Subscriber = (&'static str, JoinHandle<Vec<u8>>);

fn subscribers(server: &TlsServer) -> Vec<Subscriber> {
    let mut all: Vec<Subscriber> = Vec::new();
    let mut add = |name, stream: TcpStream| all.push((name, spawn(move || to_the_end(stream))));
    for _ in 0..EACH {
        add("stream", plain(server, &request("GET", "/s?id=x", "")));
        add("stream of HTTP/1.0", plain(server, "GET /s?id=x HTTP/1.0\r\n\r\n"));
        add("eventsource", plain(server, &request("GET", "/e?id=x", "")));
        add("websocket", plain(server, &request("GET", "/w?id=x", HANDSHAKE)));
        add("quiet poll", plain(server, &request("GET", "/p?id=quiet", "")));
    }
    for _ in 0..EACH {
        let mut client = server.client("a.example").connect();
        client.write_all(request("GET", "/s?id=x", "").as_bytes()).unwrap();
        all.push(("stream over TLS", spawn(move || to_the_end(client))));
    }
    all
}

/// Streams over one HTTP/2 connection, each to its end.
fn http2_streams(port: u16) -> JoinHandle<Vec<Vec<u8>>> {
    spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let tcp = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            // A client that is slower than its streams would take many small frames for an attack.
            let mut builder = client::Builder::new();
            let (client, connection) = builder.data_frame_budget(1 << 30).handshake::<_, Bytes>(tcp).await.unwrap();
            tokio::spawn(connection);
            let mut client = client.ready().await.unwrap();
            let mut bodies = Vec::new();
            for _ in 0..EACH {
                let get = Request::get("http://a.example/s?id=x").body(()).unwrap();
                bodies.push(client.send_request(get, true).unwrap().0.await.unwrap().into_body());
            }
            // Side by side: what nobody takes would be too much for the client.
            let reading = bodies.into_iter().map(|mut body| {
                tokio::spawn(async move {
                    let mut bytes = Vec::new();
                    while let Some(piece) = body.data().await {
                        let piece = piece.unwrap();
                        body.flow_control().release_capacity(piece.len()).unwrap();
                        bytes.extend_from_slice(&piece);
                    }
                    bytes
                })
            });
            let mut all = Vec::new();
            for reading in reading.collect::<Vec<_>>() {
                all.push(reading.await.unwrap());
            }
            all
        })
    })
}

/// A message that was acknowledged.
pub(crate) struct Published {
    pub(crate) text: String,
    /// When its publisher began to send it.
    pub(crate) begun: Instant,
}

/// Publishes over one connection until it is closed or refuses; what was acknowledged.
pub(crate) fn publisher(port: u16, name: usize, acknowledged: Arc<AtomicUsize>) -> JoinHandle<Vec<Published>> {
    spawn(move || {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut all = Vec::new();
        loop {
            let text = format!("{name}.{}", all.len());
            let post = request("POST", "/pub?id=x", &format!("Content-Length: {}\r\n", text.len())) + &text;
            let mut answer = Vec::new();
            let mut buffer = [0; 4096];
            let begun = Instant::now();
            let sent = stream.write_all(post.as_bytes());
            while sent.is_ok() && !answer.ends_with(b"}\r\n") && !answer.ends_with(b"\r\n\r\n") {
                match stream.read(&mut buffer) {
                    Ok(read @ 1..) => answer.extend_from_slice(&buffer[..read]),
                    _ => break,
                }
            }
            if !answer.starts_with(b"HTTP/1.1 200") {
                let refused = answer.is_empty() || answer.starts_with(b"HTTP/1.1 503");
                assert!(refused, "{}", String::from_utf8_lossy(&answer));
                return all;
            }
            all.push(Published { text, begun });
            acknowledged.fetch_add(1, Ordering::Relaxed);
        }
    })
}

/// The same over HTTP/2.
pub(crate) fn http2_publisher(port: u16, acknowledged: Arc<AtomicUsize>) -> JoinHandle<Vec<Published>> {
    spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let tcp = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            let (mut client, connection) = client::handshake(tcp).await.unwrap();
            tokio::spawn(connection);
            let mut all = Vec::new();
            loop {
                let text = format!("two.{}", all.len());
                let post = Request::post("http://a.example/pub?id=x").body(()).unwrap();
                let Ok(ready) = client.ready().await else { return all };
                let begun = Instant::now();
                client = ready;
                let Ok((answer, mut body)) = client.send_request(post, false) else { return all };
                let _ = body.send_data(Bytes::from(text.clone()), true);
                match answer.await {
                    Ok(answer) if answer.status() == 200 => all.push(Published { text, begun }),
                    Ok(answer) => {
                        assert_eq!(answer.status(), 503);
                        return all;
                    }
                    Err(_) => return all,
                }
                acknowledged.fetch_add(1, Ordering::Relaxed);
            }
        })
    })
}

fn assert_each_once(name: &str, bytes: &[u8], acknowledged: &[String]) {
    let text = String::from_utf8_lossy(bytes);
    for message in acknowledged {
        let times = text.matches(&format!("<{message}>")).count();
        assert_eq!(times, 1, "{name}: {message} of {} came {times} times", acknowledged.len());
    }
}

/// The last words of each mode.
fn assert_farewell(name: &str, bytes: &[u8], code: u16) {
    let text = String::from_utf8_lossy(bytes);
    match name {
        "stream of HTTP/1.0" => assert!(text.ends_with("BYE"), "{name}"),
        "stream" | "stream over TLS" => assert!(text.ends_with("3\r\nBYE\r\n0\r\n\r\n"), "{name}"),
        "eventsource" => assert!(text.ends_with("0\r\n\r\n"), "{name}"),
        "websocket" => assert_eq!(bytes[bytes.len() - 4..], [&[0x88, 2][..], &code.to_be_bytes()].concat()),
        "quiet poll" => {
            assert!(text.starts_with("HTTP/1.1 304 ") && text.contains("\r\nConnection: close\r\n"), "{text}");
        }
        other => panic!("{other}"),
    }
}

/// Subscribers of all modes, publishers at full speed, one signal: nothing that was acknowledged is missing anywhere.
fn end_by(signal: Signal, code: u16) -> TlsServer {
    let mut server = TlsServer::start(LOCATIONS);
    let subscribers = subscribers(&server);
    let streams = http2_streams(server.http2_port);
    let idle: Vec<TcpStream> = (0..EACH)
        .map(|_| {
            let mut stream = plain(&server, &request("GET", "/who", ""));
            let read = stream.read(&mut [0; 4096]).unwrap();
            assert!(read > 0);
            stream
        })
        .collect();
    server.await_subscribers(7 * EACH);
    let acknowledged = Arc::new(AtomicUsize::new(0));
    let port = server.plain().peer_addr().unwrap().port();
    let mut publishers: Vec<_> = (0..PUBLISHERS).map(|name| publisher(port, name, Arc::clone(&acknowledged))).collect();
    publishers.push(http2_publisher(server.http2_port, Arc::clone(&acknowledged)));
    within(PATIENCE, "messages are published", || acknowledged.load(Ordering::Relaxed) > 200);
    let begin = Instant::now();
    server.signal(signal);
    for stream in idle {
        assert_eq!(to_the_end(stream), b"", "an idle connection is closed without a word");
    }
    let messages = publishers.into_iter().flat_map(|publisher| publisher.join().unwrap());
    let messages: Vec<String> = messages.map(|message| message.text).collect();
    assert!(messages.len() > 200);
    for (name, subscriber) in subscribers {
        let bytes = subscriber.join().unwrap();
        if name != "quiet poll" {
            assert_each_once(name, &bytes, &messages);
        }
        assert_farewell(name, &bytes, code);
    }
    for bytes in streams.join().unwrap() {
        assert_each_once("stream over HTTP/2", &bytes, &messages);
        assert!(bytes.ends_with(b"BYE"));
    }
    if signal != Signal::SIGUSR2 {
        assert!(server.wait().success());
    }
    eprintln!("{} messages were acknowledged; {signal} took {:?}", messages.len(), begin.elapsed());
    server
}

#[test]
fn term_delivers_what_was_acknowledged_and_takes_no_more() {
    end_by(Signal::SIGTERM, 1001);
}

#[test]
fn quit_delivers_what_was_acknowledged_and_takes_no_more() {
    end_by(Signal::SIGQUIT, 1001);
}

#[test]
fn usr2_delivers_what_was_acknowledged_and_hands_over_to_the_new_binary() {
    let mut server = end_by(Signal::SIGUSR2, 1012);
    let successor = Stranger(server.pid("p.pid"));
    assert_ne!(successor.0, server.id());
    assert_eq!(server.pid("p.pid.oldbin"), server.id());
    let port = server.plain().peer_addr().unwrap().port();
    let subscriber = plain(&server, &request("GET", "/s?id=x", ""));
    eventually("it subscribes", || exchange(port, "GET", "/stats", "").unwrap().contains("\"subscribers\": 1,"));
    for number in 0..20 {
        let answer = exchange(port, "POST", "/pub?id=x", &format!("new.{number}")).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    server.signal(Signal::SIGQUIT);
    assert!(server.wait().success());
    kill(Pid::from_raw(successor.0), Signal::SIGQUIT).unwrap();
    let messages: Vec<String> = (0..20).map(|number| format!("new.{number}")).collect();
    assert_each_once("the successor's", &to_the_end(subscriber), &messages);
}

#[test]
fn balancers_are_told_before_the_end() {
    let prefix = Prefix::new("ready");
    prefix.write_conf("", "push_stream_drain_delay 1s;");
    let port = free_port();
    let mut server = prefix.start(&["--status", &format!("127.0.0.1:{port}")]);
    let ready = || exchange(port, "GET", "/readyz", "").unwrap().lines().next().unwrap().to_owned();
    assert_eq!(ready(), "HTTP/1.1 200 OK");
    let mut subscriber = prefix.subscribe("a");
    server.signal(Signal::SIGQUIT);
    eventually("it is not ready any more", || ready() == "HTTP/1.1 503 Service Unavailable");
    assert!(exchange(port, "GET", "/healthz", "").unwrap().starts_with("HTTP/1.1 200 OK"));
    prefix.publish("a", "served meanwhile");
    subscriber.until_line("served meanwhile");
    assert!(subscriber.end().ends_with("0\r\n\r\n"));
    assert!(server.wait().success());
}

#[test]
fn a_body_that_comes_too_late_is_refused_and_not_acknowledged() {
    let prefix = Prefix::new("late-body");
    prefix.write_conf("", "");
    let mut server = prefix.start(&[]);
    let mut subscriber = prefix.subscribe("a");
    let mut slow = TcpStream::connect(prefix.address()).unwrap();
    slow.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = request("POST", "/pub?id=a", "Expect: 100-continue\r\nContent-Length: 4\r\n");
    slow.write_all(head.as_bytes()).unwrap();
    let mut asked = [0; 25];
    slow.read_exact(&mut asked).unwrap();
    assert_eq!(&asked[..], b"HTTP/1.1 100 Continue\r\n\r\n");
    server.signal(Signal::SIGQUIT);
    assert!(subscriber.end().ends_with("0\r\n\r\n"));
    slow.write_all(b"late").unwrap();
    let answer = String::from_utf8(to_the_end(slow)).unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("\r\nConnection: close\r\n"), "{answer}");
    assert!(server.wait().success());
}

#[test]
fn a_silent_connection_does_not_keep_the_server() {
    let prefix = Prefix::new("silent");
    prefix.write_conf("", "");
    let mut server = prefix.start(&[]);
    let silent = TcpStream::connect(prefix.address()).unwrap();
    let mut late = TcpStream::connect(prefix.address()).unwrap();
    eventually("both are accepted", || prefix.request("GET", "/pub?id=none", "").is_ok());
    server.signal(Signal::SIGQUIT);
    // Its first request may be on the way.
    late.write_all(request("GET", "/pub?id=none", "").as_bytes()).unwrap();
    late.set_read_timeout(Some(PATIENCE)).unwrap();
    let answer = String::from_utf8(to_the_end(late)).unwrap();
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    let begin = Instant::now();
    assert!(server.wait().success());
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    drop(silent);
}

#[test]
fn many_are_told_farewell_over_the_time_of_the_drain() {
    let prefix = Prefix::new("drain");
    prefix.write_conf("", "push_stream_drain_time 2s; push_stream_footer_template BYE;");
    let mut server = prefix.start(&[]);
    // Twenty rounds of twenty, ten milliseconds apart.
    let crowd: Vec<_> = (0..400).map(|_| prefix.subscribe("a").into_stream()).collect();
    let ends = crowd.into_iter().map(|stream| {
        spawn(move || {
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let bytes = to_the_end(stream);
            assert!(bytes.ends_with(b"BYE\r\n0\r\n\r\n"));
            Instant::now()
        })
    });
    let ends: Vec<_> = ends.collect();
    let begin = Instant::now();
    server.signal(Signal::SIGQUIT);
    let last = ends.into_iter().map(|end| end.join().unwrap()).max().unwrap();
    assert!(last - begin >= Duration::from_millis(190), "{:?}", last - begin);
    assert!(server.wait().success());
}

#[test]
fn strict_says_farewell_to_websockets_as_the_module_does() {
    let locations = "location /w { push_stream_subscriber websocket; push_stream_channels_path x; }";
    let mut server = Server::with_args(&["--strict"], "", locations);
    let mut socket = server.websocket("/w");
    server.signal(Signal::SIGQUIT);
    assert_eq!(socket.frame().payload, b"", "a close frame without a code");
    assert!(server.end().success());
}

#[test]
fn a_reload_closes_idle_connections_and_leaves_subscribers_alone() {
    let prefix = Prefix::new("reload-idle");
    prefix.write_conf("worker_processes 2;", "");
    let server = prefix.start(&[]);
    let mut subscriber = prefix.subscribe("a");
    let mut kept: Vec<TcpStream> = (0..EACH).map(|_| TcpStream::connect(prefix.address()).unwrap()).collect();
    for stream in &mut kept {
        stream.set_read_timeout(Some(PROMPTLY)).unwrap();
        stream.write_all(request("GET", "/pub?id=none", "").as_bytes()).unwrap();
        assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
    }
    server.signal(Signal::SIGHUP);
    for stream in kept {
        assert_eq!(to_the_end(stream), b"");
    }
    prefix.publish("a", "after the reload");
    subscriber.until_line("after the reload");
}
