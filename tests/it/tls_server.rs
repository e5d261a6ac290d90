//! A running server with certificates made for it, and clients that trust them.

#![allow(dead_code, reason = "each test binary uses its own part")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, HandshakeKind, SignatureScheme, StreamOwned,
};

use crate::support::{PROMPTLY, Prefix, Running, free_port, said, within};

static NEWEST: [&rustls::SupportedProtocolVersion; 1] = [&rustls::version::TLS13];

/// A TLS connection of a test.
pub(crate) type Client = StreamOwned<ClientConnection, TcpStream>;

/// A server in a directory of its own; the process goes before it.
pub(crate) struct TlsServer {
    process: Option<Running>,
    prefix: Prefix,
    pub(crate) tls_port: u16,
    pub(crate) http2_port: u16,
    proxy_port: u16,
}

/// What a handshake came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Served {
    pub(crate) certificate: Vec<u8>,
    pub(crate) version: String,
    pub(crate) suite: String,
}

impl Served {
    pub(crate) const FULL: HandshakeKind = HandshakeKind::Full;
    pub(crate) const RESUMED: HandshakeKind = HandshakeKind::Resumed;
}

impl TlsServer {
    /// Starts a server; `more` stands in its first `server`.
    pub(crate) fn start(more: &str) -> Self {
        let mut server = Self::prepare(more);
        server.process = Some(server.prefix.spawn(&[]));
        within(PROMPTLY, "the server serves", || TcpStream::connect(server.prefix.address()).is_ok());
        server
    }

    /// The same with these words in `events`.
    pub(crate) fn with_events(more: &str, events: &str) -> Self {
        let mut server = Self::prepare(more);
        let conf = server.prefix.read("nginx.conf").replace("events {}", &format!("events {{ {events} }}"));
        server.write("nginx.conf", &conf);
        server.process = Some(server.prefix.spawn(&[]));
        within(PROMPTLY, "the server serves", || TcpStream::connect(server.prefix.address()).is_ok());
        server
    }

    /// What a server says that is spoilt before its start, and must not start.
    pub(crate) fn refused(spoil: impl FnOnce(&Self)) -> String {
        let server = Self::prepare("");
        spoil(&server);
        let output = server.prefix.run(&[]);
        assert!(!output.status.success());
        said(&output)
    }

    fn prepare(more: &str) -> Self {
        let server = Self {
            process: None,
            prefix: Prefix::new("tls"),
            tls_port: free_port(),
            http2_port: free_port(),
            proxy_port: free_port(),
        };
        for name in ["a", "b", "stranger"] {
            server.renew(name);
        }
        server.make_client();
        server.prefix.configure(&server.configuration(more));
        server
    }

    fn configuration(&self, more: &str) -> String {
        let Self { tls_port, http2_port, proxy_port, .. } = self;
        format!(
            "daemon off; worker_processes 2; error_log stderr info; pid p.pid; events {{}}
            http {{
                access_log off;
                push_stream_shared_memory_size 32m;
                push_stream_message_template '~text~';
                ssl_certificate a.crt; ssl_certificate_key a.key;
                server {{
                    listen 127.0.0.1:{tls_port} ssl http2; listen 127.0.0.1:{http2_port} http2;
                    listen 127.0.0.1:@PORT@; listen 127.0.0.1:{proxy_port} proxy_protocol;
                    server_name a.example;
                    set_real_ip_from 127.0.0.1; real_ip_header proxy_protocol;
                    {more}
                    push_stream_channels_path $arg_id;
                    location /pub {{ push_stream_publisher; push_stream_store_messages on; client_max_body_size 8m; }}
                    location /small {{ push_stream_publisher; client_max_body_size 1k; }}
                    location /stats {{ push_stream_channels_statistics; }}
                    location /sse {{ push_stream_subscriber eventsource; }}
                    location /lp {{ push_stream_subscriber long-polling; }}
                    location /short {{ push_stream_subscriber long-polling; push_stream_longpolling_connection_ttl 1s; }}
                    location /ws {{ push_stream_subscriber websocket; push_stream_websocket_allow_publish on; }}
                    location /who {{ return 200 '$remote_addr $proxy_protocol_addr $remote_port'; }}
                }}
                server {{
                    listen 127.0.0.1:{tls_port} ssl http2; server_name b.example;
                    ssl_certificate b.crt; ssl_certificate_key b.key;
                    ssl_protocols TLSv1.2; ssl_ciphers ECDHE-ECDSA-AES128-GCM-SHA256:DHE-RSA-AES256-SHA;
                    location / {{ return 200 '$ssl_server_name $ssl_protocol $ssl_cipher $scheme'; }}
                }}
                server {{
                    listen 127.0.0.1:{tls_port} ssl http2; server_name c.example;
                    ssl_client_certificate ca.crt; ssl_verify_client on;
                    location / {{ return 200 '$ssl_client_verify $ssl_client_s_dn'; }}
                }}
            }}"
        )
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.prefix.dir
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        self.prefix.write(name, text);
    }

    /// Makes a certificate for `NAME.example`; returns it.
    pub(crate) fn renew(&self, name: &str) -> Vec<u8> {
        self_signed(&self.prefix.dir, name)
    }

    /// Makes the authority of clients, and a client certificate.
    fn make_client(&self) {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca_key = KeyPair::generate().unwrap();
        self.write("ca.crt", &params.self_signed(&ca_key).unwrap().pem());
        let issuer = Issuer::new(params, ca_key);
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Us");
        params.distinguished_name.push(DnType::CommonName, "client one");
        let key = KeyPair::generate().unwrap();
        self.write("client.crt", &params.signed_by(&key, &issuer).unwrap().pem());
        self.write("client.key", &key.serialize_pem());
    }

    /// The certificate of a name, as it is now.
    pub(crate) fn certificate(&self, name: &str) -> Vec<u8> {
        CertificateDer::from_pem_file(self.prefix.path(&format!("{name}.crt"))).unwrap().to_vec()
    }

    /// A client that asks for a server by name.
    pub(crate) fn client(&self, name: &'static str) -> Asking<'_> {
        Asking { server: self, name, certificate: None, versions: rustls::ALL_VERSIONS }
    }

    pub(crate) fn plain(&self) -> TcpStream {
        TcpStream::connect(self.prefix.address()).unwrap()
    }

    pub(crate) fn behind_proxy(&self) -> TcpStream {
        TcpStream::connect(("127.0.0.1", self.proxy_port)).unwrap()
    }

    pub(crate) fn reload(&self) {
        self.signal(Signal::SIGHUP);
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.process.as_ref().unwrap().signal(signal);
    }

    /// How it ended; waits for that.
    pub(crate) fn wait(&mut self) -> std::process::ExitStatus {
        self.process.as_mut().unwrap().wait()
    }

    /// Its process id.
    pub(crate) fn id(&self) -> i32 {
        i32::try_from(self.process.as_ref().unwrap().0.id()).unwrap()
    }

    /// The process id in a file of its directory.
    pub(crate) fn pid(&self, name: &str) -> i32 {
        self.prefix.read(name).trim().parse().unwrap()
    }

    pub(crate) fn await_log(&self, text: &str) {
        within(PROMPTLY, text, || self.prefix.log().contains(text));
    }

    /// Waits until the server has this many subscribers.
    pub(crate) fn await_subscribers(&self, number: usize) {
        within(PROMPTLY, "the subscribers", || self.has_subscribers(number));
    }

    /// The same, while the tasks of the test go on.
    pub(crate) async fn subscribers(&self, number: usize) {
        let end = Instant::now() + PROMPTLY;
        while !self.has_subscribers(number) {
            assert!(Instant::now() < end, "not {number} subscribers");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn has_subscribers(&self, number: usize) -> bool {
        let answer = self.prefix.request("GET", "/stats", "").unwrap();
        answer.contains(&format!("\"subscribers\": {number},"))
    }
}

/// Writes `NAME.crt` and `NAME.key` for `NAME.example`; returns the certificate.
pub(crate) fn self_signed(dir: &Path, name: &str) -> Vec<u8> {
    let params = CertificateParams::new(vec![format!("{name}.example")]).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    std::fs::write(dir.join(format!("{name}.crt")), certificate.pem()).unwrap();
    std::fs::write(dir.join(format!("{name}.key")), key.serialize_pem()).unwrap();
    certificate.der().to_vec()
}

/// A client that takes every certificate and speaks one protocol.
pub(crate) fn trusting(protocol: &[u8]) -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap().dangerous();
    let mut config = builder.with_custom_certificate_verifier(Arc::new(AnyServer)).with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    Arc::new(config)
}

/// A client in the making.
pub(crate) struct Asking<'a> {
    server: &'a TlsServer,
    name: &'static str,
    certificate: Option<&'static str>,
    versions: &'static [&'static rustls::SupportedProtocolVersion],
}

impl Asking<'_> {
    pub(crate) fn with_certificate(self, name: &'static str) -> Self {
        Self { certificate: Some(name), ..self }
    }

    pub(crate) fn only_tls13(self) -> Self {
        Self { versions: &NEWEST, ..self }
    }

    pub(crate) fn config(&self) -> Arc<ClientConfig> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(self.versions)
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyServer));
        let config = match self.certificate {
            None => builder.with_no_client_auth(),
            Some(name) => {
                let directory = self.server.directory();
                let chain = vec![CertificateDer::from_pem_file(directory.join(format!("{name}.crt"))).unwrap()];
                let key = PrivateKeyDer::from_pem_file(directory.join(format!("{name}.key"))).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        Arc::new(config)
    }

    pub(crate) fn try_connect(&self) -> std::io::Result<Client> {
        let name = ServerName::try_from(self.name).unwrap();
        let mut session = ClientConnection::new(self.config(), name).unwrap();
        let mut tcp = TcpStream::connect(("127.0.0.1", self.server.tls_port))?;
        tcp.set_read_timeout(Some(PROMPTLY))?;
        while session.is_handshaking() {
            session.complete_io(&mut tcp)?;
        }
        Ok(StreamOwned::new(session, tcp))
    }

    pub(crate) fn connect(&self) -> Client {
        self.try_connect().unwrap()
    }

    pub(crate) fn served(&self) -> Served {
        let client = self.connect();
        let session = &client.conn;
        Served {
            certificate: session.peer_certificates().unwrap()[0].to_vec(),
            version: session.protocol_version().unwrap().as_str().unwrap().to_owned(),
            suite: session.negotiated_cipher_suite().unwrap().suite().as_str().unwrap().to_owned(),
        }
    }
}

/// One request under a configuration that remembers sessions: how its handshake went.
pub(crate) fn handshake(config: &Arc<ClientConfig>, name: &'static str, port: u16, request: &str) -> HandshakeKind {
    let session = ClientConnection::new(Arc::clone(config), ServerName::try_from(name).unwrap()).unwrap();
    let mut client = StreamOwned::new(session, TcpStream::connect(("127.0.0.1", port)).unwrap());
    client.write_all(request.as_bytes()).unwrap();
    client.read_to_end(&mut Vec::new()).unwrap();
    client.conn.handshake_kind().unwrap()
}

/// Runs a tool with this input; its output, or `None` if there is no such tool.
pub(crate) fn run(tool: &str, arguments: &[&str], input: &str) -> Option<String> {
    let mut command = Command::new(tool);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().ok()?;
    let mut stdin = child.stdin.take().unwrap();
    // A tool that needs no input may be gone before it gets any.
    let _ = stdin.write_all(input.as_bytes());
    std::thread::sleep(Duration::from_millis(300));
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    Some(String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr))
}

/// Takes every certificate: which one was shown is what the tests look at.
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
