//! `pushstreamd health`: asks a running server, as a balancer would, whether it is ready.
//!
//! For containers without a shell and for scripts. Knows only the listener of `--status`; waits a bounded time. It tells nothing
//! secret and asks for no more than a word, so on the loopback interface whoever listens is believed, with TLS or without:
//! no certificate is of that address. Elsewhere TLS needs the certificate that has to be shown.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::cli::console::{print, say};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};

/// How long each step of the question may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// More than this the answer cannot be.
const LONGEST: u64 = 4096;
/// How an answer of TLS to a question without it begins.
const ALERT: u8 = 0x15;

/// Prints what the server says of itself; 0 when it is ready. `certificate`: the file whose first certificate it has to show.
pub(super) fn ask(address: SocketAddr, certificate: Option<&Path>) -> u8 {
    match answer(address, certificate, address.ip().to_canonical().is_loopback()) {
        Ok((200, said)) => print(format!("{said}\n").as_bytes()),
        Ok((_, said)) => {
            say(format_args!("pushstreamd: [error] {address} says: {said}"));
            1
        }
        Err(error) => {
            say(format_args!("pushstreamd: [error] {address} does not answer: {error}"));
            1
        }
    }
}

/// Status and text of `/readyz`. `believed`: with any certificate, where none is wanted.
fn answer(address: SocketAddr, certificate: Option<&Path>, believed: bool) -> io::Result<(u16, String)> {
    let wanted = certificate.map(first_of).transpose()?;
    if wanted.is_none() {
        let said = question(&mut connect(address)?, address)?;
        if said.first() != Some(&ALERT) {
            return understood(&said);
        }
        if !believed {
            return Err(io::Error::other("it speaks TLS: --certificate FILE names the certificate it has to show"));
        }
    }
    let session = ClientConnection::new(config(wanted)?, ServerName::from(address.ip())).map_err(io::Error::other)?;
    understood(&question(&mut StreamOwned::new(session, connect(address)?), address)?)
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// What comes back, to the end.
fn question(stream: &mut (impl Read + Write), address: SocketAddr) -> io::Result<Vec<u8>> {
    stream.write_all(format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut said = Vec::new();
    match stream.take(LONGEST).read_to_end(&mut said) {
        Err(error) if said.is_empty() => Err(error),
        // Some hang up without a word of TLS.
        _ => Ok(said),
    }
}

fn understood(said: &[u8]) -> io::Result<(u16, String)> {
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let mut head = httparse::Response::new(&mut fields);
    let parsed = head.parse(said).map_err(io::Error::other)?;
    match (parsed, head.code) {
        (httparse::Status::Complete(end), Some(code)) => {
            let text = String::from_utf8_lossy(said.get(end..).unwrap_or_default());
            Ok((code, text.trim().to_owned()))
        }
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

fn first_of(file: &Path) -> io::Result<CertificateDer<'static>> {
    CertificateDer::from_pem_file(file).map_err(|error| io::Error::other(format!("{}: {error}", file.display())))
}

fn config(wanted: Option<CertificateDer<'static>>) -> io::Result<Arc<ClientConfig>> {
    let provider = Arc::new(ring::default_provider());
    let verifier = Arc::new(Shown { wanted, provider: Arc::clone(&provider) });
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(io::Error::other)?.dangerous().with_custom_certificate_verifier(verifier);
    Ok(Arc::new(builder.with_no_client_auth()))
}

/// Takes the certificate that is wanted, or any; that the server has its key is proven in any case.
#[derive(Debug)]
struct Shown {
    wanted: Option<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Shown {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.wanted.as_ref().is_some_and(|wanted| wanted != end_entity) {
            return Err(rustls::Error::General("it shows another certificate".to_owned()));
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// A server that gives one answer.
    fn saying(text: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = [0; 512];
            let _ = stream.read(&mut asked).unwrap();
            stream.write_all(text.as_bytes()).unwrap();
        });
        address
    }

    #[test]
    fn only_a_server_that_says_so_is_ready() {
        assert_eq!(ask(saying("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nready\n"), None), 0);
        assert_eq!(ask(saying("HTTP/1.1 503 Service Unavailable\r\n\r\nending\n"), None), 1);
        assert_eq!(ask(saying("HTTP/1.1 2"), None), 1);
        assert_eq!(ask(saying(""), None), 1);
    }

    #[test]
    fn tls_elsewhere_needs_the_certificate_that_has_to_be_shown() {
        let refused = answer(saying("\u{15}\u{3}\u{3}\0\u{2}\u{2}F"), None, false).unwrap_err();
        assert!(refused.to_string().contains("--certificate"), "{refused}");
        let missing = answer(saying(""), Some(Path::new("/nowhere.pem")), false).unwrap_err();
        assert!(missing.to_string().contains("/nowhere.pem"), "{missing}");
    }

    #[test]
    fn a_port_nobody_listens_on_is_not_ready() {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert_eq!(ask(address, None), 1);
    }
}
