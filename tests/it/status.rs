//! The operators' listener: health, counters and channels as JSON.

use crate::support::{Server, exchange, free_port};

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
fn token_file() -> std::path::PathBuf {
    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("token-{}", std::process::id()));
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
    looking.send(crate::support::request("GET", "/live", ""));
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
    let file = token_file();
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
