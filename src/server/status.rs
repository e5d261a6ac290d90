//! The operators' listener: bound at start, handed to a successor, closed at the end. What is told there is `status`' business.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::{ArcSwap, ArcSwapOption};
use rustls::ServerConfig;
use tokio::task::JoinHandle;

use super::holder;
use super::inherited::Inherited;
use super::listen::{self, Bound};
use super::tls::TlsSite;
use super::worker_thread::Shared;
use crate::conf::settings::ListenAddress;
use crate::status::{self, Guard, Sources, Zone};

const BACKLOG: i32 = 64;

/// The listener, if there is to be one.
#[derive(Default)]
pub(super) struct Desk {
    bound: Option<Bound>,
    serving: Option<JoinHandle<io::Result<()>>>,
    leaving: Arc<AtomicBool>,
    zones: Arc<ArcSwap<Vec<Zone>>>,
    certificates: Arc<ArcSwap<Vec<(String, i64)>>>,
    tls: Arc<ArcSwapOption<ServerConfig>>,
    guard: Guard,
    messages: bool,
}

impl Desk {
    /// Binds the listener, so that a port in use is told at start; that of a predecessor is taken over. `messages`: their texts
    /// are shown.
    pub(super) fn bind(
        address: SocketAddr,
        guard: Guard,
        messages: bool,
        inherited: &mut Inherited,
    ) -> io::Result<Self> {
        let place = ListenAddress::Ip(address);
        let bound = match inherited.take(&place) {
            Some(sockets) => Bound { address: place, sockets },
            None => Bound { address: place, sockets: vec![listen::bind_alone(address, BACKLOG)?] },
        };
        Ok(Self { bound: Some(bound), guard, messages, ..Self::default() })
    }

    /// Its socket, for a successor.
    pub(super) fn bound(&self) -> Option<&Bound> {
        self.bound.as_ref()
    }

    /// Answers from now on. To be called in a runtime.
    pub(super) fn open(&mut self, shared: &Shared) {
        let sources = Sources {
            zones: Arc::clone(&self.zones),
            tally: Arc::clone(&shared.tally),
            reloads: Arc::clone(&shared.reloads),
            certificates: Arc::clone(&self.certificates),
            leaving: Arc::clone(&self.leaving),
            messages: self.messages,
        };
        let tls = self.tls.load().is_some().then(|| Arc::clone(&self.tls));
        self.leaving.store(false, Ordering::Relaxed);
        let copies = self.bound.iter().flat_map(|bound| &bound.sockets).filter_map(|socket| socket.try_clone().ok());
        if let Some(socket) = copies.into_iter().next() {
            self.serving = Some(tokio::spawn(status::serve(socket.into(), tls, sources, self.guard.clone())));
        }
    }

    /// Tells of these zones from now on.
    pub(super) fn take_zones(&self, zones: Vec<Zone>) {
        self.zones.store(Arc::new(zones));
    }

    /// Tells of these certificates from now on, and shows its own to whoever comes.
    pub(super) fn take_certificates(&self, tls: &TlsSite) {
        self.certificates.store(Arc::new(tls.expiries()));
        // With TLS or without is settled at the start.
        if let Some(own) = tls.of_status() {
            self.tls.store(Some(own));
        }
    }

    /// Says that the server is about to end.
    pub(super) fn leave(&self) {
        self.leaving.store(true, Ordering::Relaxed);
    }

    /// Leaves new questions to a successor.
    pub(super) fn close(&mut self) {
        self.leave();
        if let Some(serving) = self.serving.take() {
            serving.abort();
        }
    }
}

/// Says where both the operators' listener and a `listen` would be.
pub(super) fn is_apart<'l>(
    address: SocketAddr,
    mut listens: impl Iterator<Item = &'l ListenAddress>,
) -> anyhow::Result<()> {
    // Sockets of the two families are apart unless one asks for both; then the kernel tells.
    let meets = |ip: &SocketAddr| ip.is_ipv4() == address.is_ipv4() && holder::collides(ip, &address);
    match listens.find(|listen| matches!(listen, ListenAddress::Ip(ip) if meets(ip))) {
        Some(listen) => {
            let listen = listen::shown(listen);
            anyhow::bail!(
                "\"push_stream_status\" wants {address}, which \"listen\" {listen} has: give it a port of its own"
            )
        }
        None => Ok(()),
    }
}

/// What may be seen on an address: without a token everything on the loopback interface, elsewhere health.
pub(super) fn guard(address: SocketAddr, token_file: Option<&Path>) -> anyhow::Result<Guard> {
    let Some(file) = token_file else {
        return Ok(if address.ip().to_canonical().is_loopback() { Guard::Open } else { Guard::Closed });
    };
    let text = std::fs::read(file)
        .map_err(|error| anyhow::anyhow!("open() \"{}\" failed ({})", file.display(), listen::errno_text(&error)))?;
    let token = text.trim_ascii();
    anyhow::ensure!(!token.is_empty(), "there is no token in \"{}\"", file.display());
    Ok(Guard::Token(token.into()))
}
