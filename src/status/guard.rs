//! Who may look: everybody on the loopback interface, elsewhere whoever has the token; balancers may ask for health anywhere, by
//! any name.
//!
//! Invariant: on an address that others reach nothing but health is told without a token, and nothing to pages that others
//! have put into a browser of the machine.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use subtle::ConstantTimeEq as _;

use crate::site::vars::hostname;

/// What may be seen.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Guard {
    /// Everything, to who asks by an address or a name of this machine.
    #[default]
    Open,
    /// Everything, by whatever name: whoever has no certificate of it gets no browser to ask.
    Certified,
    /// Health; and everything by whoever has this token.
    Token(Arc<[u8]>),
    /// Health.
    Closed,
}

impl Guard {
    /// The same where TLS is spoken.
    pub(super) fn with_certificate(self) -> Self {
        if self == Self::Open { Self::Certified } else { self }
    }
}

/// Passes on whoever may look.
pub(super) async fn guard(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    match guard {
        Guard::Certified => next.run(request).await,
        Guard::Open if is_ours(asked(&request), hostname()) => next.run(request).await,
        Guard::Open => {
            let why = "without a token this is told to who asks by an address, localhost or the name of this machine: \
                       set push_stream_status_token_file or --status-token-file\n";
            (StatusCode::FORBIDDEN, why).into_response()
        }
        Guard::Token(token) if is_given(request.headers(), &token) => next.run(request).await,
        Guard::Token(_) => {
            let asks = [(header::WWW_AUTHENTICATE, "Basic realm=\"pushstreamd\", charset=\"UTF-8\"")];
            (StatusCode::UNAUTHORIZED, asks, "a token is needed\n").into_response()
        }
        Guard::Closed => {
            let why =
                "this address is reached from elsewhere: set push_stream_status_token_file or --status-token-file\n";
            (StatusCode::FORBIDDEN, why).into_response()
        }
    }
}

/// Whom a request takes the server for, with the port; nothing where it does not say.
fn asked(request: &Request) -> &str {
    match request.uri().authority() {
        Some(authority) => authority.as_str(),
        None => request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default(),
    }
}

/// Whether that is an address, `localhost` or this machine. A page from elsewhere, whose name has been made to mean this machine,
/// is asked for by that name, and what it asks for too: what a browser on the machine may read is not for that page.
fn is_ours(asked: &str, machine: &str) -> bool {
    let name = match asked.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => asked,
    };
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    address.parse::<IpAddr>().is_ok() || ["localhost", machine].iter().any(|own| name.eq_ignore_ascii_case(own))
}

/// Whether the token comes with a request: as a bearer's, or as the password of anybody.
fn is_given(fields: &HeaderMap, token: &[u8]) -> bool {
    let Some(given) = fields.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()) else { return false };
    let Some((scheme, rest)) = given.split_once(' ') else { return false };
    let given = match scheme.to_ascii_lowercase().as_str() {
        "bearer" => rest.trim().as_bytes().to_vec(),
        "basic" => {
            let pair = STANDARD.decode(rest.trim()).unwrap_or_default();
            let colon = memchr::memchr(b':', &pair).map_or(pair.len(), |colon| colon + 1);
            pair.get(colon..).unwrap_or_default().to_vec()
        }
        _ => return false,
    };
    given.ct_eq(token).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_anybody_can_point_here_is_not_ours() {
        let asked = |host: &str| is_ours(host, "web1.example");
        for host in [
            "127.0.0.1:8896",
            "127.0.0.1",
            "localhost",
            "LocalHost:1",
            "[::1]:8896",
            "[::1]",
            "web1.example",
            "Web1.Example:8896",
        ] {
            assert!(asked(host), "{host}");
        }
        for host in [
            "evil.example:8896",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "web1.example.evil.example",
            "web1",
            "",
            ":8896",
            "t",
            "[evil]",
        ] {
            assert!(!asked(host), "{host}");
        }
    }

    #[test]
    fn what_stands_in_the_target_counts_before_the_field() {
        let request = |target: &str, host: &str| {
            let request = axum::http::Request::builder().uri(target).header(header::HOST, host);
            request.body(axum::body::Body::empty()).unwrap()
        };
        assert_eq!(asked(&request("/channels", "a:1")), "a:1");
        assert_eq!(asked(&request("http://evil.example:1/channels", "localhost")), "evil.example:1");
        assert_eq!(asked(&Request::new(axum::body::Body::empty())), "");
    }

    #[test]
    fn a_token_is_a_bearers_or_anybodys_password() {
        let given = |value: &str| {
            let mut fields = HeaderMap::new();
            fields.insert(header::AUTHORIZATION, value.parse().unwrap());
            is_given(&fields, b"a:b")
        };
        assert!(given("Bearer a:b") && given("bearer  a:b") && given(&format!("Basic {}", STANDARD.encode("me:a:b"))));
        for wrong in ["Bearer a:b2", "Bearer", "a:b", "Basic", "Basic !", "Digest a:b", "Bearer "] {
            assert!(!given(wrong), "{wrong}");
        }
        assert!(!given(&format!("Basic {}", STANDARD.encode("a:b"))), "the name is not the password");
        assert!(!is_given(&HeaderMap::new(), b"a:b"));
    }
}
