//! A server with zones answers as that many servers would, each with one of them: by every verb, on connections that go from
//! zone to zone, at every door.

use std::fmt::Write as _;

use bytes::Bytes;
use h2::client;
use http::Request;

use super::{HOSTS, Site, ask, send};
use crate::support::{Client, Random, eventually, number_from_environment};

/// Limits that are soon reached.
const LIMITS: &str = "push_stream_channel_inactivity_time 1h; push_stream_max_number_of_channels 5; push_stream_max_number_of_wildcard_channels 2;
    push_stream_wildcard_channel_prefix w_; push_stream_max_subscribers_per_channel 2;
    push_stream_max_messages_stored_per_channel 3; push_stream_events_channel_id events;
    push_stream_allow_connections_to_events_channel on;";
const CHANNELS: [&str; 7] = ["a", "b", "c", "d", "w_a", "w_b", "w_c"];

/// An answer without what two servers may say differently.
fn comparable(reply: &crate::support::Reply) -> String {
    let mut out = String::new();
    for line in reply.head.lines() {
        let name = line.split(':').next().unwrap_or_default();
        if !["Date", "Last-Modified", "Etag", "Content-Length"].contains(&name) {
            writeln!(out, "{line}").unwrap();
        }
    }
    let text = reply.text();
    let Ok(mut value) = serde_json::from_str::<serde_json::Value>(&text) else { return out + &text };
    forget(&mut value);
    out + &value.to_string()
}

/// Takes times and processes out of statistics.
fn forget(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Object(members) => {
            for name in
                ["time", "uptime", "pid", "by_worker", "messages_in_trash", "channels_in_trash", "channels_in_delete"]
            {
                members.remove(name);
            }
            members.values_mut().for_each(forget);
        }
        serde_json::Value::Array(values) => values.iter_mut().for_each(forget),
        _ => {}
    }
}

/// A stream of the same channels at both.
struct Pair {
    zone: usize,
    channel: &'static str,
    /// Until the channel is deleted.
    open: bool,
    both: [Client; 2],
}

#[test]
fn a_server_with_zones_answers_as_that_many_servers_of_one_zone_each() {
    let seed = number_from_environment("PUSHSTREAMD_SEED", 7);
    println!("PUSHSTREAMD_SEED={seed}");
    let mut random = Random(seed);
    let all = Site::start(LIMITS, &HOSTS, &[]);
    let alone: Vec<Site> = (0..3).map(|_| Site::start(LIMITS, &[("alone.example", "")], &[])).collect();
    // The zone of each host.
    let zones = [0, 0, 1, 1, 2];
    let mut kept: Vec<Client> = (0..3).map(|_| all.connect()).collect();
    let mut kept_alone: Vec<Client> = alone.iter().map(Site::connect).collect();
    let mut streams: Vec<Pair> = Vec::new();
    for step in 0..600 {
        let at = random.below(HOSTS.len() as u64) as usize;
        let (host, zone) = (HOSTS[at].0, zones[at]);
        // Who has left is gone a moment later, and counts until then.
        let there = streams.iter().filter(|pair| pair.zone == zone && pair.open).count();
        for (site, host) in [(&all, host), (&alone[zone], "alone.example")] {
            eventually("only those subscribe that do", || {
                let summary: serde_json::Value =
                    serde_json::from_str(&site.ask(host, "GET /stats", "").text()).unwrap();
                summary["subscribers"].as_u64() == Some(there as u64)
            });
        }
        let channel = random.pick(&CHANNELS);
        let line = match random.below(12) {
            0..4 => format!("POST /pub?id={channel}"),
            4 => format!("POST /memory?id={channel}/{}", random.pick(&CHANNELS)),
            5 => format!("DELETE /pub?id={channel}"),
            6 => format!("GET /pub?id={channel}"),
            7 => format!("GET /poll/{channel}/{}", random.pick(&CHANNELS)),
            8 => format!("GET /stats?id={}", random.pick(&["ALL", "w_*", "a", "a/b/w_a", "events"])),
            9 => "GET /stats".to_owned(),
            10 if streams.len() < 8 => {
                let mut both = [all.connect(), alone[zone].connect()];
                for (client, host) in both.iter_mut().zip([host, "alone.example"]) {
                    send(client, host, &format!("GET /sub/{channel}"), "", "");
                }
                let status = both.each_mut().map(Client::status);
                assert_eq!(status[0], status[1], "step {step}: {channel} at {host}");
                if status[0] == 200 {
                    streams.push(Pair { zone, channel, open: true, both });
                }
                continue;
            }
            _ if !streams.is_empty() => {
                let number = random.below(streams.len() as u64) as usize;
                drop(streams.swap_remove(number));
                continue;
            }
            _ => continue,
        };
        let body = format!("<{step}>");
        let connection = random.below(kept.len() as u64) as usize;
        let mut compared = || {
            let theirs = comparable(&ask(&mut kept_alone[zone], "alone.example", &line, &body));
            (comparable(&ask(&mut kept[connection], host, &line, &body)), theirs)
        };
        let mut answers = compared();
        if line.starts_with("GET /stats") {
            // The messages of a deleted channel count until the janitor has come.
            eventually(&format!("the same is counted in step {step}: {line} at {host}: {answers:#?}"), || {
                answers = compared();
                answers.0 == answers.1
            });
        }
        assert_eq!(answers.0, answers.1, "step {step}: {line} at {host}");
        if line.starts_with("DELETE") {
            let gone = streams.iter_mut().filter(|pair| (pair.zone, pair.channel) == (zone, channel));
            gone.for_each(|pair| pair.open = false);
        }
    }
    // Whoever listened was told the same, and of its own zone alone.
    for (zone, host) in [(0, "first.example"), (1, "chat.example"), (2, "news.example")] {
        for pair in streams.iter_mut().filter(|pair| pair.zone == zone) {
            let told = pair.both.each_mut().map(|client| {
                let bytes = client.rest(std::time::Duration::from_millis(100));
                bytes.lines().filter(|line| line.contains('<')).map(str::to_owned).collect::<Vec<_>>()
            });
            assert_eq!(told[0], told[1], "at {host}");
        }
        for channel in CHANNELS.iter().chain(&["events"]) {
            assert_eq!(
                all.stored(host, channel).len(),
                alone[zone].stored("alone.example", channel).len(),
                "{channel}"
            );
        }
    }
}

#[test]
fn every_mode_hears_of_its_own_zone_alone_whoever_publishes() {
    let site = Site::start("", &HOSTS, &[]);
    let zones = ["first.example", "chat.example", "news.example"];
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let mut open = Vec::new();
    for host in zones {
        for (target, fields) in [("/sub/x", ""), ("/ev/x", ""), ("/lp/x", ""), ("/ws/x", upgrade)] {
            let mut client = site.connect();
            send(&mut client, host, &format!("GET {target}"), fields, "");
            if target != "/lp/x" {
                client.head();
            }
            open.push((host, target, client));
        }
        eventually("all four listen", || site.ask(host, "GET /pub?id=x", "").text().contains("\"subscribers\": 4"));
    }
    // The last is of a zone that nobody publishes in but by its websocket.
    site.publish("named.example", "x", "<first>");
    site.publish("chat2.example", "x", "<chat>");
    let news = open.iter_mut().find(|(host, target, _)| *host == "news.example" && *target == "/ws/x").unwrap();
    news.2.send(crate::support::masked(0x81, b"<news>"));
    for (host, target, client) in &mut open {
        let own = format!("<{}>", host.split('.').next().unwrap());
        client.until(&own);
        let rest = client.rest(std::time::Duration::from_millis(20));
        assert!(!rest.contains('<'), "{host}{target}: {rest}");
    }
    for host in zones {
        let own = format!("x 1 <{}>", host.split('.').next().unwrap());
        eventually("it is stored where it was published", || site.stored(host, "x") == [own.clone()]);
    }
}

#[test]
fn requests_of_one_read_go_each_to_its_own_zone() {
    let site = Site::start("", &HOSTS, &[]);
    let mut client = site.connect();
    let mut bytes = String::new();
    for round in 0..30 {
        for (host, _) in HOSTS {
            let body = format!("{host} {round}");
            write!(bytes, "POST /pub?id=p HTTP/1.1\r\nHost: {host}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
                .unwrap();
        }
    }
    client.send(bytes);
    for _ in 0..30 * HOSTS.len() {
        assert_eq!(client.reply().status, 200);
    }
    for (host, others, count) in [
        ("first.example", "named.example", 60),
        ("chat2.example", "chat.example", 60),
        ("news.example", "news.example", 30),
    ] {
        let stored = site.stored(host, "p");
        assert_eq!(stored.len(), count, "{host}");
        assert!(stored.iter().all(|line| line.contains(host) || line.contains(others)), "{stored:?}");
    }
}

#[test]
fn streams_of_one_http2_connection_may_be_of_different_zones() {
    let site = Site::start("", &HOSTS, &[]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let tcp = tokio::net::TcpStream::connect(site.prefix.address()).await.unwrap();
        let (client, connection) = client::handshake(tcp).await.unwrap();
        tokio::spawn(connection);
        let mut client = client.ready().await.unwrap();
        let mut bodies = Vec::new();
        for host in ["first.example", "chat.example", "news.example"] {
            let get = Request::get(format!("http://{host}/sub/h")).body(()).unwrap();
            bodies.push((host, client.send_request(get, true).unwrap().0.await.unwrap().into_body()));
        }
        for (host, text) in [
            ("news.example", "news 1"),
            ("first.example", "first 1"),
            ("chat2.example", "chat 1"),
            ("news.example", "news 2"),
        ] {
            let post = Request::post(format!("http://{host}/pub?id=h")).body(()).unwrap();
            let (answer, mut body) = client.send_request(post, false).unwrap();
            body.send_data(Bytes::from_static(text.as_bytes()), true).unwrap();
            assert_eq!(answer.await.unwrap().status(), 200);
        }
        for (host, body) in &mut bodies {
            let own = host.split('.').next().unwrap();
            let mut told = String::new();
            let expected = if own == "news" { "h 1 news 1\nh 2 news 2\n".to_owned() } else { format!("h 1 {own} 1\n") };
            while told.len() < expected.len() {
                told += std::str::from_utf8(&body.data().await.unwrap().unwrap()).unwrap();
            }
            assert_eq!(told, expected, "{host}");
        }
    });
}
