//! Whose each server is after the migration.
//!
//! A server moves when all its ports do; a port moves when a server on it has push locations and none serves a site. Every
//! other server with push locations keeps them by proxy. Servers whose push parts are the same share one local port, so
//! that a file both include can be changed once.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use crate::conf::Settings;
use crate::conf::settings::{ListenAddress, Listener, Server};
use crate::conf::written::{Part, Written};

/// The servers of a configuration, divided.
#[derive(Debug)]
pub struct Division<'w> {
    /// Servers that pushstreamd takes over whole.
    pub moved: Vec<Moved<'w>>,
    /// Push parts of servers that stay with nginx.
    pub kept: Vec<Kept<'w>>,
}

/// A server that moves.
#[derive(Debug)]
pub struct Moved<'w> {
    /// As it was.
    pub server: &'w Written,
}

/// Servers that stay, with push locations that are the same.
#[derive(Debug)]
pub struct Kept<'w> {
    /// The servers.
    pub servers: Vec<&'w Written>,
    /// Their push locations, each with what is nested in it.
    pub locations: Vec<Written>,
    /// Port of 127.0.0.1 that answers them.
    pub port: u16,
}

impl<'w> Division<'w> {
    /// Divides the servers of `tree`, which `settings` were compiled from. Local ports are counted from `first_port`.
    pub fn of(tree: &'w [Written], settings: &Settings, first_port: u16) -> Self {
        let by_origin = servers_by_origin(settings);
        let moving = moving(settings);
        let mut taken: HashSet<u16> = settings.listeners.iter().filter_map(port).collect();
        let mut division = Self { moved: Vec::new(), kept: Vec::new() };
        for server in blocks(tree, "http").flat_map(|http| blocks(http.children(), "server")) {
            let Some(compiled) = by_origin.get(server.place.as_str()) else { continue };
            if moving.contains(&Arc::as_ptr(compiled)) {
                division.moved.push(Moved { server });
            } else if compiled.serves_push() {
                division.keep(server, first_port, &mut taken);
            }
        }
        division
    }

    fn keep(&mut self, server: &'w Written, first_port: u16, taken: &mut HashSet<u16>) {
        let locations = push_locations(server.children(), &auth_requests(server));
        let values = own_values(server);
        let same = |kept: &&mut Kept<'_>| {
            kept.servers.first().is_some_and(|first| own_values(first) == values)
                && printed(&kept.locations) == printed(&locations)
        };
        if let Some(kept) = self.kept.iter_mut().find(same) {
            kept.servers.push(server);
            return;
        }
        let port = (first_port..=u16::MAX).find(|port| taken.insert(*port)).unwrap_or(first_port);
        self.kept.push(Kept { servers: vec![server], locations, port });
    }
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

/// What a staying server says for its push locations: values, and variables that are set.
pub(super) fn own_values(server: &Written) -> Vec<(String, Vec<Vec<u8>>)> {
    let children = server.children().iter();
    let values = children.filter(|child| child.block.is_none() && is_for_push(child));
    values.map(|child| (child.name(), child.words.clone())).collect()
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

/// Locations with a mode, or with such locations in them, or asked by `auth_request`; without what is nginx's.
fn push_locations(directives: &[Written], asked: &[String]) -> Vec<Written> {
    blocks(directives, "location")
        .filter_map(|location| {
            let nested = push_locations(location.children(), asked);
            let uri = location.args().pop().unwrap_or_default();
            let is_asked = asked.contains(&uri);
            if !has_mode(location) && nested.is_empty() && !is_asked {
                return None;
            }
            let own = location.children().iter().filter(|child| {
                let step = child.part == Part::Step || child.name() == "if";
                (is_for_push(child)
                    || child.part == Part::Mode
                    || step
                    || (is_asked && child.name().starts_with("proxy_")))
                    && child.name() != "location"
            });
            let block = own.cloned().chain(nested).collect();
            Some(Written { block: Some(block), ..location.clone() })
        })
        .collect()
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

/// Servers whose ports all move.
fn moving(settings: &Settings) -> HashSet<*const Server> {
    let mut listeners: Vec<Vec<&Arc<Server>>> = settings.listeners.iter().map(servers_of).collect();
    listeners.retain(|servers| {
        servers.iter().any(|server| server.serves_push()) && !servers.iter().any(|server| server.is_foreign())
    });
    // A server that also listens where nginx stays keeps its other ports from moving.
    loop {
        let mut ports: BTreeMap<*const Server, usize> = BTreeMap::new();
        for servers in &listeners {
            for server in distinct(servers) {
                *ports.entry(server).or_default() += 1;
            }
        }
        let of_all = |server: *const Server| {
            settings.listeners.iter().filter(|listener| distinct(&servers_of(listener)).contains(&server)).count()
        };
        let before = listeners.len();
        listeners.retain(|servers| {
            distinct(servers).into_iter().all(|server| ports.get(&server).copied() == Some(of_all(server)))
        });
        if listeners.len() == before {
            return ports.into_keys().collect();
        }
    }
}

fn distinct(servers: &[&Arc<Server>]) -> HashSet<*const Server> {
    servers.iter().map(|server| Arc::as_ptr(server)).collect()
}
