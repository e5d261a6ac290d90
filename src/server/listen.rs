//! Listening sockets: one a worker for each `listen` of the configuration.
//!
//! With several workers every one has its own socket (`SO_REUSEPORT`), so that the kernel spreads connections and no
//! worker is woken for another's; the first of them is bound and listens alone before it shares its port, so that of two
//! servers that start at once one gets the port and the other an error. The main thread keeps every socket too: a worker gets a copy, a successor inherits them
//! all, and the queue of a socket outlives whoever accepted from it. Busy ports are tried five times, half a second
//! apart, as nginx does it.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use socket2::{Domain, Protocol, SockAddr, Socket, TcpKeepalive, Type};

use super::holder;
use super::inherited::Inherited;
use crate::conf::settings::{ListenAddress, Listener};

/// nginx's own default on Linux.
const BACKLOG: i32 = 511;
const TRIES: usize = 5;
const PAUSE: Duration = Duration::from_millis(500);

/// The sockets of one `listen`.
#[derive(Debug)]
pub(super) struct Bound {
    /// Where.
    pub address: ListenAddress,
    /// One a worker, unless others were inherited.
    pub sockets: Vec<Socket>,
}

/// What a worker listens on.
pub(super) type Share = Vec<(ListenAddress, Socket)>;

/// Why a listener could not be bound.
#[derive(Debug, thiserror::Error)]
pub(super) enum BindError {
    /// Every try was reported.
    #[error("still could not bind()")]
    Busy,
    /// Not worth another try.
    #[error("{0}")]
    Impossible(String),
}

/// Binds listeners for `workers` workers, taking what was inherited first. Each busy port of each try is told to `report`.
pub(super) fn bind_all(
    listeners: &[&Listener],
    workers: usize,
    inherited: &mut Inherited,
    report: &mut dyn FnMut(&str),
) -> Result<Vec<Bound>, BindError> {
    let mut taken = |address: &ListenAddress| {
        let sockets = inherited.take(address)?;
        Some(Bound { address: address.clone(), sockets })
    };
    let mut bound: Vec<Option<Bound>> = listeners.iter().map(|listener| taken(&listener.address)).collect();
    for attempt in 0..TRIES {
        if attempt > 0 {
            std::thread::sleep(PAUSE);
        }
        for (listener, slot) in listeners.iter().zip(&mut bound).filter(|(_, slot)| slot.is_none()) {
            match bind_once(listener, workers) {
                Ok(new) => *slot = Some(new),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                    let address = shown(&listener.address);
                    report(&cannot_bind(&listener.address, &error));
                    if attempt == 0 {
                        let holder = holder::of(&listener.address);
                        let holder = holder.as_deref().unwrap_or("a process that only root can see (ss -ltnp)");
                        report(&format!("{address} is held by {holder}"));
                    }
                    // In order: two servers that start at once must not hold a port each and wait for the other's.
                    break;
                }
                Err(error) => return Err(BindError::Impossible(cannot_bind(&listener.address, &error))),
            }
        }
        if bound.iter().all(Option::is_some) {
            return Ok(bound.into_iter().flatten().collect());
        }
    }
    Err(BindError::Busy)
}

/// Whether a listener could be bound: nothing is kept, and a busy port is no mistake (`-t`).
pub(super) fn probe(listener: &Listener) -> Result<(), BindError> {
    let ListenAddress::Ip(address) = &listener.address else { return Ok(()) };
    match bind_ip(*address, &listener.into(), false) {
        Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
            Err(BindError::Impossible(cannot_bind(&listener.address, &error)))
        }
        _ => Ok(()),
    }
}

/// The same of a socket of our own ([`bind_alone`]).
pub(super) fn probe_alone(address: SocketAddr) -> Result<(), BindError> {
    let bound = open_ip(address).and_then(|socket| socket.bind(&address.into()));
    match bound {
        Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
            Err(BindError::Impossible(cannot_bind(&ListenAddress::Ip(address), &error)))
        }
        _ => Ok(()),
    }
}

/// That an address cannot be bound, in nginx's words, and what that means where one may not know.
pub(super) fn cannot_bind(address: &ListenAddress, error: &io::Error) -> String {
    let low = matches!(address, ListenAddress::Ip(ip) if ip.port() < 1024);
    let meaning = match error.kind() {
        io::ErrorKind::PermissionDenied if low => {
            "; ports below 1024 are for root and for who has CAP_NET_BIND_SERVICE, as the service of the packages has"
        }
        io::ErrorKind::AddrNotAvailable => "; no interface of this machine has that address",
        _ => "",
    };
    format!("bind() to {} failed ({}){meaning}", shown(address), errno_text(error))
}

/// Copies of the sockets for each of `workers` workers. With fewer sockets than workers some share one, with more some
/// have several.
pub(super) fn shares(bound: &[Bound], workers: usize) -> io::Result<Vec<Share>> {
    let mut shares: Vec<Share> = (0..workers).map(|_| Vec::new()).collect();
    for Bound { address, sockets } in bound {
        for index in 0..workers.max(sockets.len()) {
            let socket = sockets.get(index % sockets.len().max(1));
            let share = shares.get_mut(index % workers.max(1));
            if let (Some(socket), Some(share)) = (socket, share) {
                share.push((address.clone(), socket.try_clone()?));
            }
        }
    }
    Ok(shares)
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

/// The most connections of a listener that wait to be accepted, as it asks the kernel for.
pub(super) fn backlog(listener: &Listener) -> i32 {
    listener.backlog.unwrap_or(BACKLOG)
}

/// What a `listen` says of its sockets.
struct Options {
    backlog: Option<i32>,
    ipv6only: Option<bool>,
    rcvbuf: Option<usize>,
    sndbuf: Option<usize>,
    so_keepalive: Option<bool>,
}

impl From<&Listener> for Options {
    fn from(listener: &Listener) -> Self {
        let Listener { backlog, ipv6only, rcvbuf, sndbuf, so_keepalive, .. } = *listener;
        Self { backlog, ipv6only, rcvbuf, sndbuf, so_keepalive }
    }
}

fn bind_once(listener: &Listener, workers: usize) -> io::Result<Bound> {
    let sockets = bind_address(&listener.address, &listener.into(), workers)?;
    Ok(Bound { address: listener.address.clone(), sockets })
}

fn bind_address(address: &ListenAddress, options: &Options, workers: usize) -> io::Result<Vec<Socket>> {
    let backlog = options.backlog.unwrap_or(BACKLOG);
    Ok(match address {
        ListenAddress::Unix(path) => vec![bind_unix(path, backlog)?],
        ListenAddress::Ip(address) => {
            // With SO_REUSEPORT from the beginning a stranger of the same user would share the port. The kernel lets one
            // socket alone bind and listen without it.
            let first = bind_ip(*address, options, false)?;
            first.listen(backlog)?;
            let mut sockets = vec![first];
            if workers > 1 {
                sockets.iter().try_for_each(|first| first.set_reuse_port(true))?;
                for _ in 1..workers {
                    let more = bind_ip(*address, options, true)?;
                    more.listen(backlog)?;
                    sockets.push(more);
                }
            }
            sockets
        }
    })
}

/// Binds a socket of our own that nobody shares.
pub(super) fn bind_alone(address: SocketAddr, backlog: i32) -> io::Result<Socket> {
    let socket = open_ip(address)?;
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    Ok(socket)
}

fn open_ip(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    Ok(socket)
}

fn bind_ip(address: SocketAddr, options: &Options, share: bool) -> io::Result<Socket> {
    let socket = open_ip(address)?;
    if share {
        socket.set_reuse_port(true)?;
    }
    if address.is_ipv6() {
        socket.set_only_v6(options.ipv6only.unwrap_or(true))?;
    }
    if let Some(size) = options.rcvbuf {
        socket.set_recv_buffer_size(size)?;
    }
    if let Some(size) = options.sndbuf {
        socket.set_send_buffer_size(size)?;
    }
    if options.so_keepalive == Some(true) {
        socket.set_tcp_keepalive(&TcpKeepalive::new())?;
    }
    socket.bind(&SockAddr::from(address))?;
    Ok(socket)
}

/// All workers of a unix socket accept from one queue. The directory is locked from the look at what is there until the
/// socket listens: of two servers that start at once, one would take the other's for one left behind.
fn bind_unix(path: &Path, backlog: i32) -> io::Result<Socket> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Where the file system has no locks there is no protection either.
    let _lock = File::open(directory).ok().and_then(|directory| Flock::lock(directory, FlockArg::LockExclusive).ok());
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
    socket.listen(backlog)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound(count: usize) -> Bound {
        let socket = || Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        Bound {
            address: ListenAddress::Ip(([127, 0, 0, 1], 1).into()),
            sockets: (0..count).map(|_| socket()).collect(),
        }
    }

    #[test]
    fn of_two_that_bind_at_once_one_at_most_gets_a_port_or_a_unix_socket() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let path = std::env::temp_dir().join(format!("pushstreamd-bind-{}", std::process::id()));
        for round in 0..100 {
            // Left behind by a server that is gone, every other time.
            if round % 2 == 0 {
                let _ = std::fs::remove_file(&path);
            }
            for address in [ListenAddress::Ip(free), ListenAddress::Unix(path.clone())] {
                let options = Options { backlog: None, ipv6only: None, rcvbuf: None, sndbuf: None, so_keepalive: None };
                let start = std::sync::Barrier::new(2);
                let bind = || {
                    start.wait();
                    let bound = bind_address(&address, &options, 2);
                    // Neither lets go before both have tried.
                    start.wait();
                    bound
                };
                let got = std::thread::scope(|scope| {
                    let (one, other) = (scope.spawn(bind), scope.spawn(bind));
                    [one.join().unwrap(), other.join().unwrap()].iter().filter(|bound| bound.is_ok()).count()
                });
                assert_eq!(got, 1, "{address:?} in round {round}");
            }
        }
        let _ = std::fs::remove_file(&path);
    }

    #[test]
    fn every_worker_and_every_socket_gets_its_share() {
        let sizes = |sockets, workers| -> Vec<usize> {
            shares(&[bound(sockets)], workers).unwrap().iter().map(Vec::len).collect()
        };
        assert_eq!(sizes(2, 2), [1, 1]);
        assert_eq!(sizes(1, 3), [1, 1, 1]);
        assert_eq!(sizes(3, 2), [2, 1]);
        assert_eq!(sizes(0, 2), [0, 0]);
    }
}
