//! A reply head that is made when a request is admitted and sent when its answer comes: a long-poll that waits.
//!
//! Everything the request decides is encoded at once, so that the request itself can be dropped; Date, Last-Modified and
//! the tag are put in at the end. Invariant: what is written equals what would have been written then.

use super::spelled::{Marks, Spelled};
use crate::conf::settings::Location;
use crate::model::{Now, Stamp};
use crate::request::date;
use crate::request::reply::Reply;
use crate::site::exchange::Exchange;
use crate::wire::reply_head::{Framing, write_head};

/// What the head says of a connection that stays open.
const KEPT: &[u8] = b"keep-alive";

/// A head without its times.
#[derive(Clone, Debug)]
pub(crate) struct WaitingHead {
    bytes: Box<[u8]>,
    marks: Marks,
    /// What the head says about the connection and the body.
    pub framing: Framing,
}

impl WaitingHead {
    /// Encodes the head of `reply`, whose times and tag do not count.
    pub(super) fn new(reply: &Reply, exchange: &Exchange<'_>, location: &Location, keep_alive: bool) -> Self {
        let mut bytes = Vec::with_capacity(512);
        let mut sink = Spelled::new(&mut bytes);
        let framing = write_head(reply, exchange, location, keep_alive, &mut sink);
        let marks = sink.marks;
        Self { marks, framing, bytes: bytes.into() }
    }

    /// The head as far as it is known, which tells equal heads.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Appends the head: sent `now`, `stamp` being that of the last message it brings; `closing`: the connection is closed
    /// after it, whatever was said before.
    pub(super) fn write(&self, now: Now, stamp: Stamp, closing: bool, out: &mut Vec<u8>) {
        let start = out.len();
        match self.bytes.split_at_checked(self.marks.tag as usize) {
            Some((before, after)) => {
                out.extend_from_slice(before);
                out.extend_from_slice(itoa::Buffer::new().format(stamp.tag).as_bytes());
                out.extend_from_slice(after.get(self.marks.tag_digits as usize..).unwrap_or_default());
            }
            None => out.extend_from_slice(&self.bytes),
        }
        let mut put = |at: u32, date: [u8; 29]| {
            let at = start.saturating_add(at as usize);
            if let Some(place) = out.get_mut(at..at.saturating_add(date.len())) {
                place.copy_from_slice(&date);
            }
        };
        put(self.marks.date, date::http_date(i64::from(now.secs())));
        put(self.marks.last_modified, date::format_http_date(i64::from(stamp.time)));
        let word = start.saturating_add(self.marks.connection as usize);
        if closing && out.get(word..).is_some_and(|rest| rest.starts_with(KEPT)) {
            out.splice(word..word + KEPT.len(), *b"close");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::settings::AddHeader;
    use crate::push::fields::expires_headers;
    use crate::site::fixture::{NOW, complex, location, server, settings, with_exchange};
    use crate::site::phases::route;

    fn encoded(reply: &Reply, exchange: &Exchange<'_>, keep: bool) -> (String, Framing) {
        let mut out = b"before".to_vec();
        let framing = write_head(reply, exchange, exchange.location, keep, &mut Spelled::new(&mut out));
        (String::from_utf8(out).unwrap(), framing)
    }

    #[test]
    fn a_waiting_head_equals_one_made_at_the_end() {
        let added =
            |name: &str| AddHeader { name: name.into(), value: complex("Sun, 06 Nov 1994 08:49:37 GMT"), always: true };
        for own in [&[][..], &["Last-Modified"], &["Etag"], &["Date"], &["Connection"]] {
            let mut root = location(1, "/");
            root.core.add_headers = own.iter().map(|name| added(name)).collect();
            let settings = settings(server(location(0, "root"), vec![root], vec![]));
            for reply in [Reply::stream(200, "text/plain"), Reply::header_only(304)] {
                let reply = reply.with(expires_headers());
                with_exchange(&settings, "GET /", &[], |exchange| {
                    route(exchange);
                    let begun = Reply { last_modified: Some(0), etag: Some(("W/", 0)), ..reply.clone() };
                    let waiting = WaitingHead::new(&begun, exchange, exchange.location, true);
                    let (later, stamp) = (Now(NOW.0 + 40_000), Stamp { time: NOW.secs() + 39, tag: 12 });
                    exchange.now = later;
                    let time = Some(i64::from(stamp.time));
                    let told = Reply { last_modified: time, etag: Some(("W/", 12)), ..reply.clone() };
                    for closing in [false, true] {
                        let mut written = b"before".to_vec();
                        waiting.write(later, stamp, closing, &mut written);
                        let (expected, framing) = encoded(&told, exchange, !closing);
                        assert_eq!(String::from_utf8(written).unwrap(), expected, "{own:?}");
                        assert_eq!(waiting.framing.chunked, framing.chunked);
                    }
                });
            }
        }
    }
}
