//! A client that takes the protocol at its word: heads, bodies, chunks and websocket frames, read without mercy.
//!
//! Whatever is not well-formed panics, which is what a test wants to know.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::PATIENCE;

/// One connection.
pub struct Client {
    stream: BufReader<TcpStream>,
}

/// A response.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub fields: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
}

impl Reply {
    /// The first header field of that name.
    pub fn field(&self, name: &str) -> Option<&[u8]> {
        self.fields.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| &value[..])
    }

    /// The first header field of that name, as text.
    pub fn text(&self, name: &str) -> Option<String> {
        self.field(name).map(|value| String::from_utf8_lossy(value).into_owned())
    }
}

impl Client {
    /// A client on this stream.
    pub fn new(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream: BufReader::new(stream) }
    }

    /// The stream under it.
    pub fn stream(&self) -> &TcpStream {
        self.stream.get_ref()
    }

    /// Sends bytes.
    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).unwrap();
    }

    /// A request without body, and its whole response.
    pub fn get(&mut self, target: &str, fields: &str) -> Reply {
        self.send(request("GET", target, fields).as_bytes());
        self.reply()
    }

    /// A request with a body, and its whole response.
    pub fn post(&mut self, target: &str, fields: &str, body: &[u8]) -> Reply {
        let fields = format!("{fields}Content-Length: {}\r\n", body.len());
        let mut bytes = request("POST", target, &fields).into_bytes();
        bytes.extend_from_slice(body);
        self.send(&bytes);
        self.reply()
    }

    /// A DELETE and its whole response.
    pub fn delete(&mut self, target: &str) -> Reply {
        self.send(request("DELETE", target, "").as_bytes());
        self.reply()
    }

    /// The next response with its body.
    pub fn reply(&mut self) -> Reply {
        let mut reply = self.head();
        reply.body = if reply.status == 304 || reply.status == 204 {
            Vec::new()
        } else if reply.field("transfer-encoding").is_some() {
            let mut body = Vec::new();
            while let Some(chunk) = self.chunk() {
                body.extend_from_slice(&chunk);
            }
            body
        } else if let Some(length) = reply.text("content-length") {
            self.exactly(length.parse().unwrap())
        } else {
            self.rest()
        };
        reply
    }

    /// The head of the next response.
    pub fn head(&mut self) -> Reply {
        let line = self.line();
        let mut words = line.split(|byte| *byte == b' ');
        assert_eq!(words.next(), Some(&b"HTTP/1.1"[..]), "{:?}", String::from_utf8_lossy(&line));
        let status = std::str::from_utf8(words.next().unwrap()).unwrap().parse().unwrap();
        let mut fields = Vec::new();
        loop {
            let line = self.line();
            if line.is_empty() {
                return Reply { status, fields, body: Vec::new() };
            }
            let colon = line.iter().position(|byte| *byte == b':').expect("a field has a colon");
            let name = String::from_utf8(line[..colon].to_vec()).unwrap();
            assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'), "{name:?}");
            fields.push((name, line[colon + 1..].trim_ascii().to_vec()));
        }
    }

    /// The next chunk; `None` is the end of the body.
    pub fn chunk(&mut self) -> Option<Vec<u8>> {
        let line = String::from_utf8(self.line()).unwrap();
        let length = usize::from_str_radix(&line, 16).unwrap_or_else(|_| panic!("no chunk size: {line:?}"));
        let data = self.exactly(length);
        assert_eq!(self.exactly(2), b"\r\n", "a chunk ends with CRLF");
        (length > 0).then_some(data)
    }

    /// Opens a websocket.
    pub fn upgrade(&mut self, target: &str) {
        let fields = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                      Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        self.send(request("GET", target, fields).as_bytes());
        assert_eq!(self.head().status, 101);
    }

    /// The next websocket frame: first byte and payload.
    pub fn frame(&mut self) -> (u8, Vec<u8>) {
        let head = self.exactly(2);
        assert_eq!(head[0] & 0x70, 0, "reserved bits");
        assert_eq!(head[1] & 0x80, 0, "a server does not mask");
        let length = match head[1] {
            126 => usize::from(u16::from_be_bytes(self.exactly(2).try_into().unwrap())),
            127 => usize::try_from(u64::from_be_bytes(self.exactly(8).try_into().unwrap())).unwrap(),
            short => usize::from(short),
        };
        (head[0], self.exactly(length))
    }

    /// Sends a masked frame.
    pub fn send_frame(&mut self, first: u8, payload: &[u8]) {
        self.send(&masked(first, payload));
    }

    /// Exactly that many bytes.
    pub fn exactly(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.stream.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// Everything up to the end.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self.stream.read_to_end(&mut bytes) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}"),
        }
        bytes
    }

    /// Whether nothing comes for this long.
    pub fn is_silent_for(&mut self, time: Duration) -> bool {
        self.stream().set_read_timeout(Some(time)).unwrap();
        let silent = matches!(self.stream.fill_buf(), Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut));
        self.stream().set_read_timeout(Some(PATIENCE)).unwrap();
        silent
    }

    fn line(&mut self) -> Vec<u8> {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line).unwrap();
        assert!(line.ends_with(b"\r\n"), "a line ends with CRLF: {:?}", String::from_utf8_lossy(&line));
        line.truncate(line.len() - 2);
        assert!(!line.contains(&b'\r'), "no CR within a line: {:?}", String::from_utf8_lossy(&line));
        line
    }
}

/// The bytes of a request head; `fields` are whole lines.
pub fn request(method: &str, target: &str, fields: &str) -> String {
    format!("{method} {target} HTTP/1.1\r\nHost: t\r\n{fields}\r\n")
}

/// A frame as a client sends it.
pub fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [1, 2, 3, 4];
    let mut out = vec![first];
    match payload.len() {
        short @ 0..126 => out.push(0x80 | short as u8),
        medium @ 126..65536 => {
            out.push(0xFE);
            out.extend_from_slice(&(medium as u16).to_be_bytes());
        }
        long => {
            out.push(0xFF);
            out.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&MASK);
    out.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    out
}

/// Every byte as `%HH`.
pub fn percent_encoded(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "%{byte:02X}");
        out
    })
}
