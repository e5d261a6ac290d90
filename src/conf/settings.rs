//! The compiled configuration: immutable, complete, checked. Times are milliseconds unless a name says seconds.
//!
//! Every location holds its effective values (inheritance is resolved here, at load time), so a request looks at one
//! [`Location`] and never upwards.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

pub use access::{AccessRule, AuthBasic, RealIp, Referers, SecureLink, Who};
pub use backend::{Backend, UpstreamServer};
pub use backplane::{Address, Backplane, Place};
pub use http_core::{AddHeader, Charset, Core, ErrorPage, Expires, Gzip, IfModifiedSince, PathTemplate};
pub use limits::{LimitConn, LimitReq, LimitZone};
pub use location::{Fallback, Handler, LimitExcept, Location, Locations, Match, Mode, TryFiles};
pub use logs::{
    AccessLog, AccessTarget, ErrorLog, LogEscape, LogFileCache, LogFormat, LogLevel, LogLines, LogStyle, LogTarget,
    NamedLog,
};
pub use push::{ChannelsPath, Padding, Push};
pub use rewrite::{Condition, FileTest, Operation, Return, RewriteFlag};
pub use server::{ListenAddress, Listener, Server, ServerNames};
pub use state::{State, durability};
pub use status::Status;
pub use syslog::{Syslog, SyslogServer};
pub use tls::{Tls, TlsVersion, VerifyClient};

pub use super::regex::Regex;

use super::variable::Definition;
use crate::model::{Capabilities, Compat, Zone};

mod access;
mod backend;
mod backplane;
mod http_core;
mod limits;
mod location;
mod logs;
mod push;
mod rewrite;
mod server;
mod state;
mod status;
mod syslog;
mod tls;

/// A whole configuration.
#[derive(Debug)]
pub struct Settings {
    /// Process-wide values (`user`, `worker_processes`, `pid`, ...).
    pub process: Process,
    /// The zone: limits and texts of all channels.
    pub zone: Zone,
    /// Where messages outlive the process.
    pub state: State,
    /// Where the order of the zone is made, if nodes share it.
    pub backplane: Backplane,
    /// Where the server tells of itself.
    pub status: Status,
    /// How the server speaks in its logs.
    pub log_lines: LogLines,
    /// The names of all zones, by number; those of configurations before this one are among them. They share the limits and texts of `zone`, and
    /// nothing else.
    pub zones: Vec<Box<str>>,
    /// Name of the zone's memory: the second word of `push_stream_shared_memory_size`.
    pub zone_name: Box<str>,
    /// Whose wire is spoken.
    pub compat: Compat,
    /// What that wire has that others have not.
    pub capabilities: Capabilities,
    /// Sockets, each with the servers behind it.
    pub listeners: Vec<Listener>,
    /// Variables the configuration defines; `Variable::Defined` is an index into it.
    pub variables: Vec<Definition>,
    /// Log formats by name (`combined` is always there).
    pub log_formats: HashMap<Box<str>, Arc<LogFormat>>,
    /// `upstream` blocks by name.
    pub upstreams: HashMap<Box<str>, Vec<UpstreamServer>>,
    /// Shared zones of `limit_conn_zone` / `limit_req_zone`.
    pub limit_zones: Vec<LimitZone>,
    /// Largest header or message minimum of all paddings of the configuration, 0 without paddings.
    pub largest_padding: usize,
    /// Whether any location uses a mode directive.
    pub uses_module: bool,
    /// `push_stream_drain_time`: over how many milliseconds subscribers are told farewell when the server ends.
    pub drain_time: u64,
    /// `push_stream_drain_delay`: how many milliseconds the server serves on after it was told to end.
    pub drain_delay: u64,
    /// What connections may hold.
    pub bounds: Bounds,
}

/// What connections may hold; 0: any amount.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bounds {
    /// `push_stream_connections_memory`: bytes for all of them; `None`: a share of what there is.
    pub memory: Option<u64>,
    /// `push_stream_address_connections`: how many one address may have.
    pub address_connections: u64,
    /// `push_stream_address_memory`: bytes for those of one address.
    pub address_memory: u64,
}

/// Values of the main context and of `events`.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each is nginx's directive of the same name")]
pub struct Process {
    pub daemon: bool,
    pub pid: PathBuf,
    pub user: Option<(String, Option<String>)>,
    /// `None`: `auto`.
    pub worker_processes: Option<usize>,
    pub worker_connections: usize,
    pub worker_rlimit_nofile: Option<u64>,
    pub worker_shutdown_timeout: Option<u64>,
    pub error_log: Vec<ErrorLog>,
}
