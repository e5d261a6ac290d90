//! The header fields of the push stream module and the head of its websocket handshake, in the words of each version line.
//!
//! Knows the bytes, not when they are sent: that is the verbs' business.

use std::borrow::Cow;

use smallvec::SmallVec;

use crate::conf::settings::{Compat, Line};
use crate::request::reply::{CACHE_CONTROL, EXPIRES, Field, is_line_end};

/// `Expires` of what no cache may keep.
pub(crate) const EPOCH: &[u8] = b"Thu, 01 Jan 1970 00:00:01 GMT";
/// `Cache-Control` of what no cache may keep.
pub(crate) const NO_CACHE: &[u8] = b"no-cache, no-store, must-revalidate";

/// The two fields that keep answers of the module out of caches (`{EXP}`).
pub(crate) fn expires_headers() -> [Field; 2] {
    [(Cow::Borrowed(EXPIRES), Cow::Borrowed(EPOCH)), (Cow::Borrowed(CACHE_CONTROL), Cow::Borrowed(NO_CACHE))]
}

/// Which locations differ in what they tell other origins (0.3.x only).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CorsSide {
    /// Publisher locations.
    Publisher,
    /// Subscriber locations.
    Subscriber,
}

/// The fields for other origins (`{CORS m}`): none without an origin, except that 0.3.4 allows all of them always.
pub(crate) fn cors_headers(
    line: Line,
    side: CorsSide,
    origin: Option<&[u8]>,
    methods: &'static str,
) -> SmallVec<[Field; 3]> {
    let mut fields = SmallVec::new();
    let origin = origin.filter(|origin| !origin.is_empty());
    let origin = match (origin, line) {
        (Some(origin), _) => Cow::Owned(origin.iter().copied().filter(|byte| !is_line_end(*byte)).collect()),
        (None, Line::V034) => Cow::Borrowed(&b"*"[..]),
        (None, _) => return fields,
    };
    fields.push((Cow::Borrowed("Access-Control-Allow-Origin"), origin));
    if line < Line::V040 && side == CorsSide::Publisher {
        return fields;
    }
    let allowed: &[u8] = if line < Line::V040 {
        b"If-Modified-Since,If-None-Match"
    } else {
        b"If-Modified-Since,If-None-Match,Etag,Event-Id,Event-Type,Last-Event-Id"
    };
    fields.push((Cow::Borrowed("Access-Control-Allow-Methods"), Cow::Borrowed(methods.as_bytes())));
    fields.push((Cow::Borrowed("Access-Control-Allow-Headers"), Cow::Borrowed(allowed)));
    fields
}

/// `X-Nginx-PushStream-Explain`.
pub(crate) fn explain(text: impl Into<Cow<'static, str>>) -> Field {
    let value = match text.into() {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    };
    (Cow::Borrowed("X-Nginx-PushStream-Explain"), value)
}

/// `X-Accel-Buffering: no`: an nginx in front passes each message on at once, even with `proxy_buffering on`, and takes the
/// field away.
pub(crate) fn unbuffered() -> Field {
    (Cow::Borrowed("X-Accel-Buffering"), Cow::Borrowed(b"no"))
}

/// `Allow`.
pub(crate) fn allow(methods: &'static str) -> Field {
    (Cow::Borrowed("Allow"), Cow::Borrowed(methods.as_bytes()))
}

/// Whether nginx's gzip leaves the module's `Etag` standing: it takes away tags that are neither weak nor quoted, which costs a
/// client its place. Done only where exactly that is asked for.
pub(crate) fn etag_survives(compat: Compat, gzip: bool) -> bool {
    !(gzip && compat.strict && etag_prefix(compat.line).is_empty())
}

/// What stands before a message tag in `Etag`: weak from 0.5 on.
pub(crate) fn etag_prefix(line: Line) -> &'static str {
    if line >= Line::V05 { "W/" } else { "" }
}

/// `Sec-WebSocket-Version`, for a handshake of another version.
pub(crate) fn websocket_versions() -> Field {
    (Cow::Borrowed("Sec-WebSocket-Version"), Cow::Borrowed(b"8, 13"))
}

/// `X-Nginx-PushStream-Tag` and `-Commit` of the version that is spoken, for statistics.
pub(crate) fn version_headers(line: Line) -> [Field; 2] {
    let (tag, commit) = match line {
        Line::V034 => ("0.3.4", "ab5f17888393a57a3191f0f4ea631be717e6a30b"),
        // The number that a release carries lags behind the release.
        Line::V035 => ("0.3.4", "3a4907ae5aa3ac2222924aa7d30973958657d9c2"),
        Line::V040 => ("0.4.0", "022a5c4188e4b3df03c8c173647d88e81093f136"),
        Line::V05 => ("0.5.4", "3d4cc6dc3ab97ac3516246c680a33cb83dd66ab7"),
    };
    [
        (Cow::Borrowed("X-Nginx-PushStream-Tag"), Cow::Borrowed(tag.as_bytes())),
        (Cow::Borrowed("X-Nginx-PushStream-Commit"), Cow::Borrowed(commit.as_bytes())),
    ]
}
