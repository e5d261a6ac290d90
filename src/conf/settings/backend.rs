//! What `auth_request` asks beyond this server, as settings: a location's `proxy_pass`, and `upstream` servers.
//!
//! Values only; `conf::backend` compiles them and `http::backend` asks.

use super::super::variable::Complex;

/// `proxy_pass` of a location that `auth_request` asks. Times are milliseconds.
#[derive(Debug)]
pub struct Backend {
    /// `http://HOST[:PORT][/URI]` or `http://unix:PATH[:URI]`.
    pub url: Complex,
    /// `proxy_set_header`, in order; a field with an empty value is not sent.
    pub headers: Vec<(Box<str>, Complex)>,
    /// `proxy_pass_request_headers`
    pub pass_request_headers: bool,
    /// `proxy_method`
    pub method: Option<Complex>,
    /// `proxy_set_body`
    pub body: Option<Complex>,
    /// `proxy_http_version 1.1`
    pub http_11: bool,
    /// `proxy_connect_timeout`
    pub connect_timeout: u64,
    /// `proxy_send_timeout`
    pub send_timeout: u64,
    /// `proxy_read_timeout`
    pub read_timeout: u64,
}

/// `server` of an `upstream`; those that are `down` are left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamServer {
    /// `HOST[:PORT]` or `unix:PATH`.
    pub address: Box<str>,
    /// `weight`
    pub weight: u32,
    /// `backup`
    pub backup: bool,
}
