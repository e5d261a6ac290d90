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
