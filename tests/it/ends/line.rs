//! A peer's side of a connection through any door: TCP, a unix socket, TLS, and HTTP/2 by hand, so that windows, resets and
//! ends are exactly what a test says.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use socket2::{Domain, SockRef, Socket, Type};

use crate::support::{PATIENCE, PROMPTLY, masked};
use crate::tls_server::trusting;

/// The bytes below a peer.
pub(super) enum Line {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Line {
    /// Connects with a receive buffer that is soon full.
    pub(super) fn tcp(address: SocketAddr) -> Self {
        Self::Tcp(connected(address))
    }

    pub(super) fn unix(path: &Path) -> Self {
        let stream = UnixStream::connect(path).unwrap();
        stream.set_read_timeout(Some(PROMPTLY)).unwrap();
        stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
        Self::Unix(stream)
    }

    /// The handshake done.
    pub(super) fn tls(address: SocketAddr, protocol: &[u8]) -> Self {
        let mut tcp = connected(address);
        tcp.set_write_timeout(Some(PROMPTLY)).unwrap();
        let name = ServerName::try_from("a.example").unwrap();
        let mut session = ClientConnection::new(trusting(protocol), name).unwrap();
        while session.is_handshaking() {
            session.complete_io(&mut tcp).unwrap();
        }
        tcp.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
        Self::Tls(Box::new(StreamOwned::new(session, tcp)))
    }

    fn socket(&self) -> SockRef<'_> {
        match self {
            Self::Tcp(stream) => SockRef::from(stream),
            Self::Unix(stream) => SockRef::from(stream),
            Self::Tls(stream) => SockRef::from(&stream.sock),
        }
    }

    /// Closes the sending side: TCP's, without a word of TLS.
    pub(super) fn half_close(&self) {
        let _ = self.socket().shutdown(Shutdown::Write);
    }

    /// Says goodbye as TLS does, and leaves TCP open.
    pub(super) fn close_notify(&mut self) {
        let Self::Tls(stream) = self else { unreachable!("only where there is TLS") };
        stream.conn.send_close_notify();
        let _ = stream.conn.write_tls(&mut stream.sock);
    }

    /// Ends by RST; a unix socket just closes.
    pub(super) fn reset(self) {
        let _ = self.socket().set_linger(Some(Duration::ZERO));
    }

    /// Sends what the server takes.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let _ = self.write_all(bytes);
        let _ = self.flush();
    }

    /// Sends and sends without reading, until the server has taken much or takes no more.
    pub(super) fn push_ahead(&mut self, bytes: &[u8]) {
        let many = bytes.repeat(4096 / bytes.len() + 1);
        for _ in 0..100 {
            if self.write_all(&many).and_then(|()| self.flush()).is_err() {
                return;
            }
        }
    }

    /// Whether the other side ends it, whatever it says before.
    pub(super) fn ends(&mut self) -> bool {
        let mut buffer = vec![0; 65536];
        loop {
            match self.read(&mut buffer) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut),
            }
        }
    }

    /// Reads up to this text.
    pub(super) fn read_until(&mut self, text: &[u8]) {
        let (mut seen, mut byte) = (Vec::new(), [0]);
        while !seen.ends_with(text) {
            if !matches!(self.read(&mut byte), Ok(1)) {
                return;
            }
            seen.push(byte[0]);
        }
    }
}

fn connected(address: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&address.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true).unwrap();
    // With a buffer so small the kernel may take its time between two tries.
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    stream
}

impl Read for Line {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.flush(),
            Self::Unix(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// A frame of HTTP/2.
pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// What a client of HTTP/2 says first; `window` is what each stream, and all together, may send it.
pub(super) fn preface(window: u32) -> Vec<u8> {
    let settings = frame(SETTINGS, 0, 0, &[&4_u16.to_be_bytes()[..], &window.to_be_bytes()].concat());
    let wider = frame(WINDOW_UPDATE, 0, 0, &(1_u32 << 30).to_be_bytes());
    [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &settings, &wider].concat()
}

/// A request on stream 1; every field literal. `body`: the beginning of one that goes on.
pub(super) fn stream(fields: &[(&str, &str)], body: Option<&[u8]>) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).unwrap());
            block.extend_from_slice(text.as_bytes());
        }
    }
    let flags = if body.is_none() { END_STREAM | END_HEADERS } else { END_HEADERS };
    let data = body.map(|body| frame(DATA, 0, 1, body)).unwrap_or_default();
    [frame(HEADERS, flags, 1, &block), data].concat()
}

pub(super) fn rst_stream() -> Vec<u8> {
    frame(RST_STREAM, 0, 1, &8_u32.to_be_bytes())
}

pub(super) fn goaway() -> Vec<u8> {
    frame(GOAWAY, 0, 0, &[0; 8])
}

pub(super) fn ping() -> Vec<u8> {
    frame(PING, 0, 0, b"12345678")
}

/// Reads frames until stream 1 has ended, by an end or a reset of it or of the connection; whether it has.
pub(super) fn read_stream(line: &mut Line) -> bool {
    let mut head = [0; 9];
    loop {
        if let Err(error) = line.read_exact(&mut head) {
            return !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut);
        }
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        if line.read_exact(&mut vec![0; length]).is_err() {
            return true;
        }
        let ends = matches!(head[3], DATA | HEADERS) && head[4] & END_STREAM != 0;
        if head[8] == 1 && (ends || head[3] == RST_STREAM) {
            return true;
        }
    }
}

/// A websocket message of a client.
pub(super) fn message() -> Vec<u8> {
    masked(0x89, b"are you there")
}
