//! `listen`: the sockets of the configuration, and the servers behind each.
//!
//! Binds nothing. Host names are looked up here, at load time, as nginx does.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;

use ahash::AHashMap;

use super::compiler::Compiler;
use super::error::{Fault, Note, shown};
use super::scope::invalid_parameter;
use super::server::{Compiled, Name};
use super::settings::{ListenAddress, Listener, LogLevel, Regex, Server, ServerNames};
use super::tables::sort_masks;
use super::tree::Node;
use super::units;
use super::variable::HostMask;

/// One address of a `listen` directive.
#[derive(Clone, Debug)]
pub(super) struct Listen {
    address: ListenAddress,
    default_server: bool,
    /// A parameter that only one `listen` of an address may have.
    has_options: bool,
    pub(super) ssl: bool,
    pub(super) http2: bool,
    proxy_protocol: bool,
    backlog: Option<i32>,
    ipv6only: Option<bool>,
    rcvbuf: Option<usize>,
    sndbuf: Option<usize>,
    so_keepalive: Option<bool>,
    origin: String,
}

impl Listen {
    fn on(address: ListenAddress, origin: String) -> Self {
        Self {
            address,
            default_server: false,
            has_options: false,
            ssl: false,
            http2: false,
            proxy_protocol: false,
            backlog: None,
            ipv6only: None,
            rcvbuf: None,
            sndbuf: None,
            so_keepalive: None,
            origin,
        }
    }

    /// The socket of a server that names none: `*:80`, `*:8000` without privileges.
    pub(super) fn default_of(server: &Node) -> Self {
        let port = if super::process::is_root() { 80 } else { 8000 };
        let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port);
        Self::on(ListenAddress::Ip(address), server.place.to_string())
    }
}

/// Reads a `listen` directive: one socket for each address it means.
pub(super) fn read(node: &Node, compiler: &mut Compiler) -> Result<Vec<Listen>, Fault> {
    let mut listen = Listen::on(ListenAddress::Unix(PathBuf::new()), node.place.to_string());
    for word in node.args().get(1..).unwrap_or_default() {
        if word == b"quic" {
            compiler.note_unapplied_part(node, word);
            return Ok(Vec::new());
        }
        parameter(&mut listen, node, word, compiler)?;
    }
    let addresses = addresses(node)?;
    Ok(addresses.into_iter().map(|address| Listen { address, ..listen.clone() }).collect())
}

fn parameter(listen: &mut Listen, node: &Node, word: &[u8], compiler: &mut Compiler) -> Result<(), Fault> {
    let text = shown(word);
    let invalid = |what: &str| Fault::emerg(format_args!("invalid {what} \"{text}\""), &node.place);
    let (name, value) = text.split_once('=').map_or((&*text, None), |(name, value)| (name, Some(value)));
    let size = |value: &str| units::size(value.as_bytes()).and_then(|size| usize::try_from(size).ok());
    match (name, value) {
        ("default_server" | "default", None) => {
            listen.default_server = true;
            return Ok(());
        }
        ("ssl", None) => {
            listen.ssl = true;
            return Ok(());
        }
        ("http2", None) => {
            listen.http2 = true;
            return Ok(());
        }
        ("proxy_protocol", None) => {
            listen.proxy_protocol = true;
            return Ok(());
        }
        ("spdy", None) => return Ok(()),
        // Each worker has a socket of its own in any case.
        ("bind" | "deferred" | "reuseport", None) => {}
        ("multipath", None) | ("accept_filter" | "setfib", Some(_)) => compiler.note_unapplied_part(node, word),
        ("backlog", Some(value)) => {
            let backlog = value.parse::<i32>().ok().filter(|backlog| *backlog > 0);
            listen.backlog = Some(backlog.ok_or_else(|| invalid("backlog"))?);
        }
        ("fastopen", Some(value)) => {
            value.parse::<i32>().map_err(|_| invalid("fastopen"))?;
            compiler.note_unapplied_part(node, word);
        }
        ("rcvbuf", Some(value)) => listen.rcvbuf = Some(size(value).ok_or_else(|| invalid("rcvbuf"))?),
        ("sndbuf", Some(value)) => listen.sndbuf = Some(size(value).ok_or_else(|| invalid("sndbuf"))?),
        ("ipv6only", Some(value @ ("on" | "off"))) => listen.ipv6only = Some(value == "on"),
        ("ipv6only", Some(_)) => {
            return Err(Fault::emerg(format_args!("invalid ipv6only flags \"{text}\""), &node.place));
        }
        ("so_keepalive", Some("off")) => listen.so_keepalive = Some(false),
        ("so_keepalive", Some(value)) if value == "on" || value.contains(':') => listen.so_keepalive = Some(true),
        _ => return Err(invalid_parameter(node, word)),
    }
    listen.has_options = true;
    Ok(())
}

/// `PORT`, `ADDRESS[:PORT]`, `[V6][:PORT]`, `unix:PATH`, `*:PORT`, `HOST[:PORT]`; the port may be a range.
fn addresses(node: &Node) -> Result<Vec<ListenAddress>, Fault> {
    let text = shown(node.arg(0));
    let wrong =
        |what: &str| Fault::emerg(format_args!("{what} in \"{text}\" of the \"listen\" directive"), &node.place);
    if let Some(path) = text.strip_prefix("unix:") {
        if path.is_empty() {
            return Err(wrong("no path"));
        }
        return Ok(vec![ListenAddress::Unix(PathBuf::from(path))]);
    }
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, port) = rest.split_once(']').ok_or_else(|| wrong("invalid host"))?;
        (host, if port.is_empty() { None } else { Some(port.strip_prefix(':').ok_or_else(|| wrong("invalid host"))?) })
    } else if let Some((host, port)) = text.split_once(':') {
        (host, Some(port))
    } else if text.starts_with(|first: char| first.is_ascii_digit()) && !text.contains('.') {
        ("*", Some(&*text))
    } else {
        (&*text, None)
    };
    let ports = ports(port).ok_or_else(|| wrong("invalid port"))?;
    let hosts: Vec<IpAddr> = match host {
        "" => return Err(wrong("no host")),
        "*" => vec![IpAddr::V4(Ipv4Addr::UNSPECIFIED)],
        _ if text.starts_with('[') => {
            vec![IpAddr::V6(host.parse::<Ipv6Addr>().map_err(|_| wrong("invalid IPv6 address"))?)]
        }
        host => match host.parse() {
            Ok(address) => vec![address],
            Err(_) => look_up(host).ok_or_else(|| wrong("host not found"))?,
        },
    };
    Ok(ports.flat_map(|port| hosts.iter().map(move |host| ListenAddress::Ip(SocketAddr::new(*host, port)))).collect())
}

fn ports(text: Option<&str>) -> Option<std::ops::RangeInclusive<u16>> {
    let Some(text) = text else { return Some(80..=80) };
    let read = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0 && !text.starts_with('+'));
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (read(first)?, read(last)?),
        None => (read(text)?, read(text)?),
    };
    (first <= last).then_some(first..=last)
}

fn look_up(host: &str) -> Option<Vec<IpAddr>> {
    let mut addresses: Vec<IpAddr> = Vec::new();
    for address in (host, 0).to_socket_addrs().ok()? {
        if !addresses.contains(&address.ip()) {
            addresses.push(address.ip());
        }
    }
    (!addresses.is_empty()).then_some(addresses)
}

/// The addresses a `listen` with these words means; none where they are wrong.
pub fn addresses_of(words: &[Vec<u8>]) -> Vec<ListenAddress> {
    let place = super::error::Place { file: None, line: 1 };
    let (words, end) = (words.to_vec(), place.clone());
    addresses(&Node { row: None, unknown: false, lua: None, words, place, children: Vec::new(), end })
        .unwrap_or_default()
}

/// As nginx writes an address.
pub(super) fn display(address: &ListenAddress) -> String {
    match address {
        ListenAddress::Ip(address) => address.to_string(),
        ListenAddress::Unix(path) => format!("unix:{}", path.display()),
    }
}

/// A socket and the servers that name it, in file order.
struct Socket<'c> {
    listen: Listen,
    options_from: Option<usize>,
    default: Option<usize>,
    servers: Vec<(usize, &'c Compiled)>,
}

/// The listeners of all servers.
pub(super) fn listeners(servers: &[Compiled], compiler: &mut Compiler) -> Result<Vec<Listener>, Fault> {
    let mut sockets: Vec<Socket<'_>> = Vec::new();
    let mut by_address: HashMap<ListenAddress, usize> = HashMap::new();
    for (index, server) in servers.iter().enumerate() {
        for listen in &server.listens {
            let at = *by_address.entry(listen.address.clone()).or_insert_with(|| {
                sockets.push(Socket { listen: listen.clone(), options_from: None, default: None, servers: Vec::new() });
                sockets.len() - 1
            });
            if let Some(socket) = sockets.get_mut(at) {
                socket.add(index, server, listen)?;
            }
        }
    }
    Ok(sockets.into_iter().filter_map(|socket| socket.finish(compiler)).collect())
}

impl<'c> Socket<'c> {
    fn add(&mut self, index: usize, server: &'c Compiled, listen: &Listen) -> Result<(), Fault> {
        let fault = |what: &str| {
            let text = format!("{what} {} in {}", display(&listen.address), listen.origin);
            Fault { notes: vec![Note { level: LogLevel::Emerg, text }] }
        };
        if self.servers.last().is_some_and(|(last, _)| *last == index) {
            return Err(fault("a duplicate listen"));
        }
        if listen.default_server && self.default.replace(index).is_some() {
            return Err(fault("a duplicate default server for"));
        }
        if listen.has_options {
            if self.options_from.replace(index).is_some() {
                return Err(fault("duplicate listen options for"));
            }
            let (ssl, http2, proxy_protocol) = (self.listen.ssl, self.listen.http2, self.listen.proxy_protocol);
            let origin = std::mem::take(&mut self.listen.origin);
            self.listen = Listen { ssl, http2, proxy_protocol, origin, ..listen.clone() };
        }
        self.listen.ssl |= listen.ssl;
        self.listen.http2 |= listen.http2;
        self.listen.proxy_protocol |= listen.proxy_protocol;
        self.servers.push((index, server));
        Ok(())
    }

    fn finish(self, compiler: &mut Compiler) -> Option<Listener> {
        let (first, _) = self.servers.first()?;
        let wanted = self.default.unwrap_or(*first);
        let default = self.servers.iter().find(|(index, _)| *index == wanted).map(|(_, server)| &server.server)?;
        let names = names(&self.servers, default, &display(&self.listen.address), compiler);
        Some(Listener {
            address: self.listen.address,
            ssl: self.listen.ssl,
            http2: self.listen.http2,
            proxy_protocol: self.listen.proxy_protocol,
            backlog: self.listen.backlog,
            ipv6only: self.listen.ipv6only,
            rcvbuf: self.listen.rcvbuf,
            sndbuf: self.listen.sndbuf,
            so_keepalive: self.listen.so_keepalive,
            names,
            origin: self.listen.origin,
        })
    }
}

/// The choice by name; of two servers with one name the first has it.
fn names(servers: &[(usize, &Compiled)], default: &Arc<Server>, address: &str, compiler: &mut Compiler) -> ServerNames {
    let mut exact: AHashMap<Box<str>, Arc<Server>> = AHashMap::new();
    let mut masks: Vec<(HostMask, Arc<Server>)> = Vec::new();
    let mut regexes: Vec<(Regex, Arc<Server>)> = Vec::new();
    let mut conflicts: Vec<Box<str>> = Vec::new();
    for (_, Compiled { server, names, .. }) in servers {
        for name in names {
            match name {
                Name::Exact(name) if exact.contains_key(name) => conflicts.push(name.clone()),
                Name::Exact(name) => {
                    exact.insert(name.clone(), Arc::clone(server));
                }
                Name::Mask(mask, text) if masks.iter().any(|(other, _)| other == mask) => conflicts.push(text.clone()),
                Name::Mask(mask, _) => masks.push((mask.clone(), Arc::clone(server))),
                Name::Regex(regex) => regexes.push((regex.clone(), Arc::clone(server))),
            }
        }
    }
    for name in conflicts {
        let text = format!("conflicting server name \"{name}\" on {address}, ignored");
        compiler.notes.push(Note { level: LogLevel::Warn, text });
    }
    sort_masks(&mut masks);
    ServerNames { exact, masks, regexes, default: Arc::clone(default) }
}

#[cfg(test)]
mod tests {
    use super::super::error::Place;
    use super::*;

    fn listen(word: &str) -> Result<Vec<String>, String> {
        let place = Place { file: None, line: 1 };
        let words = vec![b"listen".to_vec(), word.as_bytes().to_vec()];
        let node = Node {
            row: None,
            unknown: false,
            lua: None,
            words,
            place: place.clone(),
            children: Vec::new(),
            end: place,
        };
        addresses(&node)
            .map(|addresses| addresses.iter().map(display).collect())
            .map_err(|fault| fault.notes[0].text.clone())
    }

    #[test]
    fn addresses_are_understood_in_all_forms() {
        for (word, addresses) in [
            ("8893", vec!["0.0.0.0:8893"]),
            ("*:81", vec!["0.0.0.0:81"]),
            ("127.0.0.1:8895", vec!["127.0.0.1:8895"]),
            ("127.0.0.1", vec!["127.0.0.1:80"]),
            ("[::]:443", vec!["[::]:443"]),
            ("[::1]", vec!["[::1]:80"]),
            ("unix:/run/x.sock", vec!["unix:/run/x.sock"]),
            ("8010-8012", vec!["0.0.0.0:8010", "0.0.0.0:8011", "0.0.0.0:8012"]),
        ] {
            assert_eq!(listen(word).unwrap(), addresses, "{word}");
        }
    }

    #[test]
    fn wrong_addresses_are_refused() {
        for (word, text) in [
            ("0", "invalid port in \"0\" of the \"listen\" directive in command line"),
            ("127.0.0.1:99999", "invalid port in \"127.0.0.1:99999\" of the \"listen\" directive in command line"),
            (":80", "no host in \":80\" of the \"listen\" directive in command line"),
            ("[::x]:80", "invalid IPv6 address in \"[::x]:80\" of the \"listen\" directive in command line"),
            ("80-70", "invalid port in \"80-70\" of the \"listen\" directive in command line"),
        ] {
            assert_eq!(listen(word).unwrap_err(), text);
        }
    }
}
