//! A `server` block: its names, its sockets, its locations, its TLS.
//!
//! Puts together what the neighbours compile.

use std::sync::Arc;

use super::compiler::Compiler;
use super::complex;
use super::error::{Fault, Place, shown};
use super::listen::{self, Listen};
use super::location;
use super::scope::{Level, Scope, invalid_value};
use super::settings::{Regex, Server};
use super::tables::host_mask;
use super::tree::Node;
use super::units;
use super::variable::HostMask;
use super::{guard, site, tls};

/// A server and what its sockets need of it.
pub(super) struct Compiled {
    pub(super) server: Arc<Server>,
    pub(super) names: Vec<Name>,
    pub(super) listens: Vec<Listen>,
}

/// One word of `server_name`.
pub(super) enum Name {
    Exact(Box<str>),
    /// The mask, and as written.
    Mask(HostMask, Box<str>),
    Regex(Regex),
}

/// Compiles a server. `end` is the place of the `}` of `http`.
pub(super) fn compile(scope: &Scope<'_, '_>, end: &Place, compiler: &mut Compiler) -> Result<Compiled, Fault> {
    let (name, names) = server_names(scope, compiler)?;
    let listens = listens(scope, compiler)?;
    let root = location::root(scope, end, compiler)?;
    let within = location::within(scope, end, compiler)?;
    let tls_wanted = listens.iter().find(|listen| listen.ssl).and(scope.level.node).map(|node| node.place.to_string());
    let tls = tls::compile(scope, tls_wanted.as_deref(), compiler)?;
    let server = Server {
        name,
        root,
        locations: within.locations,
        named: within.named,
        tls,
        client_header_timeout: scope.quantity("client_header_timeout"),
        large_client_header_buffers: header_buffers(scope)?,
        merge_slashes: scope.flag("merge_slashes"),
        underscores_in_headers: scope.flag("underscores_in_headers"),
        ignore_invalid_headers: scope.flag("ignore_invalid_headers"),
        origin: scope.level.node.map(|node| node.place.to_string()).unwrap_or_default().into(),
        pushes: uses_module(scope.level),
        foreign: site::of_server(scope.level, scope, compiler).map(Into::into),
    };
    guard::follow_asks(&server, compiler);
    Ok(Compiled { server: Arc::new(server), names, listens })
}

/// Whether the block or a location in it has a mode.
pub(super) fn uses_module(level: &Level<'_>) -> bool {
    level.has_mode || level.blocks.iter().any(uses_module)
}

fn header_buffers(scope: &Scope<'_, '_>) -> Result<(usize, usize), Fault> {
    let Some(entry) = scope.entry("large_client_header_buffers") else { return Ok((4, 8192)) };
    let count = units::number(entry.node.arg(0)).filter(|count| *count > 0);
    let size = units::size(entry.node.arg(1)).filter(|size| *size > 0);
    match (count.map(usize::try_from), size.map(usize::try_from)) {
        (Some(Ok(count)), Some(Ok(size))) => Ok((count, size)),
        _ => Err(invalid_value(entry.node)),
    }
}

fn listens(scope: &Scope<'_, '_>, compiler: &mut Compiler) -> Result<Vec<Listen>, Fault> {
    let entries = scope.level.own("listen");
    let mut listens = Vec::new();
    for entry in entries {
        listens.extend(listen::read(entry.node, compiler)?);
    }
    if entries.is_empty() {
        listens.extend(scope.level.node.map(Listen::default_of));
    }
    if scope.flag("ssl")
        && let Some(entry) = scope.entry("ssl")
    {
        let text = "the \"ssl\" directive is deprecated, use the \"listen ... ssl\" directive instead";
        compiler.warn(text, &entry.node.place);
        for listen in &mut listens {
            listen.ssl = true;
        }
    }
    if scope.flag("http2") {
        for listen in &mut listens {
            listen.http2 = true;
        }
    }
    Ok(listens)
}

/// The first name for `$server_name`, and all of them.
fn server_names(scope: &Scope<'_, '_>, compiler: &mut Compiler) -> Result<(Box<str>, Vec<Name>), Fault> {
    let mut first: Option<Box<str>> = None;
    let mut names = Vec::new();
    for entry in scope.level.own("server_name") {
        for word in entry.node.args() {
            let (shown_name, name) = server_name(entry.node, word, compiler)?;
            first.get_or_insert(shown_name);
            names.push(name);
        }
    }
    if names.is_empty() {
        names.push(Name::Exact("".into()));
    }
    Ok((first.unwrap_or_default(), names))
}

pub(super) fn server_name(node: &Node, word: &[u8], compiler: &mut Compiler) -> Result<(Box<str>, Name), Fault> {
    let text = shown(word);
    if let Some(pattern) = word.strip_prefix(b"~") {
        if pattern.is_empty() {
            return Err(Fault::emerg(format_args!("empty regex in server name \"{text}\""), &node.place));
        }
        let regex = complex::regex(pattern, true, &mut compiler.namespace, &node.place)?;
        return Ok((text.into(), Name::Regex(regex)));
    }
    if text == "$hostname" {
        let own: Box<str> = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().into();
        return Ok((own.clone(), Name::Exact(own.to_ascii_lowercase().into())));
    }
    if word.contains(&b'/') {
        compiler.warn(format_args!("server name \"{text}\" has suspicious symbols"), &node.place);
    }
    let lower = text.to_ascii_lowercase();
    if let Some(mask) = host_mask(lower.as_bytes()) {
        return Ok((text.strip_prefix('.').unwrap_or(&text).into(), Name::Mask(mask, lower.into())));
    }
    if lower.contains('*') {
        return Err(Fault::emerg(format_args!("invalid server name or wildcard \"{text}\""), &node.place));
    }
    Ok((text.into(), Name::Exact(lower.into())))
}
