//! A reply head that is made when a request is admitted and sent when its answer comes: a long-poll that waits.
//!
//! Everything the request decides is encoded at once, so that the request itself can be dropped; Date, Last-Modified and
//! Etag are put in at the end. Invariant: what is written equals what [`Reply::encode_head`] would have written then.

use std::borrow::Cow;

use memchr::memmem;

use crate::conf::settings::{Line, Location};
use crate::model::{Now, Stamp};
use crate::push::fields::{etag_prefix, etag_survives};
use crate::request::date;
use crate::request::reply::Reply;
use crate::site::exchange::Exchange;
use crate::wire::reply_head::Framing;

/// What stands where the tag will be. No header value of ours or of a configuration that loads holds a NUL.
const TAG: &[u8] = b"\0";

/// A head without its times.
#[derive(Clone, Debug)]
pub(super) struct WaitingHead {
    bytes: Box<[u8]>,
    date: u32,
    last_modified: u32,
    tag: u32,
    /// What the head says about the connection and the body.
    pub framing: Framing,
}

impl WaitingHead {
    /// Encodes the head of `reply`; an Etag is appended to its fields.
    pub(super) fn new(
        mut reply: Reply,
        line: Line,
        exchange: &Exchange<'_>,
        location: &Location,
        keep_alive: bool,
    ) -> Self {
        reply.last_modified = Some(0);
        if etag_survives(exchange.settings.compat, reply.gzip) {
            reply.headers.push((Cow::Borrowed("Etag"), Cow::Owned([etag_prefix(line).as_bytes(), TAG].concat())));
        }
        let mut bytes = Vec::with_capacity(512);
        let framing = reply.encode_head(exchange, location, keep_alive, &mut bytes);
        let after = |mark: &[u8]| memmem::find(&bytes, mark).map_or(bytes.len(), |at| at + mark.len()) as u32;
        let (date, last_modified) = (after(b"\r\nDate: "), after(b"\r\nLast-Modified: "));
        let tag = memmem::find(&bytes, TAG).unwrap_or(bytes.len()) as u32;
        Self { date, last_modified, tag, framing, bytes: bytes.into() }
    }

    /// The head as far as it is known, which tells equal heads.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Appends the head: sent `now`, `stamp` being that of the last message it brings.
    pub(super) fn write(&self, now: Now, stamp: Stamp, out: &mut Vec<u8>) {
        let start = out.len();
        let (before, after) = self.bytes.split_at_checked(self.tag as usize).unwrap_or((&self.bytes, b""));
        out.extend_from_slice(before);
        if !after.is_empty() {
            out.extend_from_slice(stamp.tag.to_string().as_bytes());
            out.extend_from_slice(after.strip_prefix(TAG).unwrap_or(after));
        }
        let mut put = |at: u32, date: [u8; 29]| {
            let at = start + at as usize;
            if let Some(place) = out.get_mut(at..at + date.len()) {
                place.copy_from_slice(&date);
            }
        };
        put(self.date, date::http_date(i64::from(now.secs())));
        put(self.last_modified, date::format_http_date(i64::from(stamp.time)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::push::fields::{etag, expires_headers};
    use crate::site::fixture::{NOW, location, server, settings, with_exchange};
    use crate::site::phases::route;

    #[test]
    fn a_waiting_head_equals_one_made_at_the_end() {
        let settings = settings(server(location(0, "root"), vec![location(1, "/")], vec![]));
        for reply in [Reply::stream(200, "text/plain"), Reply::header_only(304)] {
            let reply = reply.with(expires_headers());
            with_exchange(&settings, "GET /", &[], |exchange| {
                route(exchange);
                let waiting = WaitingHead::new(reply.clone(), Line::V05, exchange, exchange.location, true);
                let (later, stamp) = (Now(NOW.0 + 40_000), Stamp { time: NOW.secs() + 39, tag: 12 });
                let mut written = b"before".to_vec();
                waiting.write(later, stamp, &mut written);

                exchange.now = later;
                let mut expected = b"before".to_vec();
                let reply = Reply { last_modified: Some(i64::from(stamp.time)), ..reply.clone() };
                let framing =
                    reply.with([etag(Line::V05, 12)]).encode_head(exchange, exchange.location, true, &mut expected);
                assert_eq!(String::from_utf8(written), String::from_utf8(expected));
                assert_eq!(waiting.framing, framing);
            });
        }
    }
}
