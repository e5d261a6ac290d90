//! An HTTP/2 request written down as a head of HTTP/1, so that one reader with one set of limits reads all heads.
//!
//! Invariant: what is written cannot be read in two ways, because neither names nor values hold line ends (h2 refuses them),
//! and fields about the connection do not exist in HTTP/2.

use hyper::Method;
use hyper::ext::Protocol;
use hyper::header::HOST;
use hyper::http::request::Parts;

/// RFC 8441 has no key, since there is no cache in between to protect; the handshake wants one.
const WEBSOCKET: &[u8] =
    b"connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";

/// Whether the request opens a websocket (RFC 8441).
pub(super) fn opens_websocket(parts: &Parts) -> bool {
    parts.method == Method::CONNECT
        && parts.extensions.get::<Protocol>().is_some_and(|protocol| protocol.as_str() == "websocket")
}

/// The head. A request that opens a websocket becomes the GET that would do so in HTTP/1.
pub(super) fn write_down(parts: &Parts) -> Vec<u8> {
    let websocket = opens_websocket(parts);
    let mut text = Vec::with_capacity(512);
    let method = if websocket { "GET" } else { parts.method.as_str() };
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
    for part in [method, " ", target, " HTTP/2.0\r\n"] {
        text.extend_from_slice(part.as_bytes());
    }
    let authority = parts.uri.authority();
    if let Some(authority) = authority {
        write_field("host", authority.as_str().as_bytes(), &mut text);
    }
    for (name, value) in &parts.headers {
        if authority.is_none() || name != HOST {
            write_field(name.as_str(), value.as_bytes(), &mut text);
        }
    }
    if websocket {
        text.extend_from_slice(WEBSOCKET);
    }
    text.extend_from_slice(b"\r\n");
    text
}

fn write_field(name: &str, value: &[u8], text: &mut Vec<u8>) {
    for part in [name.as_bytes(), b": ", value, b"\r\n"] {
        text.extend_from_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;

    fn parts(request: Request<()>) -> Parts {
        request.into_parts().0
    }

    #[test]
    fn the_authority_is_the_host() {
        let request = Request::get("https://a.example:8894/sub?x=1").header("host", "other").header("accept", "*/*");
        assert_eq!(
            write_down(&parts(request.body(()).unwrap())),
            b"GET /sub?x=1 HTTP/2.0\r\nhost: a.example:8894\r\naccept: */*\r\n\r\n"
        );
    }

    #[test]
    fn a_connect_for_websocket_becomes_an_upgrade() {
        let request = Request::connect("https://a.example/ws").extension(Protocol::from_static("websocket"));
        let text = write_down(&parts(request.body(()).unwrap()));
        assert!(text.starts_with(b"GET /ws HTTP/2.0\r\nhost: a.example\r\nconnection: upgrade\r\n"));
        let request = Request::connect("a.example:443").body(()).unwrap();
        assert!(!opens_websocket(&parts(request)));
    }
}
