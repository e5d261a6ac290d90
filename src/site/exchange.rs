//! The context of one request: what was sent, by whom, to which server, and what the configuration has made of it since.
//!
//! Does not know handlers or replies; [`super::phases`] moves it through the phases, `vars` reads variables out of it.
//! Invariant: `uri` is canonical (decoded, without dot segments) unless a rewrite has put something else there.

use std::cell::{Cell, OnceCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use smallvec::SmallVec;

use super::backend_answer::Answer;
use super::captures::{Captures, Computed};
use super::limiter::{Hold, Limiter};
use super::server_name::{find_server, normal_host};
use crate::conf::Settings;
use crate::conf::settings::{Listener, Location, Regex, Server};
use crate::conf::variable::Source;
use crate::model::{ChannelId, Now};
use crate::request::head::{BadHead, BodyLength, RequestHead, Version, body_length};
use crate::request::peer::{Peer, PeerAddress};
use crate::request::reply::Reply;
use crate::request::status::sent_status;
use crate::request::uri::canonical;

/// How often a request may be sent on to another URI.
const MAX_URI_CHANGES: u8 = 10;

/// One request on its way.
#[derive(Debug)]
pub struct Exchange<'s> {
    /// The configuration the request is answered by.
    pub settings: &'s Settings,
    /// The server chosen by name.
    pub server: &'s Arc<Server>,
    /// The request as sent.
    pub head: RequestHead,
    /// The connection.
    pub peer: Rc<Peer>,
    /// The socket it came by.
    pub listener: &'s Listener,
    /// The client: the peer, or whom `real_ip_header` names.
    pub remote: PeerAddress,
    /// `$host`: lower-cased, without port; empty if the request named none.
    pub host: SmallVec<[u8; 40]>,
    /// Path: decoded, after rewrites.
    pub uri: SmallVec<[u8; 64]>,
    /// Arguments, raw, after rewrites.
    pub args: SmallVec<[u8; 128]>,
    /// When the request began.
    pub now: Now,
    /// The same by a clock that nobody sets.
    pub(crate) began: Instant,
    /// Which request of its connection this is, counted from 1.
    pub requests: u64,
    /// Bytes of head and body; what `$request_length` tells.
    pub request_length: u64,
    /// Framing of the body.
    pub body: BodyLength,
    /// The location that answers, or whose values count so far.
    pub location: &'s Arc<Location>,
    /// The location chosen by URI or name: `location`, or what encloses it where an `if` supplies the values.
    pub(crate) chosen: &'s Arc<Location>,
    /// Which status is sent whatever the handler answers: the one an `error_page` is served for.
    pub(crate) status_override: Option<u16>,
    /// The status under way, for values that are expanded while an answer is made; 0 before.
    pub(crate) status: Cell<u16>,
    /// Fields that come with the reply whoever makes it (`WWW-Authenticate`).
    pub(crate) carried: Vec<(&'static str, Vec<u8>)>,
    /// Where `limit_conn` and `limit_req` count; `None`: nothing is limited.
    pub(crate) limiter: Option<&'s Arc<Limiter>>,
    /// The connection, as often as it is counted.
    pub(crate) holds: Vec<Hold>,
    /// Channel ids that stand in what was sent and not in what is asked for: a subrequest's.
    pub(crate) hidden: Vec<ChannelId>,
    /// A line of the error log has told of it.
    pub(crate) told: Cell<bool>,
    /// What a backend has answered, in a subrequest that asked one.
    pub(crate) answer: Option<Answer>,
    captures: Captures,
    /// The defined variable whose `map` has matched last, if that was after `captures` were taken.
    pub(crate) mapped_last: Cell<Option<usize>>,
    /// Values given by `set` and named groups.
    pub(crate) assigned: SmallVec<[(usize, Vec<u8>); 4]>,
    /// Values of `map` and the like that were asked for, by the number of the variable.
    pub(crate) computed: OnceCell<Box<[OnceCell<Computed>]>>,
    pub(crate) evaluation_depth: Cell<u8>,
    pub(crate) request_id: OnceCell<[u8; 32]>,
    pub(crate) route: RouteState,
}

/// Where the request stands on its way through the locations.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RouteState {
    /// Served by redirection inside the server: `internal` locations are open to it.
    pub(crate) internal: bool,
    /// A `rewrite ... break` has changed the URI, which an `alias` cannot take its prefix from any more.
    pub(crate) rewritten_in_place: bool,
    /// Changes of the URI that are still allowed.
    pub(crate) changes_left: u8,
    /// An `error_page` has been used; the next error gets the plain page.
    pub(crate) error_page_used: bool,
    /// The body of the request is of no interest any more; its size is not judged again.
    pub(crate) body_discarded: bool,
    /// The body has been read to its end.
    pub(crate) body_read: bool,
    /// Whether the password that took long is right, once that is known.
    pub(crate) password: Option<bool>,
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
    /// A client that expects `100 Continue` has been told so, or will not be.
    pub(crate) expect_known: bool,
    /// Whoever writes the answer frames its body: nothing is cut into chunks here.
    pub(crate) framed_below: bool,
    /// Served as a GET whatever was sent: a subrequest, or an `error_page`.
    pub(crate) as_get: bool,
    /// Asks for a tunnel (RFC 8441), which only a websocket location can give.
    pub(crate) tunnel: bool,
    /// Status of an access rule that refused, where `satisfy any` may still let the request pass.
    pub(crate) refused: Option<u16>,
}

impl<'s> Exchange<'s> {
    /// The context of a request, at the default server of the socket as long as it is not understood. `requests` counts the
    /// requests of the connection from 1.
    pub fn new(
        settings: &'s Settings,
        listener: &'s Listener,
        peer: Rc<Peer>,
        head: RequestHead,
        now: Now,
        requests: u64,
    ) -> Self {
        let server = &listener.names.default;
        Self {
            settings,
            server,
            request_length: head.length() as u64,
            head,
            remote: peer.remote,
            peer,
            listener,
            host: SmallVec::new(),
            uri: SmallVec::from_slice(b"/"),
            args: SmallVec::new(),
            now,
            began: Instant::now(),
            requests,
            body: BodyLength::None,
            location: &server.root,
            chosen: &server.root,
            status_override: None,
            status: Cell::new(0),
            carried: Vec::new(),
            limiter: None,
            holds: Vec::new(),
            hidden: Vec::new(),
            told: Cell::new(false),
            answer: None,
            captures: Captures::default(),
            mapped_last: Cell::new(None),
            assigned: SmallVec::new(),
            computed: OnceCell::new(),
            evaluation_depth: Cell::new(0),
            request_id: OnceCell::new(),
            route: RouteState { changes_left: MAX_URI_CHANGES, ..RouteState::default() },
        }
    }

    /// Finds server, URI and framing of the body. What is wrong with the request line is answered by the default server,
    /// which nginx has not left when it reads that line.
    pub fn understand(&mut self) -> Result<(), BadHead> {
        let body = body_length(&self.head);
        self.body = body.as_ref().copied().unwrap_or(BodyLength::None);
        let (uri, args) = canonical(self.head.target(), self.server.merge_slashes)
            .map(|(uri, args)| (SmallVec::from_slice(&uri), SmallVec::from_slice(args)))?;
        (self.uri, self.args) = (uri, args);
        let mut host: SmallVec<[u8; 40]> = SmallVec::new();
        let mut sound = true;
        for sent in [self.head.host(), self.head.authority()].into_iter().flatten() {
            match normal_host(sent) {
                Some(normal) => host = SmallVec::from_slice(&normal),
                None => sound = false,
            }
        }
        if !sound {
            return Err(BadHead::BadRequest);
        }
        let (server, regex) = find_server(&self.listener.names, &host);
        self.server = server;
        self.location = &server.root;
        self.chosen = &server.root;
        if let Some(regex) = regex {
            self.matches(regex, &host);
        }
        self.host = host;
        body?;
        if matches!(self.head.method(), b"CONNECT" | b"TRACE") {
            return Err(BadHead::Method);
        }
        Ok(())
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
        self.mapped_last.set(None);
        true
    }

    /// A regular expression of the rewrite phase that does not match leaves no groups, as in nginx; named ones stay.
    pub(crate) fn forget_groups(&mut self) {
        self.captures = Captures::default();
        self.mapped_last.set(None);
    }

    /// The group of this number of the regular expression that has matched last, be it that of a `map`.
    pub(crate) fn group(&self, number: u8) -> &[u8] {
        match self.mapped_last.get() {
            None => self.captures.get(number),
            Some(index) => self.computed(index).map_or(b"", |computed| computed.group(number)),
        }
    }

    /// The value of a defined variable, if it has been computed.
    pub(crate) fn computed(&self, index: usize) -> Option<&Computed> {
        self.computed.get()?.get(index)?.get()
    }

    /// Gives a defined variable its value for the rest of the request.
    pub(crate) fn assign(&mut self, variable: usize, value: Vec<u8>) {
        if let Some(slot) = self.computed.get_mut().and_then(|slots| slots.get_mut(variable))
            && matches!(self.settings.variables.get(variable).map(|known| &known.source), Some(Source::Assigned))
        {
            slot.take();
        }
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

    /// The method: that of the client, or `GET` where the request is served as one.
    pub fn method(&self) -> &[u8] {
        if self.route.as_get { b"GET" } else { self.head.method() }
    }

    /// Whether the method is HEAD: the head of the reply is that of a GET, its body is not sent.
    pub fn is_head(&self) -> bool {
        self.method() == b"HEAD"
    }

    /// Whether the client speaks HTTP/1.1 (chunked replies).
    pub fn is_http11(&self) -> bool {
        self.head.version == Version::V11
    }

    /// Whether the module itself cuts streams into chunks, whatever HTTP/1 the client speaks.
    pub fn has_own_chunks(&self) -> bool {
        self.settings.capabilities.own_chunks && self.head.version < Version::V20 && !self.route.framed_below
    }

    /// Whether bytes of the body may still be on their way.
    pub(crate) fn has_unread_body(&self) -> bool {
        let has_body = !matches!(self.body, BodyLength::None | BodyLength::Exact(0));
        has_body && !self.route.body_discarded && !self.route.body_read
    }

    /// Whether a body of unknown length goes to this client in chunks.
    pub fn sends_chunks(&self, location: &Location) -> bool {
        self.has_own_chunks() || location.core.chunked_transfer_encoding && self.is_http11() && !self.route.framed_below
    }

    /// The content type nginx gives to a reply here: by extension of the URI, else `default_type`.
    pub fn content_type<'l>(&self, location: &'l Location) -> &'l str {
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
