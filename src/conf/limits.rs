//! `limit_conn` and `limit_req`, and the zones they share.
//!
//! Counting is `site`'s business; here keys, rates and thresholds are compiled.

use std::sync::Arc;

use super::compiler::Compiler;
use super::complex;
use super::error::{Fault, shown};
use super::objection::{duplicate, invalid_parameter};
use super::scope::{Entry, Scope};
use super::settings::{LimitConn, LimitReq, LimitZone};
use super::tree::Node;
use super::units;
use super::zone::narrow;

/// Compiles the zones of the `http` block.
pub(super) fn zones(http: &Scope<'_, '_>, compiler: &mut Compiler) -> Result<(), Fault> {
    for Entry { node, .. } in http.level.own("limit_conn_zone") {
        zone(node, None, compiler)?;
    }
    for Entry { node, .. } in http.level.own("limit_zone") {
        let size = units::size(node.arg(2)).filter(|size| *size > 0).ok_or_else(|| {
            Fault::emerg(format_args!("invalid size \"{}\" of limit_zone", shown(node.arg(2))), &node.place)
        })?;
        keep(node, shown(node.arg(0)).into_owned(), size, node.arg(1), None, compiler)?;
    }
    for Entry { node, .. } in http.level.own("limit_req_zone") {
        let rate = node.args().iter().find_map(|word| word.strip_prefix(b"rate="));
        let rate = match rate {
            None => 1000,
            Some(rate) => read_rate(rate)
                .ok_or_else(|| Fault::emerg(format_args!("invalid rate \"rate={}\"", shown(rate)), &node.place))?,
        };
        zone(node, Some(rate), compiler)?;
    }
    Ok(())
}

/// `KEY zone=NAME:SIZE [...]`
fn zone(node: &Node, rate: Option<u64>, compiler: &mut Compiler) -> Result<(), Fault> {
    let mut name = None;
    for word in node.args().get(1..).unwrap_or_default() {
        if let Some(zone) = word.strip_prefix(b"zone=") {
            let text = shown(zone).into_owned();
            let (zone_name, size) = text
                .split_once(':')
                .ok_or_else(|| Fault::emerg(format_args!("invalid zone size \"{}\"", shown(word)), &node.place))?;
            let size = units::size(size.as_bytes())
                .filter(|size| *size > 0)
                .ok_or_else(|| Fault::emerg(format_args!("invalid zone size \"{}\"", shown(word)), &node.place))?;
            name = Some((zone_name.to_owned(), size));
        } else if !(rate.is_some() && (word.starts_with(b"rate=") || word == b"sync")) {
            return Err(invalid_parameter(node, word));
        }
    }
    let Some((name, size)) = name else {
        return Err(Fault::emerg(format_args!("\"{}\" must have \"zone\" parameter", node.name()), &node.place));
    };
    keep(node, name, size, node.arg(0), rate, compiler)
}

fn keep(
    node: &Node,
    name: String,
    size: u64,
    key: &[u8],
    rate: Option<u64>,
    compiler: &mut Compiler,
) -> Result<(), Fault> {
    if compiler.limit_zones.iter().any(|zone| *zone.name == name) {
        let text = format_args!("{} \"{name}\" is already bound to key \"{}\"", node.name(), shown(key));
        return Err(Fault::emerg(text, &node.place));
    }
    let key = complex::compile(key, &mut compiler.namespace, &node.place)?;
    compiler.limit_zones.push(LimitZone { name: name.into(), key, rate, size });
    Ok(())
}

/// `10r/s`, `10`, `30r/m` -> requests per 1000 seconds.
fn read_rate(rate: &[u8]) -> Option<u64> {
    let (count, scale) = match rate.strip_suffix(b"r/m") {
        Some(count) => (count, 60),
        None => (rate.strip_suffix(b"r/s").unwrap_or(rate), 1),
    };
    let count = units::number(count).filter(|count| *count > 0)?;
    Some(count.saturating_mul(1000) / scale)
}

/// `limit_conn ZONE NUMBER`
pub(super) fn connections(scope: &Scope<'_, '_>, compiler: &Compiler) -> Result<Arc<[LimitConn]>, Fault> {
    let status = status(scope, "limit_conn_status")?;
    let mut limits = Vec::new();
    for Entry { node, .. } in scope.list("limit_conn") {
        let zone = find(node.arg(0), false, compiler)?;
        let most = units::number(node.arg(1)).filter(|most| *most > 0).ok_or_else(|| {
            Fault::emerg(format_args!("invalid number of connections \"{}\"", shown(node.arg(1))), &node.place)
        })?;
        if most > 65_535 {
            return Err(Fault::emerg("connection limit must be less 65536", &node.place));
        }
        if limits.iter().any(|other: &LimitConn| other.zone == zone) {
            return Err(duplicate(node));
        }
        limits.push(LimitConn { zone, most: narrow(most), status });
    }
    Ok(limits.into())
}

/// `limit_req zone=NAME [burst=N] [nodelay | delay=N]`
pub(super) fn requests(scope: &Scope<'_, '_>, compiler: &Compiler) -> Result<Arc<[LimitReq]>, Fault> {
    let status = status(scope, "limit_req_status")?;
    let mut limits = Vec::new();
    for Entry { node, .. } in scope.list("limit_req") {
        let (mut zone, mut burst, mut nodelay) = (None, 0, 0);
        for word in node.args() {
            if let Some(name) = word.strip_prefix(b"zone=") {
                zone = Some(find(name, true, compiler)?);
            } else if let Some(count) = word.strip_prefix(b"burst=") {
                burst = narrow(units::number(count).filter(|count| *count > 0).ok_or_else(|| {
                    Fault::emerg(format_args!("invalid burst value \"{}\"", shown(word)), &node.place)
                })?);
            } else if let Some(count) = word.strip_prefix(b"delay=") {
                nodelay = narrow(units::number(count).filter(|count| *count > 0).ok_or_else(|| {
                    Fault::emerg(format_args!("invalid delay value \"{}\"", shown(word)), &node.place)
                })?);
            } else if word == b"nodelay" {
                nodelay = u32::MAX;
            } else {
                return Err(invalid_parameter(node, word));
            }
        }
        let zone = zone.ok_or_else(|| Fault::emerg("\"limit_req\" must have \"zone\" parameter", &node.place))?;
        if limits.iter().any(|other: &LimitReq| other.zone == zone) {
            return Err(duplicate(node));
        }
        limits.push(LimitReq { zone, burst, nodelay, status });
    }
    Ok(limits.into())
}

fn status(scope: &Scope<'_, '_>, name: &str) -> Result<u16, Fault> {
    let Some(entry) = scope.entry(name) else { return Ok(503) };
    scope
        .number(name)
        .and_then(|status| u16::try_from(status).ok())
        .filter(|status| (400..=599).contains(status))
        .ok_or_else(|| Fault::emerg("value must be between 400 and 599", &entry.node.place))
}

fn find(name: &[u8], requests: bool, compiler: &Compiler) -> Result<usize, Fault> {
    compiler
        .limit_zones
        .iter()
        .position(|zone| zone.name.as_bytes() == name && zone.rate.is_some() == requests)
        .ok_or_else(|| Fault::anywhere(format_args!("zero size shared memory zone \"{}\"", shown(name))))
}
