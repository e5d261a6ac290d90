//! What nginx's own directives come to at a location: limits of time and size, paths, fields, error pages, compression.

use std::collections::HashMap;
use std::sync::Arc;

use super::{AccessLog, AccessRule, AuthBasic, LimitConn, LimitReq, RealIp, Referers, Regex, SecureLink};
use crate::conf::variable::Complex;

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
    pub etag: bool,
    pub if_modified_since: IfModifiedSince,
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
    /// `alias`: how much of the URI it takes the place of; none: a `root`.
    pub alias: Option<usize>,
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

/// `if_modified_since`: when a file that a client has is not sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfModifiedSince {
    /// Always sent.
    Off,
    /// The times are the same.
    Exact,
    /// It was not modified later.
    Before,
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
    /// `@`: the next time the local clock shows so many seconds past midnight.
    Daily(u64),
    /// What the value of variables says.
    Given {
        /// The value.
        value: Complex,
        /// `modified`
        modified: bool,
    },
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
