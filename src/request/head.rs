//! The head of a request as nginx reads it: request line and header fields, whatever wire it came by.
//!
//! Knows nginx's limits; does not know servers, locations or what a header means beyond the framing of the
//! body. A head owns its bytes, so that a request can wait for its body or for somebody else without being read again.
//! Invariant: a head is the same whether it came as text ([`super::head_parser`]) or piece by piece
//! ([`RequestHead::compose`]).

use memchr::memchr3;
use smallvec::SmallVec;
use thiserror::Error;

use super::head_parser::{Name, is_method_byte, judge_name, split_authority, trim_spaces};
use crate::conf::settings::Server;
use crate::model::Capabilities;

/// Version of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// `GET /x` without a version: no head is sent back.
    V09,
    /// HTTP/1.0
    V10,
    /// HTTP/1.1 (and any later 1.x).
    V11,
    /// HTTP/2.
    V20,
}

/// A part of the buffer of a head (a buffer never exceeds 4 GiB; see `head_parser::parse`).
pub(super) type Span = (u32, u32);

/// The head of one request.
#[derive(Clone, Debug)]
pub struct RequestHead {
    /// Version.
    pub version: Version,
    pub(super) buffer: Box<[u8]>,
    pub(super) method: Span,
    pub(super) target: Span,
    pub(super) authority: Option<Span>,
    pub(super) line: Span,
    pub(super) fields: SmallVec<[Field; 16]>,
    pub(super) known: Known,
}

/// One header field: name and value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    pub(super) name: Span,
    pub(super) value: Span,
}

/// Positions of the fields that every request is asked for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Known {
    pub(super) host: Option<u32>,
    content_length: Option<u32>,
    transfer_encoding: Option<u32>,
    seen_once: u16,
}

/// Bounds of a head and the two choices nginx leaves to the configuration.
#[derive(Clone, Copy, Debug)]
pub struct HeadLimits {
    /// Longest request line.
    pub line: usize,
    /// Longest header line.
    pub field: usize,
    /// Longest head.
    pub total: usize,
    /// `underscores_in_headers`
    pub underscores: bool,
    /// `ignore_invalid_headers`
    pub ignore_invalid: bool,
    /// Raw spaces within the target are part of it (nginx before 1.21.1; mobile clients send them) instead of an error.
    pub spaces_in_target: bool,
}

impl HeadLimits {
    /// What a server has whose configuration says nothing of them: for tests and benches, which have no configuration.
    pub const DEFAULT: Self = Self {
        line: 8192,
        field: 8192,
        total: 4 * 8192,
        underscores: false,
        ignore_invalid: true,
        spaces_in_target: true,
    };

    /// The limits of a server.
    pub fn of(server: &Server, capabilities: &Capabilities) -> Self {
        let (count, size) = server.large_client_header_buffers;
        Self {
            line: size,
            field: size,
            total: count.saturating_mul(size),
            underscores: server.underscores_in_headers,
            ignore_invalid: server.ignore_invalid_headers,
            spaces_in_target: capabilities.spaces_in_target,
        }
    }
}

/// Why a request cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BadHead {
    /// Not HTTP, or against one of its rules.
    #[error("invalid request")]
    BadRequest,
    /// The request line exceeds its buffer.
    #[error("too long URI")]
    UriTooLarge,
    /// A header line, or all of them together, exceed their buffers.
    #[error("too long header line")]
    HeaderTooLarge,
    /// HTTP/2.0 or later in a request line.
    #[error("unsupported protocol version")]
    Version,
    /// `CONNECT` or `TRACE`.
    #[error("method is not allowed")]
    Method,
    /// A `Transfer-Encoding` other than `chunked`.
    #[error("unknown Transfer-Encoding")]
    TransferEncoding,
}

impl BadHead {
    /// The status as `error_page` sees it (494 is answered as 400).
    pub fn status(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::UriTooLarge => 414,
            Self::HeaderTooLarge => 494,
            Self::Version => 505,
            Self::Method => 405,
            Self::TransferEncoding => 501,
        }
    }
}

/// How the body of a request is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// No body.
    None,
    /// `Content-Length`.
    Exact(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
}

impl RequestHead {
    /// Method, as sent.
    pub fn method(&self) -> &[u8] {
        self.part(self.method)
    }

    /// Path and arguments as sent (`$request_uri`), without scheme and host of the absolute form.
    pub fn target(&self) -> &[u8] {
        self.part(self.target)
    }

    /// Host (and port) of an absolute-form target.
    pub fn authority(&self) -> Option<&[u8]> {
        self.authority.map(|authority| self.part(authority))
    }

    /// The request line as sent, without its line end (`$request`).
    pub fn line(&self) -> &[u8] {
        self.part(self.line)
    }

    /// The version as sent (`$server_protocol`).
    pub fn protocol(&self) -> &[u8] {
        let line = self.line();
        let sent = memchr::memmem::rfind(line, b" HTTP/").and_then(|at| line.get(at + 1..));
        sent.unwrap_or(if self.version == Version::V09 { b"HTTP/0.9" } else { b"HTTP/1.0" })
    }

    /// The first header field of that name, whatever its letter case.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers().find(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value)
    }

    /// All header fields in order, names as sent.
    pub fn headers(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.fields.iter().map(|field| (self.part(field.name), self.part(field.value)))
    }

    /// The `Host` field.
    pub fn host(&self) -> Option<&[u8]> {
        self.known_value(self.known.host)
    }

    /// Bytes the head takes.
    pub fn length(&self) -> usize {
        self.buffer.len()
    }

    fn known_value(&self, at: Option<u32>) -> Option<&[u8]> {
        let field = self.fields.get(at? as usize)?;
        Some(self.part(field.value))
    }

    fn part(&self, span: Span) -> &[u8] {
        slice(&self.buffer, span)
    }

    /// What is known of a request that could not be read: its first line, as far as it has come.
    pub(crate) fn unreadable(bytes: &[u8]) -> Self {
        let bytes = bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).and_then(|start| bytes.get(start..));
        let bytes = bytes.unwrap_or_default();
        let end = memchr::memchr2(b'\r', b'\n', bytes).unwrap_or(bytes.len());
        let (line, rest) = bytes.split_at(end);
        let (method, target) = line.split_at(memchr::memchr(b' ', line).unwrap_or(0));
        let is_method = !method.is_empty() && method.iter().all(|&byte| is_method_byte(byte));
        // A line without a version is one of HTTP/0.9, and so is its answer.
        let target = trim_spaces(target);
        let is_target = !target.iter().any(|&byte| byte <= b' ' || byte == 0x7f) && split_authority(target).is_ok();
        let bare = is_method && is_target && (rest.starts_with(b"\n") || rest.starts_with(b"\r\n"));
        let version = if bare { Version::V09 } else { Version::V10 };
        let shown = line.get(..LONGEST_SHOWN).unwrap_or(line);
        // A method that has been read holds whatever follows: a HEAD has an answer without a body. That of HTTP/0.9 is nothing else.
        let method = (0, if is_method && !bare { method.len() as u32 } else { 0 });
        Self { version, buffer: shown.into(), line: (0, shown.len() as u32), method, ..Self::blank() }
    }

    pub(super) fn blank() -> Self {
        Self {
            version: Version::V10,
            buffer: Box::default(),
            method: (0, 0),
            target: (0, 0),
            authority: None,
            line: (0, 0),
            fields: SmallVec::new(),
            known: Known::default(),
        }
    }

    /// A head that did not come as text: that of an HTTP/2 request. What HTTP/1 would refuse in a field is refused here.
    pub fn compose<'a>(
        method: &[u8],
        target: &[u8],
        version: Version,
        fields: impl Iterator<Item = (&'a [u8], &'a [u8])>,
        limits: &HeadLimits,
    ) -> Result<Self, BadHead> {
        let mut head = Self { version, ..Self::blank() };
        let mut buffer = Vec::with_capacity(512);
        let put = |buffer: &mut Vec<u8>, bytes: &[u8]| {
            let start = buffer.len() as u32;
            buffer.extend_from_slice(bytes);
            (start, buffer.len() as u32)
        };
        if method.is_empty() || !method.iter().all(|&byte| is_method_byte(byte)) {
            return Err(BadHead::BadRequest);
        }
        head.method = put(&mut buffer, method);
        buffer.push(b' ');
        if target.iter().any(|&byte| byte <= b' ' || byte == 0x7f) || !target.starts_with(b"/") {
            return Err(BadHead::BadRequest);
        }
        head.target = put(&mut buffer, target);
        buffer.extend_from_slice(if version == Version::V20 { b" HTTP/2.0" } else { b" HTTP/1.1" });
        head.line = (0, buffer.len() as u32);
        if buffer.len() >= limits.line {
            return Err(BadHead::UriTooLarge);
        }
        for (name, value) in fields {
            let value = trim_spaces(value);
            if name.len() + value.len() >= limits.field || buffer.len() > limits.total {
                return Err(BadHead::HeaderTooLarge);
            }
            match judge_name(name, limits)? {
                Name::Odd if limits.ignore_invalid => continue,
                Name::Odd | Name::Fine => {}
            }
            if memchr3(b'\n', b'\r', b'\0', value).is_some() {
                return Err(BadHead::BadRequest);
            }
            let field = Field { name: put(&mut buffer, name), value: put(&mut buffer, value) };
            head.note(&buffer, field)?;
            head.fields.push(field);
        }
        head.buffer = buffer.into();
        if head.known.host.is_none() && version >= Version::V11 {
            return Err(BadHead::BadRequest);
        }
        Ok(head)
    }
}

/// Bytes of an unreadable line that are kept for the log.
const LONGEST_SHOWN: usize = 8192;

fn slice(buffer: &[u8], (start, end): Span) -> &[u8] {
    buffer.get(start as usize..end as usize).unwrap_or_default()
}

/// How the body is framed; refuses what could be framed in two ways.
pub fn body_length(head: &RequestHead) -> Result<BodyLength, BadHead> {
    let length = head.known_value(head.known.content_length).map(content_length).transpose()?;
    let Some(encoding) = head.known_value(head.known.transfer_encoding) else {
        return Ok(length.map_or(BodyLength::None, BodyLength::Exact));
    };
    if head.version < Version::V11 {
        return Err(BadHead::BadRequest);
    }
    if !encoding.eq_ignore_ascii_case(b"chunked") {
        return Err(BadHead::TransferEncoding);
    }
    if length.is_some() { Err(BadHead::BadRequest) } else { Ok(BodyLength::Chunked) }
}

/// The value of `Content-Length`: digits alone.
fn content_length(digits: &[u8]) -> Result<u64, BadHead> {
    if digits.is_empty() {
        return Err(BadHead::BadRequest);
    }
    let mut total: u64 = 0;
    for &byte in digits {
        let digit = if byte.is_ascii_digit() { u64::from(byte - b'0') } else { return Err(BadHead::BadRequest) };
        total = total.checked_mul(10).and_then(|t| t.checked_add(digit)).ok_or(BadHead::BadRequest)?;
    }
    if total > i64::MAX as u64 { Err(BadHead::BadRequest) } else { Ok(total) }
}

impl RequestHead {
    /// Remembers where the framing fields stand and refuses the repetition of fields that have one value.
    pub(super) fn note(&mut self, buffer: &[u8], field: Field) -> Result<(), BadHead> {
        let name = slice(buffer, field.name);
        let at = self.fields.len() as u32;
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        let bit = match name.len() {
            4 if is("host") => {
                self.known.host = Some(at);
                0
            }
            6 if is("expect") => 1,
            8 if is("if-match") => 2,
            8 if is("if-range") => 3,
            13 if is("if-none-match") => 4,
            13 if is("authorization") => 5,
            13 if is("content-range") => 6,
            14 if is("content-length") => {
                self.known.content_length = Some(at);
                7
            }
            17 if is("if-modified-since") => 8,
            17 if is("transfer-encoding") => {
                self.known.transfer_encoding = Some(at);
                9
            }
            19 if is("if-unmodified-since") => 10,
            _ => return Ok(()),
        };
        let mask = 1 << bit;
        if self.known.seen_once & mask != 0 {
            return Err(BadHead::BadRequest);
        }
        self.known.seen_once |= mask;
        Ok(())
    }
}
