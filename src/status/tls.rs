//! The operators' listener with TLS: hands out clients whose handshake is done.
//!
//! Invariant: a client that does not go on with its handshake keeps nobody else waiting; few may be at theirs at once.

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use axum::serve::Listener;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Longest handshake.
const PATIENCE: Duration = Duration::from_secs(10);
/// Most handshakes at once.
const HANDSHAKES: usize = 64;

/// The certificate in force.
pub type Certificate = Arc<ArcSwapOption<ServerConfig>>;

/// The listener.
pub(super) struct TlsListener {
    greeted: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
    address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl TlsListener {
    pub(super) fn new(listener: TcpListener, certificate: Certificate) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let (greet, greeted) = mpsc::channel(1);
        let accepting = tokio::spawn(accept(listener, certificate, greet));
        Ok(Self { greeted, address, accepting })
    }
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.greeted.recv().await {
            Some(client) => client,
            // Nobody accepts any more.
            None => pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

impl Drop for TlsListener {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(
    mut listener: TcpListener,
    certificate: Certificate,
    greet: mpsc::Sender<(TlsStream<TcpStream>, SocketAddr)>,
) {
    let seats = Arc::new(Semaphore::new(HANDSHAKES));
    while let Ok(seat) = Arc::clone(&seats).acquire_owned().await {
        // Waits where descriptors are short.
        let (stream, address) = Listener::accept(&mut listener).await;
        let Some(config) = certificate.load_full() else { continue };
        let greet = greet.clone();
        tokio::spawn(async move {
            let handshake = TlsAcceptor::from(config).accept(stream);
            if let Ok(Ok(stream)) = tokio::time::timeout(PATIENCE, handshake).await {
                // Nobody may be there any more.
                let _ = greet.send((stream, address)).await;
            }
            drop(seat);
        });
    }
}
