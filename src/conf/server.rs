//! A `server` block: its names, its sockets, its locations, its TLS.
//!
//! Puts together what the neighbours compile.

use std::sync::Arc;

use super::compiler::Compiler;
use super::error::{Fault, Place};
use super::listen::{self, Listen};
use super::location;
use super::objection::invalid_value;
use super::scope::Scope;
use super::server_name::{self, Name};
use super::settings::Server;
use super::units;
use super::{guard, site, tls, zone};

/// A server and what its sockets need of it.
pub(super) struct Compiled {
    pub(super) server: Arc<Server>,
    pub(super) names: Vec<Name>,
    pub(super) listens: Vec<Listen>,
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
        zone: zone::number(scope, compiler)?,
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
        pushes: scope.level.uses_module(),
        foreign: site::of_server(scope.level, scope, compiler).map(Into::into),
    };
    guard::follow_asks(&server, compiler);
    Ok(Compiled { server: Arc::new(server), names, listens })
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
            let (shown_name, name) = server_name::read(entry.node, word, compiler)?;
            first.get_or_insert(shown_name);
            names.push(name);
        }
    }
    if names.is_empty() {
        names.push(Name::Exact("".into()));
    }
    Ok((first.unwrap_or_default(), names))
}
