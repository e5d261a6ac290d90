//! Messages to a syslog server, as nginx spells them (RFC 3164).
//!
//! Each thread has a socket for each server, opened when it is needed. Invariant: whoever logs never waits and never fails; a
//! message that cannot be sent is lost, and the next one tries a new socket.

use std::cell::RefCell;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::unix::net::UnixDatagram;

use hashbrown::HashMap;

use super::vars::hostname;
use crate::conf::settings::{Syslog, SyslogServer};
use crate::model::Now;
use crate::request::date::syslog_date;

enum Socket {
    Udp(UdpSocket),
    Unix(UnixDatagram),
}

thread_local! {
    static SOCKETS: RefCell<HashMap<SyslogServer, Socket>> = RefCell::default();
}

/// Sends a line, without its end, with this severity.
pub(crate) fn send(syslog: &Syslog, severity: u8, line: &[u8], now: Now) {
    let message = message(syslog, severity, line, now);
    // A thread that ends has no sockets any more.
    let _ = SOCKETS.try_with(|sockets| {
        let mut sockets = sockets.borrow_mut();
        let sent = match sockets.get(&syslog.server) {
            Some(socket) => socket.send(&message),
            None => Socket::open(&syslog.server).and_then(|socket| {
                let sent = socket.send(&message);
                sockets.insert(syslog.server.clone(), socket);
                sent
            }),
        };
        if sent.is_err() {
            sockets.remove(&syslog.server);
        }
    });
}

fn message(syslog: &Syslog, severity: u8, line: &[u8], now: Now) -> Vec<u8> {
    let priority = u16::from(syslog.facility) * 8 + u16::from(severity);
    let (date, tag) = (syslog_date(now), &syslog.tag);
    let head = if syslog.hostname {
        format!("<{priority}>{date} {} {tag}: ", hostname())
    } else {
        format!("<{priority}>{date} {tag}: ")
    };
    [head.as_bytes(), line.strip_suffix(b"\n").unwrap_or(line)].concat()
}

impl Socket {
    fn open(server: &SyslogServer) -> io::Result<Self> {
        match server {
            SyslogServer::Udp(address) => {
                let any: SocketAddr = match address {
                    SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
                    SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
                };
                let socket = UdpSocket::bind(any)?;
                socket.connect(address)?;
                socket.set_nonblocking(true)?;
                Ok(Self::Udp(socket))
            }
            SyslogServer::Unix(path) => {
                let socket = UnixDatagram::unbound()?;
                socket.connect(path)?;
                socket.set_nonblocking(true)?;
                Ok(Self::Unix(socket))
            }
        }
    }

    fn send(&self, message: &[u8]) -> io::Result<usize> {
        match self {
            Self::Udp(socket) => socket.send(message),
            Self::Unix(socket) => socket.send(message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_goes_and_comes_back_costs_the_messages_between() {
        let path = std::env::temp_dir().join(format!("pushstreamd-syslog-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let syslog = Syslog {
            server: SyslogServer::Unix(path.clone()),
            facility: 1,
            severity: 6,
            tag: "nginx".into(),
            hostname: false,
        };
        let heard = |socket: &UnixDatagram| {
            let mut bytes = [0; 512];
            let length = socket.recv(&mut bytes).unwrap();
            String::from_utf8_lossy(&bytes[..length]).into_owned()
        };
        send(&syslog, 3, b"nobody listens\n", Now(0));
        for turn in 0..2 {
            let socket = UnixDatagram::bind(&path).unwrap();
            socket.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
            if turn > 0 {
                send(&syslog, 3, b"to the one before\n", Now(0));
            }
            send(&syslog, 3, b"a line\n", Now(0));
            let said = heard(&socket);
            assert!(said.starts_with("<11>Jan  1 ") && said.ends_with(" nginx: a line"), "{said}");
            std::fs::remove_file(&path).unwrap();
        }
    }
}
