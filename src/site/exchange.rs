//! The context of one request: what was sent, by whom, to which server, and what the configuration has made of it since.
//!
//! Does not know handlers or replies; [`super::phases`] moves it through the phases, `vars` reads variables out of it.
//! Invariant: `uri` is canonical (decoded, without dot segments) unless a rewrite has put something else there.

use std::borrow::Cow;
use std::cell::{Cell, OnceCell};
use std::sync::Arc;

use smallvec::SmallVec;

use super::backend::Answer;
use super::captures::Captures;
use super::limiter::{Hold, Limiter};
use super::server_name::{find_server, normal_host};
use crate::conf::Settings;
use crate::conf::settings::{Line, Location, Regex, Server};
use crate::model::Now;
use crate::request::head::{BadHead, BodyLength, RequestHead, Version, body_length};
use crate::request::peer::{Peer, PeerAddress};
use crate::request::reply::Reply;
use crate::request::status::sent_status;
use crate::request::uri::canonical;

/// How often a request may be sent on to another URI.
const MAX_URI_CHANGES: u8 = 10;

/// One request on its way.
#[derive(Debug)]
pub struct Exchange<'b> {
    /// The configuration the request is answered by.
    pub settings: &'b Settings,
    /// The server chosen by name.
    pub server: &'b Arc<Server>,
    /// The request as sent.
    pub head: &'b RequestHead<'b>,
    /// The connection.
    pub peer: &'b Peer,
    /// The client: the peer, or whom `real_ip_header` names.
    pub remote: PeerAddress,
    /// Method; `GET` once an `error_page` URI is served.
    pub method: &'b [u8],
    /// `$host`: lower-cased, without port; empty if the request named none.
    pub host: Cow<'b, [u8]>,
    /// Path: decoded, after rewrites.
    pub uri: Cow<'b, [u8]>,
    /// Arguments, raw, after rewrites.
    pub args: Cow<'b, [u8]>,
    /// When the request began.
    pub now: Now,
    /// Which request of its connection this is, counted from 1.
    pub requests: u64,
    /// Bytes of head and body; what `$request_length` tells.
    pub request_length: u64,
    /// Framing of the body.
    pub body: BodyLength,
    /// The location that answers, or whose values count so far.
    pub location: &'b Arc<Location>,
    /// The location chosen by URI or name: `location`, or what encloses it where an `if` supplies the values.
    pub(crate) chosen: &'b Arc<Location>,
    /// Which status is sent whatever the handler answers: the one an `error_page` is served for.
    pub(crate) status_override: Option<u16>,
    /// The status under way, for values that are expanded while an answer is made; 0 before.
    pub(crate) status: Cell<u16>,
    /// Fields that come with the reply whoever makes it (`WWW-Authenticate`).
    pub(crate) carried: Vec<(&'static str, Vec<u8>)>,
    /// Where `limit_conn` and `limit_req` count; `None`: nothing is limited.
    pub(crate) limiter: Option<&'b Arc<Limiter>>,
    /// The connection, as often as it is counted.
    pub(crate) holds: Vec<Hold>,
    /// What a backend has answered, in a subrequest that asked one.
    pub(crate) answer: Option<Answer>,
    pub(crate) captures: Captures,
    /// Values given by `set` and named groups.
    pub(crate) assigned: SmallVec<[(usize, Vec<u8>); 4]>,
    /// Values of `map` and the like that were asked for.
    pub(crate) computed: OnceCell<Box<[OnceCell<Vec<u8>>]>>,
    pub(crate) evaluation_depth: Cell<u8>,
    pub(crate) request_id: OnceCell<[u8; 32]>,
    pub(crate) route: RouteState,
}

/// Where the request stands on its way through the locations.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RouteState {
    /// Served by redirection inside the server: `internal` locations are open to it.
    pub(crate) internal: bool,
    /// Changes of the URI that are still allowed.
    pub(crate) changes_left: u8,
    /// An `error_page` has been used; the next error gets the plain page.
    pub(crate) error_page_used: bool,
    /// The body of the request is of no interest any more; its size is not judged again.
    pub(crate) body_discarded: bool,
    /// The connection cannot be kept after this request.
    pub(crate) close: bool,
    /// `real_ip` has been applied.
    pub(crate) real_ip_known: bool,
    /// `limit_req` has judged the request.
    pub(crate) pace_known: bool,
    /// `limit_conn` has judged the request.
    pub(crate) connections_known: bool,
    /// Asked on behalf of another request (`auth_request`): neither limits nor access rules apply.
    pub(crate) subrequest: bool,
    /// Status of an access rule that refused, where `satisfy any` may still let the request pass.
    pub(crate) refused: Option<u16>,
}

impl<'b> Exchange<'b> {
    /// The context of a request that was read in full. `requests` counts the requests of the connection from 1.
    pub fn new(
        settings: &'b Settings,
        peer: &'b Peer,
        head: &'b RequestHead<'b>,
        now: Now,
        requests: u64,
    ) -> Result<Self, BadHead> {
        if head.method == b"CONNECT" || head.method == b"TRACE" {
            return Err(BadHead::Method);
        }
        let body = body_length(head)?;
        let mut host = match head.host() {
            Some(host) => normal_host(host).ok_or(BadHead::BadRequest)?,
            None => Cow::Borrowed(&b""[..]),
        };
        if let Some(authority) = head.authority {
            host = normal_host(authority).ok_or(BadHead::BadRequest)?;
        }
        let mut exchange = Self::blank(settings, peer, head, now, requests);
        exchange.body = body;
        if let Some(listener) = settings.listeners.get(peer.listener) {
            let (server, regex) = find_server(&listener.names, &host);
            exchange.server = server;
            exchange.location = &server.root;
            exchange.chosen = &server.root;
            if let Some(regex) = regex {
                exchange.matches(regex, &host);
            }
        }
        exchange.host = host;
        let (uri, args) = canonical(head.target, exchange.server.merge_slashes)?;
        exchange.uri = uri;
        exchange.args = Cow::Borrowed(args);
        Ok(exchange)
    }

    /// The context of a request that could not be read, for the reply that says so: the default server of the socket.
    pub fn unreadable(
        settings: &'b Settings,
        peer: &'b Peer,
        head: &'b RequestHead<'b>,
        now: Now,
        requests: u64,
    ) -> Self {
        let mut exchange = Self::blank(settings, peer, head, now, requests);
        exchange.route.close = true;
        exchange
    }

    /// The context of a request that was read and cannot be served, for the reply that says so.
    pub(crate) fn refused(
        settings: &'b Settings,
        peer: &'b Peer,
        head: &'b RequestHead<'b>,
        now: Now,
        requests: u64,
    ) -> Self {
        let mut exchange = Self::unreadable(settings, peer, head, now, requests);
        let host = head.authority.or(head.host()).and_then(normal_host);
        if let (Some(host), Some(listener)) = (host, settings.listeners.get(peer.listener)) {
            let (server, _) = find_server(&listener.names, &host);
            exchange.server = server;
            exchange.location = &server.root;
            exchange.chosen = &server.root;
            exchange.host = host;
        }
        if let Ok((uri, args)) = canonical(head.target, exchange.server.merge_slashes) {
            exchange.uri = uri;
            exchange.args = Cow::Borrowed(args);
        }
        exchange
    }

    fn blank(settings: &'b Settings, peer: &'b Peer, head: &'b RequestHead<'b>, now: Now, requests: u64) -> Self {
        let server = default_server(settings, peer);
        Self {
            settings,
            server,
            head,
            peer,
            remote: peer.remote,
            method: head.method,
            host: Cow::Borrowed(b""),
            uri: Cow::Borrowed(b"/"),
            args: Cow::Borrowed(b""),
            now,
            requests,
            request_length: 0,
            body: BodyLength::None,
            location: &server.root,
            chosen: &server.root,
            status_override: None,
            status: Cell::new(0),
            carried: Vec::new(),
            limiter: None,
            holds: Vec::new(),
            answer: None,
            captures: Captures::default(),
            assigned: SmallVec::new(),
            computed: OnceCell::new(),
            evaluation_depth: Cell::new(0),
            request_id: OnceCell::new(),
            route: RouteState {
                internal: false,
                changes_left: MAX_URI_CHANGES,
                error_page_used: false,
                body_discarded: false,
                close: false,
                real_ip_known: false,
                pace_known: false,
                connections_known: false,
                subrequest: false,
                refused: None,
            },
        }
    }

    /// Matches; a match replaces the numbered captures and sets the variables of named groups.
    pub(crate) fn matches(&mut self, regex: &Regex, subject: &[u8]) -> bool {
        let captures = Captures::of(regex, subject);
        self.adopt(regex, captures)
    }

    /// Takes over the result of a match made elsewhere; whether there was one.
    pub(crate) fn adopt(&mut self, regex: &Regex, captures: Option<Captures>) -> bool {
        let Some(captures) = captures else { return false };
        for &(group, variable) in &regex.named {
            self.assign(variable, captures.group(group).to_vec());
        }
        self.captures = captures;
        true
    }

    /// Gives a defined variable its value for the rest of the request.
    pub(crate) fn assign(&mut self, variable: usize, value: Vec<u8>) {
        match self.assigned.iter_mut().find(|(index, _)| *index == variable) {
            Some(slot) => slot.1 = value,
            None => self.assigned.push((variable, value)),
        }
    }

    /// Counts a change of the URI; `false` when there were too many.
    pub(crate) fn count_change(&mut self) -> bool {
        match self.route.changes_left.checked_sub(1) {
            Some(left) => {
                self.route.changes_left = left;
                true
            }
            None => false,
        }
    }

    /// The status of a reply as it goes over the wire for this request.
    pub fn status_sent(&self, reply: &Reply) -> u16 {
        sent_status(self.status_override.unwrap_or(reply.status))
    }

    /// Whether the method is HEAD: the head of the reply is that of a GET, its body is not sent.
    pub fn is_head(&self) -> bool {
        self.method == b"HEAD"
    }

    /// Whether the client speaks HTTP/1.1 (chunked replies).
    pub fn is_http11(&self) -> bool {
        self.head.version == Version::V11
    }

    /// Whether the module itself cuts streams into chunks, as 0.3.x did whatever HTTP/1 the client speaks.
    pub fn has_own_chunks(&self) -> bool {
        self.settings.compat.line < Line::V040 && self.head.version < Version::V20
    }

    /// The content type nginx gives to a reply here: by extension of the URI, else `default_type`.
    pub fn content_type(&self, location: &'b Location) -> &'b str {
        let core = &location.core;
        let known = match extension(&self.uri) {
            Some(extension) => std::str::from_utf8(extension).ok().and_then(|extension| {
                core.types.get(extension).or_else(|| core.types.get(extension.to_ascii_lowercase().as_str()))
            }),
            None => None,
        };
        known.unwrap_or(&core.default_type)
    }
}

fn default_server<'b>(settings: &'b Settings, peer: &Peer) -> &'b Arc<Server> {
    let listener = settings.listeners.get(peer.listener).or_else(|| settings.listeners.first());
    match listener {
        Some(listener) => &listener.names.default,
        // A connection needs a listener, and a listener has a server.
        None => unreachable!("a connection without listeners"),
    }
}

/// What stands after the last dot of the last segment, unless the dot begins the segment.
fn extension(uri: &[u8]) -> Option<&[u8]> {
    let segment = uri.rsplit(|&byte| byte == b'/').next()?;
    let dot = memchr::memrchr(b'.', segment)?;
    if dot == 0 { None } else { segment.get(dot + 1..) }
}

#[cfg(test)]
mod tests {
    use super::extension;

    #[test]
    fn an_extension_stands_in_the_last_segment() {
        assert_eq!(extension(b"/a.b/x.html"), Some(&b"html"[..]));
        assert_eq!(extension(b"/a.b/x"), None);
        assert_eq!(extension(b"/.html"), None);
        assert_eq!(extension(b"/x."), Some(&b""[..]));
    }
}
