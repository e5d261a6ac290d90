//! Publishing: what becomes of text, ids and limits.

use crate::support::{LOCATIONS, Server};

#[test]
fn words_of_templates_in_a_text_stay_what_they_are_pr_161() {
    let server = Server::start("", &LOCATIONS.replace("<~text~>", "<~text~|~tag~>"));
    let text = "~text~~text~~time~~tag~".repeat(50);
    server.publish("/pub?id=a", &text);
    let got = server.get("/poll/a.b1").text();
    assert!(got.starts_with(&format!("<{text}|")), "{got}");
}

#[test]
fn text_is_delivered_byte_for_byte_16_254() {
    let server = Server::usual();
    let text = b"it's \"quoted\" \\ }{ <b> \0 \xff\xfe \r\n end";
    server.publish("/pub?id=a", text);
    assert_eq!(server.get("/poll/a.b1").body, [&b"<"[..], text, b">"].concat());
}

#[test]
fn messages_of_any_size_arrive_whole_10_29() {
    let server = Server::start("client_max_body_size 32m; push_stream_shared_memory_size 128m;", LOCATIONS);
    for size in [1, 46_332, 249_843, 1 << 20, 16 << 20] {
        let mut stream = server.subscribe("/ev/big");
        stream.head();
        let text: Vec<u8> = (0..size).map(|at: usize| b"abcdefghijklmnopqrstuvwxyz"[at % 26]).collect();
        server.publish("/pub?id=big", &text);
        assert!(server.get("/poll/big.b1").body[1..=size] == text[..], "{size}");
        stream.until("\n\n");
    }
}

#[test]
fn a_refused_publish_leaves_nothing_behind() {
    let server = Server::usual();
    assert_eq!(server.ask("POST /pub?id=ok/ALL", &[], b"x").status, 403);
    assert_eq!(server.get("/pub?id=ok").status, 404);
    assert_eq!(server.count("channels"), 0);
    let strict = Server::with_args(&["--strict"], "", LOCATIONS);
    assert_eq!(strict.ask("POST /pub?id=ok/ALL", &[], b"x").status, 403);
    assert_eq!(strict.get("/pub?id=ok").status, 200);
}

#[test]
fn the_limit_of_subscribers_counts_each_subscription() {
    let server = Server::start("push_stream_max_subscribers_per_channel 1;", LOCATIONS);
    let answer = server.get("/lp/a/a");
    assert_eq!(answer.status, 403);
    assert_eq!(answer.field("X-Nginx-PushStream-Explain"), Some("Subscribers limit per channel has been exceeded."));
    let polls: Vec<_> = (0..8).map(|_| server.subscribe("/lp/b")).collect();
    let admitted = polls.into_iter().map(|mut poll| poll.answer(false).status).filter(|&status| status == 304).count();
    assert_eq!(admitted, 1);
}

#[test]
fn one_publish_reaches_many_channels_96() {
    let server = Server::usual();
    server.publish("/pub?id=a/b/c", "x");
    for id in ["a", "b", "c"] {
        assert_eq!(server.get(&format!("/poll/{id}.b1")).text(), "<x>");
    }
}

#[test]
fn the_body_of_a_delete_is_what_subscribers_are_told_39() {
    let server = Server::usual();
    let mut stream = server.subscribe("/sub/a");
    stream.head();
    assert_eq!(server.ask("DELETE /pub?id=a", &[], b"closed for today").status, 200);
    stream.until("<closed for today>");
}

#[test]
fn storing_can_depend_on_the_request_77() {
    let location = "location = /choose { push_stream_publisher; push_stream_channels_path $arg_id;
        if ($arg_keep) { push_stream_store_messages on; } }";
    let server = Server::start("", &format!("{LOCATIONS} {location}"));
    assert!(server.publish("/choose?id=a", "x").text().contains("\"stored_messages\": 0"));
    assert!(server.publish("/choose?id=a&keep=1", "x").text().contains("\"stored_messages\": 1"));
}

#[test]
fn authorized_channels_are_those_with_a_stored_message_17_62_90_151() {
    let locations = LOCATIONS.replace(
        "polling; push_stream_channels_path",
        "polling; push_stream_authorized_channels_only on; push_stream_channels_path",
    );
    let server = Server::start("", &locations);
    server.publish("/drop?id=a", "x");
    let answer = server.get("/poll/a");
    assert_eq!(answer.status, 403);
    assert_eq!(answer.field("X-Nginx-PushStream-Explain"), Some("Subscriber could not create channels."));
    server.publish("/pub?id=a", "x");
    assert_eq!(server.get("/poll/a").status, 304);
}

#[test]
fn wildcard_channels_alone_are_refused_where_their_number_is_limited_125() {
    let server = Server::start(
        "push_stream_wildcard_channel_prefix w_; push_stream_wildcard_channel_max_qtd 2; push_stream_max_number_of_wildcard_channels 5;",
        LOCATIONS,
    );
    let explained = Some("Subscribed too much wildcard channels.");
    assert_eq!(server.get("/poll/w_a").field("X-Nginx-PushStream-Explain"), explained);
    assert_eq!(server.get("/poll/w_a/b").status, 304);
}
