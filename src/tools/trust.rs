//! Whom the tools trust: the authorities of the system, those of a file, and a server whose own certificate is that file.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::ToolError;

/// Whom to trust; nobody, where there is no TLS.
#[derive(Clone, Default)]
pub(super) struct Trust(Option<Arc<ClientConfig>>);

impl Trust {
    /// The authorities of the system, and the certificates of a file. `needed`: only where there is TLS at all.
    pub(super) fn new(cacert: Option<&Path>, needed: bool) -> Result<Self, ToolError> {
        if !needed {
            return Ok(Self(None));
        }
        let named = cacert.map(certificates).transpose()?.unwrap_or_default();
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        roots.add_parsable_certificates(named.iter().cloned());
        let nobody =
            |_| ToolError::Asked("no authority is known here: install ca-certificates, or --cacert".to_owned());
        let by_authorities = WebPkiServerVerifier::builder(Arc::new(roots)).build().map_err(nobody)?;
        let verifier = Arc::new(Verifier { by_authorities, named });
        let builder = ClientConfig::builder().dangerous().with_custom_certificate_verifier(verifier);
        Ok(Self(Some(Arc::new(builder.with_no_client_auth()))))
    }

    pub(super) fn config(&self) -> Result<Arc<ClientConfig>, ToolError> {
        self.0.clone().ok_or_else(|| ToolError::Asked("TLS without anybody to trust".to_owned()))
    }
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, ToolError> {
    let wrong = |why: String| ToolError::Asked(format!("{}: {why}", file.display()));
    let found: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(file).map_err(|error| wrong(error.to_string()))?.collect();
    let found = found.map_err(|error| wrong(error.to_string()))?;
    if found.is_empty() { Err(wrong("no certificate is in it".to_owned())) } else { Ok(found) }
}

/// As the library judges, but for one thing: a certificate that was named is also one of a server. `openssl req -x509` makes them
/// authorities, which the library does not take for servers, and people name them all the same.
#[derive(Debug)]
struct Verifier {
    by_authorities: Arc<WebPkiServerVerifier>,
    named: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let judged = self.by_authorities.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match judged {
            // Its time was looked at before, its name was not.
            Err(Error::InvalidCertificate(CertificateError::Other(_)))
                if self.named.iter().any(|named| named == end_entity) =>
            {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            judged => judged,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.by_authorities.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.by_authorities.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.by_authorities.supported_verify_schemes()
    }
}
