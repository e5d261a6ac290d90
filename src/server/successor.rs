//! USR2: the binary is started anew and inherits the listening sockets, while this process goes on serving.
//!
//! As with nginx the old process is told QUIT (or WINCH first) once the new one serves; until then both accept from the
//! same queues, so no connection is refused. If the new one ends early, the old one has lost nothing but a name.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::{Child, Command};

use super::inherited::VARIABLE;
use super::listen::Bound;

/// Starts the binary by the name and with the words this process was started with.
pub(super) fn start(sockets: &[Bound]) -> io::Result<Child> {
    let mut words = std::env::args_os();
    let binary = words.next().ok_or(io::ErrorKind::NotFound)?;
    // Copies that stay open across exec; they are closed here once the child has them.
    let copies: Vec<OwnedFd> =
        sockets.iter().flat_map(|bound| &bound.sockets).map(nix::unistd::dup).collect::<Result<_, _>>()?;
    let numbers: Vec<String> = copies.iter().map(|copy| copy.as_raw_fd().to_string()).collect();
    Command::new(binary)
        .args(words)
        .env(VARIABLE, numbers.join(";"))
        .env_remove("LISTEN_PID")
        .env_remove("LISTEN_FDS")
        .env_remove("LISTEN_FDNAMES")
        .env_remove("WATCHDOG_PID")
        .spawn()
}
