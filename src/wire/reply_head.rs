//! The head of a reply as HTTP/1 has it: the one place of its order and spelling.
//!
//! Does not know why a reply is given, nor the sockets it goes to. Invariant: whoever makes a reply, its head has nginx's
//! order: status line, Server, Date, Content-Type, Content-Length, Last-Modified, Location, Transfer-Encoding, Connection,
//! Keep-Alive, Vary, the fields of the handler, `add_header`, Content-Encoding; only a body in chunks of the handler's own
//! making (0.3.x) names its Transfer-Encoding behind the fields of the handler.

use crate::conf::settings::{Expires, Location};
use crate::request::date;
use crate::request::head::Version;
use crate::request::reply::{Body, CACHE_CONTROL, EXPIRES, Reply, is_line_end};
use crate::request::status::{SERVER, SERVER_FULL, reason};
use crate::site::exchange::Exchange;
use crate::site::gzip;

/// What a written head has settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Framing {
    /// The connection serves another request afterwards.
    pub keep_alive: bool,
    /// The body goes in chunks.
    pub chunked: bool,
    /// The body (if any) is sent; not so for HEAD.
    pub with_body: bool,
}

impl Reply {
    /// Appends the head. `keep_alive` is what [`keep_alive`] has said; the returned framing says what became of it.
    pub fn encode_head(
        &self,
        exchange: &Exchange<'_>,
        location: &Location,
        keep_alive: bool,
        out: &mut Vec<u8>,
    ) -> Framing {
        let status = exchange.status_sent(self);
        exchange.status.set(status);
        let core = &location.core;
        let streamed = self.body == Body::Stream || self.gzip;
        let bodiless = status == 204 || status == 304 || exchange.is_head();
        let own_chunks = self.own_chunks && streamed && !bodiless;
        let chunked = own_chunks || streamed && !bodiless && core.chunked_transfer_encoding && exchange.is_http11();
        let ends = self.close || own_chunks || exchange.route.close;
        let keep_alive = keep_alive && !ends && (!streamed || chunked || bodiless);
        let framing = Framing { keep_alive, chunked, with_body: !bodiless };
        if exchange.head.version == Version::V09 {
            return Framing { keep_alive: false, chunked: false, ..framing };
        }
        status_line(status, out);
        field("Server", (if core.server_tokens { SERVER_FULL } else { SERVER }).as_bytes(), out);
        field("Date", &date::http_date(i64::from(exchange.now.secs())), out);
        if let Some(content_type) = &self.content_type
            && status != 204
        {
            out.extend_from_slice(b"Content-Type: ");
            out.extend_from_slice(content_type.as_bytes());
            if let Some(charset) = core.charset.as_ref().filter(|charset| charset.is_for(content_type)) {
                let name = exchange.value(&charset.name);
                if !name.is_empty() {
                    out.extend_from_slice(b"; charset=");
                    out.extend(name.iter().filter(|byte| !is_line_end(**byte)));
                }
            }
            out.extend_from_slice(b"\r\n");
        }
        self.encode_length(status, streamed, out);
        if let Some(seconds) = self.last_modified
            && matches!(status, 200 | 206 | 304)
            && !adds("Last-Modified", location, true)
        {
            field("Last-Modified", &date::format_http_date(seconds), out);
        }
        if let Some(target) = self.location.as_ref().filter(|target| becomes_absolute(target, location)) {
            encode_location(target, exchange, location, out);
        }
        if chunked && !own_chunks {
            out.extend_from_slice(CHUNKED);
        }
        if keep_alive {
            out.extend_from_slice(b"Connection: keep-alive\r\n");
            if let Some(seconds) = core.keepalive_header {
                out.extend_from_slice(b"Keep-Alive: timeout=");
                decimal(seconds, out);
                out.extend_from_slice(b"\r\n");
            }
        } else {
            out.extend_from_slice(b"Connection: close\r\n");
        }
        if core.gzip.as_ref().is_some_and(|gzip| gzip.vary && (self.gzip || self.would_gzip(exchange, location))) {
            out.extend_from_slice(b"Vary: Accept-Encoding\r\n");
        }
        self.encode_fields(exchange, location, status, out);
        out.extend_from_slice(b"\r\n");
        framing
    }

    /// Whether gzip is refused only by what the client accepts, so that caches must be told.
    fn would_gzip(&self, exchange: &Exchange<'_>, location: &Location) -> bool {
        gzip::is_compressible(self, exchange, location)
    }

    /// `expires`: an Expires and a Cache-Control field.
    fn encode_expires(&self, expires: Option<&Expires>, exchange: &Exchange<'_>, out: &mut Vec<u8>) {
        let now = i64::from(exchange.now.secs());
        let moment = match (expires, self.last_modified) {
            (Some(Expires::Modified(seconds)), Some(modified)) => modified.saturating_add(*seconds),
            (Some(Expires::In(seconds) | Expires::Modified(seconds)), _) => now.saturating_add(*seconds),
            (Some(Expires::Epoch), _) => {
                return out.extend_from_slice(b"Expires: Thu, 01 Jan 1970 00:00:01 GMT\r\nCache-Control: no-cache\r\n");
            }
            (Some(Expires::Max), _) => {
                return out.extend_from_slice(
                    b"Expires: Thu, 31 Dec 2037 23:55:55 GMT\r\nCache-Control: max-age=315360000\r\n",
                );
            }
            (None, _) => return,
        };
        field(EXPIRES, &date::format_http_date(moment), out);
        if moment < now {
            out.extend_from_slice(b"Cache-Control: no-cache\r\n");
        } else {
            out.extend_from_slice(b"Cache-Control: max-age=");
            decimal(moment.abs_diff(now), out);
            out.extend_from_slice(b"\r\n");
        }
    }

    fn encode_length(&self, status: u16, streamed: bool, out: &mut Vec<u8>) {
        let length = match &self.body {
            _ if streamed || status == 204 => return,
            Body::Stream | Body::Absent => return,
            Body::HeaderOnly => 0,
            Body::Full(bytes) => bytes.len() as u64,
        };
        out.extend_from_slice(b"Content-Length: ");
        decimal(length, out);
        out.extend_from_slice(b"\r\n");
    }

    /// The fields of the handler, then those of the configuration.
    fn encode_fields(&self, exchange: &Exchange<'_>, location: &Location, status: u16, out: &mut Vec<u8>) {
        let core = &location.core;
        let safe = matches!(status, 200 | 201 | 204 | 206 | 301 | 302 | 303 | 304 | 307 | 308);
        let expires = core.expires.as_ref().filter(|_| safe);
        for (name, value) in exchange.carried.iter().filter(|(name, _)| !is_of_ranges(name)) {
            field(name, value, out);
        }
        if let Some(target) = self.location.as_ref().filter(|target| !becomes_absolute(target, location)) {
            encode_location(target, exchange, location, out);
        }
        let mut expires_sent = false;
        let tagged = adds("ETag", location, safe);
        for (name, value) in &self.headers {
            if is_of_ranges(name) || (tagged && name == "ETag") {
                continue;
            }
            let replaced = expires.is_some() && (name == EXPIRES || name == CACHE_CONTROL);
            if !replaced {
                field(name, value, out);
            } else if !expires_sent {
                expires_sent = true;
                self.encode_expires(expires, exchange, out);
            }
        }
        if !expires_sent {
            self.encode_expires(expires, exchange, out);
        }
        if self.own_chunks && self.body == Body::Stream {
            out.extend_from_slice(CHUNKED);
        }
        for added in core.add_headers.iter() {
            if !safe && !added.always {
                continue;
            }
            let start = out.len();
            out.extend_from_slice(added.name.as_bytes());
            out.extend_from_slice(b": ");
            let value = out.len();
            exchange.write_value(&added.value, out);
            remove_line_ends(value, out);
            if out.len() == value {
                out.truncate(start);
            } else {
                out.extend_from_slice(b"\r\n");
            }
        }
        let carried = exchange.carried.iter().map(|(name, value)| (*name, value.as_slice()));
        let own = self.headers.iter().map(|(name, value)| (&**name, &**value));
        for (name, value) in carried.chain(own).filter(|(name, _)| is_of_ranges(name)) {
            field(name, value, out);
        }
        if self.gzip {
            out.extend_from_slice(b"Content-Encoding: gzip\r\n");
        }
    }
}

const CHUNKED: &[u8] = b"Transfer-Encoding: chunked\r\n";

/// Whether `add_header` gives this field, which takes the place of the reply's own.
fn adds(name: &str, location: &Location, safe: bool) -> bool {
    location.core.add_headers.iter().any(|added| (safe || added.always) && added.name.eq_ignore_ascii_case(name))
}

/// Fields about byte ranges come last, as they are decided last.
fn is_of_ranges(name: &str) -> bool {
    matches!(name, "Accept-Ranges" | "Content-Range")
}

/// Whether a redirection's target, a path, is made a URL of this server. Other targets stand among the other fields.
fn becomes_absolute(target: &[u8], location: &Location) -> bool {
    target.starts_with(b"/") && location.core.absolute_redirect
}

fn status_line(status: u16, out: &mut Vec<u8>) {
    if status == 200 {
        out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
        return;
    }
    out.extend_from_slice(b"HTTP/1.1 ");
    decimal(u64::from(status), out);
    out.push(b' ');
    out.extend_from_slice(reason(status).as_bytes());
    out.extend_from_slice(b"\r\n");
}

pub(super) fn field(name: &str, value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Takes CR, LF and NUL out of what was appended from `start` on: they would begin a field of the client's choice.
fn remove_line_ends(start: usize, out: &mut Vec<u8>) {
    let Some(appended) = out.get(start..) else { return };
    if memchr::memchr3(b'\r', b'\n', 0, appended).is_some() {
        let mut at = 0;
        out.retain(|byte| {
            at += 1;
            at <= start || !is_line_end(*byte)
        });
    }
}

fn decimal(number: u64, out: &mut Vec<u8>) {
    let mut digits = [0u8; 20];
    let mut rest = number;
    let mut used = 0;
    for slot in digits.iter_mut().rev() {
        *slot = b'0' + (rest % 10) as u8;
        rest /= 10;
        used += 1;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(20 - used..).unwrap_or_default());
}

/// `Location`; a path becomes a URL of this server where `absolute_redirect` is on.
fn encode_location(target: &[u8], exchange: &Exchange<'_>, location: &Location, out: &mut Vec<u8>) {
    let core = &location.core;
    out.extend_from_slice(b"Location: ");
    if becomes_absolute(target, location) {
        let tls = exchange.peer.tls.is_some();
        out.extend_from_slice(if tls { b"https://" } else { b"http://" });
        let name = exchange.server.name.as_bytes();
        match exchange.peer.local.ip() {
            _ if core.server_name_in_redirect && !name.is_empty() => out.extend_from_slice(name),
            _ if !exchange.host.is_empty() => out.extend_from_slice(&exchange.host),
            Some(ip) if ip.is_ipv6() => out.extend_from_slice(format!("[{ip}]").as_bytes()),
            Some(ip) => out.extend_from_slice(ip.to_string().as_bytes()),
            None => out.extend_from_slice(name),
        }
        let usual = if tls { 443 } else { 80 };
        if let Some(port) = exchange.peer.local.port()
            && core.port_in_redirect
            && port != usual
        {
            out.push(b':');
            decimal(u64::from(port), out);
        }
    }
    out.extend(target.iter().filter(|byte| !is_line_end(**byte)));
    out.extend_from_slice(b"\r\n");
}

/// Whether the connection may serve another request after this one: what the client asks for, within the bounds of the
/// location.
pub(super) fn keep_alive(exchange: &Exchange<'_>, location: &Location, requests: u64) -> bool {
    let head = exchange.head;
    let core = &location.core;
    if exchange.route.close || core.keepalive_timeout == 0 || requests >= core.keepalive_requests {
        return false;
    }
    let mut wanted = head.version >= Version::V11;
    for (name, value) in head.headers() {
        if name.eq_ignore_ascii_case(b"connection") {
            if mentions(value, b"close") {
                wanted = false;
            } else if mentions(value, b"keep-alive") {
                wanted = true;
            }
        }
    }
    wanted && head.version > Version::V09
}

/// Whether `text` contains `word`, whatever the letter case.
fn mentions(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|window| window.eq_ignore_ascii_case(word))
}
