//! A URL as it was given, and with channels and a position in their places.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Uri;

use super::ToolError;
use super::position::Position;

/// What is said to a URL that begins otherwise.
const SCHEMES: &str = "a URL begins with http://, https://, ws:// or wss://";
/// Bytes that stand for themselves in a URL.
const PLAIN: &[u8] = b"-._~/";

/// A URL with places for channels, time and tag.
#[derive(Clone, Debug)]
pub(super) struct Pattern(String);

/// Where a request goes.
#[derive(Clone, Debug)]
pub(super) struct Address {
    pub(super) tls: bool,
    pub(super) host: String,
    pub(super) port: u16,
    /// Path and query.
    pub(super) target: String,
    /// `Authorization`, of a user and a password before the host.
    pub(super) authorization: Option<String>,
}

impl Pattern {
    pub(super) fn new(text: &str) -> Result<Self, ToolError> {
        let pattern = Self(text.to_owned());
        if !text.contains("{}") {
            return Err(ToolError::Asked(format!("{text}: a URL has {{}} where the channels go")));
        }
        pattern.address("channel", &Position::default())?;
        Ok(pattern)
    }

    /// Whether the position is part of it.
    pub(super) fn takes_position(&self) -> bool {
        self.0.contains("{time}")
    }

    /// For these channels, at this position.
    pub(super) fn address(&self, channels: &str, position: &Position) -> Result<Address, ToolError> {
        let text = self
            .0
            .replace("{}", &encoded(channels))
            .replace("{time}", &encoded(&position.time))
            .replace("{tag}", &encoded(&position.tag));
        Address::parse(&text)
    }
}

impl Address {
    fn parse(text: &str) -> Result<Self, ToolError> {
        let wrong = |why: &str| ToolError::Asked(format!("{text}: {why}"));
        if !text.contains("://") {
            return Err(wrong(SCHEMES));
        }
        let uri: Uri = text.parse().map_err(|error: http::uri::InvalidUri| wrong(&error.to_string()))?;
        let tls = match uri.scheme_str() {
            Some("http" | "ws") => false,
            Some("https" | "wss") => true,
            _ => return Err(wrong(SCHEMES)),
        };
        let host = uri.host().ok_or_else(|| wrong("no host"))?;
        let user = uri.authority().and_then(|authority| authority.as_str().rsplit_once('@')).map(|(user, _)| user);
        Ok(Self {
            tls,
            host: host.to_owned(),
            port: uri.port_u16().unwrap_or(if tls { 443 } else { 80 }),
            target: uri.path_and_query().map_or("/", |target| target.as_str()).to_owned(),
            authorization: user.map(|user| format!("Basic {}", STANDARD.encode(decoded(user)))),
        })
    }

    /// The value of `Host`.
    pub(super) fn authority(&self) -> String {
        if self.port == if self.tls { 443 } else { 80 } {
            self.host.clone()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// The server, to be told.
    pub(super) fn place(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

fn encoded(text: &str) -> String {
    let mut out = String::new();
    for &byte in text.as_bytes() {
        if byte.is_ascii_alphanumeric() || PLAIN.contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// `%40` is `@`; a `%` that begins nothing stays.
fn decoded(text: &str) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((&byte, after)) = rest.split_first() {
        let hex = after.get(..2).filter(|_| byte == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        let (byte, length) = match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => (byte, 2),
            None => (byte, 0),
        };
        out.push(byte);
        rest = after.get(length..).unwrap_or_default();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_and_position_go_to_their_places() {
        let pattern = Pattern::new("https://push.test/sub?id={}&time={time}&tag={tag}").unwrap();
        let position = Position { time: "Thu, 1 Jan".into(), tag: "7".into(), ..Position::default() };
        let address = pattern.address("a b/c.b3&x", &position).unwrap();
        assert_eq!((address.tls, address.port, &*address.authority()), (true, 443, "push.test"));
        assert_eq!(address.target, "/sub?id=a%20b/c.b3%26x&time=Thu%2C%201%20Jan&tag=7");
        assert!(pattern.takes_position());
    }

    #[test]
    fn a_user_before_the_host_is_told_in_a_field_and_nowhere_else() {
        let address = |text: &str| Pattern::new(text).unwrap().address("a", &Position::default()).unwrap();
        let named = address("http://us%40er:p%3Aw%zz@[::1]:80/{}");
        assert_eq!(named.authorization.as_deref(), Some(&*format!("Basic {}", STANDARD.encode("us@er:p:w%zz"))));
        assert_eq!((&*named.authority(), &*named.place(), &*named.target), ("[::1]", "[::1]:80", "/a"));
        assert_eq!(address("http://push.test/{}@b").authorization, None);
    }

    #[test]
    fn what_is_no_url_is_said() {
        for (text, why) in [
            ("http://a/", "{}"),
            ("ftp://a/{}", "begins with"),
            ("a/{}", "begins with"),
            ("127.0.0.1:8895/{}", "begins with"),
            ("http://a b/{}", "invalid"),
        ] {
            let error = Pattern::new(text).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
