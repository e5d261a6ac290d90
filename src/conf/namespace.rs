//! The names of variables: one namespace for the whole configuration, letter case ignored.
//!
//! Does not know where values come from at request time. A name may be used before it is defined; [`Namespace::check`]
//! finds the ones that nobody defined once everything has been read.

use std::collections::{HashMap, HashSet};

use super::error::{Fault, Place};
use super::tree::Node;
use super::variable::{Builtin, Complex, Definition, Map, Part, Source, Variable};

/// Variables met so far.
#[derive(Debug, Default)]
pub(super) struct Namespace {
    definitions: Vec<Definition>,
    defined: Vec<bool>,
    by_name: HashMap<String, usize>,
    /// Names the configuration defines somewhere, which go before nginx's own.
    claimed: HashSet<String>,
    /// Variables that pushstreamd cannot fill in.
    unmade: HashSet<usize>,
    /// Values that `set` gives.
    assigned: Vec<(usize, Complex)>,
}

impl Namespace {
    /// Notes the names that directives of the tree define, so that uses before the definition find them.
    pub(super) fn claim(&mut self, nodes: &[Node]) {
        for node in nodes {
            for name in defined_by(node) {
                self.claimed.insert(name.to_ascii_lowercase());
            }
            self.claim(&node.children);
        }
    }

    /// Defines `name` (without `$`), or finds it defined.
    pub(super) fn define(&mut self, name: &str, place: &Place) -> Result<usize, Fault> {
        let name = name.to_ascii_lowercase();
        if builtin(&name).is_some_and(|builtin| builtin != Builtin::Empty) {
            return Err(Fault::emerg(format_args!("the duplicate \"{name}\" variable"), place));
        }
        let index = self.index(&name);
        if let Some(defined) = self.defined.get_mut(index) {
            *defined = true;
        }
        Ok(index)
    }

    /// Defines `name` with a source.
    pub(super) fn define_as(&mut self, name: &str, source: Source, place: &Place) -> Result<(), Fault> {
        let index = self.define(name, place)?;
        if let Some(definition) = self.definitions.get_mut(index) {
            definition.source = source;
        }
        Ok(())
    }

    /// Whether a directive of the tree defines `name`.
    pub(super) fn is_claimed(&self, name: &str) -> bool {
        self.claimed.contains(name)
    }

    /// What `$name` means.
    pub(super) fn variable(&mut self, name: &str) -> Variable {
        let lower = name.to_ascii_lowercase();
        if !self.claimed.contains(&lower) {
            if let Some(builtin) = builtin(&lower) {
                return self.known(builtin, &lower);
            }
            match prefixed(name, &lower) {
                Some(Variable::Builtin(builtin)) => return self.known(builtin, &lower),
                Some(variable) => return variable,
                None => {}
            }
        }
        Variable::Defined(self.index(&lower))
    }

    /// A variable of nginx. One that has a value in nginx and is always empty here is remembered by its name.
    fn known(&mut self, builtin: Builtin, name: &str) -> Variable {
        if builtin != Builtin::Empty || is_empty_in_nginx_too(name) {
            return Variable::Builtin(builtin);
        }
        let index = self.index(name);
        if let Some(defined) = self.defined.get_mut(index) {
            *defined = true;
        }
        self.unmade.insert(index);
        Variable::Defined(index)
    }

    /// Notes that a variable cannot be filled in.
    pub(super) fn mark_unmade(&mut self, index: usize) {
        self.unmade.insert(index);
    }

    /// Notes a value that `set` gives.
    pub(super) fn assigns(&mut self, index: usize, value: &Complex) {
        self.assigned.push((index, value.clone()));
    }

    /// The variable that a value depends on and that cannot be filled in, if there is one.
    pub(super) fn unmade_in(&self, value: &Complex) -> Option<String> {
        let mut seen = HashSet::new();
        let mut values = vec![value];
        while let Some(value) = values.pop() {
            for part in &value.parts {
                let Part::Variable(Variable::Defined(index)) = part else { continue };
                if !seen.insert(*index) {
                    continue;
                }
                let Some(definition) = self.definitions.get(*index) else { continue };
                if self.unmade.contains(index) {
                    return Some(definition.name.to_string());
                }
                values.extend(self.assigned.iter().filter(|(assigned, _)| assigned == index).map(|(_, value)| value));
                match &definition.source {
                    Source::Assigned => {}
                    Source::Map(map) => {
                        values.extend([&map.key, &map.default]);
                        values.extend(map.exact.values());
                        values.extend(map.masks.iter().map(|(_, value)| value));
                        values.extend(map.regexes.iter().map(|(_, value)| value));
                    }
                    Source::Geo(geo) => values.push(&geo.key),
                    Source::Split(split) => values.push(&split.key),
                }
            }
        }
        None
    }

    fn index(&mut self, name: &str) -> usize {
        if let Some(index) = self.by_name.get(name) {
            return *index;
        }
        let index = self.definitions.len();
        self.by_name.insert(name.to_owned(), index);
        self.definitions.push(Definition { name: name.into(), source: fallback(name) });
        self.defined.push(false);
        index
    }

    /// Refuses names that were used and never defined.
    pub(super) fn check(&self) -> Result<(), Fault> {
        match self.definitions.iter().zip(&self.defined).find(|(_, defined)| !**defined) {
            Some((definition, _)) => Err(Fault::anywhere(format_args!("unknown \"{}\" variable", definition.name))),
            None => Ok(()),
        }
    }

    /// Takes names that were used and never defined for variables of modules that are not known; the names.
    pub(super) fn settle_unknown(&mut self) -> Vec<String> {
        let mut names = Vec::new();
        for (index, defined) in self.defined.iter_mut().enumerate() {
            if !*defined && let Some(definition) = self.definitions.get(index) {
                names.push(definition.name.to_string());
                self.unmade.insert(index);
                *defined = true;
            }
        }
        names
    }

    /// The definitions, by index.
    pub(super) fn into_definitions(self) -> Vec<Definition> {
        self.definitions
    }
}

/// The names a directive defines.
pub(super) fn defined_by(node: &Node) -> Vec<String> {
    let name = node.name();
    let words: Vec<&[u8]> = match &*name {
        "set"
        | "perl_set"
        | "js_set"
        | "js_var"
        | "auth_request_set"
        | "auth_jwt_claim_set"
        | "auth_jwt_header_set" => {
            vec![node.arg(0)]
        }
        "map" | "split_clients" | "keyval" => vec![node.arg(1)],
        "geo" => vec![node.args().last().map_or(&[][..], Vec::as_slice)],
        "geoip2" => node.children.iter().filter_map(|row| row.words.first().map(Vec::as_slice)).collect(),
        _ if name.starts_with("set_by_lua") => vec![node.arg(0)],
        _ if node.unknown => {
            let first = node.args().iter().find(|word| dollar_name(word).is_some_and(|name| is_free(&name)));
            first.map(Vec::as_slice).into_iter().collect()
        }
        _ => Vec::new(),
    };
    words.iter().filter_map(|word| dollar_name(word)).collect()
}

/// Defines the variables of a directive that is not applied: they are always empty.
pub(super) fn define_unapplied(node: &Node, namespace: &mut Namespace) -> Result<(), Fault> {
    for name in defined_by(node) {
        let index = namespace.define(&name, &node.place)?;
        namespace.mark_unmade(index);
    }
    Ok(())
}

/// `$name` -> `name`.
pub(super) fn dollar_name(word: &[u8]) -> Option<String> {
    let name = std::str::from_utf8(word).ok()?.strip_prefix('$')?;
    (!name.is_empty()).then(|| name.to_owned())
}

/// The value of a defined variable before anything has set it: a name such as `http_x` still reads the header.
fn fallback(name: &str) -> Source {
    match prefixed(name, name) {
        Some(variable) if variable != Variable::Builtin(Builtin::Empty) => Source::Map(std::sync::Arc::new(Map {
            key: Complex::default(),
            exact: HashMap::new(),
            masks: Vec::new(),
            regexes: Vec::new(),
            default: Complex { parts: vec![Part::Variable(variable)] },
        })),
        _ => Source::Assigned,
    }
}

/// Whether nginx itself has no variable of this name.
fn is_free(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let word = lower.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    word && !lower.starts_with(|first: char| first.is_ascii_digit())
        && builtin(&lower).is_none()
        && prefixed(name, &lower).is_none()
}

/// Variables that nginx has no value for before a request is answered, or without a proxy.
fn is_empty_in_nginx_too(name: &str) -> bool {
    const FAMILIES: [&str; 8] =
        ["upstream_", "sent_trailer_", "trailer_", "fastcgi_", "session_", "proxy_internal_", "connections_", "spdy"];
    const NAMES: [&str; 15] = [
        "brotli_ratio",
        "gzip_ratio",
        "zstd_ratio",
        "limit_conn_status",
        "limit_req_status",
        "memcached_key",
        "proxy_host",
        "proxy_port",
        "request_body",
        "request_body_file",
        "slice_range",
        "status_zone",
        "internal_ctx",
        "pipe",
        "limit_rate",
    ];
    NAMES.contains(&name) || FAMILIES.iter().any(|family| name.starts_with(family))
}

/// Families of other modules: always empty.
const ELSEWHERE: [&str; 13] = [
    "upstream_",
    "proxy_protocol_tlv_",
    "sent_trailer_",
    "trailer_",
    "fastcgi_",
    "geoip_",
    "geoip2_",
    "jwt_",
    "otel_",
    "ssl_",
    "tcpinfo_",
    "uid_",
    "connections_",
];

/// Families of variables whose names carry what they read.
fn prefixed(name: &str, lower: &str) -> Option<Variable> {
    let rest = |prefix: &str| lower.strip_prefix(prefix).map(Box::<str>::from);
    if let Some(argument) = rest("arg_") {
        return Some(Variable::Arg(argument));
    }
    if let Some(header) = rest("http_") {
        return Some(Variable::Http(header));
    }
    if let Some(header) = rest("sent_http_") {
        return Some(Variable::SentHttp(header));
    }
    if let Some(header) = rest("upstream_http_") {
        return Some(Variable::UpstreamHttp(header));
    }
    if lower.starts_with("upstream_cookie_") {
        return name.get("upstream_cookie_".len()..).map(|cookie| Variable::UpstreamCookie(cookie.into()));
    }
    if lower.starts_with("cookie_") {
        return name.get("cookie_".len()..).map(|cookie| Variable::Cookie(cookie.into()));
    }
    ELSEWHERE.iter().any(|prefix| lower.starts_with(prefix)).then_some(Variable::Builtin(Builtin::Empty))
}

/// nginx's variables with fixed names.
fn builtin(name: &str) -> Option<Builtin> {
    Some(match name {
        "args" => Builtin::Args,
        "binary_remote_addr" => Builtin::BinaryRemoteAddr,
        "body_bytes_sent" => Builtin::BodyBytesSent,
        "bytes_sent" => Builtin::BytesSent,
        "connection" => Builtin::Connection,
        "connection_requests" => Builtin::ConnectionRequests,
        "content_length" => Builtin::ContentLength,
        "content_type" => Builtin::ContentType,
        "document_root" => Builtin::DocumentRoot,
        "host" => Builtin::Host,
        "hostname" => Builtin::Hostname,
        "https" => Builtin::Https,
        "invalid_referer" => Builtin::InvalidReferer,
        "is_args" => Builtin::IsArgs,
        "msec" => Builtin::Msec,
        "nginx_version" => Builtin::NginxVersion,
        "pid" => Builtin::Pid,
        "proxy_add_x_forwarded_for" => Builtin::ProxyAddXForwardedFor,
        "proxy_protocol_addr" => Builtin::ProxyProtocolAddr,
        "proxy_protocol_port" => Builtin::ProxyProtocolPort,
        "query_string" => Builtin::QueryString,
        "realip_remote_addr" => Builtin::RealipRemoteAddr,
        "remote_addr" => Builtin::RemoteAddr,
        "remote_port" => Builtin::RemotePort,
        "remote_user" => Builtin::RemoteUser,
        "request" => Builtin::Request,
        "request_completion" => Builtin::RequestCompletion,
        "request_filename" => Builtin::RequestFilename,
        "request_id" => Builtin::RequestId,
        "request_length" => Builtin::RequestLength,
        "request_method" => Builtin::RequestMethod,
        "request_time" => Builtin::RequestTime,
        "request_uri" => Builtin::RequestUri,
        "scheme" => Builtin::Scheme,
        "secure_link" => Builtin::SecureLink,
        "secure_link_expires" => Builtin::SecureLinkExpires,
        "server_addr" => Builtin::ServerAddr,
        "server_name" => Builtin::ServerName,
        "server_port" => Builtin::ServerPort,
        "server_protocol" => Builtin::ServerProtocol,
        "ssl_cipher" => Builtin::SslCipher,
        "ssl_client_s_dn" => Builtin::SslClientSDn,
        "ssl_client_verify" => Builtin::SslClientVerify,
        "ssl_protocol" => Builtin::SslProtocol,
        "ssl_server_name" => Builtin::SslServerName,
        "status" => Builtin::Status,
        "time_iso8601" => Builtin::TimeIso8601,
        "time_local" => Builtin::TimeLocal,
        "upstream_status" => Builtin::UpstreamStatus,
        "uri" | "document_uri" => Builtin::Uri,
        "ancient_browser"
        | "brotli_ratio"
        | "connection_time"
        | "date_gmt"
        | "date_local"
        | "gzip_ratio"
        | "http2"
        | "http3"
        | "internal_ctx"
        | "limit_conn_status"
        | "limit_rate"
        | "limit_req_status"
        | "memcached_key"
        | "modern_browser"
        | "msie"
        | "nginx_build"
        | "pipe"
        | "proxy_host"
        | "proxy_internal_body_length"
        | "proxy_internal_chunked"
        | "proxy_port"
        | "proxy_protocol_server_addr"
        | "proxy_protocol_server_port"
        | "quic"
        | "realip_remote_port"
        | "realpath_root"
        | "request_body"
        | "request_body_file"
        | "request_port"
        | "is_request_port"
        | "session_log_id"
        | "session_log_binary_id"
        | "session_time"
        | "slice_range"
        | "spdy"
        | "spdy_request_priority"
        | "status_zone"
        | "zstd_ratio" => Builtin::Empty,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> Place {
        Place { file: None, line: 1 }
    }

    #[test]
    fn a_name_may_be_used_before_it_is_defined() {
        let mut namespace = Namespace::default();
        let used = namespace.variable("later");
        assert!(namespace.check().is_err());
        assert_eq!(used, Variable::Defined(namespace.define("LATER", &place()).unwrap()));
        assert_eq!(namespace.check(), Ok(()));
    }

    #[test]
    fn families_read_what_their_name_says() {
        let mut namespace = Namespace::default();
        assert_eq!(namespace.variable("arg_CHANNEL_ID"), Variable::Arg("channel_id".into()));
        assert_eq!(namespace.variable("http_X_Name"), Variable::Http("x_name".into()));
        assert_eq!(namespace.variable("cookie_Sid"), Variable::Cookie("Sid".into()));
        assert_eq!(namespace.variable("upstream_response_time"), Variable::Builtin(Builtin::Empty));
        assert_eq!(namespace.variable("Document_URI"), Variable::Builtin(Builtin::Uri));
    }

    #[test]
    fn nginx_own_variables_cannot_be_redefined() {
        let fault = Namespace::default().define("host", &place()).unwrap_err();
        assert_eq!(fault.notes[0].text, "the duplicate \"host\" variable in command line");
    }
}
