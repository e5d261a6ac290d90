//! The header fields of the push stream module, and its refusals, in the words of the wire that is spoken.
//!
//! Knows the bytes, not when they are sent: that is the verbs' business.

use std::borrow::Cow;

use smallvec::SmallVec;

use crate::model::{Capabilities, Refusal};
use crate::request::reply::{CACHE_CONTROL, EXPIRES, Field, Reply, is_line_end};

/// `Expires` of what no cache may keep.
pub(crate) const EPOCH: &[u8] = b"Thu, 01 Jan 1970 00:00:01 GMT";
/// `Cache-Control` of what no cache may keep.
pub(crate) const NO_CACHE: &[u8] = b"no-cache, no-store, must-revalidate";

/// The fields that keep answers of the module out of caches, where it has them.
pub(crate) fn cache_fields(capabilities: &Capabilities) -> SmallVec<[Field; 2]> {
    if capabilities.forbids_caching { SmallVec::from(expires_headers()) } else { SmallVec::new() }
}

/// These two fields (`{EXP}`).
pub(crate) fn expires_headers() -> [Field; 2] {
    [(Cow::Borrowed(EXPIRES), Cow::Borrowed(EPOCH)), (Cow::Borrowed(CACHE_CONTROL), Cow::Borrowed(NO_CACHE))]
}

/// Which locations can differ in what they tell other origins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CorsSide {
    /// Publisher locations.
    Publisher,
    /// Subscriber locations.
    Subscriber,
}

/// The fields for other origins (`{CORS m}`): none without an origin, unless the wire allows every one.
pub(crate) fn cors_headers(
    capabilities: &Capabilities,
    side: CorsSide,
    origin: Option<&[u8]>,
    methods: &'static str,
) -> SmallVec<[Field; 3]> {
    let mut fields = SmallVec::new();
    let origin = origin.filter(|origin| !origin.is_empty());
    let origin = match origin {
        Some(origin) => Cow::Owned(origin.iter().copied().filter(|byte| !is_line_end(*byte)).collect()),
        None if capabilities.any_origin_by_default => Cow::Borrowed(&b"*"[..]),
        None => return fields,
    };
    fields.push((Cow::Borrowed("Access-Control-Allow-Origin"), origin));
    if side == CorsSide::Publisher && !capabilities.cors_for_publishers {
        return fields;
    }
    let allowed = capabilities.cors_headers.as_bytes();
    fields.push((Cow::Borrowed("Access-Control-Allow-Methods"), Cow::Borrowed(methods.as_bytes())));
    fields.push((Cow::Borrowed("Access-Control-Allow-Headers"), Cow::Borrowed(allowed)));
    fields
}

/// Why a request is refused, in words.
pub(crate) fn explanation(refusal: Refusal, capabilities: &Capabilities) -> Cow<'static, str> {
    match refusal {
        Refusal::TooManyWildcards if capabilities.says_broadcast => "Subscribed too much broadcast channels.".into(),
        refusal => refusal.to_string().into(),
    }
}

/// The header-only answer that refuses a request: the given fields, then why.
pub(crate) fn refused(refusal: Refusal, capabilities: &Capabilities, fields: impl IntoIterator<Item = Field>) -> Reply {
    let reply = Reply { refusal: Some(refusal), ..Reply::header_only(refusal.status()) }.with(fields);
    if refusal.status() == 500 { reply } else { reply.with([explain(explanation(refusal, capabilities))]) }
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

/// `Retry-After`, of what may be well again in a moment.
pub(crate) fn retry_after() -> Field {
    (Cow::Borrowed("Retry-After"), Cow::Borrowed(b"1"))
}

/// `Allow`.
pub(crate) fn allow(methods: &'static str) -> Field {
    (Cow::Borrowed("Allow"), Cow::Borrowed(methods.as_bytes()))
}

/// What stands before a message tag in `Etag`.
pub(crate) fn etag_prefix(capabilities: &Capabilities) -> &'static str {
    if capabilities.weak_etags { "W/" } else { "" }
}

/// `Sec-WebSocket-Version`, for a handshake of another version.
pub(crate) fn websocket_versions() -> Field {
    (Cow::Borrowed("Sec-WebSocket-Version"), Cow::Borrowed(b"8, 13"))
}

/// `X-Nginx-PushStream-Tag` and `-Commit`, for statistics.
pub(crate) fn version_headers(capabilities: &Capabilities) -> [Field; 2] {
    [
        (Cow::Borrowed("X-Nginx-PushStream-Tag"), Cow::Borrowed(capabilities.module_tag.as_bytes())),
        (Cow::Borrowed("X-Nginx-PushStream-Commit"), Cow::Borrowed(capabilities.module_commit.as_bytes())),
    ]
}
