//! A head as HTTP/1 spells it, byte by byte, and where in it stands what is filled in later.
//!
//! Knows lines, not what they are about. Invariant: a mark points at the first byte of the value it is named after.

use crate::request::date;
use crate::request::status::reason;
use crate::wire::reply_head::HeadSink;

/// Where values stand in a head; `u32::MAX`: the head has none.
#[derive(Clone, Copy, Debug)]
pub(super) struct Marks {
    /// The 29 bytes of `Date`.
    pub date: u32,
    /// The 29 bytes of `Last-Modified`, where it is the reply's own.
    pub last_modified: u32,
    /// The digits of a message's tag in `Etag`.
    pub tag: u32,
    /// How many digits.
    pub tag_digits: u32,
    /// The word after `Connection: `.
    pub connection: u32,
}

/// Writes a head behind what is in a buffer.
pub(super) struct Spelled<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
    /// Counted from the beginning of the head.
    pub marks: Marks,
}

impl<'a> Spelled<'a> {
    pub(super) fn new(out: &'a mut Vec<u8>) -> Self {
        const NONE: u32 = u32::MAX;
        let marks = Marks { date: NONE, last_modified: NONE, tag: NONE, tag_digits: 0, connection: NONE };
        Self { start: out.len(), out, marks }
    }

    fn here(&self) -> u32 {
        (self.out.len() - self.start) as u32
    }

    fn put<const N: usize>(&mut self, parts: [&[u8]; N]) {
        self.out.reserve(parts.iter().map(|part| part.len()).sum());
        for part in parts {
            self.out.extend_from_slice(part);
        }
    }
}

impl HeadSink for Spelled<'_> {
    fn status(&mut self, status: u16) {
        if status == 200 {
            return self.out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
        }
        let mut digits = itoa::Buffer::new();
        self.put([b"HTTP/1.1 ", digits.format(status).as_bytes(), b" ", reason(status).as_bytes(), b"\r\n"]);
    }

    fn field(&mut self, name: &str, value: &[u8]) {
        self.put([name.as_bytes(), b": ", value, b"\r\n"]);
    }

    fn date(&mut self, seconds: i64) {
        self.marks.date = self.here() + b"Date: ".len() as u32;
        self.put([b"Date: ", &date::http_date(seconds), b"\r\n"]);
    }

    fn last_modified(&mut self, seconds: i64) {
        self.marks.last_modified = self.here() + b"Last-Modified: ".len() as u32;
        self.put([b"Last-Modified: ", &date::format_http_date(seconds), b"\r\n"]);
    }

    fn etag(&mut self, prefix: &str, tag: i64) {
        self.put([b"Etag: ", prefix.as_bytes()]);
        self.marks.tag = self.here();
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(tag.unsigned_abs()).as_bytes();
        self.marks.tag_digits = digits.len() as u32;
        self.put([digits, b"\r\n"]);
    }

    fn chunked(&mut self) {
        self.out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    }

    fn connection(&mut self, keep_alive: bool, timeout: Option<u64>) {
        self.out.extend_from_slice(b"Connection: ");
        self.marks.connection = self.here();
        if !keep_alive {
            return self.out.extend_from_slice(b"close\r\n");
        }
        self.out.extend_from_slice(b"keep-alive\r\n");
        if let Some(seconds) = timeout {
            self.put([b"Keep-Alive: timeout=", itoa::Buffer::new().format(seconds).as_bytes(), b"\r\n"]);
        }
    }

    fn end(&mut self) {
        self.out.extend_from_slice(b"\r\n");
    }
}
