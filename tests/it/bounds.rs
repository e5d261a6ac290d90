//! What all connections, and those of one address, may hold: who goes when it is too much, and who stays.

use std::time::Duration;

use crate::support::{LOCATIONS, Server, Socket, exchange, free_port, masked, request};

/// A server with these bounds, and how to ask it for its counters.
fn bounded(bounds: &str) -> (Server, impl Fn(&str) -> u64) {
    let port = free_port();
    let server = Server::with_args(
        &["--status", &format!("127.0.0.1:{port}")],
        &format!("client_max_body_size 64m; push_stream_shared_memory_size 256m; {bounds}"),
        LOCATIONS,
    );
    let number = move |name: &str| {
        let answer = exchange(port, "GET", "/status", "").unwrap();
        let status: serde_json::Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
        status[name].as_u64().unwrap_or_else(|| panic!("no {name} in {status}"))
    };
    (server, number)
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
fn an_address_has_no_more_connections_than_it_may_have_and_a_proxy_as_many_as_it_wants() {
    let (server, number) = bounded("push_stream_address_connections 3;");
    let held: Vec<_> = (0..2).map(|_| server.subscribe("/sub/a")).collect();
    let refused = || {
        let mut client = server.connect();
        client.try_send(b"GET /poll/a HTTP/1.1\r\nHost: t\r\n\r\n");
        client.try_reply().is_none_or(|reply| reply.status == 503)
    };
    let third = server.subscribe("/sub/a");
    server.eventually("the third is the last", refused);
    assert!(number("refused_of_address") >= 1);
    drop((held, third));
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
