//! `map`, `geo` and `split_clients`: variables that are looked up.
//!
//! Compiles the tables in the order and with the precedence of nginx; looking up is done per request.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::{IpNet, IpSubnets, Ipv4Subnets, Ipv6Subnets};

use super::access;
use super::compiler::{Compiler, of_variable};
use super::complex;
use super::error::{Fault, shown};
use super::namespace::dollar_name;
use super::scope::Scope;
use super::tree::Node;
use super::units;
use super::variable::{Builtin, Complex, Geo, HostMask, Map, Source, Split, Variable};

/// Compiles the tables of the `http` block.
pub(super) fn compile(http: &Scope<'_, '_>, compiler: &mut Compiler) -> Result<(), Fault> {
    for name in ["map", "geo", "split_clients"] {
        for entry in http.level.own(name) {
            let node = entry.node;
            let word = node.args().last().map_or(&[][..], Vec::as_slice);
            let Some(variable) = dollar_name(word) else {
                return Err(Fault::emerg(format_args!("invalid variable name \"{}\"", shown(word)), &node.place));
            };
            let source = match name {
                "map" => Source::Map(Arc::new(map(node, compiler)?)),
                "geo" => Source::Geo(Arc::new(geo(node, compiler)?)),
                _ => Source::Split(Arc::new(split(node, compiler)?)),
            };
            compiler.namespace.define_as(&variable, source, &node.place)?;
            if name == "geo" && node.children.iter().any(|row| row.name() == "proxy") {
                // The address would be another one.
                let index = compiler.namespace.define(&variable, &node.place)?;
                compiler.namespace.mark_unmade(index);
            }
        }
    }
    Ok(())
}

fn map(node: &Node, compiler: &mut Compiler) -> Result<Map, Fault> {
    let key = complex::compile(node.arg(0), &mut compiler.namespace, &node.place)?;
    let hostnames = node.children.iter().any(|row| row.words == [b"hostnames"]);
    let mut map =
        Map { key, exact: HashMap::new(), masks: Vec::new(), regexes: Vec::new(), default: Complex::default() };
    let mut has_default = false;
    for row in &node.children {
        let [key, value] = row.words.as_slice() else {
            match row.words.as_slice() {
                [word] if word == b"hostnames" || word == b"volatile" => continue,
                _ => return Err(Fault::emerg("invalid number of the map parameters", &row.place)),
            }
        };
        let value = complex::compile(value, &mut compiler.namespace, &row.place)?;
        match key.as_slice() {
            b"default" if has_default => {
                return Err(Fault::emerg("duplicate default map parameter", &row.place));
            }
            b"default" => {
                has_default = true;
                map.default = value;
            }
            [b'~', pattern @ ..] => {
                let (caseless, pattern) = match pattern {
                    [b'*', pattern @ ..] => (true, pattern),
                    pattern => (false, pattern),
                };
                let regex = complex::regex(pattern, caseless, &mut compiler.namespace, &row.place)?;
                map.regexes.push((regex, value));
            }
            key => {
                let key = key.strip_prefix(b"\\").unwrap_or(key).to_ascii_lowercase();
                match host_mask(&key).filter(|_| hostnames) {
                    Some(mask) => map.masks.push((mask, value)),
                    None if map.exact.insert(key.clone().into(), value).is_some() => {
                        let text = format_args!("conflicting parameter \"{}\"", shown(&key));
                        return Err(Fault::emerg(text, &row.place));
                    }
                    None => {}
                }
            }
        }
    }
    sort_masks(&mut map.masks);
    Ok(map)
}

/// `*.x`, `.x`, `x.*`, of a lower-cased name.
pub(super) fn host_mask(name: &[u8]) -> Option<HostMask> {
    match name {
        [b'*', dotted @ ..] if dotted.len() > 1 && dotted.starts_with(b".") => {
            Some(HostMask::Suffix { dotted: shown(dotted).into(), bare_too: false })
        }
        [b'.', rest @ ..] if !rest.is_empty() => Some(HostMask::Suffix { dotted: shown(name).into(), bare_too: true }),
        [prefix @ .., b'*'] if prefix.len() > 1 && prefix.ends_with(b".") => {
            Some(HostMask::Prefix(shown(prefix).into()))
        }
        _ => None,
    }
}

/// Suffix masks before prefix masks, the longest first.
pub(super) fn sort_masks<T>(masks: &mut [(HostMask, T)]) {
    masks.sort_by_key(|(mask, _)| match mask {
        HostMask::Suffix { dotted, .. } => (0, std::cmp::Reverse(dotted.len())),
        HostMask::Prefix(prefix) => (1, std::cmp::Reverse(prefix.len())),
    });
}

fn geo(node: &Node, compiler: &mut Compiler) -> Result<Geo, Fault> {
    let key = if node.args().len() > 1 {
        complex::compile(node.arg(0), &mut compiler.namespace, &node.place)?
    } else {
        of_variable(Variable::Builtin(Builtin::RemoteAddr))
    };
    let mut geo = Geo { key, networks: Vec::new(), default: Box::default() };
    for row in &node.children {
        let invalid = || Fault::emerg("invalid number of the geo parameters", &row.place);
        let (first, value): (&[u8], &[u8]) = match row.words.as_slice() {
            [word] if word == b"ranges" || word == b"proxy_recursive" => continue,
            [first, value] => (first, value),
            _ => return Err(invalid()),
        };
        match first {
            b"default" => geo.default = value.into(),
            b"proxy" => compiler.note_unapplied_part(node, first),
            b"delete" => {
                let deleted = networks(row, value)?;
                geo.networks.retain(|(network, _)| !deleted.contains(network));
            }
            first => {
                for network in networks(row, first)? {
                    geo.networks.retain(|(other, _)| *other != network);
                    geo.networks.push((network, value.into()));
                }
            }
        }
    }
    geo.networks.sort_by_key(|(network, _)| std::cmp::Reverse(network.prefix_len()));
    Ok(geo)
}

/// A network, or a range of addresses as the networks that make it up.
fn networks(row: &Node, word: &[u8]) -> Result<Vec<IpNet>, Fault> {
    let invalid = || Fault::emerg(format_args!("invalid network \"{}\"", shown(word)), &row.place);
    if let Some((network, _)) = access::cidr(word) {
        return Ok(vec![network]);
    }
    range(&shown(word)).ok_or_else(invalid)
}

/// The fewest networks that hold exactly the addresses of `FIRST-LAST`.
fn range(text: &str) -> Option<Vec<IpNet>> {
    let (first, last) = text.split_once('-')?;
    let networks = match (first.parse().ok()?, last.parse().ok()?) {
        (IpAddr::V4(first), IpAddr::V4(last)) if first <= last => IpSubnets::from(Ipv4Subnets::new(first, last, 0)),
        (IpAddr::V6(first), IpAddr::V6(last)) if first <= last => IpSubnets::from(Ipv6Subnets::new(first, last, 0)),
        _ => return None,
    };
    Some(networks.map(access::canonical).collect())
}

fn split(node: &Node, compiler: &mut Compiler) -> Result<Split, Fault> {
    let key = complex::compile(node.arg(0), &mut compiler.namespace, &node.place)?;
    let mut split = Split { key, ranges: Vec::new() };
    let (mut total, mut last) = (0u64, 0u64);
    for row in &node.children {
        let [share, value] = row.words.as_slice() else {
            return Err(Fault::emerg("invalid number of arguments in split_clients", &row.place));
        };
        let bound = if share == b"*" {
            1 << 32
        } else {
            let invalid = || Fault::emerg(format_args!("invalid percent value \"{}\"", shown(share)), &row.place);
            let share = hundredths(share).ok_or_else(invalid)?;
            total += share;
            if total > 10_000 {
                return Err(Fault::emerg("percent total is greater than 100%", &row.place));
            }
            last += share * u64::from(u32::MAX) / 10_000;
            last
        };
        split.ranges.push((bound, value.as_slice().into()));
    }
    Ok(split)
}

/// `0.5%` -> 50
fn hundredths(share: &[u8]) -> Option<u64> {
    let share = share.strip_suffix(b"%")?;
    let dot = memchr::memchr(b'.', share);
    let whole = units::number(&share[..dot.unwrap_or(share.len())])?;
    let part = match dot.map(|dot| &share[dot + 1..]) {
        None => 0,
        Some(digits) if digits.len() == 1 => units::number(digits)? * 10,
        Some(digits) if digits.len() == 2 => units::number(digits)?,
        Some(_) => return None,
    };
    whole.checked_mul(100)?.checked_add(part).filter(|share| (1..=10_000).contains(share))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_have_two_decimals() {
        assert_eq!(hundredths(b"0.5%"), Some(50));
        assert_eq!(hundredths(b"33.33%"), Some(3333));
        assert_eq!(hundredths(b"100%"), Some(10_000));
        for bad in ["", "%", "5", "0%", "0.123%", "101%"] {
            assert_eq!(hundredths(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn ranges_become_networks() {
        let range = |text: &str| {
            range(text).map(|networks| networks.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap_or_default()
        };
        assert_eq!(range("10.0.0.0-10.0.0.255"), ["10.0.0.0/24"]);
        assert_eq!(range("10.0.0.1-10.0.0.4"), ["10.0.0.1/32", "10.0.0.2/31", "10.0.0.4/32"]);
        assert_eq!(range("0.0.0.0-255.255.255.255"), ["0.0.0.0/0"]);
        assert_eq!(range("fe80::-fe80::1"), ["fe80::/127"]);
        assert_eq!(range("::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), ["::/0"]);
        assert!(range("10.0.0.2-10.0.0.1").is_empty() && range("10.0.0.1-::1").is_empty());
    }
}
