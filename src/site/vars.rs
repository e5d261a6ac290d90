//! Values of variables for one request: nginx's own, arguments, headers, cookies, captures. `defined_vars` has those of
//! the configuration.
//!
//! Reads the exchange and never changes it (what is computed once is remembered inside). Invariant: a variable without a
//! value is the empty string, and a value that stands in the request is borrowed, not copied.

use std::borrow::Cow;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::IpAddr;
use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::exchange::Exchange;
use super::{referer, secure_link};
use crate::conf::variable::{Builtin, Complex, Part, Variable};
use crate::request::date;
use crate::request::peer::PeerAddress;

/// The version of nginx that `$nginx_version` tells: the one whose semantics are followed.
const NGINX_VERSION: &str = "1.22.1";

impl Exchange<'_> {
    /// The value of a complex value. Borrowed when it is one text or one variable that stands in the request.
    pub fn value<'a>(&'a self, complex: &'a Complex) -> Cow<'a, [u8]> {
        match complex.parts.as_slice() {
            [] => Cow::Borrowed(b""),
            [Part::Text(text)] => Cow::Borrowed(text),
            [Part::Variable(variable)] => self.variable(variable),
            _ => {
                let mut out = Vec::new();
                self.write_value(complex, &mut out);
                Cow::Owned(out)
            }
        }
    }

    /// Appends the value of a complex value.
    pub fn write_value(&self, complex: &Complex, out: &mut Vec<u8>) {
        // A `map` that matches on the way takes the groups' place from the first part on: nginx measures before it writes.
        if complex.parts.iter().any(|part| matches!(part, Part::Variable(Variable::Capture(_)))) {
            for part in &complex.parts {
                if let Part::Variable(Variable::Defined(index)) = part {
                    self.defined(*index);
                }
            }
        }
        for part in &complex.parts {
            match part {
                Part::Text(text) => out.extend_from_slice(text),
                Part::Variable(variable) => out.extend_from_slice(&self.variable(variable)),
            }
        }
    }

    /// `$arg_NAME`: the first argument of that name, whatever its letter case; raw.
    pub fn arg(&self, name: &str) -> Option<&[u8]> {
        find_argument(&self.args, name.as_bytes())
    }

    /// The value of a variable.
    pub fn variable<'a>(&'a self, variable: &'a Variable) -> Cow<'a, [u8]> {
        match variable {
            Variable::Arg(name) => Cow::Borrowed(self.arg(name).unwrap_or_default()),
            Variable::Http(name) => self.header_variable(name.as_bytes()),
            // Response headers are known to the access log only.
            Variable::SentHttp(_) => Cow::Borrowed(b""),
            Variable::UpstreamHttp(name) => Cow::Borrowed(
                self.answer.as_ref().and_then(|told| told.field_variable(name.as_bytes())).unwrap_or_default(),
            ),
            Variable::UpstreamCookie(name) => {
                Cow::Borrowed(self.answer.as_ref().and_then(|told| told.cookie(name.as_bytes())).unwrap_or_default())
            }
            Variable::Cookie(name) => Cow::Borrowed(self.cookie(name.as_bytes()).unwrap_or_default()),
            Variable::Capture(number) => Cow::Borrowed(self.group(*number)),
            Variable::Defined(index) => Cow::Borrowed(self.defined(*index)),
            Variable::Builtin(builtin) => self.builtin(*builtin),
        }
    }

    /// `$http_NAME`, NAME lower-cased with `_` for `-`. `Cookie` and `X-Forwarded-For` are joined.
    fn header_variable(&self, name: &[u8]) -> Cow<'_, [u8]> {
        let separator: &[u8] = match name {
            b"cookie" => b"; ",
            b"x_forwarded_for" => b", ",
            _ => b"",
        };
        let mut values = self.head.headers().filter(|(sent, _)| is_variable_of(sent, name)).map(|(_, value)| value);
        let Some(first) = values.next() else { return Cow::Borrowed(b"") };
        if separator.is_empty() {
            return Cow::Borrowed(first);
        }
        let mut joined = Cow::Borrowed(first);
        for value in values {
            let text = joined.to_mut();
            text.extend_from_slice(separator);
            text.extend_from_slice(value);
        }
        joined
    }

    fn cookie(&self, name: &[u8]) -> Option<&[u8]> {
        self.head
            .headers()
            .filter(|(sent, _)| sent.eq_ignore_ascii_case(b"cookie"))
            .find_map(|(_, value)| find_cookie(value, name))
    }

    fn builtin(&self, builtin: Builtin) -> Cow<'_, [u8]> {
        let head = &self.head;
        match builtin {
            Builtin::Args | Builtin::QueryString => Cow::Borrowed(&self.args),
            Builtin::Uri => Cow::Borrowed(&self.uri),
            Builtin::IsArgs => Cow::Borrowed(if self.args.is_empty() { b"" } else { b"?" }),
            Builtin::Request => Cow::Borrowed(head.line()),
            Builtin::RequestMethod => Cow::Borrowed(self.method()),
            Builtin::RequestUri => Cow::Borrowed(head.target()),
            Builtin::Host if self.host.is_empty() => Cow::Borrowed(self.server.name.as_bytes()),
            Builtin::Host => Cow::Borrowed(&self.host),
            Builtin::ServerName => Cow::Borrowed(self.server.name.as_bytes()),
            Builtin::Hostname => Cow::Borrowed(hostname().as_bytes()),
            Builtin::ContentLength => Cow::Borrowed(head.header("content-length").unwrap_or_default()),
            Builtin::ContentType => Cow::Borrowed(head.header("content-type").unwrap_or_default()),
            Builtin::ServerProtocol => Cow::Borrowed(head.protocol()),
            Builtin::Scheme => Cow::Borrowed(if self.peer.tls.is_some() { b"https" } else { b"http" }),
            Builtin::Https => Cow::Borrowed(if self.peer.tls.is_some() { b"on" } else { b"" }),
            Builtin::NginxVersion => Cow::Borrowed(NGINX_VERSION.as_bytes()),
            Builtin::RequestId => Cow::Borrowed(self.request_id.get_or_init(|| self.new_request_id())),
            Builtin::RemoteUser => Cow::Owned(self.credentials().map(|(user, _)| user).unwrap_or_default()),
            // These read values of the configuration, which may name them.
            Builtin::DocumentRoot => self.deeper(|| self.value(&self.location.core.root.path)).unwrap_or_default(),
            Builtin::RequestFilename => {
                self.deeper(|| Cow::Owned(super::static_file::path_of(self))).unwrap_or_default()
            }
            Builtin::SecureLink => self.deeper(|| Cow::Borrowed(secure_link::verdict(self))).unwrap_or_default(),
            Builtin::SecureLinkExpires => self.deeper(|| Cow::Owned(secure_link::expires(self))).unwrap_or_default(),
            Builtin::InvalidReferer => Cow::Borrowed(if referer::is_valid(self) { b"" } else { b"1" }),
            Builtin::ProxyAddXForwardedFor => self.forwarded_for(),
            // Known when the request is over; the access log fills them in.
            Builtin::Status => text(format!("{:03}", self.status_override.unwrap_or(self.status.get()))),
            Builtin::BytesSent | Builtin::BodyBytesSent | Builtin::RequestCompletion | Builtin::Empty => {
                Cow::Borrowed(b"")
            }
            Builtin::UpstreamStatus => {
                text(self.answer.as_ref().map(|answer| answer.status.to_string()).unwrap_or_default())
            }
            Builtin::RequestTime => text("0.000".to_owned()),
            Builtin::Msec => text(date::msec(self.now)),
            Builtin::TimeLocal => text(date::time_local(self.now)),
            Builtin::TimeIso8601 => text(date::time_iso8601(self.now)),
            Builtin::Pid => text(std::process::id().to_string()),
            Builtin::Connection => text(self.peer.connection.to_string()),
            Builtin::ConnectionRequests => text(self.requests.to_string()),
            Builtin::RequestLength => text(self.request_length.to_string()),
            Builtin::RemoteAddr
            | Builtin::RemotePort
            | Builtin::BinaryRemoteAddr
            | Builtin::RealipRemoteAddr
            | Builtin::ServerAddr
            | Builtin::ServerPort
            | Builtin::ProxyProtocolAddr
            | Builtin::ProxyProtocolPort => self.address(builtin),
            Builtin::SslCipher
            | Builtin::SslClientSDn
            | Builtin::SslClientVerify
            | Builtin::SslProtocol
            | Builtin::SslServerName => self.tls(builtin),
        }
    }

    fn address(&self, builtin: Builtin) -> Cow<'_, [u8]> {
        let port = |port: Option<u16>| port.map(|port| port.to_string()).unwrap_or_default();
        text(match builtin {
            Builtin::RemoteAddr => address_text(&self.remote),
            Builtin::RealipRemoteAddr => address_text(&self.peer.remote),
            Builtin::ServerAddr => address_text(&self.peer.local),
            Builtin::RemotePort => port(self.remote.port()),
            Builtin::ServerPort => port(self.peer.local.port()),
            Builtin::ProxyProtocolAddr => self.peer.proxy.map(|proxy| proxy.ip().to_string()).unwrap_or_default(),
            Builtin::ProxyProtocolPort => port(self.peer.proxy.map(|proxy| proxy.port())),
            _ => {
                return Cow::Owned(match self.remote.ip() {
                    Some(IpAddr::V4(ip)) => ip.octets().to_vec(),
                    Some(IpAddr::V6(ip)) => ip.octets().to_vec(),
                    None => b"unix:".to_vec(),
                });
            }
        })
    }

    fn tls(&self, builtin: Builtin) -> Cow<'_, [u8]> {
        let Some(tls) = &self.peer.tls else { return Cow::Borrowed(b"") };
        Cow::Borrowed(
            match builtin {
                Builtin::SslCipher => tls.cipher.as_str(),
                Builtin::SslProtocol => &tls.protocol,
                Builtin::SslClientVerify => &tls.verify,
                Builtin::SslClientSDn => tls.client_dn.as_deref().unwrap_or_default(),
                _ => tls.server_name.as_deref().unwrap_or_default(),
            }
            .as_bytes(),
        )
    }

    fn forwarded_for(&self) -> Cow<'_, [u8]> {
        let mut chain = self.header_variable(b"x_forwarded_for").into_owned();
        if !chain.is_empty() {
            chain.extend_from_slice(b", ");
        }
        chain.extend_from_slice(address_text(&self.remote).as_bytes());
        Cow::Owned(chain)
    }

    /// User and password of an `Authorization: Basic` field.
    pub(crate) fn credentials(&self) -> Option<(Vec<u8>, Vec<u8>)> {
        let sent = self.head.header("authorization")?;
        let scheme = sent.get(..6)?;
        if !scheme.eq_ignore_ascii_case(b"basic ") {
            return None;
        }
        let encoded = sent.get(6..)?.trim_ascii();
        let mut user = STANDARD.decode(encoded).ok()?;
        let colon = memchr::memchr(b':', &user)?;
        let password = user.split_off(colon + 1);
        user.pop();
        Some((user, password))
    }

    fn new_request_id(&self) -> [u8; 32] {
        let mut id = [0; 32];
        for half in id.chunks_mut(16) {
            let mut hasher = RandomState::new().build_hasher();
            hasher.write_u64(self.peer.connection);
            hasher.write_u64(self.requests);
            hasher.write_u64(self.now.0);
            let hex = format!("{:016x}", hasher.finish());
            half.copy_from_slice(hex.as_bytes());
        }
        id
    }
}

fn text(text: String) -> Cow<'static, [u8]> {
    Cow::Owned(text.into_bytes())
}

fn address_text(address: &PeerAddress) -> String {
    address.ip().map_or_else(|| "unix:".to_owned(), |ip| ip.to_string())
}

/// The first `name=value` among `&`-separated arguments, names compared without letter case.
fn find_argument<'a>(args: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let mut rest = args;
    loop {
        let end = memchr::memchr(b'&', rest).unwrap_or(rest.len());
        let argument = rest.get(..end)?;
        if let Some((sent, value)) = argument.split_at_checked(name.len())
            && sent.eq_ignore_ascii_case(name)
            && value.first() == Some(&b'=')
        {
            return value.get(1..);
        }
        rest = rest.get(end + 1..)?;
    }
}

/// The value of a cookie within one `Cookie` field. A comma ends a name, not a value.
fn find_cookie<'a>(field: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let mut rest = field;
    loop {
        rest = rest.trim_ascii_start();
        if let Some((sent, tail)) = rest.split_at_checked(name.len())
            && sent.eq_ignore_ascii_case(name)
            && let Some(value) = tail.trim_ascii_start().strip_prefix(b"=")
        {
            return value.trim_ascii_start().split(|&byte| byte == b';').next();
        }
        let next = memchr::memchr2(b';', b',', rest)?;
        rest = rest.get(next + 1..)?;
    }
}

/// Whether a header name, lower-cased and with `_` for `-`, is `variable`.
fn is_variable_of(name: &[u8], variable: &[u8]) -> bool {
    name.len() == variable.len()
        && name.iter().zip(variable).all(|(&sent, &wanted)| {
            let sent = if sent == b'-' { b'_' } else { sent.to_ascii_lowercase() };
            sent == wanted
        })
}

/// The name of this machine, lower-cased, as `$hostname` and the statistics tell it; `localhost` where the system tells none. Read
/// once.
pub(crate) fn hostname() -> &'static str {
    static NAME: LazyLock<String> = LazyLock::new(|| {
        let name = nix::unistd::gethostname().map(|name| name.to_string_lossy().to_ascii_lowercase());
        name.ok().filter(|name| !name.is_empty()).unwrap_or_else(|| "localhost".to_owned())
    });
    &NAME
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_found_by_whole_name() {
        let find = |args: &'static str| find_argument(args.as_bytes(), b"id");
        assert_eq!(find("id=a"), Some(&b"a"[..]));
        assert_eq!(find("x=1&ID=a%20b&id=c"), Some(&b"a%20b"[..]));
        assert_eq!(find("id=&id=b"), Some(&b""[..]));
        for absent in ["", "id", "xid=a", "idx=a", "x=1;id=a", "x=id=a"] {
            assert_eq!(find(absent), None, "{absent}");
        }
    }

    #[test]
    fn cookies_are_found_by_whole_name() {
        let find = |field: &'static str| find_cookie(field.as_bytes(), b"channel");
        assert_eq!(find("other=1; channel=from_cookie; z=2"), Some(&b"from_cookie"[..]));
        assert_eq!(find("a=1, channel = x,y; z"), Some(&b"x,y"[..]));
        assert_eq!(find("xchannel=1; channels=2; channel"), None);
    }
}
