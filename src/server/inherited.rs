//! Listening sockets that came with the process: from systemd (`LISTEN_FDS`), or from the predecessor that was told USR2.
//!
//! The one file of the server with `unsafe` in it: a number in the environment becomes a socket, once, before any other thread runs.
//! Invariant: every number is checked to be open, and to be the kind of socket it stands for, before it is taken; nothing is
//! taken twice.
#![allow(unsafe_code, reason = "see the head of the file")]

use std::env;
use std::os::fd::{FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use socket2::Socket;

use crate::conf::settings::ListenAddress;

/// What a predecessor names its sockets in: `5;6;7`.
pub(super) const VARIABLE: &str = "PUSHSTREAMD_SOCKETS";
/// In what a predecessor names its end of the line to its successor.
pub(super) const LINE: &str = "PUSHSTREAMD_PREDECESSOR";
/// Numbers below are standard input, output and error.
const FIRST: RawFd = 3;

/// Sockets that nobody has taken yet.
#[derive(Debug, Default)]
pub(super) struct Inherited {
    sockets: Vec<(ListenAddress, Socket)>,
    /// A predecessor handed them over; it runs until it is told to quit.
    pub from_predecessor: bool,
    /// The line to it.
    pub predecessor: Option<UnixStream>,
}

impl Inherited {
    /// Takes the sockets named in the environment. To be called once.
    pub(super) fn from_environment() -> Self {
        let handed = env::var(VARIABLE).ok();
        let numbers: Vec<RawFd> = match &handed {
            Some(text) => text.split(';').filter_map(|number| number.parse().ok()).collect(),
            // None of our business unless systemd started this very process.
            None => sd_notify::listen_fds().map_or_else(|_| Vec::new(), Iterator::collect),
        };
        let mut numbers: Vec<RawFd> = numbers.into_iter().filter(|number| *number >= FIRST).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let line = env::var(LINE).ok().and_then(|number| number.parse().ok());
        Self {
            predecessor: line.filter(|number| *number >= FIRST && !numbers.contains(number)).and_then(line_of),
            sockets: numbers.into_iter().filter_map(socket).collect(),
            from_predecessor: handed.is_some(),
        }
    }

    /// The sockets of an address, if any were inherited.
    pub(super) fn take(&mut self, address: &ListenAddress) -> Option<Vec<Socket>> {
        let of_address = |(own, _): &mut (ListenAddress, Socket)| own == address;
        let sockets: Vec<Socket> = self.sockets.extract_if(.., of_address).map(|(_, socket)| socket).collect();
        (!sockets.is_empty()).then_some(sockets)
    }

    /// Addresses that nobody wanted.
    pub(super) fn left(&self) -> impl Iterator<Item = &ListenAddress> {
        self.sockets.iter().map(|(address, _)| address)
    }
}

/// The descriptor with this number, if it is open.
fn owned(number: RawFd) -> Option<OwnedFd> {
    // A number that is not open is nothing to be owned.
    std::fs::symlink_metadata(format!("/proc/self/fd/{number}")).ok()?;
    // SAFETY: the number is open (just checked), the environment gives it to this process, and each number is taken once,
    // before anything else in the process could have opened it.
    Some(unsafe { OwnedFd::from_raw_fd(number) })
}

/// The connected unix socket with this number; `None` if it is something else.
fn line_of(number: RawFd) -> Option<UnixStream> {
    let line = UnixStream::from(owned(number)?);
    if line.peer_addr().is_err() {
        // Not ours: leave it as it was.
        std::mem::forget(line);
        return None;
    }
    fcntl(&line, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).ok()?;
    Some(line)
}

/// The listening socket with this number; `None` if it is something else.
fn socket(number: RawFd) -> Option<(ListenAddress, Socket)> {
    let socket = Socket::from(owned(number)?);
    let listens = socket.is_listener().unwrap_or(false);
    let address = socket.local_addr().ok().filter(|_| listens).and_then(|address| {
        address
            .as_socket()
            .map(ListenAddress::Ip)
            .or_else(|| address.as_pathname().map(Path::to_owned).map(ListenAddress::Unix))
    });
    let Some(address) = address else {
        // Not ours: leave it as it was.
        std::mem::forget(socket);
        return None;
    };
    let nonblocking = fcntl(&socket, FcntlArg::F_SETFL(OFlag::O_NONBLOCK));
    let closing = fcntl(&socket, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC));
    (nonblocking.is_ok() && closing.is_ok()).then_some((address, socket))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_taken_by_address_and_once() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = ListenAddress::Ip(listener.local_addr().unwrap());
        let mut inherited =
            Inherited { sockets: vec![(address.clone(), Socket::from(listener))], ..Inherited::default() };
        assert!(inherited.take(&ListenAddress::Unix("/nowhere".into())).is_none());
        assert_eq!(inherited.left().count(), 1);
        assert_eq!(inherited.take(&address).unwrap().len(), 1);
        assert!(inherited.take(&address).is_none());
    }

    #[test]
    fn a_number_that_is_no_listening_socket_is_left_alone() {
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(socket(std::os::fd::AsRawFd::as_raw_fd(&file)).is_none());
        assert!(file.metadata().is_ok());
        assert!(socket(RawFd::MAX).is_none());
    }
}
