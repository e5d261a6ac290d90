//! What `auth_request` asks beyond this server: `proxy_pass` with its tuning, and the `upstream` blocks it may name.
//!
//! Compiled for locations an `auth_request` can lead to; everywhere else `proxy_pass` is reported as not applied, as
//! pushstreamd is no proxy. Connecting is `site`'s business.

use std::sync::Arc;

use super::compiler::Compiler;
use super::complex;
use super::error::{Fault, shown};
use super::objection::invalid_parameter;
use super::scope::{Entry, Level, Scope};
use super::settings::{Backend, Handler, Match, UpstreamServer};
use super::tree::Node;
use super::units;
use super::zone::narrow;

/// Notes what is asked, and compiles the `upstream` blocks.
pub(super) fn prepare(http: &Level<'_>, compiler: &mut Compiler) -> Result<(), Fault> {
    if let Some(node) = http.node {
        note_asked(&node.children, &mut compiler.asked);
    }
    for block in http.blocks_named("upstream") {
        let Some(node) = block.node else { continue };
        let name: Box<str> = shown(node.arg(0)).into();
        if compiler.upstreams.contains_key(&name) {
            return Err(Fault::emerg(format_args!("duplicate upstream \"{name}\""), &node.place));
        }
        let mut servers = Vec::new();
        let listed = node.children.iter().filter(|child| child.name() == "server");
        let mut any = false;
        for child in listed {
            any = true;
            servers.extend(upstream_server(child)?);
        }
        if !any {
            return Err(Fault::emerg("no servers are inside upstream", &node.end));
        }
        compiler.upstreams.insert(name, servers);
    }
    Ok(())
}

fn note_asked(nodes: &[Node], asked: &mut Vec<Vec<u8>>) {
    for node in nodes {
        if node.row.is_some() && node.name() == "auth_request" && node.arg(0) != b"off" {
            asked.push(node.arg(0).split(|byte| *byte == b'?').next().unwrap_or_default().to_vec());
        }
        note_asked(&node.children, asked);
    }
}

/// `server ADDRESS [weight=N] [backup] [down] ...`; none if it is down.
fn upstream_server(node: &Node) -> Result<Option<UpstreamServer>, Fault> {
    let mut server = UpstreamServer { address: shown(node.arg(0)).into(), weight: 1, backup: false };
    let mut down = false;
    for word in node.args().get(1..).unwrap_or_default() {
        if let Some(weight) = word.strip_prefix(b"weight=") {
            server.weight = narrow(
                units::number(weight).filter(|weight| *weight > 0).ok_or_else(|| invalid_parameter(node, word))?,
            );
        } else if word == b"backup" {
            server.backup = true;
        } else if word == b"down" {
            down = true;
        }
        // The others tune when a server counts as failed; a failed one is passed over for the request at hand only.
    }
    Ok((!down).then_some(server))
}

/// Says which `upstream` blocks have no effect.
pub(super) fn note_idle_upstreams(http: &Level<'_>, compiler: &mut Compiler) {
    for block in http.blocks_named("upstream") {
        if let Some(node) = block.node
            && !compiler.asked_hosts.contains(&*shown(node.arg(0)))
        {
            compiler.note_unapplied(node);
        }
    }
}

/// The backend of a location, if it has one that `auth_request` can lead to.
pub(super) fn compile(
    scope: &Scope<'_, '_>,
    matched: &Match,
    compiler: &mut Compiler,
) -> Result<Option<Arc<Backend>>, Fault> {
    let node = match &scope.level.handler {
        Some((Handler::Foreign(name), node)) if &**name == "proxy_pass" => *node,
        _ => return Ok(None),
    };
    let plain = node.arg(0).starts_with(b"http://") || node.arg(0).starts_with(b"$");
    if !plain || !may_be_asked(matched, &compiler.asked) {
        compiler.note_unapplied(node);
        return Ok(None);
    }
    let url = complex::compile(node.arg(0), &mut compiler.namespace, &node.place)?;
    if let Some(text) = complex::as_literal(&url) {
        let rest = text.strip_prefix(b"http://").unwrap_or_default();
        let host = rest.split(|byte| matches!(byte, b'/')).next().unwrap_or_default();
        if host.is_empty() {
            return Err(Fault::emerg("no host in upstream \"\"", &node.place));
        }
        compiler.asked_hosts.insert(shown(host).into());
    } else {
        let names: Vec<_> = compiler.upstreams.keys().cloned().collect();
        compiler.asked_hosts.extend(names);
    }
    let mut headers = Vec::new();
    for Entry { node, .. } in scope.list("proxy_set_header") {
        let value = complex::compile(node.arg(1), &mut compiler.namespace, &node.place)?;
        headers.push((shown(node.arg(0)).into(), value));
    }
    Ok(Some(Arc::new(Backend {
        url,
        headers,
        pass_request_headers: scope.flag("proxy_pass_request_headers"),
        method: scope.complex("proxy_method").cloned(),
        body: scope.complex("proxy_set_body").cloned(),
        http_11: scope.word("proxy_http_version") == Some(b"1.1"),
        connect_timeout: scope.quantity("proxy_connect_timeout"),
        send_timeout: scope.quantity("proxy_send_timeout"),
        read_timeout: scope.quantity("proxy_read_timeout"),
    })))
}

/// Whether an `auth_request` may come to this location; one with variables may come anywhere.
fn may_be_asked(matched: &Match, asked: &[Vec<u8>]) -> bool {
    asked.iter().any(|uri| match matched {
        _ if uri.contains(&b'$') => true,
        Match::Exact(path) => **path == **uri,
        Match::Prefix(prefix) | Match::StrongPrefix(prefix) => uri.starts_with(prefix),
        Match::Regex(_) | Match::None => true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_asked_if_a_uri_can_lead_there() {
        let asked = [b"/auth/check".to_vec()];
        assert!(may_be_asked(&Match::Exact(b"/auth/check"[..].into()), &asked));
        assert!(may_be_asked(&Match::Prefix(b"/auth"[..].into()), &asked));
        assert!(!may_be_asked(&Match::Exact(b"/auth"[..].into()), &asked));
        assert!(!may_be_asked(&Match::Prefix(b"/site"[..].into()), &asked) && !may_be_asked(&Match::None, &[]));
        assert!(may_be_asked(&Match::Exact(b"/any"[..].into()), &[b"/$uri".to_vec()]));
    }
}
