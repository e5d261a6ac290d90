//! A bare connection: bytes out, bytes in, and answers cut out of them as HTTP/1.1 frames them, without mercy.
//!
//! Whatever is not well-formed panics, which is what a test wants to know; nothing an HTTP library hides stays hidden.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::PATIENCE;

/// A connection to the server.
pub struct Client {
    stream: TcpStream,
    /// How long the server may take for what is asked of it.
    patience: Duration,
    /// What has arrived and was not taken.
    pub bytes: Vec<u8>,
    /// Whether the server has closed.
    pub ended: bool,
}

/// One whole answer.
#[derive(Debug)]
pub struct Reply {
    /// Status code.
    pub status: u16,
    /// The head, status line included, without the empty line.
    pub head: String,
    /// The header fields as they came.
    pub fields: Vec<(String, Vec<u8>)>,
    /// The body, without chunks.
    pub body: Vec<u8>,
}

impl Reply {
    /// The first header field of that name.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (field, value) = line.split_once(':')?;
            field.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Client {
    /// Connects.
    pub fn open(address: SocketAddr, patience: Duration) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_write_timeout(Some(patience)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, patience, bytes: Vec::new(), ended: false }
    }

    /// The stream under it.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// The stream under it, alone; what has arrived was taken.
    pub fn into_stream(self) -> TcpStream {
        assert!(self.bytes.is_empty(), "{:?}", self.shown());
        self.stream
    }

    /// Sends bytes.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// Sends bytes that the server may not want any more.
    pub fn try_send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// Closes the sending side.
    pub fn shutdown(&self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Sends `METHOD TARGET` with these fields; what may have a body comes with its length.
    pub fn send_request(&mut self, line: &str, fields: &[&str], body: &[u8]) {
        let (method, target) = line.split_once(' ').unwrap();
        let framed =
            fields.iter().any(|field| field.starts_with("Content-Length") || field.starts_with("Transfer-Encoding"));
        let mut lines: String = fields.iter().flat_map(|field| [field, "\r\n"]).collect();
        if !framed && method != "GET" {
            lines.extend(["Content-Length: ", &body.len().to_string(), "\r\n"]);
        }
        self.send([request(method, target, &lines).as_bytes(), body].concat());
    }

    /// Sends a request and takes its answer.
    pub fn ask(&mut self, line: &str, fields: &[&str], body: &[u8]) -> Reply {
        self.send_request(line, fields, body);
        self.answer(line.starts_with("HEAD "))
    }

    /// A request without body, and its whole answer; `fields` are whole lines.
    pub fn get(&mut self, target: &str, fields: &str) -> Reply {
        self.send(request("GET", target, fields));
        self.reply()
    }

    /// A request with a body, and its whole answer; `fields` are whole lines.
    pub fn post(&mut self, target: &str, fields: &str, body: &[u8]) -> Reply {
        let fields = format!("{fields}Content-Length: {}\r\n", body.len());
        self.send([request("POST", target, &fields).as_bytes(), body].concat());
        self.reply()
    }

    /// A DELETE and its whole answer.
    pub fn delete(&mut self, target: &str) -> Reply {
        self.send(request("DELETE", target, ""));
        self.reply()
    }

    /// Takes the next answer.
    pub fn reply(&mut self) -> Reply {
        self.answer(false)
    }

    /// Takes the next answer; `None` if the connection was closed instead, without a byte of it.
    pub fn try_reply(&mut self) -> Option<Reply> {
        self.read_until(self.patience, |bytes, _| !bytes.is_empty());
        if self.bytes.is_empty() && self.ended { None } else { Some(self.reply()) }
    }

    /// Takes the next answer.
    pub fn answer(&mut self, without_body: bool) -> Reply {
        let mut found = None;
        self.read_until(self.patience, |bytes, ended| {
            found = cut(bytes, ended, without_body);
            found.is_some()
        });
        let (reply, length) = found.unwrap_or_else(|| panic!("no answer but {:.2000?}", self.shown()));
        self.bytes.drain(..length);
        reply
    }

    /// Takes the head of an answer that goes on, with its empty line.
    pub fn head(&mut self) -> String {
        let head = self.until("\r\n\r\n");
        parsed(head.trim_end().as_bytes());
        head
    }

    /// The status of an answer that goes on; takes its head.
    pub fn status(&mut self) -> u16 {
        parsed(self.head().trim_end().as_bytes()).status
    }

    /// Takes the next chunk; `None` is the end of the body.
    pub fn chunk(&mut self) -> Option<Vec<u8>> {
        let line = self.until("\r\n");
        let line = line.trim_end();
        let length = usize::from_str_radix(line, 16).unwrap_or_else(|_| panic!("no chunk size: {line:?}"));
        let data = self.take(length);
        assert_eq!(self.take(2), b"\r\n", "a chunk ends with CRLF");
        (length > 0).then_some(data)
    }

    /// Takes everything up to the end of a text.
    pub fn until(&mut self, text: &str) -> String {
        let (mut seen, mut found) = (0, None);
        self.read_until(self.patience, |bytes, _| {
            let fresh = bytes[seen..].windows(text.len()).position(|window| window == text.as_bytes());
            found = found.or(fresh.map(|at| seen + at));
            seen = (bytes.len() + 1).saturating_sub(text.len());
            found.is_some()
        });
        let Some(at) = found else { panic!("no {text:?} but {:.2000?}", self.shown()) };
        let taken: Vec<u8> = self.bytes.drain(..at + text.len()).collect();
        String::from_utf8_lossy(&taken).into_owned()
    }

    /// Takes lines up to one that is this text.
    pub fn until_line(&mut self, text: &str) {
        while self.until("\n").trim_end() != text {}
    }

    /// Takes this many bytes.
    pub fn take(&mut self, count: usize) -> Vec<u8> {
        self.read_until(self.patience, |bytes, _| bytes.len() >= count);
        assert!(self.bytes.len() >= count, "only {:.2000?}", self.shown());
        self.bytes.drain(..count).collect()
    }

    /// Everything that arrives within a while, or up to the end.
    pub fn rest(&mut self, wait: Duration) -> String {
        self.read_until(wait, |_, _| false);
        self.shown()
    }

    /// Everything up to the end, which must come.
    pub fn end(&mut self) -> String {
        self.read_until(self.patience, |_, _| false);
        assert!(self.ended, "it is not closed after {:.2000?}", self.shown());
        self.shown()
    }

    /// Whether nothing comes for this long.
    pub fn is_silent_for(&mut self, time: Duration) -> bool {
        self.read_until(time, |bytes, _| !bytes.is_empty());
        self.bytes.is_empty() && !self.ended
    }

    fn shown(&self) -> String {
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

/// The bytes of a request head; `fields` are whole lines.
pub fn request(method: &str, target: &str, fields: &str) -> String {
    format!("{method} {target} HTTP/1.1\r\nHost: t\r\n{fields}\r\n")
}

/// One request on a connection of its own: the whole answer as it came, or why there is none. The server is called `localhost`.
pub fn exchange(port: u16, method: &str, target: &str, body: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let fields = format!("Connection: close\r\nContent-Length: {}\r\n", body.len());
    let asked = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n{body}");
    stream.write_all(asked.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Every byte as `%HH`.
pub fn percent_encoded(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "%{byte:02X}");
        out
    })
}

/// The first answer of these bytes and its length; `None` while it is not complete.
fn cut(bytes: &[u8], ended: bool, without_body: bool) -> Option<(Reply, usize)> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let mut reply = parsed(&bytes[..end]);
    let rest = &bytes[end + 4..];
    let length = if without_body || matches!(reply.status, 204 | 304) {
        0
    } else if reply.field("Transfer-Encoding").is_some() {
        dechunk(rest, &mut reply.body)?
    } else if let Some(length) = reply.field("Content-Length") {
        let length = length.parse().unwrap();
        reply.body = rest.get(..length)?.to_vec();
        length
    } else if ended {
        reply.body = rest.to_vec();
        rest.len()
    } else {
        return None;
    };
    Some((reply, end + 4 + length))
}

/// A head without its empty line, every line of which is what it should be.
fn parsed(head: &[u8]) -> Reply {
    let text = String::from_utf8_lossy(head).into_owned();
    let mut lines = head.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    assert_eq!(text.matches('\n').count(), text.matches("\r\n").count(), "a line ends with CRLF: {text:?}");
    assert_eq!(text.matches('\r').count(), text.matches("\r\n").count(), "no CR within a line: {text:?}");
    let first = String::from_utf8_lossy(lines.next().unwrap()).into_owned();
    let status = first.strip_prefix("HTTP/1.1 ").unwrap_or_else(|| panic!("{first:?}"));
    let status = status.split(' ').next().unwrap().parse().unwrap();
    let fields = lines.map(|line| {
        let colon = line.iter().position(|byte| *byte == b':').expect("a field has a colon");
        let name = String::from_utf8(line[..colon].to_vec()).unwrap();
        assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'), "{name:?}");
        (name, line[colon + 1..].trim_ascii().to_vec())
    });
    Reply { status, fields: fields.collect(), head: text, body: Vec::new() }
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
