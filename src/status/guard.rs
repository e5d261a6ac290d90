//! Who may look: everybody on the loopback interface, elsewhere whoever has the token; balancers may ask for health anywhere.
//!
//! Invariant: on an address that others reach nothing but health is told without a token.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use subtle::ConstantTimeEq as _;

/// What may be seen.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Guard {
    /// Everything.
    #[default]
    Open,
    /// Health; and everything by whoever has this token.
    Token(Arc<[u8]>),
    /// Health.
    Closed,
}

/// Where texts of messages are told.
pub(super) const MESSAGES: &str = "/messages";

/// Passes on whoever may look.
pub(super) async fn guard(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    match guard {
        Guard::Open if request.uri().path() == MESSAGES && !is_asked_by_address(request.headers()) => {
            (StatusCode::FORBIDDEN, "without a token texts are shown to who asks by the address itself\n")
                .into_response()
        }
        Guard::Open => next.run(request).await,
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

/// Whether the server is called by an address or `localhost`. A page from elsewhere, whose name has been made to mean this machine,
/// calls it by that name: what a browser on the machine may read is not for that page.
fn is_asked_by_address(fields: &HeaderMap) -> bool {
    let asked = fields.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = match asked.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => asked,
    };
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    address.parse::<IpAddr>().is_ok() || name.eq_ignore_ascii_case("localhost")
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
    fn a_name_that_anybody_can_point_here_is_no_address() {
        let asked = |host: &str| {
            let mut fields = HeaderMap::new();
            fields.insert(header::HOST, host.parse().unwrap());
            is_asked_by_address(&fields)
        };
        for host in ["127.0.0.1:8896", "127.0.0.1", "localhost", "LocalHost:1", "[::1]:8896", "[::1]"] {
            assert!(asked(host), "{host}");
        }
        for host in ["evil.example:8896", "127.0.0.1.evil.example", "localhost.evil.example", "", "t", "[evil]"] {
            assert!(!asked(host), "{host}");
        }
        assert!(!is_asked_by_address(&HeaderMap::new()));
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
