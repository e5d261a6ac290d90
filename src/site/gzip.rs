//! Compression of replies: whether one is compressed, and the encoder that sends each piece at once.
//!
//! nginx's conditions: the `gzip_*` directives, `Accept-Encoding`, and for requests through a proxy what the reply says
//! about caching. Does not know sockets; pieces go into a buffer of the caller.

use std::borrow::Cow;
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::exchange::Exchange;
use crate::conf::settings::{Gzip, Location};
use crate::request::head::Version;
use crate::request::http_date::parse_http_date;
use crate::request::reply::{Body, Reply};

/// Decides, and marks the reply: its length is unknown from now on and its entity tag a weak one. Whether it is compressed.
pub fn apply(reply: &mut Reply, exchange: &Exchange<'_>, location: &Location) -> bool {
    let Some(gzip) = &location.core.gzip else { return false };
    if !is_compressible(reply, exchange, location) || !is_accepted(reply, exchange, gzip) {
        return false;
    }
    reply.gzip = true;
    reply.headers.retain(|(name, _)| name != "Accept-Ranges");
    for (name, value) in &mut reply.headers {
        if name.eq_ignore_ascii_case("etag") && value.starts_with(b"\"") {
            *value = Cow::Owned([b"W/", &**value].concat());
        }
    }
    true
}

/// Whether a reply would be compressed for a client that accepts it.
pub(crate) fn is_compressible(reply: &Reply, exchange: &Exchange<'_>, location: &Location) -> bool {
    let Some(gzip) = &location.core.gzip else { return false };
    if !matches!(exchange.status_sent(reply), 200 | 403 | 404) {
        return false;
    }
    let long_enough = match &reply.body {
        Body::Stream | Body::Framed(_) => true,
        Body::Full(bytes) => bytes.len() as u64 >= gzip.min_length,
        Body::File(part) => part.length >= gzip.min_length,
        Body::HeaderOnly | Body::Absent => false,
    };
    let Some(content_type) = reply.content_type.as_deref() else { return false };
    let listed = gzip.all_types
        || content_type.eq_ignore_ascii_case("text/html")
        || gzip.types.iter().any(|listed| listed.eq_ignore_ascii_case(content_type));
    long_enough && listed
}

fn is_accepted(reply: &Reply, exchange: &Exchange<'_>, gzip: &Gzip) -> bool {
    let head = &exchange.head;
    if !head.header("accept-encoding").is_some_and(accepts_gzip) {
        return false;
    }
    if head.version < Version::V10 || head.version == Version::V10 && !gzip.http_version_10 {
        return false;
    }
    if head.header("via").is_some() && !is_for_proxies(reply, exchange, gzip) {
        return false;
    }
    let agent = head.header("user-agent");
    !agent.is_some_and(|agent| gzip.disable.iter().any(|regex| regex.compiled.is_match(agent).unwrap_or(false)))
}

/// Whether `Accept-Encoding` names gzip with a weight above zero.
fn accepts_gzip(sent: &[u8]) -> bool {
    sent.split(|&byte| byte == b',').any(|coding| {
        let mut parts = coding.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
        if !parts.next().is_some_and(|name| name.eq_ignore_ascii_case(b"gzip")) {
            return false;
        }
        let weight = parts.find_map(|part| part.strip_prefix(b"q=").or_else(|| part.strip_prefix(b"Q=")));
        weight.is_none_or(|weight| weight.iter().any(|byte| matches!(byte, b'1'..=b'9')))
    })
}

/// `gzip_proxied`
fn is_for_proxies(reply: &Reply, exchange: &Exchange<'_>, gzip: &Gzip) -> bool {
    let set = |word: &str| gzip.proxied.iter().any(|listed| &**listed == word);
    let told = |name: &str| {
        let field = reply.headers.iter().find(|(field, _)| field.eq_ignore_ascii_case(name));
        field.map(|(_, value)| &**value)
    };
    if set("any") || set("auth") && exchange.head.header("authorization").is_some() {
        return true;
    }
    if let Some(expires) = told("Expires") {
        let now = i64::from(exchange.now.secs());
        return set("expired") && parse_http_date(expires).is_some_and(|time| time < now);
    }
    if let Some(control) = told("Cache-Control") {
        let control = String::from_utf8_lossy(control).to_ascii_lowercase();
        return ["no-cache", "no-store", "private"].iter().any(|word| set(word) && control.contains(word));
    }
    set("no_last_modified") && reply.last_modified.is_none()
        || set("no_etag") && told("Etag").is_none() && reply.etag.is_none()
}

/// A compressed body under way.
pub struct Encoder(GzEncoder<Vec<u8>>);

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Encoder")
    }
}

impl Encoder {
    /// Memory that one takes at any level, by the count of the allocator: 426,318 bytes (`zlib-rs` 0.6).
    pub const STATE: usize = 417 * 1024;

    /// An encoder of `gzip_comp_level` (1 to 9).
    pub fn new(level: u32) -> Self {
        Self(GzEncoder::new(Vec::new(), Compression::new(level.clamp(1, 9))))
    }

    /// Compresses a piece and appends all it takes for the client to read it.
    pub fn piece(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        // Writing into a Vec cannot fail.
        let _ = self.0.write_all(piece).and_then(|()| self.0.flush());
        out.append(self.0.get_mut());
    }

    /// Ends the body.
    pub fn finish(mut self, out: &mut Vec<u8>) {
        let _ = self.0.try_finish();
        out.append(self.0.get_mut());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn each_piece_can_be_read_at_once() {
        let mut encoder = Encoder::new(1);
        let mut wire = Vec::new();
        for (piece, expected) in [("one ", "one "), ("two", "one two")] {
            encoder.piece(piece.as_bytes(), &mut wire);
            let mut text = vec![0; expected.len()];
            flate2::read::GzDecoder::new(wire.as_slice()).read_exact(&mut text).unwrap();
            assert_eq!(text, expected.as_bytes());
        }
        encoder.finish(&mut wire);
        let mut text = String::new();
        flate2::read::GzDecoder::new(wire.as_slice()).read_to_string(&mut text).unwrap();
        assert_eq!(text, "one two");
    }

    #[test]
    fn gzip_must_be_named_and_not_refused() {
        for sent in ["gzip", "deflate, GZIP", "gzip;q=0.5", "gzip ; q=1.0, br"] {
            assert!(accepts_gzip(sent.as_bytes()), "{sent}");
        }
        for sent in ["", "deflate", "gzip;q=0", "gzip;q=0.000", "xgzip", "*"] {
            assert!(!accepts_gzip(sent.as_bytes()), "{sent}");
        }
    }
}
