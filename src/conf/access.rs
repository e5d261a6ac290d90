//! Who may come in: `allow`, `deny`, `limit_except`, passwords, `auth_request`, `secure_link`, and whose word is taken for
//! the client's address.
//!
//! Compiles rules; judging a request by them is `site`'s business.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::compiler::{Compiler, rooted};
use super::complex;
use super::error::{Fault, shown};
use super::listen::look_up;
use super::namespace::dollar_name;
use super::objection::invalid_parameter;
use super::scope::{Entry, Level, Scope, Value};
use super::settings::{AccessRule, AuthBasic, RealIp, SecureLink, Who};
use super::tree::Node;
use super::variable::Complex;

/// Methods `limit_except` may name.
const METHODS: [&str; 15] = [
    "GET",
    "HEAD",
    "POST",
    "PUT",
    "DELETE",
    "MKCOL",
    "COPY",
    "MOVE",
    "OPTIONS",
    "PROPFIND",
    "PROPPATCH",
    "LOCK",
    "UNLOCK",
    "PATCH",
    "CONNECT",
];

/// `allow` and `deny` in order.
pub(super) fn rules(entries: &[Entry<'_>], compiler: &mut Compiler) -> Result<Vec<AccessRule>, Fault> {
    let rule = |entry: &Entry<'_>| {
        let who = match entry.node.arg(0) {
            b"all" => Who::All,
            word => peer(entry.node, word, compiler)?,
        };
        Ok(AccessRule { allow: entry.node.name() == "allow", who })
    };
    entries.iter().map(rule).collect()
}

/// `unix:` or a network.
fn peer(node: &Node, word: &[u8], compiler: &mut Compiler) -> Result<Who, Fault> {
    if word == b"unix:" {
        return Ok(Who::Unix);
    }
    let (network, exact) = cidr(word).ok_or_else(|| invalid_parameter(node, word))?;
    if !exact {
        compiler.warn(format_args!("low address bits of {} are meaningless", shown(word)), &node.place);
    }
    Ok(Who::Network(network))
}

/// `ADDRESS[/PREFIX]`, and whether the bits below the prefix are zero as they should be.
pub(super) fn cidr(word: &[u8]) -> Option<(IpNet, bool)> {
    let text = std::str::from_utf8(word).ok()?;
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address.parse().ok()?, Some(prefix)),
        None => (text.parse().ok()?, None),
    };
    let network = match (prefix, address) {
        (None, address) => IpNet::from(address),
        (Some(prefix), address) => match (prefix.parse(), prefix.parse::<IpAddr>()) {
            (Ok(prefix), _) => IpNet::new(address, prefix).ok()?,
            // A mask may be written as an address.
            (_, Ok(mask @ IpAddr::V4(_))) if address.is_ipv4() => IpNet::with_netmask(address, mask).ok()?,
            _ => return None,
        },
    };
    let masked = network.trunc();
    Some((canonical(masked), masked == network))
}

/// A network of IPv4 addresses that are mapped into IPv6 as the network of those addresses.
pub(super) fn canonical(network: IpNet) -> IpNet {
    let mapped =
        network.prefix_len().checked_sub(96).map(|prefix| IpNet::new(network.network().to_canonical(), prefix));
    match mapped {
        Some(Ok(mapped @ IpNet::V4(_))) if matches!(network, IpNet::V6(_)) => mapped,
        _ => network,
    }
}

/// The methods a `limit_except` leaves alone.
pub(super) fn unlimited_methods(node: &Node) -> Result<Vec<Box<str>>, Fault> {
    let read = |word: &Vec<u8>| {
        let name = shown(word).to_ascii_uppercase();
        let known = METHODS.contains(&&*name);
        let invalid = || Fault::emerg(format_args!("invalid method \"{}\"", shown(word)), &node.place);
        known.then(|| name.into()).ok_or_else(invalid)
    };
    node.args().iter().map(read).collect()
}

/// Realm and password file, unless `off`.
pub(super) fn auth_basic(scope: &Scope<'_, '_>, compiler: &mut Compiler) -> Result<Option<Arc<AuthBasic>>, Fault> {
    let Some(realm) = scope.complex("auth_basic") else { return Ok(None) };
    if complex::as_literal(realm) == Some(b"off") {
        return Ok(None);
    }
    let Some(file) = scope.entry("auth_basic_user_file") else { return Ok(None) };
    let user_file = complex::compile(file.node.arg(0), &mut compiler.namespace, &file.node.place)?;
    Ok(Some(Arc::new(AuthBasic { realm: realm.clone(), user_file: rooted(&compiler.directory, user_file) })))
}

/// `auth_request URI | off`
pub(super) fn auth_request(scope: &Scope<'_, '_>, compiler: &mut Compiler) -> Result<Option<Complex>, Fault> {
    match scope.entry("auth_request") {
        None => Ok(None),
        Some(entry) if entry.node.arg(0) == b"off" => Ok(None),
        Some(entry) => complex::compile(entry.node.arg(0), &mut compiler.namespace, &entry.node.place).map(Some),
    }
}

/// `auth_request_set $NAME VALUE`
pub(super) fn auth_request_set(
    scope: &Scope<'_, '_>,
    compiler: &mut Compiler,
) -> Result<Arc<[(usize, Complex)]>, Fault> {
    let mut values = Vec::new();
    for Entry { node, .. } in scope.list("auth_request_set") {
        let name = dollar_name(node.arg(0)).ok_or_else(|| {
            Fault::emerg(format_args!("invalid variable name \"{}\"", shown(node.arg(0))), &node.place)
        })?;
        let variable = compiler.namespace.define(&name, &node.place)?;
        values.push((variable, complex::compile(node.arg(1), &mut compiler.namespace, &node.place)?));
    }
    Ok(values.into())
}

/// How links are protected: by a word, or by both halves of a secure link.
pub(super) fn secure_link(scope: &Scope<'_, '_>) -> Option<Arc<SecureLink>> {
    if let Some(secret) = scope.text("secure_link_secret") {
        return Some(Arc::new(SecureLink::Secret(secret.into())));
    }
    let value = scope.complex("secure_link")?.clone();
    let hashed = scope.complex("secure_link_md5")?.clone();
    Some(Arc::new(SecureLink::Hashed { value, hashed }))
}

/// Believed proxies, and the header they use.
pub(super) fn realip(scope: &Scope<'_, '_>, compiler: &mut Compiler) -> Result<Option<Arc<RealIp>>, Fault> {
    let entries = scope.list("set_real_ip_from");
    if entries.is_empty() {
        return Ok(None);
    }
    let mut from = Vec::new();
    for Entry { node, .. } in entries {
        let word = node.arg(0);
        if word == b"unix:" || cidr(word).is_some() {
            from.push(peer(node, word, compiler)?);
            continue;
        }
        let hosts = look_up(&shown(word)).ok_or_else(|| {
            Fault::emerg(format_args!("host not found in set_real_ip_from \"{}\"", shown(word)), &node.place)
        })?;
        from.extend(hosts.into_iter().map(|host| Who::Network(canonical(IpNet::from(host)))));
    }
    let header = scope.word("real_ip_header").unwrap_or_default();
    Ok(Some(Arc::new(RealIp {
        from,
        header: shown(header).to_ascii_lowercase().into(),
        recursive: scope.flag("real_ip_recursive"),
    })))
}

/// Whether nobody is let in by the rules of this level alone.
pub(super) fn denies_all(level: &Level<'_>) -> bool {
    let rules = level.own("allow");
    let words: Vec<(bool, &[u8])> =
        rules.iter().map(|entry| (entry.node.name() == "deny", entry.node.arg(0))).collect();
    debug_assert!(rules.iter().all(|entry| matches!(entry.value, Value::Words)));
    words.first() == Some(&(true, b"all"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_read_with_prefix_mask_or_alone() {
        let network = |text: &str| cidr(text.as_bytes()).map(|(network, exact)| (network.to_string(), exact));
        assert_eq!(network("127.0.0.0/8"), Some(("127.0.0.0/8".into(), true)));
        assert_eq!(network("10.1.2.3/8"), Some(("10.0.0.0/8".into(), false)));
        assert_eq!(network("192.168.0.0/255.255.0.0"), Some(("192.168.0.0/16".into(), true)));
        assert_eq!(network("::1"), Some(("::1/128".into(), true)));
        assert_eq!(network("0.0.0.0/0"), Some(("0.0.0.0/0".into(), true)));
        for odd in ["10.0.0.0/33", "10.0.0.0/255.0.255.0", "fe80::/255.0.0.0", "10.0.0/8", "10.0.0.0/", "localhost"] {
            assert_eq!(network(odd), None, "{odd}");
        }
    }

    #[test]
    fn networks_hold_their_addresses_however_these_are_written() {
        for (network, address, holds) in [
            ("127.0.0.0/8", "127.1.2.3", true),
            ("127.0.0.0/8", "::ffff:127.1.2.3", true),
            ("::ffff:127.0.0.0/104", "127.1.2.3", true),
            ("10.0.0.0/8", "127.0.0.1", false),
            ("0.0.0.0/0", "1.2.3.4", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "1.2.3.4", false),
            ("fe80::/10", "fe80::1", true),
            ("10.0.0.1", "10.0.0.1", true),
        ] {
            let address: IpAddr = address.parse().unwrap();
            let (read, _) = cidr(network.as_bytes()).unwrap();
            assert_eq!(read.contains(&address.to_canonical()), holds, "{network} {address}");
        }
    }
}
