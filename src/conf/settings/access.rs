//! Who may come in, as settings: addresses, passwords, links, referers, and whose word is taken for the address.
//!
//! Values only; `conf::access` and `conf::referers` compile them, the room of the site judges by them.

use std::collections::HashMap;

use ipnet::IpNet;

use super::super::regex::Regex;
use super::super::variable::{Complex, HostMask};

/// `allow` / `deny`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessRule {
    /// `allow`
    pub allow: bool,
    /// Whom.
    pub who: Who,
}

/// Whom an access rule names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// `all`
    All,
    /// `unix:`
    Unix,
    /// An address or network.
    Network(IpNet),
}

/// `auth_basic` + `auth_basic_user_file`.
#[derive(Debug)]
pub struct AuthBasic {
    /// Realm; `off` disables.
    pub realm: Complex,
    /// The password file, read for each request that needs it.
    pub user_file: Complex,
}

/// How links are protected.
#[derive(Debug)]
pub enum SecureLink {
    /// `secure_link` + `secure_link_md5`.
    Hashed {
        /// `secure_link`: `hash[,expires]`.
        value: Complex,
        /// `secure_link_md5`: what is hashed.
        hashed: Complex,
    },
    /// `secure_link_secret`: `/PREFIX/HASH/LINK`, HASH being that of LINK and this word.
    Secret(Box<[u8]>),
}

/// `set_real_ip_from`, `real_ip_header`, `real_ip_recursive`.
#[derive(Debug)]
pub struct RealIp {
    /// Trusted peers.
    pub from: Vec<Who>,
    /// Header that names the client, lower-cased; `proxy_protocol` for the PROXY header.
    pub header: Box<str>,
    /// `real_ip_recursive`
    pub recursive: bool,
}

/// `valid_referers`.
#[derive(Debug, Default)]
pub struct Referers {
    /// `none`: a request without the field.
    pub none: bool,
    /// `blocked`: a field that is no URL.
    pub blocked: bool,
    /// Hosts, lower-cased, each with what the path must begin with.
    pub exact: HashMap<Box<str>, Box<[u8]>>,
    /// Masks of hosts, in nginx's order of precedence, each with what the path must begin with.
    pub masks: Vec<(HostMask, Box<[u8]>)>,
    /// Matched against the host alone: regular expressions among the server's names.
    pub names: Vec<Regex>,
    /// Matched against all behind `http://`.
    pub regexes: Vec<Regex>,
}

impl Referers {
    /// Whether any host is listed; where none is, every referer is valid.
    pub fn lists_hosts(&self) -> bool {
        !(self.exact.is_empty() && self.masks.is_empty() && self.names.is_empty() && self.regexes.is_empty())
    }
}
