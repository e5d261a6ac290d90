//! Clients that go away at every state, do not read, or send more than they read: nothing of them stays, nobody else notices.

use std::io::{ErrorKind, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::{Client, Server, eventually, masked, request};

const ZONE: &str = "push_stream_channel_inactivity_time 1s; push_stream_message_ttl 10m; client_max_body_size 16m; keepalive_requests 10000000;";
const LOCATIONS: &str = "
    location /pub { push_stream_publisher admin; push_stream_channels_path $arg_id; push_stream_store_messages on; }
    location /live { push_stream_publisher admin; push_stream_channels_path $arg_id; }
    location /stat { push_stream_channels_statistics; push_stream_channels_path $arg_id; }
    location /stream { push_stream_subscriber; push_stream_channels_path $arg_id; push_stream_header_template hello; }
    location /gz { push_stream_subscriber; push_stream_channels_path $arg_id; gzip on; gzip_types text/plain; }
    location /poll { push_stream_subscriber polling; push_stream_channels_path $arg_id; }
    location /lp { push_stream_subscriber long-polling; push_stream_channels_path $arg_id; }
    location /short { push_stream_subscriber long-polling; push_stream_channels_path $arg_id;
                      push_stream_longpolling_connection_ttl 30ms; }
    location /ev { push_stream_subscriber eventsource; push_stream_channels_path $arg_id; push_stream_ping_message_interval 20ms; }
    location /ws { push_stream_subscriber websocket; push_stream_channels_path $arg_id; push_stream_websocket_allow_publish on; }";

fn server() -> Server {
    Server::with_locations(2, ZONE, LOCATIONS)
}

fn summary(server: &Server) -> serde_json::Value {
    serde_json::from_slice(&server.connect().get("/stat", "Connection: close\r\n").body).unwrap()
}

fn subscribers(server: &Server) -> u64 {
    let summary = summary(server);
    let of_workers: u64 =
        summary["by_worker"].as_array().unwrap().iter().filter_map(|w| w["subscribers"].as_u64()).sum();
    let all = summary["subscribers"].as_u64().unwrap();
    assert_eq!(all, of_workers, "the workers make up the whole");
    all
}

/// Open files when no client is there, with the logs of both workers open.
fn files_at_rest(server: &Server) -> usize {
    for _ in 0..64 {
        subscribers(server);
    }
    let mut files = server.open_files();
    eventually("no file is opened or closed any more", || {
        thread::sleep(Duration::from_millis(50));
        let before = std::mem::replace(&mut files, server.open_files());
        before == files
    });
    files
}

fn assert_nothing_is_left(server: &mut Server, files: usize) {
    eventually("no subscriber is left", || subscribers(server) == 0);
    eventually("no file descriptor is left", || server.open_files() <= files);
    assert!(server.is_alive());
    assert!(!server.stderr().contains("panicked"), "{}", server.stderr());
    assert!(!server.file("error.log").contains("panicked"));
}

/// What a client has sent when it goes away.
fn states() -> Vec<(&'static str, Vec<u8>)> {
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x\r\n";
    let get = |target: &str| request("GET", target, "").into_bytes();
    let socket = |after: &[u8]| [request("GET", "/ws?id=a/b", upgrade).as_bytes(), after].concat();
    vec![
        ("before the head", Vec::new()),
        ("within the head", b"GET /stream?id=a HTTP/1.1\r\nHost".to_vec()),
        ("as a waiting long-poll", get("/lp?id=a/b")),
        ("as a waiting long-poll with a request ahead", [get("/lp?id=a"), get("/lp?id=b")].concat()),
        ("within a stream", get("/stream?id=a/b/a")),
        ("within a compressed stream", request("GET", "/gz?id=a", "Accept-Encoding: gzip\r\n").into_bytes()),
        ("within an event stream", get("/ev?id=a")),
        ("within a websocket", socket(b"")),
        ("within a websocket frame", socket(&masked(0x81, &[b'x'; 300])[..100])),
        ("between fragments", socket(&masked(0x01, b"part"))),
        ("after a close frame", socket(&masked(0x88, &1000_u16.to_be_bytes()))),
        ("refused as a websocket", request("GET", "/ws?id=ALL", upgrade).into_bytes()),
        ("within a body", b"POST /live?id=a HTTP/1.1\r\nHost: t\r\nContent-Length: 100\r\n\r\nhalf".to_vec()),
        (
            "within a chunk",
            b"POST /live?id=a HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nhalf".to_vec(),
        ),
        ("within a refused body", b"POST /live?id=ALL HTTP/1.1\r\nHost: t\r\nContent-Length: 100\r\n\r\nhalf".to_vec()),
        ("between requests", get("/stat")),
    ]
}

#[derive(Clone, Copy)]
enum Leave {
    Close,
    Reset,
    Half,
}

#[test]
fn clients_that_go_away_at_any_state_leave_nothing_behind() {
    let mut server = server();
    let files = files_at_rest(&server);
    for round in 0..4 {
        let mut clients = Vec::new();
        for (_, sent) in states() {
            for leave in [Leave::Close, Leave::Reset, Leave::Half] {
                for _ in 0..4 {
                    let mut client = server.connect();
                    client.send(&sent);
                    clients.push((client, leave));
                }
            }
        }
        if round > 0 {
            // At least the five plain states among those that subscribe.
            eventually("the subscribers have been counted", || subscribers(&server) >= 4 * 3 * 5);
        }
        if round > 1 {
            server.connect().post("/live?id=a", "", &vec![b'x'; 100_000]);
        }
        let mut halves = Vec::new();
        for (client, leave) in clients {
            match leave {
                Leave::Close => {}
                Leave::Reset => socket2::SockRef::from(client.stream()).set_linger(Some(Duration::ZERO)).unwrap(),
                Leave::Half => {
                    client.stream().shutdown(Shutdown::Write).unwrap();
                    halves.push(client);
                }
            }
        }
        eventually("half-closed clients are let go", || subscribers(&server) == 0);
        drop(halves);
    }
    assert_nothing_is_left(&mut server, files);
    let channel = server.connect().get("/stat?id=a", "Connection: close\r\n");
    assert!(
        channel.status == 404 || String::from_utf8_lossy(&channel.body).contains("\"subscribers\": 0"),
        "{channel:?}"
    );
}

#[test]
fn a_subscriber_that_does_not_read_is_cut_off_and_delays_nobody() {
    let mut server = server();
    let files = files_at_rest(&server);
    let mut slow = server.connect();
    slow.send(request("GET", "/stream?id=a", "").as_bytes());
    let mut quick = server.connect();
    quick.send(request("GET", "/stream?id=a", "").as_bytes());
    assert_eq!(quick.status(), 200);
    assert_eq!(quick.chunk().unwrap(), b"hello");
    eventually("both subscribe", || subscribers(&server) == 2);
    let message = vec![b'm'; 1 << 20];
    let mut publisher = server.connect();
    for _ in 0..40 {
        let began = Instant::now();
        assert_eq!(publisher.post("/live?id=a", "", &message).status, 200);
        assert_eq!(quick.chunk().unwrap().len(), message.len());
        assert!(began.elapsed() < Duration::from_secs(15), "delayed by {:?}", began.elapsed());
    }
    eventually("the slow one is gone", || subscribers(&server) == 1);
    let log = server.file("error.log");
    assert_eq!(log.matches("subscriber does not read, disconnected").count(), 1, "{log}");
    drop((slow, quick, publisher));
    assert_nothing_is_left(&mut server, files);
}

/// Sends the same bytes again and again without reading, until the server takes no more for a while or `most` are sent.
fn flood(client: &Client, bytes: &[u8], most: usize) {
    let mut stream: &TcpStream = client.stream();
    stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let mut sent = 0;
    while sent < most {
        match stream.write(bytes) {
            Ok(0) => return,
            Ok(count) => sent += count,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return,
            Err(error) => {
                assert!(matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{error}");
                return;
            }
        }
    }
}

#[test]
fn websockets_and_compressed_streams_that_do_not_read_are_cut_off_too() {
    cut_off_who_does_not_read(server());
}

/// What is held for an address is counted in the midst of a delivery.
#[test]
fn whoever_does_not_read_is_cut_off_where_addresses_are_counted() {
    let zone = format!("{ZONE} push_stream_address_connections 1000; push_stream_address_memory 1g;");
    cut_off_who_does_not_read(Server::with_locations(2, &zone, LOCATIONS));
}

fn cut_off_who_does_not_read(mut server: Server) {
    let files = files_at_rest(&server);
    let socket = server.websocket("/ws?id=a");
    let mut zipped = server.connect();
    zipped.send(request("GET", "/gz?id=a", "Accept-Encoding: gzip\r\n").as_bytes());
    eventually("both subscribe", || subscribers(&server) == 2);
    // What does not get smaller by compression.
    let mut state = 1_u32;
    let noise = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    let message: Vec<u8> = (0..1 << 20).map(noise).collect();
    let mut publisher = server.connect();
    for _ in 0..60 {
        assert_eq!(publisher.post("/live?id=a", "", &message).status, 200);
    }
    eventually("both are gone", || subscribers(&server) == 0);
    assert_eq!(server.file("error.log").matches("subscriber does not read, disconnected").count(), 2);
    drop((socket, zipped, publisher));
    assert_nothing_is_left(&mut server, files);
}

#[test]
fn requests_whose_answers_are_not_read_take_no_memory() {
    let mut server = server();
    let files = files_at_rest(&server);
    let mut publisher = server.connect();
    assert_eq!(publisher.post("/pub?id=big", "", &vec![b'm'; 256 << 10]).status, 200);
    let before = server.resident_kib();
    let client = server.connect();
    flood(&client, request("GET", "/poll?id=big.b1", "").repeat(1000).as_bytes(), 4 << 20);
    let grown = server.resident_kib().saturating_sub(before);
    assert!(grown < 32 << 10, "{grown} KiB for one client");
    assert_eq!(publisher.get("/stat?id=big", "").status, 200, "others are served");
    drop((client, publisher));
    assert_nothing_is_left(&mut server, files);
}

#[test]
fn answers_to_a_flood_of_requests_all_arrive_once_they_are_read() {
    let server = server();
    assert_eq!(server.connect().post("/pub?id=big", "", &vec![b'm'; 64 << 10]).status, 200);
    let mut client = server.connect();
    let requests = request("GET", "/poll?id=big.b1", "").repeat(200);
    client.send(requests.as_bytes());
    thread::sleep(Duration::from_millis(200));
    for _ in 0..200 {
        assert_eq!(client.reply().body.len(), 64 << 10);
    }
    assert_eq!(client.get("/stat?id=big", "").status, 200);
}

#[test]
fn pongs_that_are_not_read_take_no_memory() {
    let mut server = server();
    let files = files_at_rest(&server);
    let before = server.resident_kib();
    let socket = server.websocket("/ws?id=a");
    flood(&socket.wire, &masked(0x89, &[b'p'; 125]).repeat(500), 64 << 20);
    let grown = server.resident_kib().saturating_sub(before);
    assert!(grown < 32 << 10, "{grown} KiB for one client");
    drop(socket);
    assert_nothing_is_left(&mut server, files);
}

#[test]
fn channels_are_deleted_while_long_polls_time_out() {
    let mut server = server();
    let files = files_at_rest(&server);
    let over = AtomicBool::new(false);
    let answers = AtomicUsize::new(0);
    thread::scope(|scope| {
        for number in 0..12 {
            let (server, over, answers) = (&server, &over, &answers);
            scope.spawn(move || {
                let mut client = server.connect();
                let target = format!("/short?id=c{}/c{}", number % 4, (number + 1) % 4);
                while !over.load(Ordering::Relaxed) {
                    let reply = client.get(&target, "");
                    assert!(matches!(reply.status, 200 | 304), "{reply:?}");
                    answers.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let mut publisher = server.connect();
        let until = Instant::now() + Duration::from_secs(3);
        let mut number = 0;
        while Instant::now() < until {
            number += 1;
            let id = number % 4;
            let status = publisher.delete(&format!("/pub?id=c{id}")).status;
            assert!(matches!(status, 200 | 404));
            if number % 3 == 0 {
                assert_eq!(publisher.post(&format!("/live?id=c{id}"), "", b"x").status, 200);
            }
        }
        over.store(true, Ordering::Relaxed);
    });
    assert!(answers.into_inner() > 100);
    assert_nothing_is_left(&mut server, files);
}
