//! A connection to a server: TCP, or TLS over it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::ToolError;
use super::address::Address;

/// How long a server may take to accept.
const PATIENCE: Duration = Duration::from_secs(10);

/// Something that carries bytes both ways.
pub(super) trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

/// A connection.
pub(super) type Line = Box<dyn Wire>;

/// Whom to trust; read when it is first needed.
#[derive(Clone, Default)]
pub(super) struct Trust(Option<Arc<ClientConfig>>);

impl Trust {
    /// The authorities of the system, and those of a file. `needed`: only where there is TLS at all.
    pub(super) fn new(cacert: Option<&Path>, needed: bool) -> Result<Self, ToolError> {
        if !needed {
            return Ok(Self(None));
        }
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if let Some(file) = cacert {
            let wrong = |why: String| ToolError::Asked(format!("{}: {why}", file.display()));
            let found = CertificateDer::pem_file_iter(file).map_err(|error| wrong(error.to_string()))?;
            for certificate in found {
                let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
                roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
            }
        }
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        Ok(Self(Some(Arc::new(config))))
    }
}

/// Connects.
pub(super) async fn open(address: &Address, trust: &Trust) -> Result<Line, ToolError> {
    let lost = |why: String| ToolError::Lost { place: address.place(), why };
    let host = address.host.trim_matches(['[', ']']);
    let connecting = tokio::time::timeout(PATIENCE, TcpStream::connect((host, address.port)));
    let stream = connecting.await.map_err(|_| lost("does not answer".to_owned()))?;
    let stream = stream.map_err(|error| lost(error.to_string()))?;
    stream.set_nodelay(true)?;
    let Some(config) = trust.0.as_ref().filter(|_| address.tls) else { return Ok(Box::new(stream)) };
    let name = ServerName::try_from(host.to_owned()).map_err(|error| lost(error.to_string()))?;
    let shaking = tokio::time::timeout(PATIENCE, TlsConnector::from(Arc::clone(config)).connect(name, stream));
    let stream = shaking.await.map_err(|_| lost("does not shake hands".to_owned()))?;
    Ok(Box::new(stream.map_err(|error| lost(error.to_string()))?))
}
