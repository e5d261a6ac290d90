//! The byte stream under a connection: TCP, a unix socket, or TLS over TCP; never blocking, never buffering by itself.
//!
//! Reads and writes return `WouldBlock` and clear the readiness; `poll_*_ready` registers the task. Writing is possible
//! from outside of the connection's task, which is what lets a fan-out reach a subscriber without waking its task.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsRawFd, RawFd};
use std::task::{Context, Poll};

use rustls::ServerConnection;
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::{TcpStream, UnixStream};

/// A connected socket.
pub enum Stream {
    /// Plain TCP.
    Tcp(TcpStream),
    /// A unix socket.
    Unix(UnixStream),
    /// TLS over TCP.
    Tls(Box<TlsStream>),
    /// No socket: the bytes stay in the outbox until the response body of an HTTP/2 stream fetches them.
    Body,
}

impl Stream {
    /// Reads what is there. `Ok(0)`: the peer has closed its side.
    pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(tcp) => short_read(tcp.try_read(buffer), buffer.len(), || {
                let _ = tcp.try_io(Interest::READABLE, drained::<()>);
            }),
            Self::Unix(unix) => unix.try_read(buffer),
            Self::Tls(tls) => tls.try_read(buffer),
            Self::Body => drained(),
        }
    }

    /// Writes as much as fits.
    pub fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(tcp) => match slices {
                [one] => tcp.try_write(one),
                _ => tcp.try_write_vectored(slices),
            },
            Self::Unix(unix) => unix.try_write_vectored(slices),
            Self::Tls(tls) => tls.try_write(slices),
            Self::Body => drained(),
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
            Self::Tls(tls) if tls.more.get() => Poll::Ready(Ok(())),
            Self::Tls(tls) => tls.tcp.poll_read_ready(cx),
            Self::Body => Poll::Pending,
        }
    }

    /// Ready when a write would take something.
    pub fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(tcp) => tcp.poll_write_ready(cx),
            Self::Unix(unix) => unix.poll_write_ready(cx),
            Self::Tls(tls) => tls.tcp.poll_write_ready(cx),
            Self::Body => Poll::Pending,
        }
    }

    /// Says farewell at the transport (TLS `close_notify`), as far as it can be sent at once.
    pub fn close_notify(&self) {
        if let Self::Tls(tls) = self {
            tls.session.borrow_mut().send_close_notify();
            let _ = tls.try_flush();
        }
    }

    /// Closes our side; the peer can still send.
    pub fn shutdown_write(&self) {
        self.close_notify();
        let _ = match self {
            Self::Tcp(tcp) => SockRef::from(tcp).shutdown(Shutdown::Write),
            Self::Unix(unix) => SockRef::from(unix).shutdown(Shutdown::Write),
            Self::Tls(tls) => SockRef::from(&tls.tcp).shutdown(Shutdown::Write),
            Self::Body => Ok(()),
        };
    }

    /// The TLS layer, if there is one.
    pub fn tls(&self) -> Option<&TlsStream> {
        match self {
            Self::Tls(tls) => Some(tls),
            _ => None,
        }
    }

    /// The TCP socket below, if there is one.
    pub fn tcp(&self) -> Option<&TcpStream> {
        match self {
            Self::Tcp(tcp) => Some(tcp),
            Self::Unix(_) | Self::Body => None,
            Self::Tls(tls) => Some(&tls.tcp),
        }
    }

    /// The file descriptor, if there is one.
    pub fn fd(&self) -> Option<RawFd> {
        match self {
            Self::Tcp(tcp) => Some(tcp.as_raw_fd()),
            Self::Unix(unix) => Some(unix.as_raw_fd()),
            Self::Tls(tls) => Some(tls.tcp.as_raw_fd()),
            Self::Body => None,
        }
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

/// TLS over TCP: the session and the socket it speaks through.
pub struct TlsStream {
    tcp: TcpStream,
    session: RefCell<ServerConnection>,
    /// The last read filled its buffer: the session may hold more that the socket does not tell of.
    more: Cell<bool>,
}

impl TlsStream {
    /// A stream whose handshake is still to come; it is done by the first reads.
    pub fn new(tcp: TcpStream, session: ServerConnection) -> Self {
        Self { tcp, session: RefCell::new(session), more: Cell::new(false) }
    }

    /// Looks at the session (protocol, cipher, server name, certificates).
    pub fn inspect<T>(&self, look: impl FnOnce(&ServerConnection) -> T) -> T {
        look(&self.session.borrow())
    }

    /// Whether the handshake is still under way.
    pub fn is_handshaking(&self) -> bool {
        self.session.borrow().is_handshaking()
    }

    fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.read_session(buffer);
        self.more.set(matches!(read, Ok(read) if read == buffer.len()));
        read
    }

    fn read_session(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut session = self.session.borrow_mut();
        loop {
            match session.reader().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // A peer that closes TCP without close_notify has ended all the same.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                other => return other,
            }
            if session.read_tls(&mut Socket(&self.tcp))? == 0 {
                return Ok(0);
            }
            let processed = session.process_new_packets();
            // Handshake answers and alerts go out here; a full socket is found again by the next write.
            while session.wants_write() {
                match session.write_tls(&mut Socket(&self.tcp)) {
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error),
                }
            }
            processed.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        }
    }

    fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        if !self.try_flush()? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let written = self.session.borrow_mut().writer().write_vectored(slices)?;
        self.try_flush()?;
        Ok(written)
    }

    fn try_flush(&self) -> io::Result<bool> {
        let mut session = self.session.borrow_mut();
        while session.wants_write() {
            match session.write_tls(&mut Socket(&self.tcp)) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

/// The socket as `rustls` wants it: `Read` and `Write` that say `WouldBlock`.
struct Socket<'a>(&'a TcpStream);

impl Read for Socket<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buffer)
    }
}

impl Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
