//! A syslog server as a target of logs.

use std::net::SocketAddr;
use std::path::PathBuf;

/// `syslog:server=...`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Syslog {
    /// Where messages go.
    pub server: SyslogServer,
    /// Number of the facility.
    pub facility: u8,
    /// Number of the severity of access log lines; those of an error log have their own.
    pub severity: u8,
    /// What the program is called.
    pub tag: Box<str>,
    /// Whether the name of the host is told.
    pub hostname: bool,
}

/// The address of a syslog server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SyslogServer {
    /// By UDP.
    Udp(SocketAddr),
    /// A datagram socket of the host, such as `/dev/log`.
    Unix(PathBuf),
}
