//! What a socket and a name lead to: listeners, the servers behind them, and their names.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use ahash::AHashMap;

use super::{Location, Locations, Regex, Tls};
use crate::conf::variable::HostMask;

/// One `listen` socket and the servers that share it.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each is a parameter of nginx's listen directive")]
pub struct Listener {
    pub address: ListenAddress,
    pub ssl: bool,
    pub http2: bool,
    pub proxy_protocol: bool,
    pub backlog: Option<i32>,
    pub ipv6only: Option<bool>,
    pub rcvbuf: Option<usize>,
    pub sndbuf: Option<usize>,
    pub so_keepalive: Option<bool>,
    /// Choice of the server by name.
    pub names: ServerNames,
    /// `file:line` of the first `listen` for this address, for messages.
    pub origin: String,
}

/// Where a listener is bound.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ListenAddress {
    /// TCP.
    Ip(SocketAddr),
    /// `unix:PATH`.
    Unix(PathBuf),
}

/// The servers of one socket by name, in nginx's order of precedence: exact, `*.x`, `x.*`, regex, default.
#[derive(Clone, Debug)]
pub struct ServerNames {
    /// Exact names, lower-cased.
    pub exact: AHashMap<Box<str>, Arc<Server>>,
    /// Masks, longest first, suffix masks before prefix masks.
    pub masks: Vec<(HostMask, Arc<Server>)>,
    /// Regexes in file order.
    pub regexes: Vec<(Regex, Arc<Server>)>,
    /// `default_server`, or the first one.
    pub default: Arc<Server>,
}

impl ServerNames {
    /// All servers of the socket; one with several names comes several times.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Server>> {
        let masks = self.masks.iter().map(|(_, server)| server);
        let regexes = self.regexes.iter().map(|(_, server)| server);
        std::iter::once(&self.default).chain(self.exact.values()).chain(masks).chain(regexes)
    }
}

/// A `server` block.
#[derive(Debug)]
pub struct Server {
    /// First `server_name` (`$server_name`), may be empty.
    pub name: Box<str>,
    /// `push_stream_zone`: its number among [`super::Settings::zones`].
    pub zone: u16,
    /// Values of the server level; its rewrite operations run before the location is chosen. Used as the location of
    /// requests that match none.
    pub root: Arc<Location>,
    /// Locations of the server.
    pub locations: Locations,
    /// `location @name`.
    pub named: HashMap<Box<str>, Arc<Location>>,
    /// Certificates, if any `listen ... ssl` (or `ssl on`).
    pub tls: Option<Arc<Tls>>,
    /// `client_header_timeout`
    pub client_header_timeout: u64,
    /// `large_client_header_buffers`: number and size in bytes.
    pub large_client_header_buffers: (usize, usize),
    /// `merge_slashes`
    pub merge_slashes: bool,
    /// `underscores_in_headers`
    pub underscores_in_headers: bool,
    /// `ignore_invalid_headers`
    pub ignore_invalid_headers: bool,
    /// `file:line` of the block.
    pub origin: Box<str>,
    /// A location of the server has a mode of the module.
    pub pushes: bool,
    /// What the server serves beside push and error pages: the directive and its place. See [`Server::is_foreign`].
    pub foreign: Option<Box<str>>,
}

impl Server {
    /// Whether the server is somebody else's too: it hands requests to backends or serves static content, which a push
    /// server in its place would take away. Error pages, and locations that deny or `return`, do not count.
    pub fn is_foreign(&self) -> bool {
        self.foreign.is_some()
    }

    /// Whether any location of the server has a mode of the module.
    pub fn serves_push(&self) -> bool {
        self.pushes
    }
}
