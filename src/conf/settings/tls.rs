//! TLS of a server.

use std::path::PathBuf;

/// TLS of a server.
#[derive(Debug)]
#[expect(missing_docs, reason = "each is nginx's directive of the same name without ssl_")]
pub struct Tls {
    pub certificates: Vec<(PathBuf, PathBuf)>,
    /// `ssl_reject_handshake`
    pub rejects: bool,
    pub protocols: Vec<TlsVersion>,
    pub ciphers: Option<String>,
    pub client_certificate: Option<PathBuf>,
    pub verify_client: VerifyClient,
    pub session_tickets: bool,
    pub session_timeout: u64,
}

/// TLS versions of `ssl_protocols` (older ones are reported and left out).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "nginx's names")]
pub enum TlsVersion {
    V12,
    V13,
}

/// `ssl_verify_client`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "nginx's names")]
pub enum VerifyClient {
    Off,
    On,
    Optional,
    OptionalNoCa,
}
