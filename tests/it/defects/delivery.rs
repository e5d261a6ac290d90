//! Each message once and in order, whatever the client does between two polls.

use std::time::{Duration, Instant};

use crate::support::{Client, LOCATIONS, PROMPTLY, Server};

/// Polls as a client does: with the validators of the last answer.
fn follow(wire: &mut Client, target: &str, validators: &mut Vec<String>) -> String {
    let fields: Vec<_> = validators.iter().map(String::as_str).collect();
    let answer = wire.ask(&format!("GET {target}"), &fields, b"");
    if let (Some(time), Some(tag)) = (answer.field("Last-Modified"), answer.field("Etag")) {
        *validators = vec![format!("If-Modified-Since: {time}"), format!("If-None-Match: {tag}")];
    }
    answer.text()
}

#[test]
fn a_long_poll_that_follows_its_validators_misses_nothing_and_gets_nothing_twice_85_252() {
    for line in ["0.3.5", "0.4.0", "0.5"] {
        let server = Server::with_args(&["--compat", line], "", LOCATIONS);
        let mut wire = server.connect();
        let mut validators = Vec::new();
        // The first poll waits in vain; what it answers is a place to go on from.
        assert_eq!(follow(&mut wire, "/lp/a", &mut validators), "");
        let mut got = String::new();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for n in 0..300 {
                    server.publish("/pub?id=a", n.to_string());
                }
            });
            let expected: String = (0..300).map(|n| format!("<{n}>")).collect();
            let end = Instant::now() + PROMPTLY;
            while got.len() < expected.len() {
                assert!(Instant::now() < end, "{line}: only {got}");
                if line == "0.3.5" {
                    wire = server.connect();
                }
                let text = follow(&mut wire, "/lp/a", &mut validators).replace("\r\n", "");
                got.push_str(&text);
                assert!(expected.starts_with(&got), "{line}: {got}");
            }
        });
    }
}

#[test]
fn a_deletion_does_not_bring_a_message_of_another_channel_twice() {
    for args in [&[][..], &["--strict"]] {
        let server = Server::with_args(args, "", LOCATIONS);
        server.publish("/pub?id=a", "seed");
        let mut wire = server.connect();
        let mut validators = Vec::new();
        let mut waits = |meanwhile: &dyn Fn()| {
            std::thread::scope(|scope| {
                let follower = scope.spawn(|| follow(&mut wire, "/lp/a/b", &mut validators));
                server.await_count("subscribers", 1);
                meanwhile();
                follower.join().unwrap()
            })
        };
        assert_eq!(waits(&|| drop(server.publish("/pub?id=b", "once"))), "<once>", "{args:?}");
        assert_eq!(waits(&|| drop(server.connect().delete("/pub?id=a"))), "<Channel deleted>", "{args:?}");
        assert_eq!(waits(&|| ()), "", "{args:?}");
    }
}

#[test]
fn a_message_whose_body_is_slow_is_seen_by_those_who_polled_meanwhile() {
    let server = Server::usual();
    let mut publisher = server.connect();
    publisher.send("POST /pub?id=a HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nsl");
    server.await_text("/stats?id=a", "\"published_messages\": 0");
    let mut wire = server.connect();
    let mut validators = Vec::new();
    // Two timeouts: the second tells a time after that of the head.
    for _ in 0..2 {
        assert_eq!(follow(&mut wire, "/lp/a", &mut validators), "");
    }
    publisher.send("ow");
    assert_eq!(publisher.status(), 200);
    assert_eq!(follow(&mut wire, "/lp/a", &mut validators), "<slow>");
    assert_eq!(follow(&mut wire, "/lp/a", &mut validators), "");
}

#[test]
fn polls_of_several_channels_get_each_message_once_in_order_of_publish_85() {
    let server = Server::usual();
    let mut wire = server.connect();
    let mut validators = vec!["If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT".to_owned()];
    let mut got = String::new();
    let mut expected = String::new();
    for n in 0..40 {
        server.publish(["/pub?id=a", "/pub?id=b", "/pub?id=c"][n % 3], n.to_string());
        expected.push_str(&format!("<{n}>"));
        if n % 4 == 3 {
            got.push_str(&follow(&mut wire, "/poll/a/b/c", &mut validators));
            assert_eq!(got, expected);
        }
    }
}

#[test]
fn a_message_published_while_a_client_subscribes_is_not_lost() {
    let server = Server::usual();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut publisher = server.connect();
            for n in 0..400 {
                publisher.ask("POST /pub?id=a", &[], format!("{n:03}").as_bytes());
            }
        });
        for _ in 0..10 {
            // From some message on, everything up to the last.
            let mut stream = server.subscribe("/ev/a.b100");
            let text = stream.until("data: 399\n\n");
            let numbers: Vec<u32> = text.lines().filter_map(|line| line.strip_prefix("data: ")?.parse().ok()).collect();
            assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
        }
    });
}

#[test]
fn concurrent_messages_have_tags_of_their_own_260() {
    let server = Server::start("", &LOCATIONS.replace("<~text~>", "~time~ ~tag~;"));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut publisher = server.connect();
                for _ in 0..50 {
                    publisher.ask("POST /pub?id=a", &[], b"x");
                }
            });
        }
    });
    let text = server.get("/poll/a.b500").text();
    let mut stamps: Vec<_> = text.split_terminator(';').collect();
    assert_eq!(stamps.len(), 200);
    stamps.sort_unstable();
    stamps.dedup();
    assert_eq!(stamps.len(), 200);
}

#[test]
fn gzip_leaves_a_client_its_place_194() {
    for line in ["0.3.5", "0.4.0", "0.5"] {
        let server = Server::with_args(&["--compat", line], "gzip on; gzip_types text/plain;", LOCATIONS);
        server.publish("/pub?id=a", "x");
        let answer = server.ask("GET /poll/a.b1", &["Accept-Encoding: gzip"], b"");
        assert_eq!(answer.field("Content-Encoding"), Some("gzip"), "{line}");
        assert!(answer.field("Etag").is_some(), "{line}: {}", answer.head);
    }
    let strict = Server::with_args(&["--strict", "--compat", "0.4.0"], "gzip on; gzip_types text/plain;", LOCATIONS);
    strict.publish("/pub?id=a", "x");
    assert_eq!(strict.ask("GET /poll/a.b1", &["Accept-Encoding: gzip"], b"").field("Etag"), None);
}

#[test]
fn a_compressed_stream_brings_each_message_at_once_14_137() {
    let server = Server::start("gzip on; gzip_types text/plain;", LOCATIONS);
    let mut stream = server.connect();
    stream.send_request("GET /sub/a", &["Accept-Encoding: gzip"], b"");
    assert!(stream.head().contains("Content-Encoding: gzip"));
    for _ in 0..3 {
        stream.rest(Duration::from_millis(50));
        stream.bytes.clear();
        server.publish("/pub?id=a", "x");
        assert!(!stream.rest(Duration::from_millis(300)).is_empty());
    }
}

#[test]
fn long_polls_that_are_over_are_subscribers_no_more_120_259() {
    let server = Server::usual();
    let mut polls: Vec<_> = (0..10).map(|_| server.subscribe("/lp/a")).collect();
    server.await_count("subscribers", 10);
    for poll in &mut polls {
        assert_eq!(poll.answer(false).status, 304);
    }
    server.await_count("subscribers", 0);
    assert!(server.get("/pub?id=a").text().contains("\"subscribers\": 0"));
}

#[test]
fn a_client_goes_on_from_an_event_id_in_a_long_poll_too_pr_270() {
    let server = Server::usual();
    for n in ["1", "2", "3"] {
        server.ask("POST /pub?id=a", &[&format!("Event-Id: e{n}")], n.as_bytes());
    }
    let answer = server.ask("GET /lp/a", &["Last-Event-Id: e1"], b"");
    assert_eq!(answer.text(), "<2><3>");
}

#[test]
fn any_location_serves_polls_to_clients_that_ask_for_them_130() {
    let server = Server::usual();
    server.publish("/pub?id=a", "x");
    let answer = server.ask("GET /sub/a.b1", &["X-Nginx-PushStream-Mode: long-polling"], b"");
    assert_eq!(answer.text(), "<x>");
}

#[test]
fn a_time_in_the_arguments_counts_where_only_the_tag_is_configured_133_210() {
    let locations = LOCATIONS
        .replace("push_stream_longpolling", "push_stream_last_received_message_tag $arg_tag; push_stream_longpolling");
    let server = Server::start("", &locations);
    server.publish("/pub?id=a", "x");
    let answer = server.get("/lp/a?tag=0&time=Thu,%2001%20Jan%202015%2000:00:00%20GMT");
    assert_eq!(answer.text(), "<x>");
    let strict = Server::with_args(&["--strict"], "", &locations);
    strict.publish("/pub?id=a", "x");
    assert_eq!(strict.get("/lp/a?tag=0&time=Thu,%2001%20Jan%202015%2000:00:00%20GMT").status, 304);
}
