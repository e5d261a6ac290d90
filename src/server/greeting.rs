//! What comes before the first request of a connection: the PROXY header, the TLS handshake, the choice of HTTP's version.
//!
//! Knows bytes and handshakes, no HTTP but the preface of version 2. Every step may fail by the client's fault, which is
//! worth one line at most.

use std::future::poll_fn;
use std::io::{self, Read};

use rustls::server::Acceptor;
use thiserror::Error;

use super::proxy_protocol::{self, Broken};
use super::tls::TlsSite;
use crate::conf::settings::Listener;
use crate::delivery::{Charge, Stream, TlsStream};
use crate::request::peer::Peer;
use crate::wire::HTTP2_PREFACE;

/// Bytes for one read.
const READ: usize = 4 * 1024;
/// First byte of a TLS handshake; one with the highest bit set is that of SSL 2.
const HANDSHAKE: u8 = 0x16;
/// A fatal alert: the name asked for is not known here.
const UNRECOGNIZED_NAME: [u8; 7] = [0x15, 3, 3, 0, 2, 2, 112];

/// A client that can be served.
pub(super) struct Greeted {
    /// Its stream.
    pub stream: Stream,
    /// It, with what the greeting has told of it.
    pub peer: Peer,
    /// Bytes of its first request that have been read already.
    pub first: Vec<u8>,
    /// It speaks HTTP/2.
    pub http2: bool,
}

/// Why a client is not served.
#[derive(Debug, Error)]
pub(super) enum GreetingError {
    /// The socket failed, or the client has closed it.
    #[error("client closed connection ({0}) before its first request")]
    Io(#[from] io::Error),
    /// `proxy_protocol`: no header, or a broken one.
    #[error(transparent)]
    Proxy(#[from] Broken),
    /// The handshake failed.
    #[error("SSL_do_handshake() failed ({0}) while SSL handshaking")]
    Tls(rustls::Error),
    /// `ssl_reject_handshake`
    #[error("SSL_do_handshake() failed (callback failed) while SSL handshaking")]
    Rejected,
    /// The socket has no certificate any more (a reload has taken it).
    #[error("no certificate for the connection")]
    NoCertificate,
}

/// Greets a client of a listener that asks for more than HTTP/1 at once.
pub(super) async fn greet(
    listener: &Listener,
    index: usize,
    tls: &TlsSite,
    stream: Stream,
    mut peer: Peer,
) -> Result<Greeted, GreetingError> {
    let mut first = Vec::new();
    if listener.proxy_protocol {
        let header = loop {
            read_more(&stream, &mut first).await?;
            if let Some(header) = proxy_protocol::read(&first)? {
                break header;
            }
        };
        first.drain(..header.length);
        peer.proxy = header.client;
    }
    if !listener.ssl {
        let http2 = listener.http2 && begins_http2(&stream, &mut first).await?;
        return Ok(Greeted { stream, peer, first, http2 });
    }
    if first.is_empty() {
        read_more(&stream, &mut first).await?;
    }
    match first.first() {
        Some(&byte) if byte == HANDSHAKE || byte & 0x80 != 0 => shake_hands(tls, index, stream, peer, &first).await,
        // Plain HTTP: told so by a page.
        _ => Ok(Greeted { stream, peer, first, http2: false }),
    }
}

/// Reads whether the client begins as HTTP/2 does.
async fn begins_http2(stream: &Stream, first: &mut Vec<u8>) -> io::Result<bool> {
    loop {
        if !first.iter().zip(HTTP2_PREFACE).all(|(byte, expected)| byte == expected) {
            return Ok(false);
        }
        if first.len() >= HTTP2_PREFACE.len() {
            return Ok(true);
        }
        read_more(stream, first).await?;
    }
}

/// Bytes of the longest ClientHello that is read, in its records: those of browsers have two thousand.
const LONGEST_HELLO: usize = 16 * 1024;

/// The TLS handshake; `first` is what has been read of it.
async fn shake_hands(
    tls: &TlsSite,
    index: usize,
    stream: Stream,
    mut peer: Peer,
    first: &[u8],
) -> Result<Greeted, GreetingError> {
    let mut acceptor = Acceptor::default();
    // Until the stream counts it.
    let charge = Charge::default();
    let mut read = first.to_vec();
    let mut length = 0;
    let accepted = loop {
        length += read.len();
        if length > LONGEST_HELLO {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the ClientHello is too long").into());
        }
        // What has come of it is held with half as much again; there is no session yet.
        charge.set(TlsStream::SESSION.max(length * 3 / 2));
        let mut rest = read.as_slice();
        while !rest.is_empty() {
            acceptor.read_tls(&mut rest as &mut dyn Read)?;
        }
        match acceptor.accept() {
            Ok(Some(accepted)) => break accepted,
            Ok(None) => {}
            Err((error, mut alert)) => {
                let _ = alert.write_all(&mut &stream);
                return Err(GreetingError::Tls(error));
            }
        }
        read.clear();
        read_more(&stream, &mut read).await?;
    };
    let server = tls.choose(index, accepted.client_hello().server_name());
    let server = server.ok_or(GreetingError::NoCertificate)?;
    if server.rejects {
        let _ = stream.try_write(&[io::IoSlice::new(&UNRECOGNIZED_NAME)]);
        return Err(GreetingError::Rejected);
    }
    let session = match accepted.into_connection(std::sync::Arc::clone(&server.config)) {
        Ok(session) => session,
        Err((error, mut alert)) => {
            let _ = alert.write_all(&mut &stream);
            return Err(GreetingError::Tls(error));
        }
    };
    drop(charge);
    let stream = Box::new(TlsStream::new(stream, session));
    poll_fn(|cx| stream.poll_handshake(cx)).await.map_err(by_tls)?;
    peer.tls = Some(std::sync::Arc::new(stream.inspect(|session| server.info(session))));
    let http2 = stream.inspect(|session| session.alpn_protocol() == Some(b"h2"));
    Ok(Greeted { stream: Stream::Tls(stream), peer, first: Vec::new(), http2 })
}

/// The error of the library within an error of the stream.
fn by_tls(error: io::Error) -> GreetingError {
    match error.downcast::<rustls::Error>() {
        Ok(error) => GreetingError::Tls(error),
        Err(error) => GreetingError::Io(error),
    }
}

/// Waits for bytes and appends them; the end of the stream is an error here.
async fn read_more(stream: &Stream, bytes: &mut Vec<u8>) -> io::Result<()> {
    loop {
        poll_fn(|cx| stream.poll_read_ready(cx)).await?;
        let mut buffer = [0; READ];
        match stream.try_read(&mut buffer) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => {
                bytes.extend_from_slice(buffer.get(..read).unwrap_or_default());
                return Ok(());
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}
