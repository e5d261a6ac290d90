//! The operators' listener: health, counters and channels as JSON.

use std::io::{Read, Write};
use std::net::TcpStream;

use nix::sys::signal::Signal;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use serde_json::Value;

use crate::support::{PROMPTLY, Prefix, Server, eventually, exchange, free_port, said};
use crate::tls_server::{self_signed, trusting};

const CONF: &str = "
    daemon off; error_log @DIR@/error.log info; pid @DIR@/server.pid;
    events { }
    http {
        access_log off; push_stream_shared_memory_size 8m;
        server {
            listen 127.0.0.1:@PORT@;
            location /pub { push_stream_publisher admin; push_stream_channels_path $arg_id; push_stream_store_messages on; }
        }
    }";

fn ask(port: u16, target: &str) -> (String, String) {
    let answer = exchange(port, "GET", target, "").unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

#[test]
fn counters_and_channels_are_told_as_json() {
    let port = free_port();
    let server = Server::configured(CONF, &["--status", &format!("127.0.0.1:{port}")]);
    server.connect().post("/pub?id=a%22b", "", b"hello");

    assert_eq!(ask(port, "/health"), ("HTTP/1.1 200 OK".to_owned(), "ok\n".to_owned()));
    let status: serde_json::Value = serde_json::from_str(&ask(port, "/status").1).unwrap();
    assert_eq!(status["published_messages"], 1);
    assert_eq!(status["channels"], 1);
    assert_eq!(status["disconnected_not_reading"], 0);
    let channels: serde_json::Value = serde_json::from_str(&ask(port, "/channels?prefix=a&limit=5").1).unwrap();
    assert_eq!(channels[0]["channel"], "a\"b");
    assert_eq!(channels[0]["stored_messages"], 1);
    assert_eq!(ask(port, "/channels?limit=many").0, "HTTP/1.1 400 Bad Request");
    assert_eq!(ask(port, "/other").0, "HTTP/1.1 404 Not Found");
}

/// A file with a token.
fn token_file(of: &str) -> std::path::PathBuf {
    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("token-{of}-{}", std::process::id()));
    std::fs::write(&file, "a secret\n").unwrap();
    file
}

#[test]
fn the_page_may_be_neither_kept_nor_framed_and_runs_its_own_script_alone() {
    let port = free_port();
    let server = Server::configured(CONF, &["--status", &format!("127.0.0.1:{port}")]);
    server.eventually("the operators' listener", || exchange(port, "GET", "/readyz", "").is_ok());
    let page = || exchange(port, "GET", "/", "").unwrap().to_lowercase();
    let (first, second) = (page(), page());
    for field in [
        "cache-control: no-store",
        "x-content-type-options: nosniff",
        "x-frame-options: deny",
        "default-src 'none'",
        "frame-ancestors 'none'",
        "content-type: text/html",
    ] {
        assert!(first.contains(field), "{field} in {first:.900}");
    }
    let nonce = |page: &str| page.split_once("script-src 'nonce-").unwrap().1[..32].to_owned();
    assert!(first.contains(&format!("<script nonce=\"{}\">", nonce(&first))));
    assert_ne!(nonce(&first), nonce(&second));
    assert!(!first.contains("https://") && !first.contains("//cdn"), "nothing comes from elsewhere");
    for target in ["/metrics", "/status", "/channels", "/healthz", "/nowhere"] {
        assert!(exchange(port, "GET", target, "").unwrap().contains("no-store"), "{target}");
    }
    assert!(exchange(port, "POST", "/status", "").unwrap().starts_with("HTTP/1.1 405"));
}

#[test]
fn the_figures_are_an_event_stream_while_somebody_looks() {
    let port = free_port();
    let server = Server::configured(CONF, &["--status", &format!("127.0.0.1:{port}")]);
    server.publish("/pub?id=a", "text");
    let mut looking = crate::support::Client::open(([127, 0, 0, 1], port).into(), crate::support::PATIENCE);
    looking.send(b"GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(looking.head().contains("text/event-stream"));
    let line = looking.until("\n\n");
    let data = line.split_once("data: ").unwrap().1.lines().next().unwrap();
    let figures: serde_json::Value = serde_json::from_str(data).unwrap();
    assert_eq!((figures["published"].as_u64(), figures["channels"].as_u64()), (Some(1), Some(1)));
    // The page's own stream is in no number of the server.
    assert_eq!(figures["subscribers"]["eventsource"].as_u64(), Some(0));
}

#[test]
fn elsewhere_than_on_the_loopback_interface_a_token_is_asked_for() {
    let port = free_port();
    let address = format!("0.0.0.0:{port}");
    let status = |target: &str| ask(port, target).0;
    {
        let server = Server::configured(CONF, &["--status", &address]);
        server.eventually("the operators' listener", || exchange(port, "GET", "/readyz", "").is_ok());
        assert!(server.stderr().contains("is not of the loopback interface"), "{}", server.stderr());
        assert_eq!((status("/healthz"), status("/readyz")), ("HTTP/1.1 200 OK".into(), "HTTP/1.1 200 OK".into()));
        for target in ["/", "/status", "/metrics", "/channels", "/live"] {
            assert_eq!(status(target), "HTTP/1.1 403 Forbidden", "{target}");
        }
    }
    let file = token_file("elsewhere");
    let server = Server::configured(CONF, &["--status", &address, "--status-token-file", file.to_str().unwrap()]);
    server.eventually("the operators' listener", || exchange(port, "GET", "/readyz", "").is_ok());
    assert_eq!(status("/healthz"), "HTTP/1.1 200 OK");
    let with = |fields: &str| {
        let target = format!("/metrics HTTP/1.1\r\n{fields}\r\nX: ");
        ask(port, &target).0
    };
    // `a secret` and `admin:a secret`.
    assert_eq!(with("Authorization: Bearer a secret"), "HTTP/1.1 200 OK");
    assert_eq!(with("Authorization: Basic YWRtaW46YSBzZWNyZXQ="), "HTTP/1.1 200 OK");
    assert_eq!(with("Authorization: Bearer another"), "HTTP/1.1 401 Unauthorized");
    assert_eq!(status("/"), "HTTP/1.1 401 Unauthorized");
    std::fs::remove_file(file).unwrap();
}

/// Asks with another `Host`.
fn ask_as(host: &str, port: u16, target: &str, fields: &str) -> (String, String) {
    let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
    client.set_read_timeout(Some(PROMPTLY)).unwrap();
    let asked = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n{fields}Connection: close\r\n\r\n");
    client.write_all(asked.as_bytes()).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

#[test]
fn a_page_whose_name_was_made_to_mean_this_machine_reads_nothing() {
    let port = free_port();
    let address = format!("127.0.0.1:{port}");
    let conf = CONF.replace("access_log off;", "access_log off; push_stream_status_messages on;");
    let file = token_file("names");
    let named = ["evil.example".to_owned(), format!("evil.example:{port}"), "127.0.0.1.evil.example".to_owned()];
    let all = ["/", "/status.html", "/status", "/metrics", "/channels", "/messages?place=1", "/live"];
    {
        let server = Server::configured(&conf, &["--status", &address]);
        server.publish("/pub?id=a", "not for you");
        for host in &named {
            for target in all {
                let (status, body) = ask_as(host, port, target, "");
                assert_eq!(status, "HTTP/1.1 403 Forbidden", "{host} {target}");
                assert!(body.contains("without a token") && !body.contains("not for you"), "{body}");
            }
            // Balancers ask by whatever name they know.
            for target in ["/health", "/healthz", "/readyz"] {
                assert_eq!(ask_as(host, port, target, "").0, "HTTP/1.1 200 OK", "{host} {target}");
            }
        }
        // As people and Prometheus on the machine ask: by address, `localhost`, the machine's name.
        let machine = nix::unistd::gethostname().unwrap().into_string().unwrap();
        for host in [address.clone(), format!("localhost:{port}"), format!("[::1]:{port}"), machine] {
            for target in all.iter().filter(|target| **target != "/live") {
                assert_eq!(ask_as(&host, port, target, "").0, "HTTP/1.1 200 OK", "{host} {target}");
            }
        }
    }
    // Whoever has the token may call it what he likes, behind a proxy that passes its own name on.
    let _server = Server::configured(&conf, &["--status", &address, "--status-token-file", file.to_str().unwrap()]);
    eventually("the operators' listener", || exchange(port, "GET", "/readyz", "").is_ok());
    let with = "Authorization: Bearer a secret\r\n";
    assert_eq!(ask_as("status.example", port, "/channels", with).0, "HTTP/1.1 200 OK");
    assert_eq!(ask_as("status.example", port, "/channels", "").0, "HTTP/1.1 401 Unauthorized");
    std::fs::remove_file(file).unwrap();
}

#[test]
fn a_token_that_cannot_be_read_stops_the_start_and_the_test() {
    let zone = "push_stream_status 8896; push_stream_status_token_file nowhere;";
    let tested = crate::support::test_configuration(&[], zone, crate::support::LOCATIONS);
    let said = String::from_utf8_lossy(&tested.stderr).into_owned();
    assert!(!tested.status.success() && said.contains("nowhere\" failed (2: No such file"), "{said}");
}

#[test]
fn channels_are_listed_page_after_page() {
    let port = free_port();
    let server = Server::configured(CONF, &["--status", &format!("127.0.0.1:{port}")]);
    for number in 0..7 {
        server.publish(&format!("/pub?id=c{number}"), "text");
    }
    let (mut after, mut seen) = (0, Vec::new());
    loop {
        let text = ask(port, &format!("/channels?prefix=c&limit=3&after={after}")).1;
        let page: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
        let Some(last) = page.last() else { break };
        after = last["place"].as_u64().unwrap();
        seen.extend(page.iter().map(|channel| channel["channel"].as_str().unwrap().to_owned()));
    }
    assert_eq!(seen, ["c0", "c1", "c2", "c3", "c4", "c5", "c6"]);
}

#[test]
fn the_page_is_in_the_language_that_the_browser_asks_for() {
    let port = free_port();
    let server = Server::configured(CONF, &["--status", &format!("127.0.0.1:{port}")]);
    server.eventually("the operators' listener", || exchange(port, "GET", "/readyz", "").is_ok());
    let begins = |fields: &str| {
        let page = exchange(port, "GET", &format!("/ HTTP/1.1\r\n{fields}X: "), "").unwrap();
        page.split_once("<html lang=\"").unwrap().1[..2].to_owned()
    };
    assert_eq!(begins(""), "en");
    assert_eq!(begins("Accept-Language: ru-RU,ru;q=0.9,en;q=0.8\r\n"), "ru");
    assert_eq!(begins("Accept-Language: de,en;q=0.5\r\n"), "en");
}

#[test]
fn texts_of_messages_are_shown_where_the_operator_allows_it_and_to_whom_he_does() {
    let port = free_port();
    let place = || {
        let channels: Value = serde_json::from_str(&ask(port, "/channels?prefix=a").1).unwrap();
        channels[0]["place"].as_u64().unwrap()
    };
    let address = format!("127.0.0.1:{port}");
    {
        let server = Server::configured(CONF, &["--status", &address]);
        server.publish("/pub?id=a", "not for you");
        let (status, body) = ask(port, &format!("/messages?place={}", place()));
        assert_eq!(status, "HTTP/1.1 403 Forbidden");
        assert!(!body.contains("not for you"), "{body}");
    }
    let conf = CONF.replace("access_log off;", "access_log off; push_stream_status_messages on;");
    let server = Server::configured(&conf, &["--status", &address]);
    for number in 0..200 {
        server.publish("/pub?id=a", format!("\"text\" {number}"));
    }
    server.ask("POST /pub?id=a", &["Event-Id: e1", "Event-Type: t1"], &[b'x'; 10_000]);
    server.ask("POST /pub?id=a", &[], b"\xff<b>");
    let page = |more: &str| -> Value {
        serde_json::from_str(&ask(port, &format!("/messages?place={}{more}", place())).1).unwrap()
    };
    let first = page("");
    let messages = first["messages"].as_array().unwrap();
    assert_eq!((messages.len(), &first["more"]), (128, &Value::Bool(true)));
    assert_eq!(
        (&messages[0]["text"], &messages[0]["bytes"], &messages[0]["id"]),
        (&"\u{fffd}<b>".into(), &4.into(), &202.into())
    );
    assert_eq!(
        (&messages[1]["event_id"], &messages[1]["event_type"], &messages[1]["bytes"]),
        (&"e1".into(), &"t1".into(), &10_000.into())
    );
    assert_eq!(messages[1]["text"].as_str().unwrap().len(), 4096);
    assert_eq!(messages[2]["text"], "\"text\" 199");
    let second = page(&format!("&before={}", messages[127]["place"]));
    let rest = second["messages"].as_array().unwrap();
    assert_eq!(
        (rest.len(), &second["more"], &rest[0]["id"], &rest[73]["text"]),
        (74, &false.into(), &74.into(), &"\"text\" 0".into())
    );
    assert_eq!(ask(port, "/messages?place=999999").0, "HTTP/1.1 404 Not Found");
    assert_eq!(ask(port, "/messages").0, "HTTP/1.1 400 Bad Request");
    drop(server);
    // Where others reach it nobody but whoever has the token.
    let server = Server::configured(&conf, &["--status", &format!("0.0.0.0:{port}")]);
    server.eventually("the operators' listener", || exchange(port, "GET", "/readyz", "").is_ok());
    assert_eq!(ask(port, "/messages?place=1").0, "HTTP/1.1 403 Forbidden");
}

#[test]
fn with_a_certificate_the_listener_speaks_tls_and_a_reload_reads_it_anew() {
    let (prefix, port) = (Prefix::new("status-tls"), free_port());
    let status = format!("push_stream_status {port}; push_stream_status_certificate s.crt s.key;");
    prefix.write_conf("", &status);
    let tested = prefix.run(&["-t"]);
    assert!(!tested.status.success() && said(&tested).contains("cannot load certificate"), "{}", said(&tested));
    let first = self_signed(&prefix.dir, "s");
    let running = prefix.start(&[]);
    let ask = |target: &str| {
        let session = ClientConnection::new(trusting(b"http/1.1"), ServerName::try_from("s.example").unwrap()).unwrap();
        let tcp = TcpStream::connect(("127.0.0.1", port)).unwrap();
        tcp.set_read_timeout(Some(PROMPTLY)).unwrap();
        let mut client = StreamOwned::new(session, tcp);
        client.write_all(format!("GET {target} HTTP/1.1\r\nHost: s\r\nConnection: close\r\n\r\n").as_bytes()).unwrap();
        let mut answer = Vec::new();
        // Some end without close_notify.
        let _ = client.read_to_end(&mut answer);
        let certificate = client.conn.peer_certificates().unwrap()[0].to_vec();
        (String::from_utf8(answer).unwrap(), certificate)
    };
    // Clients that do not go on with their handshake are nobody's business but their own.
    let idle: Vec<_> = (0..20).map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap()).collect();
    let (answer, certificate) = ask("/metrics");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("s.crt"), "{answer}");
    assert_eq!(certificate, first);
    assert!(exchange(port, "GET", "/readyz", "").map_or(true, |answer| !answer.contains("ready")), "not without TLS");
    // Whoever asks for health finds out by himself on this interface, and may say which certificate it has to be.
    let address = format!("127.0.0.1:{port}");
    let health = |more: &[&str]| prefix.run(&[&["health", &address], more].concat());
    assert_eq!(String::from_utf8(health(&[]).stdout).unwrap(), "ready\n");
    let own = prefix.path("s.crt").to_string_lossy().into_owned();
    assert!(health(&["--certificate", &own]).status.success());
    self_signed(&prefix.dir, "other");
    let other = prefix.path("other.crt").to_string_lossy().into_owned();
    let refused = health(&["--certificate", &other]);
    assert!(!refused.status.success() && said(&refused).contains("another certificate"), "{}", said(&refused));
    let second = self_signed(&prefix.dir, "s");
    running.signal(Signal::SIGHUP);
    eventually("the new certificate is shown", || ask("/healthz").1 == second);
    // One that cannot be read changes nothing.
    prefix.write("s.crt", "none");
    running.signal(Signal::SIGHUP);
    prefix.error_log_has("test failed, the old configuration stays");
    assert_eq!(ask("/healthz").1, second);
    drop(idle);
}

#[test]
fn the_certificate_may_be_a_switch_and_goes_before_the_directive() {
    let (prefix, port) = (Prefix::new("status-switch"), free_port());
    prefix
        .write_conf("", &format!("push_stream_status {port}; push_stream_status_certificate nowhere.crt nowhere.key;"));
    let file = |name: &str| prefix.path(name).to_string_lossy().into_owned();
    self_signed(&prefix.dir, "s");
    let alone = prefix.run(&["-t", "--status-certificate", &file("s.crt")]);
    assert!(!alone.status.success() && said(&alone).contains("--status-certificate-key"), "{}", said(&alone));
    let _running = prefix.start(&["--status-certificate", &file("s.crt"), "--status-certificate-key", &file("s.key")]);
    let health = prefix.run(&["health", &format!("127.0.0.1:{port}"), "--certificate", &file("s.crt")]);
    assert_eq!(String::from_utf8_lossy(&health.stdout), "ready\n", "{}", said(&health));
}
