//! Who may come in: `allow`, `deny`, `limit_except`, passwords, `auth_request`, `secure_link`, and whose word is taken for
//! the client's address.
//!
//! Compiles rules; judging a request by them is the HTTP room's business.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use super::compiler::{Compiler, rooted};
use super::complex;
use super::error::{Fault, shown};
use super::namespace::dollar_name;
use super::scope::{Entry, Level, Scope, Value, invalid_parameter};
use super::settings::{AccessRule, AuthBasic, Cidr, LimitExcept, RealIp, SecureLink, Who};
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
pub(super) fn cidr(word: &[u8]) -> Option<(Cidr, bool)> {
    let text = std::str::from_utf8(word).ok()?;
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().ok()?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let prefix = match prefix {
        None => longest,
        Some(prefix) => match (prefix.parse::<u8>(), prefix.parse::<Ipv4Addr>()) {
            (Ok(prefix), _) if prefix <= longest => prefix,
            // A mask may be written as an address.
            (_, Ok(mask))
                if address.is_ipv4() && mask.to_bits().leading_ones() + mask.to_bits().trailing_zeros() >= 32 =>
            {
                mask.to_bits().leading_ones() as u8
            }
            _ => return None,
        },
    };
    let masked = match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & mask))
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask))
        }
    };
    Some((Cidr { address: masked, prefix }, masked == address))
}

/// The `limit_except` of the location; an `if` block in it is limited as the location is.
pub(super) fn limit_except(scope: &Scope<'_, '_>, compiler: &mut Compiler) -> Result<Option<Arc<LimitExcept>>, Fault> {
    let in_if = scope.level.node.is_some_and(|node| node.name() == "if");
    let holder = match scope.outer {
        Some(outer) if in_if => outer,
        _ => scope,
    };
    let Some(block) = holder.level.blocks_named("limit_except").next() else { return Ok(None) };
    let Some(node) = block.node else { return Ok(None) };
    let mut methods: Vec<Box<str>> = Vec::new();
    for word in node.args() {
        let name = shown(word).to_ascii_uppercase();
        if !METHODS.contains(&&*name) {
            return Err(Fault::emerg(format_args!("invalid method \"{}\"", shown(word)), &node.place));
        }
        methods.push(name.into());
    }
    let inner = Scope { level: block, outer: Some(holder) };
    Ok(Some(Arc::new(LimitExcept {
        methods,
        access: rules(inner.list("allow"), compiler)?,
        auth_basic: auth_basic(&inner, compiler)?,
    })))
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
        from.push(peer(node, node.arg(0), compiler)?);
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
        let network =
            |text: &str| cidr(text.as_bytes()).map(|(cidr, exact)| (cidr.address.to_string(), cidr.prefix, exact));
        assert_eq!(network("127.0.0.0/8"), Some(("127.0.0.0".into(), 8, true)));
        assert_eq!(network("10.1.2.3/8"), Some(("10.0.0.0".into(), 8, false)));
        assert_eq!(network("192.168.0.0/255.255.0.0"), Some(("192.168.0.0".into(), 16, true)));
        assert_eq!(network("::1"), Some(("::1".into(), 128, true)));
        assert_eq!(network("0.0.0.0/0"), Some(("0.0.0.0".into(), 0, true)));
        assert_eq!(network("10.0.0.0/33"), None);
        assert_eq!(network("localhost"), None);
    }
}
