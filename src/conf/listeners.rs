//! The sockets of a configuration, and the servers behind each, chosen by name.

use std::collections::HashMap;
use std::sync::Arc;

use ahash::AHashMap;

use super::compiler::Compiler;
use super::error::{Fault, Note};
use super::listen::{Listen, display};
use super::server::Compiled;
use super::server_name::Name;
use super::settings::{ListenAddress, Listener, LogLevel, Regex, Server, ServerNames};
use super::tables::sort_masks;
use super::variable::HostMask;

/// A socket and the servers that name it, in file order.
struct Socket<'c> {
    listen: Listen,
    options_from: Option<usize>,
    default: Option<usize>,
    servers: Vec<(usize, &'c Compiled)>,
}

/// The listeners of all servers.
pub(super) fn compile(servers: &[Compiled], compiler: &mut Compiler) -> Result<Vec<Listener>, Fault> {
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
