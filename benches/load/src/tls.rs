//! The TLS of clients and of servers under measurement.

use std::fs;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use anyhow::Result;
use rcgen::{CertificateParams, KeyPair};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme};

/// Writes `own.crt` and `own.key`, self-signed, into a directory.
pub(crate) fn write_certificate(home: &Path) -> Result<()> {
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new(vec![NAME.to_owned()])?.self_signed(&key)?;
    fs::write(home.join("own.crt"), certificate.pem())?;
    fs::write(home.join("own.key"), key.serialize_pem())?;
    Ok(())
}

const NAME: &str = "load.example";

/// The client's side of a new session, never resumed.
pub(crate) fn session() -> Result<ClientConnection, Error> {
    let config = CONFIG.as_ref().map_err(Clone::clone)?;
    ClientConnection::new(Arc::clone(config), name()?)
}

/// The same for HTTP/2.
pub(crate) fn http2_session() -> Result<ClientConnection, Error> {
    let mut config = CONFIG.as_ref().map_err(Clone::clone)?.as_ref().clone();
    config.alpn_protocols = vec![b"h2".to_vec()];
    ClientConnection::new(Arc::new(config), name()?)
}

fn name() -> Result<ServerName<'static>, Error> {
    ServerName::try_from(NAME).map_err(|_| Error::General("a name".to_owned()))
}

static CONFIG: LazyLock<Result<Arc<ClientConfig>, Error>> = LazyLock::new(|| {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions()?.dangerous();
    let mut config = builder.with_custom_certificate_verifier(Arc::new(AnyServer)).with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled();
    Ok(Arc::new(config))
});

/// Who measures or attacks does not look at certificates.
#[derive(Debug)]
struct AnyServer;

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _own: &CertificateDer<'_>,
        _above: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _own: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _own: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
