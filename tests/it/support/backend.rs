//! A backend for `auth_request` that answers what it is asked for.

use std::io::{Read, Write};
use std::net::TcpListener;

/// Answers with the status its argument `id` names, and tells the head of the question in `X-Echo`; its port.
pub fn backend() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
                head.push(byte[0]);
            }
            let head = String::from_utf8_lossy(&head).trim_end().to_owned();
            let mut lines: Vec<&str> = head.split("\r\n").collect();
            let status = lines[0].split("id=").nth(1).map_or("200", |rest| rest.split(' ').next().unwrap_or_default());
            let status = if status.is_empty() { "200" } else { status }.to_owned();
            lines.sort_unstable();
            let echo = lines.join("|");
            let answer = format!(
                "HTTP/1.0 {status} X\r\nX-User: joe\r\nX-Echo: {echo}\r\nWWW-Authenticate: Bearer\r\n\
                 Content-Length: 3\r\n\r\nabc"
            );
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    port
}
