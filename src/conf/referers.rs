//! `valid_referers`: which pages may lead here.
//!
//! Compiles the words, those of all directives of one level together; judging a request is `site`'s business.

use std::sync::Arc;

use super::compiler::Compiler;
use super::complex;
use super::error::{Fault, Place, shown};
use super::scope::{Entry, Scope};
use super::server_name::{self, Name};
use super::settings::Referers;
use super::tables::{host_mask, sort_masks};

/// Compiles the words in effect.
pub(super) fn compile(scope: &Scope<'_, '_>, compiler: &mut Compiler) -> Result<Option<Arc<Referers>>, Fault> {
    let entries = scope.list("valid_referers");
    if entries.is_empty() {
        return Ok(None);
    }
    let mut referers = Referers::default();
    for Entry { node, .. } in entries {
        for word in node.args() {
            match word.as_slice() {
                b"none" => referers.none = true,
                b"blocked" => referers.blocked = true,
                b"server_names" => add_server_names(scope, &mut referers, compiler)?,
                b"~" => return Err(Fault::emerg(format_args!("empty regex in \"{}\"", shown(word)), &node.place)),
                [b'~', pattern @ ..] => {
                    referers.regexes.push(complex::regex(pattern, true, &mut compiler.namespace, &node.place)?);
                }
                word => add_host(word, &node.place, &mut referers)?,
            }
        }
    }
    if (referers.none || referers.blocked) && referers.exact.is_empty() && referers.masks.is_empty() {
        return Err(Fault::anywhere(
            "the \"none\" or \"blocked\" referers are specified in the \"valid_referers\" directive without any valid referer",
        ));
    }
    sort_masks(&mut referers.masks);
    Ok(Some(Arc::new(referers)))
}

/// `HOST[/PATH]`, where the host may be a mask.
fn add_host(word: &[u8], place: &Place, referers: &mut Referers) -> Result<(), Fault> {
    let host = shown(word).to_ascii_lowercase();
    let (host, path) = match host.find('/') {
        Some(at) => (host.get(..at).unwrap_or_default(), word.get(at..).unwrap_or_default()),
        None => (host.as_str(), &b""[..]),
    };
    match host_mask(host.as_bytes()) {
        Some(mask) => referers.masks.push((mask, path.into())),
        None if host.contains('*') => {
            return Err(Fault::emerg(format_args!("invalid hostname or wildcard \"{}\"", shown(word)), place));
        }
        None => {
            referers.exact.insert(host.into(), path.into());
        }
    }
    Ok(())
}

fn add_server_names(scope: &Scope<'_, '_>, referers: &mut Referers, compiler: &mut Compiler) -> Result<(), Fault> {
    let Some(level) = scope.server() else { return Ok(()) };
    for entry in level.own("server_name") {
        for word in entry.node.args() {
            match server_name::read(entry.node, word, compiler)?.1 {
                Name::Exact(name) => {
                    referers.exact.insert(name, Box::default());
                }
                Name::Mask(mask, _) => referers.masks.push((mask, Box::default())),
                Name::Regex(regex) => referers.names.push(regex),
            }
        }
    }
    Ok(())
}
