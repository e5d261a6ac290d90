//! What the head of a reply says and in which order, whatever wire it goes to.
//!
//! Does not know why a reply is given, nor how a field is spelled on a wire: that is a [`HeadSink`]'s. Invariant: whoever makes
//! a reply, its head has nginx's order: status line, Server, Date, Content-Type, Content-Length, Last-Modified, Location,
//! Transfer-Encoding, Connection, Keep-Alive, Vary, the fields of the handler, `add_header`, Content-Encoding; only a body in
//! chunks of the handler's own making (0.3.x) names its Transfer-Encoding behind the fields of the handler.

use crate::conf::expires;
use crate::conf::settings::{Core, Expires, Location};
use crate::request::date;
use crate::request::head::Version;
use crate::request::reply::{Body, CACHE_CONTROL, EXPIRES, Reply, is_line_end};
use crate::request::status::{SERVER, SERVER_FULL};
use crate::site::exchange::Exchange;
use crate::site::gzip;

/// Takes a head, part by part, as a wire has it.
pub(super) trait HeadSink {
    /// The status, first of all.
    fn status(&mut self, status: u16);
    /// A field.
    fn field(&mut self, name: &str, value: &[u8]);
    /// `Date`, seconds since the epoch.
    fn date(&mut self, seconds: i64);
    /// `Last-Modified` of the reply, seconds since the epoch.
    fn last_modified(&mut self, seconds: i64);
    /// `Etag` of a message: what stands before the tag, and the tag.
    fn etag(&mut self, prefix: &str, tag: i64);
    /// `Transfer-Encoding: chunked`, on a wire that has it.
    fn chunked(&mut self);
    /// `Connection`, and `Keep-Alive` with this many seconds, on a wire that has them.
    fn connection(&mut self, keep_alive: bool, timeout: Option<u64>);
    /// The end of the head.
    fn end(&mut self);
}

/// What a written head has settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Framing {
    /// The connection serves another request afterwards.
    pub keep_alive: bool,
    /// The body goes in chunks.
    pub chunked: bool,
    /// The body (if any) is sent; not so for HEAD.
    pub with_body: bool,
}

/// Tells a sink the head of a reply. `keep_alive` is what [`keep_alive`] has said; the returned framing says what became of
/// it.
pub(super) fn write_head(
    reply: &Reply,
    exchange: &Exchange<'_>,
    location: &Location,
    keep_alive: bool,
    sink: &mut impl HeadSink,
) -> Framing {
    let status = exchange.status_sent(reply);
    exchange.status.set(status);
    let core = &location.core;
    let streamed = reply.body.is_streamed() || reply.gzip;
    let bodiless = status == 204 || status == 304 || exchange.is_head();
    let own_chunks = reply.own_chunks && streamed && !bodiless;
    let chunked = own_chunks || streamed && !bodiless && exchange.sends_chunks(location);
    let ends = reply.close || own_chunks || exchange.route.close;
    let keep_alive = keep_alive && !ends && (!streamed || chunked || bodiless);
    let framing = Framing { keep_alive, chunked, with_body: !bodiless };
    if exchange.head.version == Version::V09 {
        return Framing { keep_alive: false, chunked: false, ..framing };
    }
    sink.status(status);
    sink.field("Server", (if core.server_tokens { SERVER_FULL } else { SERVER }).as_bytes());
    sink.date(i64::from(exchange.now.secs()));
    if let Some(content_type) = reply.content_type.as_ref().filter(|_| status != 204) {
        // That of a redirect would be taken for the next page's.
        match charset(content_type, exchange, core).filter(|_| !matches!(status, 301 | 302)) {
            Some(charset) => sink.field("Content-Type", &charset),
            None => sink.field("Content-Type", content_type.as_bytes()),
        }
    }
    if let Some(length) = content_length(reply, streamed || status == 204) {
        sink.field("Content-Length", itoa::Buffer::new().format(length).as_bytes());
    }
    if let Some(seconds) = reply.last_modified
        && matches!(status, 200 | 206 | 304)
        && !adds("Last-Modified", core, true)
    {
        sink.last_modified(seconds);
    }
    if let Some(target) = reply.location.as_ref().filter(|target| becomes_absolute(target, core)) {
        sink.field("Location", &absolute(target, exchange, core));
    }
    if chunked && !own_chunks {
        sink.chunked();
    }
    sink.connection(keep_alive, core.keepalive_header);
    // Whether gzip is refused only by what the client accepts, so that caches must be told.
    let varies = || reply.gzip || gzip::is_compressible(reply, exchange, location);
    if core.gzip.as_ref().is_some_and(|gzip| gzip.vary && varies()) {
        sink.field("Vary", b"Accept-Encoding");
    }
    write_fields(reply, exchange, core, status, sink);
    sink.end();
    framing
}

/// A content type with the `charset` that is added to it.
fn charset(content_type: &str, exchange: &Exchange<'_>, core: &Core) -> Option<Vec<u8>> {
    let charset = core.charset.as_ref().filter(|charset| charset.is_for(content_type))?;
    let name = without_line_ends(&exchange.value(&charset.name));
    (!name.is_empty()).then(|| [content_type.as_bytes(), b"; charset=", &name].concat())
}

fn content_length(reply: &Reply, untold: bool) -> Option<u64> {
    match &reply.body {
        _ if untold => None,
        Body::Stream | Body::Framed(_) | Body::Absent => None,
        Body::HeaderOnly => Some(0),
        Body::Full(bytes) => Some(bytes.len() as u64),
        Body::File(part) => Some(part.length),
    }
}

/// The fields of the handler, then those of the configuration.
fn write_fields(reply: &Reply, exchange: &Exchange<'_>, core: &Core, status: u16, sink: &mut impl HeadSink) {
    let safe = matches!(status, 200 | 201 | 204 | 206 | 301 | 302 | 303 | 304 | 307 | 308);
    let expires = match core.expires.as_ref().filter(|_| safe) {
        Some(Expires::Given { value, modified }) => expires::given(&exchange.value(value), *modified),
        expires => expires.cloned(),
    };
    let expires = expires.as_ref();
    for (name, value) in exchange.carried.iter().filter(|(name, _)| !is_of_ranges(name)) {
        sink.field(name, value);
    }
    if let Some(target) = reply.location.as_ref().filter(|target| !becomes_absolute(target, core)) {
        sink.field("Location", &without_line_ends(target));
    }
    let mut expires_sent = false;
    let tagged = adds("ETag", core, safe);
    for (name, value) in &reply.headers {
        if is_of_ranges(name) || (tagged && name == "ETag") {
            continue;
        }
        match expires {
            Some(expires) if name == EXPIRES || name == CACHE_CONTROL => {
                if !std::mem::replace(&mut expires_sent, true) {
                    write_expires(expires, reply, exchange, sink);
                }
            }
            _ => sink.field(name, value),
        }
    }
    if let Some((prefix, tag)) = reply.etag.filter(|_| !tagged) {
        sink.etag(prefix, tag);
    }
    if let Some(expires) = expires.filter(|_| !expires_sent) {
        write_expires(expires, reply, exchange, sink);
    }
    if reply.own_chunks && reply.body.is_streamed() {
        sink.chunked();
    }
    let mut value = Vec::new();
    for added in core.add_headers.iter().filter(|added| safe || added.always) {
        value.clear();
        exchange.write_value(&added.value, &mut value);
        value.retain(|byte| !is_line_end(*byte));
        if !value.is_empty() {
            sink.field(&added.name, &value);
        }
    }
    let carried = exchange.carried.iter().map(|(name, value)| (*name, value.as_slice()));
    let own = reply.headers.iter().map(|(name, value)| (&**name, &**value));
    for (name, value) in carried.chain(own).filter(|(name, _)| is_of_ranges(name)) {
        sink.field(name, value);
    }
    if reply.gzip {
        sink.field("Content-Encoding", b"gzip");
    }
}

/// `expires`: an Expires and a Cache-Control field.
fn write_expires(expires: &Expires, reply: &Reply, exchange: &Exchange<'_>, sink: &mut impl HeadSink) {
    let now = i64::from(exchange.now.secs());
    let moment = match (expires, reply.last_modified) {
        (Expires::Modified(seconds), Some(modified)) => modified.saturating_add(*seconds),
        (Expires::In(seconds) | Expires::Modified(seconds), _) => now.saturating_add(*seconds),
        (Expires::Daily(time), _) => date::next_time_of_day(exchange.now, *time),
        // Read before it comes here.
        (Expires::Given { .. }, _) => return,
        (Expires::Epoch, _) => {
            sink.field(EXPIRES, b"Thu, 01 Jan 1970 00:00:01 GMT");
            return sink.field(CACHE_CONTROL, b"no-cache");
        }
        (Expires::Max, _) => {
            sink.field(EXPIRES, b"Thu, 31 Dec 2037 23:55:55 GMT");
            return sink.field(CACHE_CONTROL, b"max-age=315360000");
        }
    };
    sink.field(EXPIRES, &date::format_http_date(moment));
    if moment < now {
        sink.field(CACHE_CONTROL, b"no-cache");
    } else {
        sink.field(CACHE_CONTROL, format!("max-age={}", moment.abs_diff(now)).as_bytes());
    }
}

/// Whether `add_header` gives this field, which takes the place of the reply's own.
fn adds(name: &str, core: &Core, safe: bool) -> bool {
    core.add_headers.iter().any(|added| (safe || added.always) && added.name.eq_ignore_ascii_case(name))
}

/// Fields about byte ranges come last, as they are decided last.
fn is_of_ranges(name: &str) -> bool {
    matches!(name, "Accept-Ranges" | "Content-Range")
}

/// Whether a redirection's target, a path, is made a URL of this server. Other targets stand among the other fields.
fn becomes_absolute(target: &[u8], core: &Core) -> bool {
    target.starts_with(b"/") && core.absolute_redirect
}

/// A path as a URL of this server.
fn absolute(target: &[u8], exchange: &Exchange<'_>, core: &Core) -> Vec<u8> {
    let tls = exchange.peer.tls.is_some();
    let mut url = (if tls { "https://" } else { "http://" }).as_bytes().to_vec();
    let name = exchange.server.name.as_bytes();
    match exchange.peer.local.ip() {
        _ if core.server_name_in_redirect && !name.is_empty() => url.extend_from_slice(name),
        _ if !exchange.host.is_empty() => url.extend_from_slice(&exchange.host),
        Some(ip) if ip.is_ipv6() => url.extend_from_slice(format!("[{ip}]").as_bytes()),
        Some(ip) => url.extend_from_slice(ip.to_string().as_bytes()),
        None => url.extend_from_slice(name),
    }
    let usual = if tls { 443 } else { 80 };
    if let Some(port) = exchange.peer.local.port().filter(|&port| core.port_in_redirect && port != usual) {
        url.extend_from_slice(format!(":{port}").as_bytes());
    }
    url.extend(target.iter().filter(|byte| !is_line_end(**byte)));
    url
}

fn without_line_ends(value: &[u8]) -> Vec<u8> {
    value.iter().copied().filter(|byte| !is_line_end(*byte)).collect()
}

/// Whether the connection may serve another request after this one: what the client asks for, within the bounds of the
/// location.
pub(super) fn keep_alive(exchange: &Exchange<'_>, location: &Location, requests: u64) -> bool {
    let head = &exchange.head;
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
