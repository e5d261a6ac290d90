//! The ways to a server: over TCP as it is, with a PROXY header in front, within TLS, and over a unix socket.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use rustls::{ClientConnection, StreamOwned};

use crate::tls_server::trusting;

/// A way to a server.
#[derive(Clone)]
pub enum Door {
    Plain(SocketAddr),
    Proxied(SocketAddr),
    Tls(SocketAddr),
    Unix(PathBuf),
}

/// An open connection.
pub trait Wire: Read + Write {}

impl<T: Read + Write> Wire for T {}

impl Door {
    /// Opens a connection on which a read waits so long at most.
    pub fn open(&self, patience: Duration) -> io::Result<Box<dyn Wire>> {
        let tcp = |address| -> io::Result<TcpStream> {
            let stream = TcpStream::connect(address)?;
            stream.set_read_timeout(Some(patience))?;
            Ok(stream)
        };
        Ok(match self {
            Self::Plain(address) => Box::new(tcp(address)?),
            Self::Proxied(address) => {
                let mut stream = tcp(address)?;
                stream.write_all(b"PROXY TCP4 10.1.2.3 10.0.0.1 1000 80\r\n")?;
                Box::new(stream)
            }
            Self::Tls(address) => {
                let session = ClientConnection::new(trusting(b"http/1.1"), "a.example".try_into().unwrap()).unwrap();
                Box::new(StreamOwned::new(session, tcp(address)?))
            }
            Self::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(patience))?;
                Box::new(stream)
            }
        })
    }
}
