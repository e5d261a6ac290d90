//! Whose each server is after the migration.
//!
//! A port moves when it is pushstreamd's (`conf::ports`) and nothing on it is guarded by what only nginx can apply; a server
//! moves with those of its ports that do. What remains with nginx keeps its push locations by proxy. Servers whose push
//! parts are the same share one local port, so that a file both include is changed once.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::conf::ports::Ports;
use crate::conf::settings::{ListenAddress, Listener, Server};
use crate::conf::written::{Part, Written};
use crate::conf::{Loaded, Settings, Unguarded, addresses_of};

/// What nginx goes on doing for a location it passes on, where it is inherited: doing it twice would be once too many.
pub(super) const NATIVE: [&str; 4] = ["add_header", "expires", "limit_req", "limit_conn"];

/// The servers of a configuration, divided.
#[derive(Debug)]
pub struct Division<'w> {
    /// Servers that pushstreamd takes over, whole or with some of their ports.
    pub moved: Vec<Moved<'w>>,
    /// Push parts of servers that stay with nginx.
    pub kept: Vec<Kept<'w>>,
    /// Guards that only nginx can apply.
    pub unguarded: &'w [Unguarded],
}

/// A server that moves.
#[derive(Debug)]
pub struct Moved<'w> {
    /// As it was.
    pub server: &'w Written,
    /// Its `listen` lines that go with it.
    pub taken: Vec<&'w Written>,
    /// Its `listen` lines that stay with nginx.
    pub left: Vec<&'w Written>,
}

/// Servers that stay, with push locations that are the same.
#[derive(Debug)]
pub struct Kept<'w> {
    /// The servers.
    pub servers: Vec<&'w Written>,
    /// Their push locations, each with what is nested in it, as pushstreamd answers them.
    pub locations: Vec<Written>,
    /// The same as nginx has them.
    pub sources: Vec<Written>,
    /// Port of 127.0.0.1 that answers them.
    pub port: u16,
}

impl<'w> Division<'w> {
    /// Divides the servers of `tree`, which was loaded as `loaded`. Local ports are counted from `first_port`.
    pub fn of(tree: &'w [Written], loaded: &'w Loaded, first_port: u16) -> Self {
        let settings = &loaded.settings;
        let by_origin = servers_by_origin(settings);
        let moving = moving(loaded);
        let mut taken: HashSet<u16> = settings.listeners.iter().filter_map(port).collect();
        let mut division = Self { moved: Vec::new(), kept: Vec::new(), unguarded: &loaded.unguarded };
        for http in blocks(tree, "http") {
            for server in blocks(http.children(), "server") {
                let Some(compiled) = by_origin.get(server.place.as_str()) else { continue };
                let (own, left): (Vec<&Listener>, Vec<&Listener>) = settings
                    .listeners
                    .iter()
                    .filter(|listener| servers_of(listener).iter().any(|other| Arc::ptr_eq(other, compiled)))
                    .partition(|listener| moving.contains(&listener.address));
                if !own.is_empty() {
                    let lines = blocks_or_values(server.children(), "listen");
                    let goes =
                        |line: &&Written| addresses_of(&line.words).iter().all(|address| moving.contains(address));
                    let (taken, left) = lines.partition(goes);
                    division.moved.push(Moved { server, taken, left });
                }
                if !left.is_empty() && compiled.serves_push() {
                    division.keep(http, server, first_port, &mut taken);
                }
            }
        }
        division
    }

    fn keep(&mut self, http: &Written, server: &'w Written, first_port: u16, taken: &mut HashSet<u16>) {
        let asked = auth_requests(server);
        let around = [http, server];
        let locations = push_locations(server.children(), &asked, &around, self);
        let sources = blocks(server.children(), "location").cloned().collect();
        let values = self.own_values(server);
        let same = |kept: &&mut Kept<'_>| {
            kept.servers.first().is_some_and(|first| printed(&self_values(first, self.unguarded)) == printed(&values))
                && printed(&kept.locations) == printed(&locations)
        };
        if let Some(kept) = self.kept.iter_mut().find(same) {
            kept.servers.push(server);
            return;
        }
        let port = (first_port..=u16::MAX).find(|port| taken.insert(*port)).unwrap_or(first_port);
        self.kept.push(Kept { servers: vec![server], locations, sources, port });
    }

    /// Whether only nginx can apply this.
    pub(super) fn is_nginx_guard(&self, directive: &Written) -> bool {
        is_guard(self.unguarded, directive)
    }

    /// What a staying server says for its push locations: values, and variables that are set.
    pub(super) fn own_values(&self, server: &Written) -> Vec<Written> {
        self_values(server, self.unguarded)
    }
}

fn is_guard(unguarded: &[Unguarded], directive: &Written) -> bool {
    unguarded.iter().any(|guard| guard.place == directive.place && guard.name == directive.name())
}

fn self_values(server: &Written, unguarded: &[Unguarded]) -> Vec<Written> {
    let children = server.children().iter().filter(|child| !is_guard(unguarded, child));
    let value = |child: &&Written| {
        // `try_files` of a server is for what no location answers.
        let is_of_site = NATIVE.contains(&child.name().as_str()) || child.name() == "try_files";
        child.block.is_none() && is_for_push(child) && !is_of_site
            || child.name() == "if" && child.children().iter().all(|step| step.name() == "set")
    };
    children.filter(value).cloned().collect()
}

impl Kept<'_> {
    /// The words of all `server_name` of the servers, each once.
    pub fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        for server in &self.servers {
            for name in blocks_or_values(server.children(), "server_name").flat_map(Written::args) {
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        names
    }
}

/// Directives of this name.
pub(super) fn blocks_or_values<'w>(directives: &'w [Written], name: &'w str) -> impl Iterator<Item = &'w Written> {
    directives.iter().filter(move |directive| directive.name() == name)
}

/// Blocks of this name.
pub(super) fn blocks<'w>(directives: &'w [Written], name: &'w str) -> impl Iterator<Item = &'w Written> {
    blocks_or_values(directives, name).filter(|directive| directive.block.is_some())
}

/// Directives as text, wherever they stand.
fn printed(directives: &[Written]) -> String {
    let mut text = String::new();
    for directive in directives {
        directive.print(0, &mut text);
    }
    text
}

/// Whether a location has a mode itself.
pub(super) fn has_mode(location: &Written) -> bool {
    location.children().iter().any(|child| child.part == Part::Mode)
}

/// Whether a value of a staying server means anything to its push locations behind the proxy. What belongs to the socket,
/// to files, or to nginx's own answers does not.
pub(super) fn is_for_push(value: &Written) -> bool {
    const OTHERS: &[&str] = &[
        "error_log",
        "keepalive_timeout",
        "keepalive_requests",
        "client_header_timeout",
        "large_client_header_buffers",
        "server_name_in_redirect",
        "port_in_redirect",
        "absolute_redirect",
        "server_tokens",
        "listen",
        "server_name",
        "root",
        "alias",
        "index",
        "error_page",
        "http2",
        "access_log",
        "return",
        "rewrite",
        "break",
        "set_real_ip_from",
        "real_ip_header",
        "real_ip_recursive",
    ];
    let name = value.name();
    matches!(value.part, Part::Applied | Part::Step)
        && !OTHERS.contains(&name.as_str())
        && !name.starts_with("ssl")
        && !name.starts_with("proxy_")
}

/// Locations with a mode, or with such locations in them, or asked by `auth_request`; without what is nginx's. `around` are
/// the blocks around, outermost first.
fn push_locations(
    directives: &[Written],
    asked: &[String],
    around: &[&Written],
    division: &Division<'_>,
) -> Vec<Written> {
    blocks(directives, "location")
        .filter_map(|location| {
            let inner: Vec<&Written> = around.iter().copied().chain([location]).collect();
            let nested = push_locations(location.children(), asked, &inner, division);
            let uri = location.args().pop().unwrap_or_default();
            let is_asked = asked.contains(&uri);
            if !has_mode(location) && nested.is_empty() && !is_asked {
                return None;
            }
            // A location around push locations stays with nginx, which does what is native for those within.
            let native = has_mode(location) || is_asked;
            let own = location.children().iter().filter(|child| {
                let name = child.name();
                let step = child.part == Part::Step || name == "if";
                (is_for_push(child) || child.part == Part::Mode || step || (is_asked && name.starts_with("proxy_")))
                    && name != "location"
                    && (native || !NATIVE.contains(&name.as_str()))
                    && !division.is_nginx_guard(child)
            });
            let mut block: Vec<Written> = own.map(without_ignored).collect();
            for name in HEADERS {
                // An `if` that has its own would get those around on top.
                if has_mode(location) && !has(location, name) && has_in_if(location, name) {
                    block.extend(inherited(around, name));
                }
            }
            Some(Written { block: Some(block.into_iter().chain(nested).collect()), ..location.clone() })
        })
        .collect()
}

/// Directives that are one list for each block: one of its own hides those around.
pub(super) const HEADERS: [&str; 2] = ["add_header", "expires"];

/// Whether a block has this directive itself.
pub(super) fn has(block: &Written, name: &str) -> bool {
    block.children().iter().any(|child| child.name() == name)
}

/// Whether an `if` of a location has this directive.
pub(super) fn has_in_if(location: &Written, name: &str) -> bool {
    blocks(location.children(), "if").any(|block| has(block, name) || has_in_if(block, name))
}

/// The lines of the innermost block around that has any.
pub(super) fn inherited(around: &[&Written], name: &str) -> Vec<Written> {
    let holder = around.iter().rev().find(|block| has(block, name));
    holder.map(|block| blocks_or_values(block.children(), name).cloned().collect()).unwrap_or_default()
}

/// A directive without what pushstreamd does not apply.
fn without_ignored(directive: &Written) -> Written {
    let children = directive.children().iter().filter(|child| child.part != Part::Ignored).map(without_ignored);
    Written { block: directive.block.is_some().then(|| children.collect()), ..directive.clone() }
}

/// URIs that `auth_request` asks, anywhere in the server.
pub(super) fn auth_requests(directive: &Written) -> Vec<String> {
    let mut uris = Vec::new();
    for child in directive.children() {
        if child.name() == "auth_request" {
            uris.extend(child.args().into_iter().filter(|uri| uri != "off"));
        }
        uris.extend(auth_requests(child));
    }
    uris
}

fn port(listener: &Listener) -> Option<u16> {
    match &listener.address {
        ListenAddress::Ip(address) => Some(address.port()),
        ListenAddress::Unix(_) => None,
    }
}

fn servers_of(listener: &Listener) -> Vec<&Arc<Server>> {
    listener.names.all().collect()
}

fn servers_by_origin(settings: &Settings) -> HashMap<&str, &Arc<Server>> {
    settings.listeners.iter().flat_map(servers_of).map(|server| (&*server.origin, server)).collect()
}

/// Addresses that move: pushstreamd's, but for those of a server with guards that only nginx can apply.
fn moving(loaded: &Loaded) -> HashSet<ListenAddress> {
    let ports = Ports::of(&loaded.settings, false);
    let is_guarded = |server: &&Arc<Server>| {
        loaded.unguarded.iter().any(|guard| guard.servers.iter().any(|place| **place == *server.origin))
    };
    let free = ports.own().filter(|listener| !servers_of(listener).iter().any(is_guarded));
    free.map(|listener| listener.address.clone()).collect()
}
