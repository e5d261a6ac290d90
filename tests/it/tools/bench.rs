//! `pushstreamd bench`: what it counts, and from when it takes the time.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::{MODES, prefix, serve, tool, url};
use crate::support::{free_port, said};

#[test]
fn a_bench_counts_what_it_has_sent_and_shows_how_long_it_took() {
    let prefix = prefix();
    let _server = serve(&prefix);
    let publish = url(&prefix, "/pub?id={}");
    for (mode, path) in MODES.into_iter().filter(|(mode, _)| *mode != "polling") {
        let url = url(&prefix, path);
        let words = [
            "bench",
            "--mode",
            mode,
            "--subscribers",
            "7",
            "--channels",
            "3",
            "--rate",
            "40",
            "--seconds",
            "1",
            "--size",
            "100",
        ];
        let run = |more: &[&str]| {
            tool(&[&words[..], &["--url", &url, "--publish-url", &publish], more].concat()).output().unwrap()
        };
        let output = run(&["--json"]);
        assert!(output.status.success(), "{mode}: {}", said(&output));
        let told: Value = serde_json::from_slice(&output.stdout).unwrap();
        // 14 messages go to a channel of three subscribers, 13 each to two of two.
        assert_eq!(
            (&told["published"], &told["delivered"], &told["lost"]),
            (&40.into(), &94.into(), &0.into()),
            "{mode}: {told}"
        );
        let latency = |at: &str| told["latency_ms"][at].as_f64().unwrap();
        assert!(
            0.0 < latency("p50") && latency("p50") <= latency("p99.9") && latency("p99.9") <= latency("max"),
            "{told}"
        );
        if mode == "websocket" {
            let output = run(&[]);
            let text = String::from_utf8(output.stdout).unwrap();
            assert!(
                text.contains("delivered  94")
                    && text.contains("p99.9 ")
                    && text.contains(" ms ")
                    && text.contains('#'),
                "{text}"
            );
        }
    }
}

#[test]
fn a_bench_without_a_server_says_so() {
    let nobody = format!("http://127.0.0.1:{}/x?id={{}}", free_port());
    let output = tool(&["bench", "--url", &nobody, "--publish-url", &nobody, "--seconds", "1"]).output().unwrap();
    assert!(!output.status.success() && said(&output).contains("refused"), "{}", said(&output));
}

/// A relay to the server that holds back what comes over a connection, once, at its tenth part.
fn holding_back(server: std::net::SocketAddr, pause: Duration) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for client in listener.incoming() {
            let (mut client, mut server) = (client.unwrap(), TcpStream::connect(server).unwrap());
            let (mut from, mut to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
            thread::spawn(move || std::io::copy(&mut from, &mut to));
            thread::spawn(move || {
                let mut bytes = [0; 4096];
                for part in 1.. {
                    let length = client.read(&mut bytes).unwrap_or_default();
                    if part == 10 {
                        thread::sleep(pause);
                    }
                    if length == 0 || server.write_all(&bytes[..length]).is_err() {
                        let _ = server.shutdown(Shutdown::Both);
                        return;
                    }
                }
            });
        }
    });
    port
}

#[test]
fn a_bench_counts_from_when_a_message_was_due_not_from_when_it_could_be_sent() {
    let prefix = prefix();
    let _server = serve(&prefix);
    let relay = holding_back(prefix.address(), Duration::from_millis(500));
    let (url, publish) = (url(&prefix, "/ws?id={}"), format!("http://127.0.0.1:{relay}/pub?id={{}}"));
    let words = ["bench", "--subscribers", "1", "--channels", "1", "--rate", "50", "--seconds", "1", "--json"];
    let output = tool(&[&words[..], &["--url", &url, "--publish-url", &publish]].concat()).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&told["published"], &told["lost"]), (&50.into(), &0.into()), "{told}");
    // 25 of 50 messages were due while the publisher had to wait, up to half a second.
    let latency = |at: &str| told["latency_ms"][at].as_f64().unwrap();
    assert!(latency("max") >= 490.0 && latency("p90") >= 300.0, "{told}");
    assert!(told["sent_late_ms"].as_f64().unwrap() >= 400.0, "{told}");
}
