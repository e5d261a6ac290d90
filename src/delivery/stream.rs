//! The byte stream under a connection: TCP, a unix socket, or TLS over either; never blocking, never buffering by itself.
//!
//! Reads and writes return `WouldBlock` and clear the readiness; `poll_*_ready` registers the task. Writing is possible
//! from outside the connection's task, which is what lets a fan-out reach a subscriber without waking its task.

use std::cell::Cell;
use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;
use std::rc::Rc;
use std::task::{Context, Poll};

use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::{TcpStream, UnixStream};

use super::tls_stream::TlsStream;
use super::traffic;

/// A connected socket.
pub enum Stream {
    /// Plain TCP.
    Tcp(TcpStream),
    /// A unix socket.
    Unix(UnixStream),
    /// TLS over one of the above.
    Tls(Box<TlsStream>),
    /// No socket: the bytes stay in the outbox until somebody fetches them.
    Body,
    /// No socket either: what HTTP/2 below the streams of a connection holds, bytes.
    Carrier(Rc<Cell<usize>>),
}

impl Stream {
    /// Whether somebody else fetches what is to be sent.
    pub(super) fn is_body(&self) -> bool {
        matches!(self, Self::Body)
    }

    /// Reads what is there. `Ok(0)`: the peer has closed its side.
    pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        traffic::received(self.read_uncounted(buffer))
    }

    /// Writes as much as fits.
    pub fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        traffic::sent(self.write_uncounted(slices))
    }

    fn read_uncounted(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(tcp) => short_read(tcp.try_read(buffer), buffer.len(), || {
                let _ = tcp.try_io(Interest::READABLE, drained::<()>);
            }),
            Self::Unix(unix) => unix.try_read(buffer),
            Self::Tls(tls) => tls.try_read(buffer),
            Self::Body | Self::Carrier(_) => drained(),
        }
    }

    fn write_uncounted(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(tcp) => match slices {
                [one] => tcp.try_write(one),
                _ => tcp.try_write_vectored(slices),
            },
            Self::Unix(unix) => unix.try_write_vectored(slices),
            Self::Tls(tls) => tls.try_write(slices),
            Self::Body | Self::Carrier(_) => drained(),
        }
    }

    /// Sends what the stream itself holds back (TLS records); `Ok(true)` when nothing is left.
    pub fn try_flush(&self) -> io::Result<bool> {
        match self {
            Self::Tls(tls) => tls.try_flush(),
            _ => Ok(true),
        }
    }

    /// Ready when a read would give something (bytes, end or error).
    pub fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(tcp) => tcp.poll_read_ready(cx),
            Self::Unix(unix) => unix.poll_read_ready(cx),
            Self::Tls(tls) => tls.poll_read_ready(cx),
            Self::Body | Self::Carrier(_) => Poll::Pending,
        }
    }

    /// Ready when a write would take something.
    pub fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(tcp) => tcp.poll_write_ready(cx),
            Self::Unix(unix) => unix.poll_write_ready(cx),
            Self::Tls(tls) => tls.below().poll_write_ready(cx),
            Self::Body | Self::Carrier(_) => Poll::Pending,
        }
    }

    /// Whether the stream itself holds bytes back that the peer has not taken.
    pub fn holds_back(&self) -> bool {
        matches!(self, Self::Tls(tls) if tls.holds_back())
    }

    /// Bytes the stream itself holds for the peer.
    pub(super) fn held(&self) -> usize {
        match self {
            Self::Tls(tls) => tls.held(),
            Self::Carrier(held) => held.get(),
            Self::Tcp(_) | Self::Unix(_) | Self::Body => 0,
        }
    }

    /// Whether bytes held back have moved since this was asked last.
    pub fn has_moved(&self) -> bool {
        matches!(self, Self::Tls(tls) if tls.has_moved())
    }

    /// Says farewell at the transport (TLS `close_notify`), as far as it can be sent at once.
    pub fn close_notify(&self) {
        if let Self::Tls(tls) = self {
            tls.close_notify();
        }
    }

    /// Closes our side; the peer can still send.
    pub fn shutdown_write(&self) {
        self.close_notify();
        let _ = match self {
            Self::Tcp(tcp) => SockRef::from(tcp).shutdown(Shutdown::Write),
            Self::Unix(unix) => SockRef::from(unix).shutdown(Shutdown::Write),
            Self::Tls(tls) => {
                tls.below().shutdown_write();
                Ok(())
            }
            Self::Body | Self::Carrier(_) => Ok(()),
        };
    }
}

/// A read that did not fill its buffer has emptied the socket: clearing the readiness now saves the read that would only
/// say so.
fn short_read(result: io::Result<usize>, room: usize, clear: impl FnOnce()) -> io::Result<usize> {
    if let Ok(read) = result
        && read > 0
        && read < room
    {
        clear();
    }
    result
}

fn drained<T>() -> io::Result<T> {
    Err(io::ErrorKind::WouldBlock.into())
}

/// As `rustls` wants a socket: blocking calls that say `WouldBlock`. What TLS makes of the bytes is not counted again.
impl Read for &Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read_uncounted(buffer)
    }
}

impl Write for &Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_uncounted(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.write_uncounted(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
