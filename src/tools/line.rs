//! A connection to a server: TCP, or TLS over it.

use std::io::ErrorKind;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::ToolError;
use super::address::Address;
use super::trust::Trust;

/// How long a server may take to accept.
const PATIENCE: Duration = Duration::from_secs(10);

/// Something that carries bytes both ways.
pub(super) trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

/// A connection.
pub(super) type Line = Box<dyn Wire>;

/// Connects.
pub(super) async fn open(address: &Address, trust: &Trust) -> Result<Line, ToolError> {
    Ok(if address.tls { Box::new(shake(address, trust).await?) } else { Box::new(connect(address).await?) })
}

/// Connects with TLS.
pub(super) async fn shake(address: &Address, trust: &Trust) -> Result<TlsStream<TcpStream>, ToolError> {
    let lost = |why: String| ToolError::Lost { place: address.place(), why };
    let config = trust.config()?;
    let name = ServerName::try_from(host(address).to_owned()).map_err(|error| lost(error.to_string()))?;
    let stream = connect(address).await?;
    let shaking = tokio::time::timeout(PATIENCE, TlsConnector::from(config).connect(name, stream));
    let shaken = shaking.await.map_err(|_| lost("does not shake hands".to_owned()))?;
    shaken.map_err(|error| match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(why)) => {
            ToolError::Untrusted { place: address.place(), why: why.to_string() }
        }
        Some(rustls::Error::InvalidMessage(_)) => {
            lost("it does not speak TLS: the URL may begin with http:// or ws://".to_owned())
        }
        _ => lost(error.to_string()),
    })
}

async fn connect(address: &Address) -> Result<TcpStream, ToolError> {
    let lost = |why: String| ToolError::Lost { place: address.place(), why };
    let connecting = tokio::time::timeout(PATIENCE, TcpStream::connect((host(address), address.port)));
    let stream = connecting.await.map_err(|_| lost("does not answer".to_owned()))?;
    let stream = stream.map_err(|error| match error.kind() {
        ErrorKind::ConnectionRefused => lost("connection refused: nothing listens there".to_owned()),
        _ => lost(error.to_string()),
    })?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Without the brackets of an IPv6 address.
fn host(address: &Address) -> &str {
    address.host.trim_matches(['[', ']'])
}
