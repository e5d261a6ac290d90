//! nginx variables, compiled: `"$arg_id.b1"` becomes parts that a request fills in.

use std::sync::Arc;

/// A value with variables (nginx's "complex value").
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Complex {
    /// Pieces in order. No piece: the empty value.
    pub parts: Vec<Part>,
}

/// A piece of a [`Complex`] value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Bytes as they stand.
    Text(Box<[u8]>),
    /// The value of a variable, empty if it has none.
    Variable(Variable),
}

/// A variable that a request has, resolved at configuration time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Variable {
    /// `$arg_NAME`: the first argument of that name (compared without case), not decoded.
    Arg(Box<str>),
    /// `$http_NAME`: the request header, NAME lower-cased with `_` for `-`.
    Http(Box<str>),
    /// `$sent_http_NAME`: the response header (access log only).
    SentHttp(Box<str>),
    /// `$upstream_http_NAME`: a header of the backend's answer (`auth_request_set` only).
    UpstreamHttp(Box<str>),
    /// `$upstream_cookie_NAME`: a cookie the backend sets (`auth_request_set` only).
    UpstreamCookie(Box<str>),
    /// `$cookie_NAME`.
    Cookie(Box<str>),
    /// `$1` ... `$9`: capture of the last regex that matched.
    Capture(u8),
    /// A variable the configuration defines (`set`, `map`, `geo`, `split_clients`, named capture): index into
    /// [`super::Settings::variables`].
    Defined(usize),
    /// A variable nginx itself defines, by name (`uri`, `host`, `remote_addr`, ...).
    Builtin(Builtin),
}

/// The fixed variables of nginx that pushstreamd can fill in. Those of other modules (`upstream_*`, ...) are accepted by
/// the configuration and always empty: [`Builtin::Empty`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is nginx's variable of the same name, in snake case")]
pub enum Builtin {
    Args,
    BinaryRemoteAddr,
    BodyBytesSent,
    BytesSent,
    Connection,
    ConnectionRequests,
    ContentLength,
    ContentType,
    DocumentRoot,
    Empty,
    Host,
    Hostname,
    Https,
    InvalidReferer,
    IsArgs,
    Msec,
    NginxVersion,
    Pid,
    ProxyAddXForwardedFor,
    ProxyProtocolAddr,
    ProxyProtocolPort,
    QueryString,
    RealipRemoteAddr,
    RemoteAddr,
    RemotePort,
    RemoteUser,
    Request,
    RequestCompletion,
    RequestFilename,
    RequestId,
    RequestLength,
    RequestMethod,
    RequestTime,
    RequestUri,
    Scheme,
    SecureLink,
    SecureLinkExpires,
    ServerAddr,
    ServerName,
    ServerPort,
    ServerProtocol,
    SslCipher,
    SslClientSDn,
    SslClientVerify,
    SslProtocol,
    SslServerName,
    Status,
    TimeIso8601,
    TimeLocal,
    UpstreamStatus,
    Uri,
}

/// How a defined variable gets its value.
#[derive(Clone, Debug)]
pub struct Definition {
    /// Name without `$`.
    pub name: Box<str>,
    /// Source of the value when no `set` or named capture of this request has given one.
    pub source: Source,
}

/// Source of a defined variable.
#[derive(Clone, Debug)]
pub enum Source {
    /// Only `set` or a named capture gives a value; empty before.
    Assigned,
    /// `map`.
    Map(Arc<Map>),
    /// `geo`.
    Geo(Arc<Geo>),
    /// `split_clients`: upper bounds (exclusive, of a 32-bit MurmurHash2 of the key) in order, and the value of each.
    Split(Arc<Split>),
}

/// A `map` block.
#[derive(Debug)]
pub struct Map {
    /// What is looked up.
    pub key: Complex,
    /// Exact, lower-cased keys.
    pub exact: std::collections::HashMap<Box<[u8]>, Complex>,
    /// `*.name` / `name.*` masks (only with `hostnames`), in nginx's order of precedence.
    pub masks: Vec<(HostMask, Complex)>,
    /// Regexes in file order.
    pub regexes: Vec<(super::regex::Regex, Complex)>,
    /// `default`.
    pub default: Complex,
}

/// A host name mask: `*.example.org` (suffix) or `www.example.*` (prefix).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostMask {
    /// `*.x`: the text with its leading dot, lower-cased; `.x` also matches `x` itself.
    Suffix {
        /// `.example.org`
        dotted: Box<str>,
        /// Written as `.example.org`: the bare name matches as well.
        bare_too: bool,
    },
    /// `x.*`: the text with its trailing dot.
    Prefix(Box<str>),
}

/// A `geo` block.
#[derive(Debug)]
pub struct Geo {
    /// The address that is looked up (default `$remote_addr`).
    pub key: Complex,
    /// Networks, longest prefix first.
    pub networks: Vec<(ipnet::IpNet, Box<[u8]>)>,
    /// `default`.
    pub default: Box<[u8]>,
}

/// A `split_clients` block.
#[derive(Debug)]
pub struct Split {
    /// What is hashed.
    pub key: Complex,
    /// Upper bound of the hash and the value below it, in file order.
    pub ranges: Vec<(u64, Box<[u8]>)>,
}
