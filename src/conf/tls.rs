//! TLS of a server: certificates by name, versions, client certificates.
//!
//! Files are only tried here, so that `-t` finds a missing one; reading and using them is the process's business.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::compiler::Compiler;
use super::error::{Fault, os_error, shown};
use super::objection::invalid_word;
use super::scope::Scope;
use super::settings::{Tls, TlsVersion, VerifyClient};

/// Compiles the values of a server that has a TLS socket or a certificate. `wanted` is the place of the socket.
pub(super) fn compile(
    scope: &Scope<'_, '_>,
    wanted: Option<&str>,
    compiler: &mut Compiler,
) -> Result<Option<Arc<Tls>>, Fault> {
    let certificates = scope.list("ssl_certificate");
    let rejects = scope.flag("ssl_reject_handshake");
    if certificates.is_empty() && !(rejects && wanted.is_some()) {
        return match wanted {
            Some(place) => Err(Fault::anywhere(format_args!(
                "no \"ssl_certificate\" is defined for the \"listen ... ssl\" directive in {place}"
            ))),
            None => Ok(None),
        };
    }
    let keys = scope.list("ssl_certificate_key");
    let mut pairs = Vec::new();
    for (index, entry) in certificates.iter().enumerate() {
        if entry.node.arg(0).contains(&b'$') {
            let text = "pushstreamd reads certificates when it starts: \"ssl_certificate\" cannot have variables";
            return Err(Fault::emerg(text, &entry.node.place));
        }
        let certificate = compiler.in_directory(entry.node.arg(0));
        let Some(key) = keys.get(index) else {
            let text = format!("no \"ssl_certificate_key\" is defined for certificate \"{}\"", certificate.display());
            return Err(Fault::anywhere(text));
        };
        let key = compiler.in_directory(key.node.arg(0));
        try_file("certificate", &certificate)?;
        try_file("certificate key", &key)?;
        pairs.push((certificate, key));
    }
    if let Some(entry) = scope.entry("ssl_client_certificate") {
        try_file("certificate", &compiler.in_directory(entry.node.arg(0)))?;
    }
    Ok(Some(Arc::new(Tls {
        certificates: pairs,
        rejects,
        protocols: protocols(scope, compiler)?,
        ciphers: scope.text("ssl_ciphers").map(|ciphers| shown(ciphers).into_owned()),
        client_certificate: scope.entry("ssl_client_certificate").map(|entry| compiler.in_directory(entry.node.arg(0))),
        verify_client: verify_client(scope)?,
        session_tickets: scope.flag("ssl_session_tickets"),
        session_timeout: scope.quantity("ssl_session_timeout").saturating_mul(1000),
    })))
}

fn try_file(what: &str, path: &Path) -> Result<(), Fault> {
    let read = std::fs::File::open(path).and_then(|mut file| std::io::Read::read(&mut file, &mut [0u8; 1]));
    read.map(|_| ()).map_err(|error| {
        let error = os_error(&error);
        Fault::anywhere(format_args!("cannot load {what} \"{}\": BIO_new_file() failed {error}", path.display()))
    })
}

/// Versions before 1.2 are not spoken; where nothing else is asked for, 1.2 and 1.3 are.
fn protocols(scope: &Scope<'_, '_>, compiler: &mut Compiler) -> Result<Vec<TlsVersion>, Fault> {
    let mut versions = Vec::new();
    for entry in scope.list("ssl_protocols") {
        for word in entry.node.args() {
            match word.as_slice() {
                b"TLSv1.2" => versions.push(TlsVersion::V12),
                b"TLSv1.3" => versions.push(TlsVersion::V13),
                b"SSLv2" | b"SSLv3" | b"TLSv1" | b"TLSv1.1" => compiler.note_unapplied_part(entry.node, word),
                word => return Err(invalid_word(entry.node, word)),
            }
        }
    }
    if versions.is_empty() {
        versions = vec![TlsVersion::V12, TlsVersion::V13];
    }
    Ok(versions)
}

fn verify_client(scope: &Scope<'_, '_>) -> Result<VerifyClient, Fault> {
    let Some(entry) = scope.entry("ssl_verify_client") else { return Ok(VerifyClient::Off) };
    let verify = match entry.node.arg(0) {
        b"off" => VerifyClient::Off,
        b"on" => VerifyClient::On,
        b"optional" => VerifyClient::Optional,
        b"optional_no_ca" => VerifyClient::OptionalNoCa,
        word => return Err(invalid_word(entry.node, word)),
    };
    let checks = matches!(verify, VerifyClient::On | VerifyClient::Optional);
    if checks && scope.entry("ssl_client_certificate").is_none() {
        return Err(Fault::anywhere("no ssl_client_certificate for ssl_verify_client"));
    }
    Ok(verify)
}

/// A missing `ssl_dhparam` file: its key exchange is not spoken here, so that it only matters to the strict.
pub(super) fn dhparam(path: &[u8], compiler: &Compiler) -> Option<String> {
    let path: PathBuf = compiler.in_directory(path);
    let error = std::fs::File::open(&path).err()?;
    Some(format!("BIO_new_file(\"{}\") failed {}", path.display(), os_error(&error)))
}
