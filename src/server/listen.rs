//! Listening sockets: one a worker for each `listen` of the configuration.
//!
//! With several workers every one has its own socket (`SO_REUSEPORT`), so that the kernel spreads connections and no
//! worker is woken for another's. Binding is tried five times, half a second apart, as nginx does it.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, Socket, TcpKeepalive, Type};

use crate::conf::settings::{ListenAddress, Listener};

/// nginx's own default on Linux.
const BACKLOG: i32 = 511;
const TRIES: usize = 5;
const PAUSE: Duration = Duration::from_millis(500);

/// The sockets of one `listen`: `sockets[worker]`.
#[derive(Debug)]
pub(super) struct Bound {
    /// Where.
    pub address: ListenAddress,
    /// One a worker.
    pub sockets: Vec<Socket>,
}

/// Binds a listener for `workers` workers. On failure the error of the last try, each try having been reported to `report`
/// in nginx's words.
pub(super) fn bind(listener: &Listener, workers: usize, report: &mut dyn FnMut(&str)) -> io::Result<Bound> {
    let name = shown(&listener.address);
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for attempt in 0..TRIES {
        if attempt > 0 {
            std::thread::sleep(PAUSE);
        }
        match bind_once(listener, workers) {
            Ok(bound) => return Ok(bound),
            Err(error) => {
                report(&format!("bind() to {name} failed ({})", errno_text(&error)));
                let retry = error.kind() == io::ErrorKind::AddrInUse;
                last = error;
                if !retry {
                    break;
                }
            }
        }
    }
    Err(last)
}

/// `98: Address already in use`, as nginx prints errors of the system.
pub(super) fn errno_text(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    error.raw_os_error().map_or_else(|| text.to_owned(), |code| format!("{code}: {text}"))
}

/// An address as nginx writes it in messages.
pub(super) fn shown(address: &ListenAddress) -> String {
    match address {
        ListenAddress::Ip(ip) => ip.to_string(),
        ListenAddress::Unix(path) => format!("unix:{}", path.display()),
    }
}

fn bind_once(listener: &Listener, workers: usize) -> io::Result<Bound> {
    let sockets = match &listener.address {
        ListenAddress::Unix(path) => bind_unix(path, listener, workers)?,
        ListenAddress::Ip(_) if workers > 1 => {
            // SO_REUSEPORT would share the port with a stranger of the same user: ask without it first.
            drop(bind_ip(listener, false)?);
            (0..workers).map(|_| bind_ip(listener, true)).collect::<io::Result<_>>()?
        }
        ListenAddress::Ip(_) => vec![bind_ip(listener, false)?],
    };
    for socket in &sockets {
        socket.listen(listener.backlog.unwrap_or(BACKLOG))?;
    }
    Ok(Bound { address: listener.address.clone(), sockets })
}

fn bind_ip(listener: &Listener, share: bool) -> io::Result<Socket> {
    let ListenAddress::Ip(ip) = &listener.address else { return Err(io::ErrorKind::InvalidInput.into()) };
    let socket = Socket::new(Domain::for_address(*ip), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    if share {
        socket.set_reuse_port(true)?;
    }
    if ip.is_ipv6() {
        socket.set_only_v6(listener.ipv6only.unwrap_or(true))?;
    }
    if let Some(size) = listener.rcvbuf {
        socket.set_recv_buffer_size(size)?;
    }
    if let Some(size) = listener.sndbuf {
        socket.set_send_buffer_size(size)?;
    }
    if listener.so_keepalive == Some(true) {
        socket.set_tcp_keepalive(&TcpKeepalive::new())?;
    }
    socket.bind(&SockAddr::from(*ip))?;
    Ok(socket)
}

/// All workers of a unix socket accept from one queue.
fn bind_unix(path: &Path, listener: &Listener, workers: usize) -> io::Result<Vec<Socket>> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    if std::os::unix::net::UnixStream::connect(path)
        .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
    {
        // Left behind by a server that is gone.
        std::fs::remove_file(path)?;
    }
    socket.bind(&SockAddr::unix(path)?)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666))?;
    socket.listen(listener.backlog.unwrap_or(BACKLOG))?;
    let mut sockets = (1..workers).map(|_| socket.try_clone()).collect::<io::Result<Vec<_>>>()?;
    sockets.push(socket);
    Ok(sockets)
}
