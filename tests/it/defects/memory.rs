//! Memory: bounded by the configured size, and never a reason to refuse service.

use std::time::Duration;

use crate::support::{LOCATIONS, Server};

const SMALL: &str = "push_stream_shared_memory_size 256k;";

#[test]
fn full_memory_makes_room_for_the_newest_message_9_33_65_87_121_138_235() {
    let server = Server::start(SMALL, LOCATIONS);
    let mut publisher = server.connect();
    for n in 0..300 {
        let answer = publisher.ask("POST /pub?id=a", &[], format!("{n:04}{}", "x".repeat(4096)).as_bytes());
        assert_eq!(answer.status, 200, "message {n}");
    }
    assert!(server.get("/poll/a.b1").text().starts_with("<0299"));
    assert!(server.count("stored_messages") < 70);
}

#[test]
fn full_memory_delivers_subscribes_and_deletes_228() {
    let server = Server::start(SMALL, LOCATIONS);
    for _ in 0..100 {
        server.publish("/pub?id=a", [b'x'; 4096]);
    }
    let mut stream = server.subscribe("/sub/new");
    stream.head();
    server.publish("/pub?id=new", "live");
    stream.until("<live>");
    assert_eq!(server.ask("DELETE /pub?id=new", &[], b"bye").status, 200);
    stream.until("<bye>");
}

#[test]
fn what_is_not_stored_takes_no_memory_226() {
    let server = Server::start("push_stream_shared_memory_size 8m; client_max_body_size 2m;", LOCATIONS);
    let mut publisher = server.connect();
    let text = vec![b'x'; 1 << 20];
    let mut publish = |count: usize| {
        for n in 0..count {
            assert_eq!(publisher.ask("POST /drop?id=a", &[], &text).status, 200, "message {n}");
        }
        server.resident_kib()
    };
    // What one message on its way takes has been taken by then.
    let before = publish(20);
    let after = publish(100);
    assert!(after < before + 20 * 1024, "{before} KiB became {after} KiB by 100 MiB of messages");
    assert_eq!(server.count("stored_messages"), 0);
}

#[test]
fn strict_refuses_when_memory_is_full_as_the_module_does() {
    let server = Server::with_args(&["--strict"], SMALL, LOCATIONS);
    let mut publisher = server.connect();
    let refused = (0..300).any(|_| publisher.ask("POST /pub?id=a", &[], &[b'x'; 4096]).status == 500);
    assert!(refused);
}

#[test]
fn a_subscriber_that_does_not_read_is_cut_off_with_a_line_in_the_log_300() {
    let server = Server::start("client_max_body_size 8m; push_stream_shared_memory_size 256m;", LOCATIONS);
    let mut idle = server.subscribe("/sub/a");
    idle.head();
    let mut reader = server.websocket("/ws/a");
    let text = vec![b'x'; 4 << 20];
    for _ in 0..24 {
        server.publish("/drop?id=a", &text);
        assert_eq!(reader.frame().payload.len(), text.len() + 2, "others go on");
    }
    server.eventually("the line", || server.log().contains("subscriber does not read, disconnected"));
    server.await_count("subscribers", 1);
}

#[test]
fn the_trash_is_emptied_after_a_reload_too_212_281() {
    let server = Server::usual();
    for _ in 0..10 {
        server.publish("/drop?id=a", "x");
    }
    assert_eq!(server.count("messages_in_trash"), 10);
    server.reload("", LOCATIONS);
    let end = std::time::Instant::now() + Duration::from_secs(18);
    while server.count("messages_in_trash") > 0 {
        assert!(std::time::Instant::now() < end, "the trash is never emptied");
        std::thread::sleep(Duration::from_millis(200));
    }
}
