//! `listen`: the addresses of a server, and what is wanted of their sockets.
//!
//! Binds nothing. Host names are looked up here, at load time, as nginx does.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

use super::compiler::Compiler;
use super::error::{Fault, shown};
use super::objection::invalid_parameter;
use super::settings::ListenAddress;
use super::tree::Node;
use super::units;

/// One address of a `listen` directive.
#[derive(Clone, Debug)]
pub(super) struct Listen {
    pub(super) address: ListenAddress,
    pub(super) default_server: bool,
    /// A parameter that only one `listen` of an address may have.
    pub(super) has_options: bool,
    pub(super) ssl: bool,
    pub(super) http2: bool,
    pub(super) proxy_protocol: bool,
    pub(super) backlog: Option<i32>,
    pub(super) ipv6only: Option<bool>,
    pub(super) rcvbuf: Option<usize>,
    pub(super) sndbuf: Option<usize>,
    pub(super) so_keepalive: Option<bool>,
    pub(super) origin: String,
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
        ("bind" | "deferred" | "reuseport" | "reuse_port", None) => {}
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
        // `IDLE:INTERVAL:COUNT`, each of which may be left out.
        ("so_keepalive", Some(value)) if value == "on" || !matches!(value, "" | ":" | "::") => {
            listen.so_keepalive = Some(true);
        }
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

pub(super) fn look_up(host: &str) -> Option<Vec<IpAddr>> {
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
