//! A bare connection: bytes out, bytes in, and answers cut out of them as HTTP/1.1 frames them.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use super::PATIENCE;

/// A connection to the server.
pub struct Wire {
    stream: TcpStream,
    /// What has arrived and was not taken.
    pub bytes: Vec<u8>,
    /// Whether the server has closed.
    pub ended: bool,
}

/// One whole answer.
#[derive(Debug)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// The head, status line included, without the empty line.
    pub head: String,
    /// The body, without chunks.
    pub body: Vec<u8>,
}

impl Answer {
    /// A header field.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (field, value) = line.split_once(": ")?;
            field.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Wire {
    /// Connects.
    pub fn open(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, bytes: Vec::new(), ended: false }
    }

    /// Sends bytes.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// Sends bytes that the server may not want any more.
    pub fn try_send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// Sends a request of HTTP/1.1; a body comes with its length.
    pub fn send_request(&mut self, line: &str, fields: &[&str], body: &[u8]) {
        self.send(request(line, fields, body));
    }

    /// Sends a request and takes its answer.
    pub fn ask(&mut self, line: &str, fields: &[&str], body: &[u8]) -> Answer {
        self.send_request(line, fields, body);
        self.answer(line.starts_with("HEAD "))
    }

    /// Takes the next answer.
    pub fn answer(&mut self, without_body: bool) -> Answer {
        let mut found = None;
        self.read_until(PATIENCE, |bytes, ended| {
            found = cut(bytes, ended, without_body);
            found.is_some()
        });
        let (answer, length) = found.unwrap_or_else(|| panic!("no answer but {:.2000?}", self.text()));
        self.bytes.drain(..length);
        answer
    }

    /// Takes the head of an answer that goes on.
    pub fn head(&mut self) -> String {
        self.until("\r\n\r\n")
    }

    /// Takes everything up to the end of a text.
    pub fn until(&mut self, text: &str) -> String {
        let (mut seen, mut found) = (0, None);
        self.read_until(PATIENCE, |bytes, _| {
            let fresh = bytes[seen..].windows(text.len()).position(|window| window == text.as_bytes());
            found = found.or(fresh.map(|at| seen + at));
            seen = (bytes.len() + 1).saturating_sub(text.len());
            found.is_some()
        });
        let Some(at) = found else { panic!("no {text:?} but {:.2000?}", self.text()) };
        let taken: Vec<u8> = self.bytes.drain(..at + text.len()).collect();
        String::from_utf8_lossy(&taken).into_owned()
    }

    /// Takes this many bytes.
    pub fn take(&mut self, count: usize) -> Vec<u8> {
        self.read_until(PATIENCE, |bytes, _| bytes.len() >= count);
        assert!(self.bytes.len() >= count, "only {:.2000?}", self.text());
        self.bytes.drain(..count).collect()
    }

    /// Everything that arrives within a while, or up to the end.
    pub fn rest(&mut self, wait: Duration) -> String {
        self.read_until(wait, |_, _| false);
        self.text()
    }

    /// Everything up to the end, which must come.
    pub fn end(&mut self) -> String {
        self.read_until(PATIENCE, |_, _| false);
        assert!(self.ended, "it is not closed after {:.2000?}", self.text());
        self.text()
    }

    /// Closes the sending side.
    pub fn shutdown(&self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    /// Reads until `done` says so, the other side has closed, or time is over.
    fn read_until(&mut self, wait: Duration, mut done: impl FnMut(&[u8], bool) -> bool) {
        let end = Instant::now() + wait;
        let mut buffer = vec![0; 65536];
        while !done(&self.bytes, self.ended) && !self.ended {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            self.stream.set_read_timeout(Some(left)).unwrap();
            match self.stream.read(&mut buffer) {
                Ok(0) => self.ended = true,
                Ok(read) => self.bytes.extend_from_slice(&buffer[..read]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return,
                Err(_) => self.ended = true,
            }
        }
    }
}

/// The bytes of a request of HTTP/1.1.
pub fn request(line: &str, fields: &[&str], body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{line} HTTP/1.1\r\nHost: localhost\r\n").into_bytes();
    for field in fields {
        bytes.extend_from_slice(format!("{field}\r\n").as_bytes());
    }
    let framed =
        fields.iter().any(|field| field.starts_with("Content-Length") || field.starts_with("Transfer-Encoding"));
    if !framed && !line.starts_with("GET ") {
        bytes.extend_from_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(body);
    bytes
}

/// The first answer of these bytes and its length; `None` while it is not complete.
fn cut(bytes: &[u8], ended: bool, without_body: bool) -> Option<(Answer, usize)> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let mut answer = Answer { status, head, body: Vec::new() };
    let rest = &bytes[end + 4..];
    if without_body || status == 304 || status == 204 {
        return Some((answer, end + 4));
    }
    let length = if let Some(length) = answer.field("Content-Length") {
        let length = length.parse().unwrap();
        answer.body = rest.get(..length)?.to_vec();
        length
    } else if answer.field("Transfer-Encoding").is_some() {
        dechunk(rest, &mut answer.body)?
    } else if ended {
        answer.body = rest.to_vec();
        rest.len()
    } else {
        return None;
    };
    Some((answer, end + 4 + length))
}

/// Takes a chunked body apart; its length on the wire, `None` while it is not complete.
fn dechunk(bytes: &[u8], body: &mut Vec<u8>) -> Option<usize> {
    let mut at = 0;
    loop {
        let line = bytes.get(at..)?.windows(2).position(|window| window == b"\r\n")?;
        let size = std::str::from_utf8(&bytes[at..at + line]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap_or_else(|_| panic!("bad chunk size {size:?}"));
        let start = at + line + 2;
        let chunk = bytes.get(start..start + size + 2)?;
        assert_eq!(&chunk[size..], b"\r\n", "a chunk does not end");
        body.extend_from_slice(&chunk[..size]);
        at = start + size + 2;
        if size == 0 {
            return Some(at);
        }
    }
}
