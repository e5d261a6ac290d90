//! The compiled configuration: immutable, complete, checked. Times are milliseconds unless a name says seconds.
//!
//! Every location holds its effective values (inheritance is resolved here, at load time), so a request looks at one
//! [`Location`] and never upwards.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use ahash::AHashMap;

pub use access::{AccessRule, AuthBasic, LimitExcept, RealIp, Referers, SecureLink, Who};
pub use backend::{Backend, UpstreamServer};
pub use backplane::{Address, Backplane, Place};
pub use logs::{
    AccessLog, AccessTarget, ErrorLog, LogEscape, LogFileCache, LogFormat, LogLevel, LogLines, LogStyle, LogTarget,
    NamedLog,
};
pub use state::{State, durability};
pub use status::Status;
pub use syslog::{Syslog, SyslogServer};

pub use super::regex::Regex;

use super::variable::{Complex, Definition};
use crate::model::{Capabilities, Compat, Zone};

mod access;
mod backend;
mod backplane;
mod logs;
mod state;
mod status;
mod syslog;

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
    /// Name of the zone: the second word of `push_stream_shared_memory_size`.
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

/// One `listen` socket and the servers that share it.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each is a parameter of nginx's listen directive")]
pub struct Listener {
    pub address: ListenAddress,
    pub ssl: bool,
    pub http2: bool,
    pub proxy_protocol: bool,
    pub backlog: Option<i32>,
    pub ipv6only: Option<bool>,
    pub rcvbuf: Option<usize>,
    pub sndbuf: Option<usize>,
    pub so_keepalive: Option<bool>,
    /// Choice of the server by name.
    pub names: ServerNames,
    /// `file:line` of the first `listen` for this address, for messages.
    pub origin: String,
}

/// Where a listener is bound.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ListenAddress {
    /// TCP.
    Ip(SocketAddr),
    /// `unix:PATH`.
    Unix(PathBuf),
}

/// The servers of one socket by name, in nginx's order of precedence: exact, `*.x`, `x.*`, regex, default.
#[derive(Clone, Debug)]
pub struct ServerNames {
    /// Exact names, lower-cased.
    pub exact: AHashMap<Box<str>, Arc<Server>>,
    /// Masks, longest first, suffix masks before prefix masks.
    pub masks: Vec<(super::variable::HostMask, Arc<Server>)>,
    /// Regexes in file order.
    pub regexes: Vec<(Regex, Arc<Server>)>,
    /// `default_server`, or the first one.
    pub default: Arc<Server>,
}

impl ServerNames {
    /// All servers of the socket; one with several names comes several times.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Server>> {
        let masks = self.masks.iter().map(|(_, server)| server);
        let regexes = self.regexes.iter().map(|(_, server)| server);
        std::iter::once(&self.default).chain(self.exact.values()).chain(masks).chain(regexes)
    }
}

/// A `server` block.
#[derive(Debug)]
pub struct Server {
    /// First `server_name` (`$server_name`), may be empty.
    pub name: Box<str>,
    /// Values of the server level; its rewrite operations run before the location is chosen. Used as the location of
    /// requests that match none.
    pub root: Arc<Location>,
    /// Locations of the server.
    pub locations: Locations,
    /// `location @name`.
    pub named: HashMap<Box<str>, Arc<Location>>,
    /// Certificates, if any `listen ... ssl` (or `ssl on`).
    pub tls: Option<Arc<Tls>>,
    /// `client_header_timeout`
    pub client_header_timeout: u64,
    /// `large_client_header_buffers`: number and size in bytes.
    pub large_client_header_buffers: (usize, usize),
    /// `merge_slashes`
    pub merge_slashes: bool,
    /// `underscores_in_headers`
    pub underscores_in_headers: bool,
    /// `ignore_invalid_headers`
    pub ignore_invalid_headers: bool,
    /// `file:line` of the block.
    pub origin: Box<str>,
    /// A location of the server has a mode of the module.
    pub pushes: bool,
    /// What the server serves beside push and error pages: the directive and its place. See [`Server::is_foreign`].
    pub foreign: Option<Box<str>>,
}

impl Server {
    /// Whether the server is somebody else's too: it hands requests to backends or serves static content, which a push
    /// server in its place would take away. Error pages, and locations that deny or `return`, do not count.
    pub fn is_foreign(&self) -> bool {
        self.foreign.is_some()
    }

    /// Whether any location of the server has a mode of the module.
    pub fn serves_push(&self) -> bool {
        self.pushes
    }
}

/// A set of sibling locations, ready for nginx's choice: `=`, then longest prefix, then regex.
#[derive(Debug, Default)]
pub struct Locations {
    /// `location = /x`
    pub exact: AHashMap<Box<[u8]>, Arc<Location>>,
    /// Prefix locations (`/x` and `^~ /x`), longest first.
    pub prefixes: Vec<Arc<Location>>,
    /// Regex locations in file order.
    pub regexes: Vec<Arc<Location>>,
}

/// How a location is chosen.
#[derive(Debug)]
pub enum Match {
    /// The server level itself, a named location, or an `if` block.
    None,
    /// `= /x`
    Exact(Box<[u8]>),
    /// `/x`
    Prefix(Box<[u8]>),
    /// `^~ /x`
    StrongPrefix(Box<[u8]>),
    /// `~ re`, `~* re`
    Regex(Regex),
}

/// A `location`, a server's own level, or an `if` block in one of them, with all its effective values.
#[derive(Debug)]
pub struct Location {
    /// How it is chosen.
    pub matched: Match,
    /// Unique within the settings; equal to that of the enclosing location for an `if` block's values.
    pub number: usize,
    /// Rewrite-phase operations in file order.
    pub rewrite: Vec<Operation>,
    /// Locations within.
    pub nested: Locations,
    /// What answers here.
    pub handler: Handler,
    /// Values of the push stream module.
    pub push: Push,
    /// Values of nginx itself.
    pub core: Core,
    /// Where `auth_request` asks when it leads here: `proxy_pass` and its tuning.
    pub backend: Option<Arc<Backend>>,
    /// `try_files`, before the handler.
    pub try_files: Option<TryFiles>,
}

/// `try_files`.
#[derive(Debug)]
pub struct TryFiles {
    /// Paths below the root; those that end with `/` look for directories.
    pub candidates: Vec<Complex>,
    /// What answers where none exists.
    pub last: Fallback,
}

/// The last word of `try_files`.
#[derive(Debug)]
pub enum Fallback {
    /// `=CODE`
    Status(u16),
    /// A URI or `@name`.
    Uri(Complex),
}

/// What answers the requests of a location.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Handler {
    /// `push_stream_publisher [normal]` / `admin`
    Publisher {
        /// `admin`: DELETE is allowed.
        admin: bool,
    },
    /// `push_stream_subscriber MODE`
    Subscriber(Mode),
    /// `push_stream_channels_statistics`
    Statistics,
    /// Static files below `root`/`alias` (nginx's default).
    Static,
    /// `stub_status`
    StubStatus,
    /// A handler pushstreamd does not have (`proxy_pass`, `fastcgi_pass`, ...): the directive's name. Answered by 502.
    Foreign(Box<str>),
}

/// Mode of a subscriber location.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the module's names")]
pub enum Mode {
    Streaming,
    Polling,
    LongPolling,
    EventSource,
    WebSocket,
}

/// Location-level directives of the module, inherited values filled in.
#[derive(Clone, Debug)]
pub struct Push {
    /// `push_stream_channels_path`, or a 0.3.x `$push_stream_channel(s)_path|id` variable.
    pub channels_path: Option<ChannelsPath>,
    /// `push_stream_store_messages`
    pub store_messages: bool,
    /// `push_stream_channel_info_on_publish`
    pub channel_info_on_publish: bool,
    /// `push_stream_authorized_channels_only`
    pub authorized_channels_only: bool,
    /// `push_stream_header_template(_file)`, as written.
    pub header_template: Arc<[u8]>,
    /// `push_stream_message_template`, as written.
    pub message_template: Arc<[u8]>,
    /// `push_stream_footer_template`, as written.
    pub footer_template: Arc<[u8]>,
    /// `push_stream_wildcard_channel_max_qtd`, defaulted from the zone cap.
    pub wildcard_channel_max_qtd: Option<u32>,
    /// `push_stream_ping_message_interval`
    pub ping_message_interval: Option<u64>,
    /// `push_stream_subscriber_connection_ttl`
    pub subscriber_connection_ttl: Option<u64>,
    /// `push_stream_longpolling_connection_ttl`, defaulted from the above.
    pub longpolling_connection_ttl: Option<u64>,
    /// `push_stream_websocket_allow_publish`
    pub websocket_allow_publish: bool,
    /// `push_stream_websocket_deflate`
    pub websocket_deflate: bool,
    /// `push_stream_websocket_max_message_size`; 0: any.
    pub websocket_max_message_size: u64,
    /// `push_stream_last_received_message_time`
    pub last_received_message_time: Option<Complex>,
    /// `push_stream_last_received_message_tag`
    pub last_received_message_tag: Option<Complex>,
    /// `push_stream_last_event_id`
    pub last_event_id: Option<Complex>,
    /// `push_stream_user_agent`
    pub user_agent: Option<Complex>,
    /// `push_stream_padding_by_user_agent`, in order.
    pub paddings: Arc<[Padding]>,
    /// `push_stream_allowed_origins`
    pub allowed_origins: Option<Complex>,
    /// `push_stream_allow_connections_to_events_channel`
    pub allow_connections_to_events_channel: bool,
    /// 0.3.x `push_stream_eventsource_support` on a location whose mode is not eventsource.
    pub eventsource_support: bool,
    /// 0.3.x `push_stream_content_type`.
    pub content_type: Option<Box<str>>,
    /// 0.3.x `push_stream_keepalive`: `Some(false)` closes after every publisher/statistics answer.
    pub keepalive: Option<bool>,
}

/// Source of the channel path of a location.
#[derive(Clone, Debug)]
pub struct ChannelsPath {
    /// The value.
    pub value: Complex,
    /// Percent-decode the expanded value (0.4.0 and later).
    pub decode: bool,
    /// Split at `/` and read `.bN` (false: 0.3.x `$push_stream_channel_id`, one id taken verbatim).
    pub split: bool,
}

/// One rule of `push_stream_padding_by_user_agent`.
#[derive(Debug)]
pub struct Padding {
    /// Matched, unanchored, against the user agent.
    pub agent: Regex,
    /// Least bytes of a header.
    pub header_min: usize,
    /// Least bytes of a message.
    pub message_min: usize,
}

/// A rewrite-phase operation.
#[derive(Debug)]
pub enum Operation {
    /// `set $v X` (`Variable::Defined` index).
    Set(usize, Complex),
    /// `set $args X`: the request's arguments.
    SetArgs(Complex),
    /// `if (cond) { ... }`: its operations run in place when true; its values become the request's location.
    If {
        /// The condition.
        condition: Condition,
        /// `None` for an `if` that only holds rewrite operations at the server level.
        location: Arc<Location>,
    },
    /// `rewrite RE REPLACEMENT [flag]`
    Rewrite {
        /// Matched against the URI.
        regex: Regex,
        /// New URI (and arguments).
        replacement: Complex,
        /// The replacement ends with `?`: the arguments of the request are not appended.
        drop_args: bool,
        /// What comes after.
        flag: RewriteFlag,
    },
    /// `return CODE [text|URL]`
    Return(Return),
    /// `break`
    Break,
}

/// Flag of a `rewrite`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "nginx's names; Continue is a rewrite without a flag")]
pub enum RewriteFlag {
    Continue,
    Last,
    Break,
    Redirect,
    Permanent,
}

/// A `return`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Return {
    /// Status; 444 closes the connection.
    pub code: u16,
    /// Body, or `Location` of 301, 302, 303, 307, 308.
    pub text: Option<Complex>,
}

/// Condition of an `if`.
#[derive(Debug)]
pub enum Condition {
    /// `($v)`: not empty and not `0`.
    True(Complex),
    /// `($v = text)` / `!=`
    Equal {
        /// Left side.
        value: Complex,
        /// Right side.
        text: Complex,
        /// `!=`
        negate: bool,
    },
    /// `($v ~ re)`, `~*`, `!~`, `!~*`
    Matches {
        /// Left side.
        value: Complex,
        /// Right side (case sensitivity compiled in).
        regex: Regex,
        /// `!~`
        negate: bool,
    },
    /// `-f`, `-d`, `-e`, `-x` and their negations.
    File {
        /// The path.
        path: Complex,
        /// Which test.
        test: FileTest,
        /// `!-f`
        negate: bool,
    },
}

/// File tests of `if`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "named after -f -d -e -x")]
pub enum FileTest {
    File,
    Directory,
    Exists,
    Executable,
}

/// Location values of nginx itself, inherited values filled in.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each is nginx's directive of the same name")]
pub struct Core {
    pub default_type: Box<str>,
    pub types: Arc<HashMap<Box<str>, Box<str>>>,
    pub add_headers: Arc<[AddHeader]>,
    pub expires: Option<Expires>,
    pub error_pages: Arc<[ErrorPage]>,
    pub access: Arc<[AccessRule]>,
    pub limit_except: Option<Arc<LimitExcept>>,
    pub satisfy_any: bool,
    pub recursive_error_pages: bool,
    pub auth_basic: Option<Arc<AuthBasic>>,
    pub auth_request: Option<Complex>,
    /// `auth_request_set`: index of a defined variable, and its value once the backend has answered.
    pub auth_request_set: Arc<[(usize, Complex)]>,
    pub secure_link: Option<Arc<SecureLink>>,
    pub valid_referers: Option<Arc<Referers>>,
    pub charset: Option<Arc<Charset>>,
    pub root: PathTemplate,
    pub internal: bool,
    pub client_max_body_size: u64,
    pub client_body_timeout: u64,
    pub send_timeout: u64,
    /// `keepalive_timeout` of the connection (0 = close) and of the `Keep-Alive` header, seconds.
    pub keepalive_timeout: u64,
    pub keepalive_header: Option<u64>,
    pub keepalive_requests: u64,
    pub chunked_transfer_encoding: bool,
    pub server_tokens: bool,
    pub gzip: Option<Arc<Gzip>>,
    pub access_log: Arc<[AccessLog]>,
    pub log_not_found: bool,
    pub limit_conn: Arc<[LimitConn]>,
    pub limit_req: Arc<[LimitReq]>,
    pub realip: Option<Arc<RealIp>>,
    pub absolute_redirect: bool,
    pub port_in_redirect: bool,
    pub server_name_in_redirect: bool,
}

/// `root` or `alias`.
#[derive(Clone, Debug)]
pub struct PathTemplate {
    /// Directory, absolute if it has no variables.
    pub path: Complex,
    /// `alias`: replaces the matched prefix instead of being put before the URI.
    pub alias: bool,
    /// `index`
    pub index: Arc<[Box<str>]>,
}

/// `add_header`.
#[derive(Clone, Debug)]
pub struct AddHeader {
    /// Name as written.
    pub name: Box<str>,
    /// Value; nothing is sent when it expands to the empty string.
    pub value: Complex,
    /// `always`
    pub always: bool,
}

/// `expires`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expires {
    /// `epoch`
    Epoch,
    /// `max`
    Max,
    /// Seconds from now (negative: no-cache).
    In(i64),
    /// `modified`: seconds from the last modification.
    Modified(i64),
}

/// `error_page`.
#[derive(Clone, Debug)]
pub struct ErrorPage {
    /// The statuses.
    pub codes: Vec<u16>,
    /// `None`: keep the status; `Some(None)`: `=` (the status of the page counts); `Some(Some(c))`: `=c`.
    pub replace: Option<Option<u16>>,
    /// URI, URL or `@name`.
    pub target: Complex,
}

/// `charset`, told behind the content types it is for.
#[derive(Debug)]
pub struct Charset {
    /// Its name; nothing is told where it comes out empty.
    pub name: Complex,
    /// `charset_types`, lower-cased.
    pub types: Vec<Box<str>>,
    /// `charset_types *`
    pub all_types: bool,
}

impl Charset {
    /// Whether the charset is told behind this content type.
    pub fn is_for(&self, content_type: &str) -> bool {
        self.all_types || self.types.iter().any(|listed| listed.eq_ignore_ascii_case(content_type))
    }
}

/// `gzip on` and its parameters.
#[derive(Debug)]
#[expect(missing_docs, reason = "each is nginx's directive of the same name")]
pub struct Gzip {
    pub types: Vec<Box<str>>,
    pub all_types: bool,
    pub min_length: u64,
    pub comp_level: u32,
    pub http_version_10: bool,
    pub vary: bool,
    pub proxied: Vec<Box<str>>,
    pub disable: Vec<Regex>,
}

/// `limit_conn_zone` / `limit_req_zone`.
#[derive(Debug)]
pub struct LimitZone {
    /// Name of the zone.
    pub name: Box<str>,
    /// Key; requests with an empty key are not counted.
    pub key: Complex,
    /// Requests per 1000 seconds (`limit_req_zone` only).
    pub rate: Option<u64>,
    /// Most memory its keys may take, bytes.
    pub size: u64,
}

/// `limit_conn`.
#[derive(Clone, Debug)]
pub struct LimitConn {
    /// Index into [`Settings::limit_zones`].
    pub zone: usize,
    /// Most connections at once.
    pub most: u32,
    /// `limit_conn_status`
    pub status: u16,
}

/// `limit_req`.
#[derive(Clone, Debug)]
pub struct LimitReq {
    /// Index into [`Settings::limit_zones`].
    pub zone: usize,
    /// `burst=`
    pub burst: u32,
    /// `nodelay` (`delay=N`: requests of the burst that are not delayed; `u32::MAX` for `nodelay`).
    pub nodelay: u32,
    /// `limit_req_status`
    pub status: u16,
}

/// TLS of a server.
#[derive(Debug)]
#[expect(missing_docs, reason = "each is nginx's directive of the same name without ssl_")]
pub struct Tls {
    pub certificates: Vec<(PathBuf, PathBuf)>,
    /// `ssl_reject_handshake`
    pub rejects: bool,
    pub protocols: Vec<TlsVersion>,
    pub ciphers: Option<String>,
    pub client_certificate: Option<PathBuf>,
    pub verify_client: VerifyClient,
    pub session_tickets: bool,
    pub session_timeout: u64,
}

/// TLS versions of `ssl_protocols` (older ones are reported and left out).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "nginx's names")]
pub enum TlsVersion {
    V12,
    V13,
}

/// `ssl_verify_client`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "nginx's names")]
pub enum VerifyClient {
    Off,
    On,
    Optional,
    OptionalNoCa,
}
