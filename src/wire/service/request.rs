//! A request as the `http` crate has it, taken for what HTTP/1 would have sent.
//!
//! Invariant: the same limits hold as for a head that came as text.

use std::borrow::Cow;

use hyper::Method;
use hyper::ext::Protocol;
use hyper::header::HOST;
use hyper::http::request::Parts;

use crate::request::head::{BadHead, HeadLimits, RequestHead, Version};

/// RFC 8441 has no key, since there is no cache in between to protect; the handshake wants one.
const WEBSOCKET: [(&[u8], &[u8]); 3] =
    [(b"connection", b"upgrade"), (b"upgrade", b"websocket"), (b"sec-websocket-key", b"AAAAAAAAAAAAAAAAAAAAAA==")];

/// Whether the request opens a tunnel for a websocket (RFC 8441), by the word of h2 or of hyper.
pub(super) fn opens_websocket(parts: &Parts) -> bool {
    parts.method == Method::CONNECT
        && (parts.extensions.get::<Protocol>().is_some_and(|protocol| protocol.as_str() == "websocket")
            || parts.extensions.get::<h2::ext::Protocol>().is_some_and(|protocol| protocol.as_str() == "websocket"))
}

/// The head. A request that opens a websocket becomes the GET that would do so in HTTP/1.
pub(super) fn head(parts: &Parts, limits: &HeadLimits) -> Result<RequestHead, BadHead> {
    let websocket = opens_websocket(parts);
    let authority = parts.uri.authority().map(|authority| authority.as_str().as_bytes());
    // The authority is the host, and stands before the other fields.
    let host = authority.map(|authority| (&b"host"[..], authority));
    let sent = parts.headers.iter().filter(|(name, _)| authority.is_none() || *name != HOST);
    let sent = sent.map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
    let opening = WEBSOCKET.into_iter().filter(|_| websocket);
    RequestHead::compose(
        method(parts).as_bytes(),
        target(parts).as_bytes(),
        version(parts),
        host.into_iter().chain(sent).chain(opening),
        limits,
    )
}

/// What is known of a request whose head is refused: its line, by which a HEAD has an answer without a body.
pub(super) fn unreadable(parts: &Parts) -> RequestHead {
    let version = if version(parts) == Version::V20 { "HTTP/2.0" } else { "HTTP/1.1" };
    RequestHead::unreadable(format!("{} {} {version}", method(parts), target(parts)).as_bytes())
}

fn method(parts: &Parts) -> &str {
    if opens_websocket(parts) { "GET" } else { parts.method.as_str() }
}

fn target(parts: &Parts) -> Cow<'_, str> {
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
    // An absolute URI without a path may have a query.
    if target.starts_with('?') { Cow::Owned(format!("/{target}")) } else { Cow::Borrowed(target) }
}

fn version(parts: &Parts) -> Version {
    match parts.version {
        hyper::Version::HTTP_2 => Version::V20,
        hyper::Version::HTTP_10 => Version::V10,
        _ => Version::V11,
    }
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;

    fn parts(request: Request<()>) -> Parts {
        request.into_parts().0
    }

    fn fields(head: &RequestHead) -> Vec<(String, String)> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        head.headers().map(|(name, value)| (text(name), text(value))).collect()
    }

    #[test]
    fn the_authority_is_the_host() {
        let request = Request::get("https://a.example:8894/sub?x=1")
            .version(hyper::Version::HTTP_2)
            .header("host", "other")
            .header("accept", "*/*");
        let head = head(&parts(request.body(()).unwrap()), &HeadLimits::DEFAULT).unwrap();
        assert_eq!(head.line(), b"GET /sub?x=1 HTTP/2.0");
        assert_eq!(head.target(), b"/sub?x=1");
        assert_eq!(head.host(), Some(&b"a.example:8894"[..]));
        assert_eq!(fields(&head), [("host".into(), "a.example:8894".into()), ("accept".into(), "*/*".into())]);
    }

    #[test]
    fn a_connect_for_websocket_becomes_an_upgrade() {
        let request = Request::connect("https://a.example/ws")
            .version(hyper::Version::HTTP_2)
            .extension(Protocol::from_static("websocket"));
        let head = head(&parts(request.body(()).unwrap()), &HeadLimits::DEFAULT).unwrap();
        assert_eq!(head.line(), b"GET /ws HTTP/2.0");
        assert_eq!(head.header("upgrade"), Some(&b"websocket"[..]));
        let request = Request::connect("a.example:443").body(()).unwrap();
        assert!(!opens_websocket(&parts(request)));
    }

    #[test]
    fn of_a_head_that_is_refused_the_line_is_known() {
        let request = Request::head("http://a/x?y=1").version(hyper::Version::HTTP_2).header("host", "a");
        let parts = parts(request.header("range", "a").header("range", "b").body(()).unwrap());
        assert!(head(&parts, &HeadLimits { line: 3, ..HeadLimits::DEFAULT }).is_err());
        let head = unreadable(&parts);
        assert_eq!((head.line(), head.method()), (&b"HEAD /x?y=1 HTTP/2.0"[..], &b"HEAD"[..]));
    }

    #[test]
    fn what_is_no_path_is_refused_and_a_query_needs_none() {
        let target = |uri: &str| head(&parts(Request::get(uri).body(()).unwrap()), &HeadLimits::DEFAULT);
        assert_eq!(target("*").err(), Some(BadHead::BadRequest));
        let whole = Request::get("http://a?x=1").header("host", "a").body(()).unwrap();
        assert_eq!(head(&parts(whole), &HeadLimits::DEFAULT).unwrap().target(), b"/?x=1");
    }

    #[test]
    fn what_is_too_long_or_odd_is_judged_as_in_http_1() {
        let long = "x".repeat(9000);
        let with = |name: &str, value: &str| {
            let request = Request::get("https://a/").version(hyper::Version::HTTP_2).header(name, value);
            head(&parts(request.body(()).unwrap()), &HeadLimits::DEFAULT)
        };
        assert_eq!(with("a", &long).err(), Some(BadHead::HeaderTooLarge));
        assert_eq!(with("a_b", "1").unwrap().header("a_b"), None);
        let request = Request::get(format!("https://a/{long}")).version(hyper::Version::HTTP_2);
        assert_eq!(head(&parts(request.body(()).unwrap()), &HeadLimits::DEFAULT).err(), Some(BadHead::UriTooLarge));
    }
}
