//! What all connections, and those of one address, may hold: who goes when it is too much, and who stays.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;
use rustls::{ClientConnection, StreamOwned};

use crate::support::{LOCATIONS, Prefix, Server, Socket, eventually, exchange, free_port, masked, request};
use crate::tls_server::{self_signed, trusting};

/// A server with these bounds, and how to ask it for its counters.
fn bounded(bounds: &str) -> (Server, impl Fn(&str) -> u64) {
    let port = free_port();
    let server = Server::with_args(
        &["--status", &format!("127.0.0.1:{port}")],
        &format!("client_max_body_size 64m; push_stream_shared_memory_size 256m; {bounds}"),
        LOCATIONS,
    );
    (server, move |name: &str| number_of(port, name))
}

/// A number of `/status`.
fn number_of(port: u16, name: &str) -> u64 {
    let mut answer = String::new();
    // It is told a moment after the server listens.
    eventually("the status", || exchange(port, "GET", "/status", "").map(|told| answer = told).is_ok());
    let status: serde_json::Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    status[name].as_u64().unwrap_or_else(|| panic!("no {name} in {status}"))
}

#[test]
fn whoever_holds_the_most_goes_and_who_reads_is_not_harmed() {
    let (server, number) = bounded("push_stream_connections_memory 4m;");
    let mut citizen = server.subscribe("/sub/a");
    citizen.head();
    let message = masked(0x81, &vec![b'x'; 1_000_000]);
    // Messages that are begun and not ended.
    let mut greedy: Vec<_> = (0..20).map(|_| Socket::open(server.connect(), "/ws/b", b"")).collect();
    for socket in &mut greedy {
        socket.wire.try_send(&message[..900_000]);
    }
    server.eventually("most are let go", || number("disconnected_memory") >= 14);
    server.eventually("what is left is less than may be", || number("connections_memory_bytes") <= 4 << 20);
    server.publish("/pub?id=a", "news");
    citizen.until("<news>");
    assert!(number("disconnected_memory") < 20, "no more go than have to");
    drop(greedy);
    server.eventually("nothing is left", || number("connections_memory_bytes") == 0);
    assert!(server.log().contains("too much is held for all connections, client disconnected"));
}

#[test]
fn bodies_that_do_not_come_whole_get_503_while_too_much_is_held() {
    let (server, number) = bounded("push_stream_connections_memory 1m;");
    // One body holds what all may; another begins.
    let mut great = server.connect();
    great.send(request("POST", "/pub?id=a", "Content-Length: 3000000\r\n"));
    great.send(vec![b'x'; 2_000_000]);
    let answer = great.reply();
    assert_eq!(answer.status, 503, "{}", answer.head);
    assert_eq!(answer.field("connection"), Some("close"));
    server.eventually("it is given back", || number("connections_memory_bytes") == 0);
    assert_eq!(number("refused_bodies"), 1);
    server.publish("/pub?id=a", vec![b'x'; 100_000]);
}

#[test]
fn a_bound_that_a_reload_lowers_is_kept_while_reloads_go_on() {
    let (server, number) = bounded("push_stream_connections_memory 64m;");
    let mut citizen = server.subscribe("/sub/a");
    citizen.head();
    let message = masked(0x81, &vec![b'x'; 1_000_000]);
    let greedy = |count: usize| -> Vec<Socket> {
        let mut sockets: Vec<_> = (0..count).map(|_| Socket::open(server.connect(), "/ws/b", b"")).collect();
        for socket in &mut sockets {
            socket.wire.try_send(&message[..900_000]);
        }
        sockets
    };
    let first = greedy(20);
    server.eventually("all of it is held", || number("connections_memory_bytes") > 17_000_000);
    assert_eq!(number("disconnected_memory"), 0);
    server.reload(
        "client_max_body_size 64m; push_stream_shared_memory_size 256m; push_stream_connections_memory 4m;",
        LOCATIONS,
    );
    // More comes while one reload follows the other.
    let mut more = Vec::new();
    for _ in 0..5 {
        server.signal(Signal::SIGHUP);
        more.extend(greedy(4));
        server.signal(Signal::SIGHUP);
    }
    server.eventually("most are let go", || number("disconnected_memory") >= 34);
    server.eventually("what is left is less than may be", || number("connections_memory_bytes") <= 4 << 20);
    assert!(number("disconnected_memory") < 40, "no more go than have to");
    server.publish("/pub?id=a", "news");
    citizen.until("<news>");
    drop((first, more));
    server.eventually("nothing is left", || number("connections_memory_bytes") == 0);
}

#[test]
fn history_that_nobody_reads_is_bounded_over_all_connections() {
    let (server, number) = bounded("push_stream_connections_memory 2m; send_timeout 60s;");
    for _ in 0..40 {
        server.publish("/pub?id=a", vec![b'x'; 1_000_000]);
    }
    let readers: Vec<_> = (0..30).map(|_| server.subscribe("/sub/a.b40")).collect();
    server.eventually("some are let go", || number("disconnected_memory") > 0);
    server.eventually("what is left is less than may be", || number("connections_memory_bytes") <= 2 << 20);
    let mut reader = server.subscribe("/poll/a.b1");
    assert_eq!(reader.reply().status, 200);
    drop(readers);
    server.eventually("nothing is left", || number("connections_memory_bytes") == 0);
}

#[test]
fn a_compressor_is_held_for_its_client_and_counts_for_what_all_may_hold() {
    let (server, number) = bounded("push_stream_connections_memory 8m; gzip on; gzip_types text/plain;");
    let packed = || {
        let mut client = server.connect();
        client.send(request("GET", "/sub/a", "Accept-Encoding: gzip\r\n"));
        assert!(client.head().contains("Content-Encoding: gzip"));
        client
    };
    let mut plain = server.subscribe("/sub/a");
    plain.head();
    let mut first = vec![packed(), packed()];
    let each = 417 * 1024;
    server.eventually("each has its own", || number("connections_memory_bytes") == 2 * each);
    first.truncate(1);
    server.eventually("it is given back", || number("connections_memory_bytes") == each);
    first.extend((0..30).map(|_| packed()));
    server.eventually("some are let go", || number("disconnected_memory") > 0);
    server.eventually("what is left is less than may be", || number("connections_memory_bytes") <= 8 << 20);
    assert!(number("disconnected_memory") < 20, "no more go than have to");
    server.publish("/pub?id=a", "news");
    plain.until("<news>");
    drop(first);
    server.eventually("nothing is left", || number("connections_memory_bytes") == 0);
}

#[test]
fn a_tls_session_is_held_for_its_client_from_its_first_byte() {
    let [port, status] = [free_port(), free_port()];
    let prefix = Prefix::new("bounds");
    self_signed(&prefix.dir, "a");
    let keys = prefix.dir.display();
    let server = Server::with_args(
        &["--status", &format!("127.0.0.1:{status}")],
        "client_header_timeout 1h;",
        &format!(
            "listen 127.0.0.1:{port} ssl; ssl_certificate {keys}/a.crt; ssl_certificate_key {keys}/a.key; {LOCATIONS}"
        ),
    );
    let held = || number_of(status, "connections_memory_bytes");
    let connect = || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    // Half of them begin to speak and do not go on.
    let mut begun: Vec<_> = (0..20).map(|_| connect()).collect();
    for client in &mut begun {
        client.write_all(b"\x16").unwrap();
    }
    let config = trusting(b"http/1.1");
    let spoken = (0..20).map(|_| {
        let session = ClientConnection::new(Arc::clone(&config), "a.example".try_into().unwrap()).unwrap();
        let mut client = StreamOwned::new(session, connect());
        client.write_all(request("GET", "/sub/a", "").as_bytes()).unwrap();
        client.read_exact(&mut [0; 12]).unwrap();
        client
    });
    let spoken: Vec<_> = spoken.collect();
    server.eventually("each counts", || held() == 40 * 8192);
    drop(begun);
    server.eventually("those that had begun are given back", || held() == 20 * 8192);
    drop(spoken);
    server.eventually("nothing is left", || held() == 0);
    // What comes of a first message counts, and there is an end to it.
    let mut long = connect();
    let record = |length: usize| [&[0x16, 3, 1][..], &(length as u16).to_be_bytes(), &vec![b'x'; length]].concat();
    long.write_all(&[&[0x16, 3, 1, 0, 6, 1, 0, 0xff, 0xff, 3, 3][..], &record(12_000)].concat()).unwrap();
    server.eventually("it counts", || held() > 12_000 * 3 / 2);
    long.write_all(&record(8000)).unwrap();
    long.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    assert!(
        !matches!(long.read(&mut [0; 100]), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock),
        "it is closed"
    );
    server.eventually("nothing is left of it", || held() == 0);
}

#[test]
fn an_address_has_no_more_connections_than_it_may_have_and_a_proxy_as_many_as_it_wants() {
    let (server, number) = bounded("push_stream_address_connections 3;");
    // Whoever waited for the server to listen has a place until its end is seen.
    server.eventually("all places are free", || number("connections") == 0);
    let mut held: Vec<_> = (0..3).map(|_| server.subscribe("/sub/a")).collect();
    for client in &mut held {
        client.head();
    }
    let refused = || {
        let mut client = server.connect();
        client.try_send(b"GET /poll/a HTTP/1.1\r\nHost: t\r\n\r\n");
        client.try_reply().is_none_or(|reply| reply.status == 503)
    };
    assert!(refused(), "the third is the last");
    assert_eq!(number("refused_of_address"), 1);
    drop(held);
    server.eventually("there is room again", || !refused());

    let (server, _) = bounded("push_stream_address_connections 3; set_real_ip_from 127.0.0.1;");
    let mut held: Vec<_> = (0..20).map(|_| server.subscribe("/sub/a")).collect();
    for client in &mut held {
        client.head();
    }
}

#[test]
fn an_address_holds_no_more_than_it_may() {
    let (server, number) = bounded("push_stream_address_memory 2m;");
    let message = masked(0x81, &vec![b'x'; 1_000_000]);
    let mut sockets: Vec<_> = (0..5).map(|_| Socket::open(server.connect(), "/ws/b", b"")).collect();
    for socket in &mut sockets {
        socket.wire.try_send(&message[..900_000]);
        std::thread::sleep(Duration::from_millis(20));
    }
    server.eventually("who asked for more is let go", || number("disconnected_memory") >= 2);
    assert!(number("connections_memory_bytes") <= 2 << 20);
    assert!(server.log().contains("too much is held for one address"));
}

/// Frames of a client of HTTP/2: a request whose path is to be kept in the header table, with much around it that is not.
fn keeping(number: u32) -> Vec<u8> {
    // GET http, the path with indexing, the authority and two long fields without.
    let field = [&[0x00, 1, b'x', 0x7f, 0xd9, 0x35][..], &[b'y'; 7000]].concat();
    let block = [&[0x82, 0x86, 0x44, 5][..], b"/none", &[0x01, 1, b't'], &field, &field].concat();
    let length = (block.len() as u32).to_be_bytes();
    [&length[1..], &[1, 5], &(2 * number + 1).to_be_bytes(), &block].concat()
}

#[test]
fn what_http2_keeps_of_heads_counts_and_who_has_it_keep_much_is_let_go() {
    let [port, status] = [free_port(), free_port()];
    let bound = |bound: &str| format!("keepalive_timeout 1h; push_stream_connections_memory {bound};");
    let listen = format!("listen 127.0.0.1:{port} http2; {LOCATIONS}");
    let server = Server::with_args(&["--status", &format!("127.0.0.1:{status}")], &bound("1g"), &listen);
    let mut citizen = server.subscribe("/sub/a");
    citizen.head();
    let held = || number_of(status, "connections_memory_bytes");
    let before = server.resident_kib();
    let connect = || {
        let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        client.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00").unwrap();
        for number in 0..107 {
            client.write_all(&keeping(number)).unwrap();
        }
        client
    };
    let hostile: Vec<_> = (0..20).map(|_| connect()).collect();
    server.eventually("it counts", || held() > 20 * 107 * 14_000);
    let grown = (server.resident_kib() - before) as u64 * 1024;
    assert!(grown < held() + (16 << 20), "{grown} bytes more are resident, {} are counted", held());
    server.reload(&bound("8m"), &listen);
    server.eventually("most are let go", || number_of(status, "disconnected_memory") >= 16);
    server.eventually("what is left is less than may be", || held() <= 8 << 20);
    server.publish("/pub?id=a", "news");
    citizen.until("<news>");
    drop(hostile);
    server.eventually("nothing is left", || held() == 0);
}

/// A request of HTTP/2 with this number for a target longer than 127 bytes.
fn asking(number: u32, target: &str) -> Vec<u8> {
    let mut length = vec![0x7f];
    let mut rest = target.len() - 0x7f;
    while rest > 0x7f {
        length.push(rest as u8 & 0x7f | 0x80);
        rest >>= 7;
    }
    length.push(rest as u8);
    let block = [&[0x82, 0x86, 0x04], &length[..], target.as_bytes(), &[0x01, 1, b't']].concat();
    let size = (block.len() as u32).to_be_bytes();
    [&size[1..], &[1, 5], &(2 * number + 1).to_be_bytes(), &block].concat()
}

/// Subscriptions of very many channels, by all doors: the empty id, again and again, and how many there are.
fn greedy(server: &Server, http2: u16) -> (Vec<Box<dyn std::any::Any>>, usize) {
    const CHANNELS: usize = 6000;
    let path = "/".repeat(CHANNELS);
    let mut clients: Vec<Box<dyn std::any::Any>> = Vec::new();
    for _ in 0..8 {
        clients.push(Box::new(server.subscribe(&format!("/all?id={path}"))));
        clients.push(Box::new(server.subscribe(&format!("/wait?id={path}"))));
        clients.push(Box::new(Socket::open(server.connect(), &format!("/talk?id={path}"), b"")));
    }
    let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, http2)).unwrap();
    client.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00").unwrap();
    for number in 0..16 {
        client.write_all(&asking(number, &format!("/all?id={path}"))).unwrap();
    }
    clients.push(Box::new(client));
    (clients, 40 * CHANNELS)
}

#[test]
fn channels_of_subscribers_count_and_who_has_very_many_is_let_go() {
    let [port, status] = [free_port(), free_port()];
    let bound = |bound: &str| format!("keepalive_timeout 1h; push_stream_connections_memory {bound};");
    let location = |mode: &str| format!("{{ push_stream_subscriber {mode}; push_stream_channels_path $arg_id; }}");
    let listen = format!(
        "listen 127.0.0.1:{port} http2; {LOCATIONS} location /all {} location /wait {} location /talk {}",
        location("streaming"),
        location("long-polling"),
        location("websocket")
    );
    let server = Server::with_args(&["--status", &format!("127.0.0.1:{status}")], &bound("1g"), &listen);
    let mut citizen = server.subscribe("/sub/a/b/c");
    citizen.head();
    let held = || number_of(status, "connections_memory_bytes") as usize;
    let before = server.resident_kib();
    let (clients, channels) = greedy(&server, port);
    server.eventually("each channel counts", || held() > channels * 48 * 9 / 10);
    let grown = (server.resident_kib() - before) as usize * 1024;
    assert!(grown < held() + (16 << 20), "{grown} bytes more are resident, {} are counted", held());
    server.reload(&bound("2m"), &listen);
    server.eventually("most are let go", || number_of(status, "disconnected_memory") >= 30);
    server.eventually("what is left is less than may be", || held() <= 2 << 20);
    server.publish("/pub?id=b", "news");
    citizen.until("<news>");
    drop((clients, citizen));
    server.eventually("nothing is left", || held() == 0);
}

#[test]
fn places_in_very_many_histories_count() {
    let (server, number) = bounded("push_stream_connections_memory 1g;");
    server.publish("/pub?id=a", vec![b'x'; 100_000]);
    let path = "a.b1/".repeat(1500);
    let readers: Vec<_> = ["sub", "poll", "ev"].map(|mode| server.subscribe(&format!("/{mode}/{path}"))).into();
    server.eventually("all of them count", || number("connections_memory_bytes") > 3 * 1500 * 64);
    drop(readers);
    server.eventually("nothing is left", || number("connections_memory_bytes") == 0);
}
