//! The two ends of a connection, as far as a request can see them.
//!
//! Plain values filled in by the server when it accepts; one per connection, shared by all its requests.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// An end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerAddress {
    /// TCP.
    Ip(SocketAddr),
    /// A unix socket.
    Unix,
    /// Whoever brought the request does not say.
    Untold,
}

impl PeerAddress {
    /// The IP address; an IPv4 client of an IPv6 socket counts as IPv4.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Ip(address) => Some(address.ip().to_canonical()),
            Self::Unix | Self::Untold => None,
        }
    }

    /// The port.
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Ip(address) => Some(address.port()),
            Self::Unix | Self::Untold => None,
        }
    }
}

/// What the TLS handshake has settled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsInfo {
    /// `TLSv1.3`
    pub protocol: String,
    /// Cipher suite.
    pub cipher: String,
    /// Name asked for by SNI.
    pub server_name: Option<String>,
    /// Subject of the client certificate.
    pub client_dn: Option<String>,
    /// `SUCCESS`, `FAILED:reason` or `NONE`.
    pub verify: String,
    /// The certificate is sound, but nobody who is trusted has signed it.
    pub issuer_unknown: bool,
}

/// A connection.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The client (or the proxy in front of it).
    pub remote: PeerAddress,
    /// Our end.
    pub local: PeerAddress,
    /// Present on TLS connections.
    pub tls: Option<Arc<TlsInfo>>,
    /// The client named by the PROXY protocol.
    pub proxy: Option<SocketAddr>,
    /// Number of the connection (`$connection`).
    pub connection: u64,
}
