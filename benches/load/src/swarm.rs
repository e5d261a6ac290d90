//! Many client connections on one thread.
//!
//! Connections are made one after the other from several loopback addresses (one address has too few ports for storms).
//! Readiness is edge-triggered: whoever is told that a connection is ready must drain it. What goes through a TLS session is
//! sent and given out in the clear.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use rustls::ClientConnection;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::tls;

/// How long a server may leave what it was sent unread.
const PATIENCE: Duration = Duration::from_secs(20);
/// Connections from one source address, and the first of their ports.
const PER_ADDRESS: u32 = 5000;
const FIRST_PORT: u32 = 10_000;
/// Number of the next connection of this process.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// Client connections, by number in order of their making.
pub(crate) struct Swarm {
    poll: Poll,
    events: Events,
    clients: Vec<Option<Client>>,
    buffer: Box<[u8]>,
}

struct Client {
    socket: TcpStream,
    tls: Option<Box<ClientConnection>>,
}

impl Swarm {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            clients: Vec::new(),
            buffer: vec![0; 256 * 1024].into(),
        })
    }

    /// Makes a connection; its number.
    pub(crate) fn connect(&mut self, server: SocketAddr) -> Result<usize> {
        self.connect_with(server, None)
    }

    /// Makes a connection with a TLS session, the handshake of which is on its way.
    pub(crate) fn connect_tls(&mut self, server: SocketAddr) -> Result<usize> {
        self.connect_within(server, tls::session()?)
    }

    /// The same with a session of one's own.
    pub(crate) fn connect_within(&mut self, server: SocketAddr, session: ClientConnection) -> Result<usize> {
        let number = self.connect(server)?;
        let client = self.clients.get_mut(number).and_then(Option::as_mut).context("no such connection")?;
        client.tls = Some(Box::new(session));
        client.flush()?;
        Ok(number)
    }

    /// Makes a connection with a receive buffer of this size.
    pub(crate) fn connect_with(&mut self, server: SocketAddr, receive: Option<usize>) -> Result<usize> {
        let socket = Socket::new(Domain::for_address(server), Type::STREAM, Some(Protocol::TCP))?;
        if let Some(size) = receive {
            socket.set_recv_buffer_size(size)?;
        }
        if server.ip().is_loopback() && server.is_ipv4() {
            bind_anywhere(&socket)?;
        }
        socket.connect(&SockAddr::from(server)).context("cannot connect")?;
        socket.set_tcp_nodelay(true)?;
        socket.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(socket.into());
        let number = self.clients.len();
        self.poll.registry().register(&mut stream, Token(number), Interest::READABLE)?;
        self.clients.push(Some(Client { socket: stream, tls: None }));
        Ok(number)
    }

    /// Stops listening to a connection: what arrives stays in the kernel.
    pub(crate) fn neglect(&mut self, number: usize) -> Result<()> {
        let client = self.clients.get_mut(number).and_then(Option::as_mut).context("no such connection")?;
        Ok(self.poll.registry().deregister(&mut client.socket)?)
    }

    /// Closes a connection.
    pub(crate) fn close(&mut self, number: usize) {
        if let Some(client) = self.clients.get_mut(number) {
            *client = None;
        }
    }

    /// Closes all connections; numbers begin anew.
    pub(crate) fn close_all(&mut self) {
        self.clients.clear();
    }

    /// Sends bytes.
    pub(crate) fn send(&mut self, number: usize, bytes: &[u8]) -> Result<()> {
        let client = self.clients.get_mut(number).and_then(Option::as_mut).context("no such connection")?;
        let Some(tls) = &mut client.tls else { return put(&mut client.socket, bytes) };
        tls.writer().write_all(bytes)?;
        client.flush()
    }

    /// Waits until something has arrived and says where; nobody after `pause`.
    pub(crate) fn ready(&mut self, pause: Duration) -> Result<Vec<usize>> {
        match self.poll.poll(&mut self.events, Some(pause)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(Vec::new()),
            other => other?,
        }
        Ok(self.events.iter().map(|event| event.token().0).collect())
    }

    /// Like [`Swarm::ready`], but silence is an error.
    pub(crate) fn ready_soon(&mut self) -> Result<Vec<usize>> {
        let ready = self.ready(PATIENCE)?;
        if ready.is_empty() {
            bail!("the server has been silent for {} s", PATIENCE.as_secs());
        }
        Ok(ready)
    }

    /// Appends everything that has arrived; false when the server has closed the connection.
    pub(crate) fn drain(&mut self, number: usize, into: &mut Vec<u8>) -> Result<bool> {
        let Some(client) = self.clients.get_mut(number).and_then(Option::as_mut) else { return Ok(false) };
        if client.tls.is_some() {
            return client.drain_tls(into);
        }
        let socket = &mut client.socket;
        loop {
            match socket.read(&mut self.buffer) {
                Ok(0) => return Ok(false),
                Ok(read) => {
                    into.extend_from_slice(self.buffer.get(..read).unwrap_or_default());
                    if read < self.buffer.len() {
                        // The end, if it has come with the bytes, comes with no edge of its own.
                        return Ok(!matches!(socket.peek(&mut [0]), Ok(0)));
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
                Err(error) if is_end(&error) => return Ok(false),
                Err(error) => return Err(error).context("cannot receive"),
            }
        }
    }
}

impl Client {
    /// Sends what the session has to send.
    fn flush(&mut self) -> Result<()> {
        let Some(tls) = &mut self.tls else { return Ok(()) };
        let mut records = Vec::new();
        while tls.wants_write() {
            tls.write_tls(&mut records)?;
        }
        put(&mut self.socket, &records)
    }

    fn drain_tls(&mut self, into: &mut Vec<u8>) -> Result<bool> {
        loop {
            let Some(tls) = &mut self.tls else { return Ok(false) };
            match tls.read_tls(&mut self.socket) {
                Ok(0) => return Ok(false),
                Ok(_) => {
                    let state = tls.process_new_packets()?;
                    let start = into.len();
                    into.resize(start + state.plaintext_bytes_to_read(), 0);
                    tls.reader().read_exact(into.get_mut(start..).unwrap_or_default())?;
                    self.flush()?;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
                Err(error) if is_end(&error) => return Ok(false),
                Err(error) => return Err(error).context("cannot receive"),
            }
        }
    }
}

/// Writes all of it, however long the server leaves it unread within its patience.
fn put(socket: &mut TcpStream, bytes: &[u8]) -> Result<()> {
    let mut rest = bytes;
    let began = Instant::now();
    while !rest.is_empty() {
        match socket.write(rest) {
            Ok(sent) => rest = rest.get(sent..).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::WouldBlock && began.elapsed() < PATIENCE => {
                sleep(Duration::from_millis(1));
            }
            Err(error) => return Err(error).context("cannot send"),
        }
    }
    Ok(())
}

/// Binds to the next free pair of address and port. Left to the kernel, the search takes longer with each port in use.
fn bind_anywhere(socket: &Socket) -> Result<()> {
    socket.set_reuse_address(true)?;
    for _ in 0..PER_ADDRESS {
        let number =
            NEXT.fetch_add(1, Ordering::Relaxed).wrapping_add(std::process::id().wrapping_mul(PER_ADDRESS / 2));
        let address = Ipv4Addr::new(127, 0, 1, (1 + number / PER_ADDRESS % 250) as u8);
        let port = (FIRST_PORT + number % PER_ADDRESS) as u16;
        match socket.bind(&SockAddr::from(SocketAddr::from((address, port)))) {
            Err(error) if error.kind() == ErrorKind::AddrInUse => {}
            other => return Ok(other?),
        }
    }
    bail!("no free port")
}

fn is_end(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
}
