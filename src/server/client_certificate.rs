//! Client certificates: every client gets through the handshake, and a verdict is kept for the HTTP answer.
//!
//! A client must prove that the key is its own in any case; whether somebody trusted has signed the certificate is asked
//! after the handshake, because nginx tells that with a page and not with an alert.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

use super::certificates::{self, TlsError};
use crate::conf::settings::Tls;

/// Asks for a certificate, and takes any.
#[derive(Debug)]
pub(super) struct ClientCertificates {
    provider: Arc<CryptoProvider>,
    /// Judges; without authorities nobody does.
    judge: Option<Arc<dyn ClientCertVerifier>>,
}

/// What is thought of a client's certificate.
pub(super) struct Verdict {
    /// `SUCCESS`, `FAILED:reason` or `NONE`.
    pub text: String,
    /// The certificate is sound, but signed by nobody who is trusted.
    pub issuer_unknown: bool,
}

impl ClientCertificates {
    pub(super) fn new(tls: &Tls, provider: &Arc<CryptoProvider>) -> Result<Self, TlsError> {
        let judge = match &tls.client_certificate {
            None => None,
            Some(path) => {
                let roots = Arc::new(certificates::authorities(path)?);
                let judge = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider)).build();
                Some(judge.map_err(|error| TlsError::Authorities { path: path.clone(), reason: error.to_string() })?)
            }
        };
        Ok(Self { provider: Arc::clone(provider), judge })
    }

    /// Judges the chain a client has sent.
    pub(super) fn verdict(&self, chain: &[CertificateDer<'_>]) -> Verdict {
        let Some((own, above)) = chain.split_first() else {
            return Verdict { text: "NONE".to_owned(), issuer_unknown: false };
        };
        let judged = match &self.judge {
            Some(judge) => judge.verify_client_cert(own, above, UnixTime::now()).map(|_| ()),
            None => Err(CertificateError::UnknownIssuer.into()),
        };
        match judged {
            Ok(()) => Verdict { text: "SUCCESS".to_owned(), issuer_unknown: false },
            Err(error) => Verdict { text: format!("FAILED:{}", reason(&error)), issuer_unknown: !is_unsound(&error) },
        }
    }
}

/// Whether the certificate is bad whoever has signed it.
fn is_unsound(error: &Error) -> bool {
    matches!(
        error,
        Error::InvalidCertificate(
            CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. }
                | CertificateError::BadSignature
                | CertificateError::BadEncoding
                | CertificateError::Revoked
        )
    )
}

/// OpenSSL's words for the common reasons.
fn reason(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "unable to get local issuer certificate".to_owned()
        }
        Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            "certificate has expired".to_owned()
        }
        Error::InvalidCertificate(CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. }) => {
            "certificate is not yet valid".to_owned()
        }
        Error::InvalidCertificate(CertificateError::BadSignature) => "certificate signature failure".to_owned(),
        Error::InvalidCertificate(
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. },
        ) => "unsupported certificate purpose".to_owned(),
        other => other.to_string(),
    }
}

impl ClientCertVerifier for ClientCertificates {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.judge.as_ref().map(|judge| judge.root_hint_subjects()).unwrap_or_default()
    }

    fn verify_client_cert(
        &self,
        _own: &CertificateDer<'_>,
        _above: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
