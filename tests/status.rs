//! The operators' listener: health, counters and channels as JSON.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};

use support::Server;

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

fn ask(address: SocketAddr, target: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

#[test]
fn counters_and_channels_are_told_as_json() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = Server::start_with(CONF, &["--status", &address.to_string()]);
    server.connect().post("/pub?id=a%22b", "", b"hello");

    assert_eq!(ask(address, "/health"), ("HTTP/1.1 200 OK".to_owned(), "ok\n".to_owned()));
    let status: serde_json::Value = serde_json::from_str(&ask(address, "/status").1).unwrap();
    assert_eq!(status["published_messages"], 1);
    assert_eq!(status["channels"], 1);
    assert_eq!(status["disconnected_not_reading"], 0);
    let channels: serde_json::Value = serde_json::from_str(&ask(address, "/channels?prefix=a&limit=5").1).unwrap();
    assert_eq!(channels[0]["channel"], "a\"b");
    assert_eq!(channels[0]["stored_messages"], 1);
    assert_eq!(ask(address, "/channels?limit=many").0, "HTTP/1.1 400 Bad Request");
    assert_eq!(ask(address, "/other").0, "HTTP/1.1 404 Not Found");
}
