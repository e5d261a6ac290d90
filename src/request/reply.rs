//! A reply as a value: what is answered, before anybody knows how it travels.
//!
//! Does not know why it is given, nor the order and spelling of its head on a wire.

use std::borrow::Cow;
use std::fs::File;
use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;

use super::status::page;
use crate::model::Refusal;

/// A header field of a handler.
pub type Field = (Cow<'static, str>, Cow<'static, [u8]>);

/// Fields of a handler, in order.
pub type Fields = SmallVec<[Field; 6]>;

/// The answer to a request.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Status; nginx's own codes 494 to 497 are sent as 400.
    pub status: u16,
    /// `Content-Type`.
    pub content_type: Option<Cow<'static, str>>,
    /// What follows the head.
    pub body: Body,
    /// `Last-Modified`, seconds since the epoch.
    pub last_modified: Option<i64>,
    /// `Location`; one that begins with `/` is made absolute where `absolute_redirect` is on.
    pub location: Option<Vec<u8>>,
    /// Fields of the handler, in order.
    pub headers: Fields,
    /// `Etag` of a message, behind the other fields of the handler: what stands before the tag, and the tag.
    pub etag: Option<(&'static str, i64)>,
    /// Why the module refuses what was asked, if it does.
    pub refusal: Option<Refusal>,
    /// The connection ends with this reply.
    pub close: bool,
    /// A connection that ends with this reply is left for the client to close: the module of 0.3.x forgot to.
    pub left_open: bool,
    /// The body is compressed on its way (`Content-Encoding: gzip`); its length is not known.
    pub gzip: bool,
    /// The module of 0.3.x cuts a stream into chunks itself, whatever the client speaks and the configuration says, and the
    /// connection ends with it.
    pub own_chunks: bool,
}

/// The body of a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// No body: `Content-Length: 0`.
    HeaderOnly,
    /// A body that is there as a whole.
    Full(Bytes),
    /// A part of a file, read as it is taken.
    File(FilePart),
    /// Length unknown, and it comes piece by piece: chunked, or until the connection is closed.
    Stream,
    /// The same, but all of it is there, framed for the wire of the request.
    Framed(Bytes),
    /// No body and no word about its length (304 of a file, 204).
    Absent,
}

impl Body {
    /// Whether the head does not tell a length.
    pub fn is_streamed(&self) -> bool {
        matches!(self, Self::Stream | Self::Framed(_))
    }
}

/// A part of a file.
#[derive(Clone, Debug)]
pub struct FilePart {
    /// The file.
    pub file: Arc<File>,
    /// Its first byte.
    pub offset: u64,
    /// Bytes from there.
    pub length: u64,
}

impl PartialEq for FilePart {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.file, &other.file) && (self.offset, self.length) == (other.offset, other.length)
    }
}

impl Eq for FilePart {}

impl Reply {
    /// A reply of the module without a body: not subject to `error_page`, no `Content-Type`.
    pub fn header_only(status: u16) -> Self {
        Self {
            status,
            content_type: None,
            body: Body::HeaderOnly,
            last_modified: None,
            location: None,
            headers: Fields::new(),
            etag: None,
            refusal: None,
            close: false,
            left_open: false,
            gzip: false,
            own_chunks: false,
        }
    }

    /// A reply with a body that is there as a whole.
    pub fn full(status: u16, content_type: impl Into<Cow<'static, str>>, body: impl Into<Bytes>) -> Self {
        let body = Body::Full(body.into());
        Self { content_type: Some(content_type.into()), body, ..Self::header_only(status) }
    }

    /// The head of a body that comes piece by piece.
    pub fn stream(status: u16, content_type: impl Into<Cow<'static, str>>) -> Self {
        Self { content_type: Some(content_type.into()), body: Body::Stream, ..Self::header_only(status) }
    }

    /// nginx's own page for a status.
    pub fn html_page(status: u16, server_tokens: bool) -> Self {
        let page = page(status, server_tokens);
        match status {
            204 | 304 => Self { body: Body::Absent, ..Self::header_only(status) },
            status if page.is_empty() => Self::header_only(status),
            status => Self::full(status, "text/html", page),
        }
    }

    /// Adds fields, in order.
    #[must_use]
    pub fn with(mut self, fields: impl IntoIterator<Item = Field>) -> Self {
        self.headers.extend(fields);
        self
    }
}

/// `Expires`, of the handler or of `expires`.
pub const EXPIRES: &str = "Expires";
/// `Cache-Control`, of the handler or of `expires`.
pub const CACHE_CONTROL: &str = "Cache-Control";

/// Whether a byte would end a line of a head: it would begin a field of the client's choice.
pub fn is_line_end(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n' | 0)
}
