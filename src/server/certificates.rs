//! Certificates and keys from PEM files, and the choice among several by what a client can check.
//!
//! Knows files and nginx's messages about them; which server they belong to is the caller's business.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, Error, InconsistentKeys, RootCertStore, SignatureAlgorithm};
use thiserror::Error;

use super::ciphers;

/// Why TLS cannot be set up, in nginx's words.
#[derive(Debug, Error)]
pub(super) enum TlsError {
    /// The file cannot be read, or holds no certificate.
    #[error("cannot load certificate \"{}\": PEM_read_bio_X509_AUX() failed ({reason})", .path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The file cannot be read, or holds no key that can be used.
    #[error("cannot load certificate key \"{}\": PEM_read_bio_PrivateKey() failed ({reason})", .path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The key is another certificate's.
    #[error("SSL_CTX_use_PrivateKey(\"{}\") failed (key values mismatch)", .0.display())]
    Mismatch(PathBuf),
    /// The authorities of clients cannot be used.
    #[error("SSL_CTX_load_verify_locations(\"{}\") failed ({reason})", .path.display())]
    Authorities {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The library refuses the combination.
    #[error("SSL_CTX_new() failed ({0})")]
    Library(#[from] Error),
}

/// Loads a chain with its key.
pub(super) fn load(certificate: &Path, key: &Path, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let unusable = |reason: String| TlsError::Certificate { path: certificate.to_owned(), reason };
    let chain = chain(certificate).map_err(unusable)?;
    let bad_key = |reason: String| TlsError::Key { path: key.to_owned(), reason };
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| bad_key(told(&error, "no start line")))?;
    let secret = provider.key_provider.load_private_key(secret).map_err(|error| bad_key(error.to_string()))?;
    let certified = CertifiedKey::new(chain, secret);
    match certified.keys_match() {
        Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => Err(TlsError::Mismatch(key.to_owned())),
        Err(Error::InvalidCertificate(CertificateError::BadEncoding)) => Err(unusable("bad encoding".to_owned())),
        // Odd certificates (X.509 version 1) are clients' to judge.
        _ => Ok(certified),
    }
}

/// Loads the authorities client certificates are checked against.
pub(super) fn authorities(path: &Path) -> Result<RootCertStore, TlsError> {
    let unusable = |reason: String| TlsError::Authorities { path: path.to_owned(), reason };
    let mut store = RootCertStore::empty();
    for certificate in chain(path).map_err(unusable)? {
        store.add(certificate).map_err(|error| unusable(error.to_string()))?;
    }
    Ok(store)
}

fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let chain = chain.map_err(|error| told(&error, "no start line"))?;
    if chain.is_empty() { Err("no start line".to_owned()) } else { Ok(chain) }
}

fn told(error: &pem::Error, nothing: &str) -> String {
    match error {
        pem::Error::NoItemsFound => nothing.to_owned(),
        pem::Error::Io(error) => super::listen::errno_text(error),
        other => other.to_string(),
    }
}

/// The certificates of one server, one for each kind of key.
#[derive(Debug)]
pub(super) struct Certificates(pub Vec<Arc<CertifiedKey>>);

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let fits = |certified: &&Arc<CertifiedKey>| {
            let signs = certified.key.choose_scheme(hello.signature_schemes()).is_some();
            let is_ecdsa = certified.key.algorithm() != SignatureAlgorithm::RSA;
            let suites = hello.cipher_suites();
            signs && suites.iter().any(|&suite| ciphers::is_tls13(suite) || ciphers::is_for_ecdsa(suite) == is_ecdsa)
        };
        // The cheaper signature first, as OpenSSL's order of suites has it.
        let fitting = || self.0.iter().filter(fits);
        let small = fitting().find(|certified| certified.key.algorithm() != SignatureAlgorithm::RSA);
        small.or_else(|| fitting().next()).or(self.0.first()).cloned()
    }
}
