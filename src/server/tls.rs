//! TLS of all listeners: for each server its certificates, versions, suites and client certificates, chosen by SNI.
//!
//! Made of a configuration as a whole and shared by all workers, so that a session resumes on any of them. Does not know
//! sockets. Invariant: what is built here works; files that do not are told before anything is served.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use hashbrown::HashMap;
use rustls::crypto::{CryptoProvider, GetRandomFailed, ring};
use rustls::server::{NoServerSessionStorage, ProducesTickets, ServerConfig, ServerSessionMemoryCache};
use rustls::ticketer::TicketRotator;
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConnection, SupportedCipherSuite, SupportedProtocolVersion};

use super::certificates::{self, Certificates, TlsError};
use super::ciphers;
use super::client_certificate::ClientCertificates;
use super::distinguished_name;
use super::expiry::expiry;
use crate::conf::Note;
use crate::conf::settings::{Listener, LogLevel, Server, ServerNames, Settings, Tls, TlsVersion, VerifyClient};
use crate::request::peer::TlsInfo;
use crate::site::server_name::find_server;

/// Sessions of clients without tickets that are remembered for each server.
const SESSIONS: usize = 4096;
const PROTOCOLS: [&[u8]; 4] = [b"h2", b"http/1.1", b"http/1.0", b"http/0.9"];

/// TLS by listener, in the order of the settings.
#[derive(Default)]
pub(super) struct TlsSite {
    listeners: Vec<Option<ListenerTls>>,
    /// What the configuration asks for and does not get.
    notes: Vec<String>,
    /// When each certificate ends, by its file.
    expiries: BTreeMap<String, i64>,
    /// That of the operators' listener.
    status: Option<Arc<ServerConfig>>,
}

struct ListenerTls {
    names: ServerNames,
    /// By the address of their settings, which `names` keeps alive.
    servers: HashMap<usize, Arc<ServerTls>>,
}

/// TLS of a server.
pub(super) struct ServerTls {
    /// For a connection of it.
    pub(super) config: Arc<ServerConfig>,
    clients: Option<Arc<ClientCertificates>>,
    /// Nobody is shown a certificate.
    pub(super) rejects: bool,
}

impl TlsSite {
    /// Reads all certificates of a configuration.
    pub(super) fn build(settings: &Settings) -> Result<Self, TlsError> {
        let mut site = Self::default();
        for listener in &settings.listeners {
            let tls = if listener.ssl { Some(site.listener(listener)?) } else { None };
            site.listeners.push(tls);
        }
        if let Some(pair) = &settings.status.certificate {
            site.status = Some(ServerTls::build(&usual(pair.clone()), false, &mut site)?.config);
        }
        site.notes.sort();
        site.notes.dedup();
        Ok(site)
    }

    fn listener(&mut self, listener: &Listener) -> Result<ListenerTls, TlsError> {
        let mut servers = HashMap::new();
        for server in listener.names.all() {
            let Some(tls) = &server.tls else { continue };
            let key = Arc::as_ptr(tls).addr();
            if !servers.contains_key(&key) {
                let built = ServerTls::build(tls, listener.http2, self)?;
                servers.insert(key, Arc::new(built));
            }
        }
        Ok(ListenerTls { names: listener.names.clone(), servers })
    }

    /// What the configuration asks for and does not get.
    pub(super) fn warnings(&self) -> Vec<Note> {
        self.notes.iter().map(|text| Note { level: LogLevel::Warn, text: text.clone() }).collect()
    }

    /// When each certificate ends, seconds since the epoch, by its file.
    pub(super) fn expiries(&self) -> Vec<(String, i64)> {
        self.expiries.iter().map(|(file, end)| (file.clone(), *end)).collect()
    }

    /// TLS of the operators' listener, if it has any.
    pub(super) fn of_status(&self) -> Option<Arc<ServerConfig>> {
        self.status.clone()
    }

    /// TLS for a client of listener number `index` that asks for this name.
    pub(super) fn choose(&self, index: usize, name: Option<&str>) -> Option<Arc<ServerTls>> {
        let listener = self.listeners.get(index)?.as_ref()?;
        let asked = name.map(str::to_ascii_lowercase);
        let server = asked.map_or(&listener.names.default, |name| find_server(&listener.names, name.as_bytes()).0);
        listener.of(server).or_else(|| listener.of(&listener.names.default))
    }
}

impl ListenerTls {
    fn of(&self, server: &Server) -> Option<Arc<ServerTls>> {
        self.servers.get(&Arc::as_ptr(server.tls.as_ref()?).addr()).cloned()
    }
}

impl ServerTls {
    fn build(tls: &Tls, http2: bool, site: &mut TlsSite) -> Result<Self, TlsError> {
        let provider = Arc::new(provider(tls, &mut site.notes));
        let mut certificates = Certificates(Vec::new());
        for (certificate, key) in &tls.certificates {
            let certified = certificates::load(certificate, key, &provider)?;
            let end = certified.cert.first().and_then(|leaf| expiry(leaf));
            site.expiries.extend(end.map(|end| (certificate.display().to_string(), end)));
            certificates.0.push(Arc::new(certified));
        }
        let clients = match tls.verify_client {
            VerifyClient::Off => None,
            _ => Some(Arc::new(ClientCertificates::new(tls, &provider)?)),
        };
        let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(&versions(tls))?;
        let builder = match &clients {
            None => builder.with_no_client_auth(),
            Some(clients) => builder.with_client_cert_verifier(Arc::clone(clients) as _),
        };
        let mut config = builder.with_cert_resolver(Arc::new(certificates));
        let offered = if http2 { &PROTOCOLS[..] } else { &PROTOCOLS[1..] };
        config.alpn_protocols = offered.iter().map(|name| name.to_vec()).collect();
        let lifetime = u32::try_from(tls.session_timeout / 1000).unwrap_or(u32::MAX);
        if lifetime == 0 {
            config.session_storage = Arc::new(NoServerSessionStorage {});
        } else {
            config.session_storage = ServerSessionMemoryCache::new(SESSIONS);
            if tls.session_tickets {
                config.ticketer = Arc::new(TicketRotator::new(lifetime, sealed)?);
            }
        }
        Ok(Self { config: Arc::new(config), clients, rejects: tls.rejects })
    }

    /// What the handshake has settled.
    pub(super) fn info(&self, session: &ServerConnection) -> TlsInfo {
        let chain = session.peer_certificates().unwrap_or_default();
        let verdict = self.clients.as_ref().map(|clients| clients.verdict(chain));
        TlsInfo {
            protocol: session
                .protocol_version()
                .and_then(|version| version.as_str())
                .unwrap_or_default()
                .replace('_', "."),
            cipher: session.negotiated_cipher_suite().map(ciphers::name).unwrap_or_default(),
            server_name: session.server_name().map(str::to_ascii_lowercase),
            client_dn: chain.first().and_then(|certificate| distinguished_name::subject(certificate)),
            issuer_unknown: verdict.as_ref().is_some_and(|verdict| verdict.issuer_unknown),
            verify: verdict.map_or_else(|| "NONE".to_owned(), |verdict| verdict.text),
        }
    }
}

/// What nginx makes of a certificate if nothing else is said.
fn usual(certificate: (PathBuf, PathBuf)) -> Tls {
    Tls {
        certificates: vec![certificate],
        rejects: false,
        protocols: vec![TlsVersion::V12, TlsVersion::V13],
        ciphers: None,
        client_certificate: None,
        verify_client: VerifyClient::Off,
        session_tickets: true,
        session_timeout: 300_000,
    }
}

fn versions(tls: &Tls) -> Vec<&'static SupportedProtocolVersion> {
    tls.protocols
        .iter()
        .map(|version| match version {
            TlsVersion::V12 => &TLS12,
            TlsVersion::V13 => &TLS13,
        })
        .collect()
}

/// The library with the suites that `ssl_ciphers` leaves of it, in its order.
fn provider(tls: &Tls, notes: &mut Vec<String>) -> CryptoProvider {
    let mut provider = ring::default_provider();
    let Some(list) = &tls.ciphers else { return provider };
    let chosen = ciphers::choose(list);
    if !chosen.unknown.is_empty() {
        notes.push(format!("ssl_ciphers: not spoken and left out: {}", chosen.unknown.join(":")));
    }
    if chosen.suites.is_empty() {
        if tls.protocols.contains(&TlsVersion::V12) {
            notes.push(format!("ssl_ciphers \"{list}\" leaves no suite of TLS 1.2; all that are safe are used"));
        }
        return provider;
    }
    let (newer, older): (Vec<SupportedCipherSuite>, Vec<_>) =
        provider.cipher_suites.iter().partition(|suite| suite.tls13().is_some());
    let older = chosen.suites.iter().filter_map(|name| older.iter().find(|suite| suite.suite() == *name));
    provider.cipher_suites = newer.iter().chain(older).copied().collect();
    provider
}

/// One key for tickets; the rotator asks for another when its time is over.
fn sealed() -> Result<Box<dyn ProducesTickets>, GetRandomFailed> {
    Ok(Box::new(Sealed(ring::Ticketer::new().map_err(|_| GetRandomFailed)?)))
}

#[derive(Debug)]
struct Sealed(Arc<dyn ProducesTickets>);

impl ProducesTickets for Sealed {
    fn enabled(&self) -> bool {
        self.0.enabled()
    }

    fn lifetime(&self) -> u32 {
        self.0.lifetime()
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.0.encrypt(plain)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.0.decrypt(cipher)
    }
}
