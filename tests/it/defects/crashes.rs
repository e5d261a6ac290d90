//! Requests and configurations that ended a worker of the module, and with it all its clients.

use std::time::Duration;

use crate::support::{LOCATIONS, Server, test_configuration};

#[test]
fn the_same_channel_twice_in_a_long_poll_gets_one_answer_107() {
    let mut server = Server::usual();
    let mut poll = server.subscribe("/lp/a/a");
    server.await_count("subscribers", 1);
    server.publish("/pub?id=a", "x");
    assert_eq!(poll.answer(false).text(), "<x>");
    server.assert_alive();
    server.await_count("subscribers", 0);
}

#[test]
fn a_broken_regex_in_a_padding_is_an_error_of_the_configuration() {
    let output = test_configuration(&["--take-over"], "", "push_stream_padding_by_user_agent \"[a,10,10\";");
    assert_eq!(output.status.code(), Some(0), "a value nobody uses is not judged");
    let used = format!("{LOCATIONS} push_stream_padding_by_user_agent \"[a,10,10\";");
    for args in [&[][..], &["--strict"]] {
        let output = test_configuration(args, "", &used);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("unable to parse paddings by user agent"), "{said}");
    }
}

#[test]
fn clients_that_leave_in_any_state_leave_nothing_behind_100_154() {
    let mut server = Server::usual();
    for cut in ["GET /sub/a HT", "GET /sub/a HTTP/1.1\r\nHost: x\r\n\r\n", "GET /lp/a/b/c HTTP/1.1\r\nHost: x\r\n\r\n"]
    {
        for _ in 0..20 {
            let mut wire = server.connect();
            wire.send(cut);
            drop(wire);
        }
    }
    for _ in 0..20 {
        drop(server.websocket("/ws/a/b"));
        drop(server.subscribe("/ev/a"));
        server.publish("/pub?id=a", "x");
    }
    let mut half = server.connect();
    half.send("POST /pub?id=a HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf");
    drop(half);
    server.await_count("subscribers", 0);
    server.assert_alive();
}

#[test]
fn channels_are_deleted_while_long_polls_time_out_280() {
    let mut server = Server::start(
        "",
        &LOCATIONS
            .replace("push_stream_longpolling_connection_ttl 700ms", "push_stream_longpolling_connection_ttl 20ms"),
    );
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut wire = server.connect();
                for _ in 0..60 {
                    let status = wire.ask("GET /lp/a/b", &[], b"").status;
                    assert!(status == 304 || status == 200, "{status}");
                }
            });
        }
        scope.spawn(|| {
            let mut wire = server.connect();
            for _ in 0..150 {
                wire.ask("DELETE /pub?id=a", &[], b"");
                wire.ask("DELETE /pub?id=b", &[], b"gone");
            }
        });
    });
    server.assert_alive();
    server.await_count("subscribers", 0);
}

#[test]
fn deleting_one_of_two_channels_of_a_long_poll_does_not_lock_up_245() {
    let server = Server::usual();
    for round in 0..20 {
        let mut polls: Vec<_> = (0..5).map(|_| server.subscribe(&format!("/lp/x{round}/y{round}"))).collect();
        server.await_count("subscribers", 5);
        assert_eq!(server.ask(&format!("DELETE /pub?id=x{round}"), &[], b"bye").status, 200);
        for poll in &mut polls {
            assert_eq!(poll.answer(false).text(), "<bye>");
        }
    }
}

#[test]
fn a_rendering_to_nothing_leaves_the_stream_whole() {
    let server = Server::start(
        "push_stream_ping_message_text \"\";",
        &format!(
            "{LOCATIONS} location ~ ^/ids/(.*) {{ push_stream_subscriber; push_stream_channels_path $1;
                push_stream_message_template \"~event-id~\"; push_stream_ping_message_interval 100ms;
                push_stream_subscriber_connection_ttl 900ms; push_stream_footer_template END; }}"
        ),
    );
    let mut stream = server.subscribe("/ids/a");
    server.await_count("subscribers", 1);
    server.publish("/pub?id=a", "no event id");
    std::thread::sleep(Duration::from_millis(150));
    let answer = server.ask("POST /pub?id=a", &["Event-Id: seven"], b"with one");
    assert_eq!(answer.status, 200);
    assert_eq!(stream.answer(false).text(), "sevenEND");
}

#[test]
fn an_empty_callback_is_no_callback() {
    let server = Server::usual();
    server.publish("/pub?id=a", "x");
    let answer = server.get("/poll/a.b1?callback=");
    assert_eq!((answer.status, &*answer.text()), (200, "<x>"));
}

#[test]
fn a_path_that_changes_its_location_by_if_frames_its_header_once() {
    let server = Server::start(
        "",
        &format!(
            "{LOCATIONS} location ~ ^/framed/(.*) {{ push_stream_subscriber websocket; push_stream_channels_path $1;
                push_stream_header_template HEAD; push_stream_footer_template FOOT;
                if ($arg_keep) {{ push_stream_store_messages on; }} }}"
        ),
    );
    for target in ["/framed/a", "/framed/b?keep=1"] {
        let mut socket = server.websocket(target);
        assert_eq!(socket.frame(), crate::support::Frame::text("HEAD"), "{target}");
    }
}
