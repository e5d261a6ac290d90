//! The page for people: one file, nothing fetched from elsewhere.
//!
//! Invariant: no script runs but the page's own (each answer has a key of its own for it), and nobody may frame it.

use std::hash::{BuildHasher, RandomState};

use axum::http::{HeaderName, header};
use axum::response::{Html, IntoResponse};

const PAGE: &str = include_str!("page.html");

/// The page.
pub(super) async fn page() -> impl IntoResponse {
    let nonce = format!("{:016x}{:016x}", unguessable(), unguessable());
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; img-src data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    ([(header::CONTENT_SECURITY_POLICY, policy)], Html(PAGE.replace("NONCE", &nonce)))
}

/// Fields of every answer: they are of the moment, and nobody's to keep or to guess at.
pub(super) const FIELDS: [(HeaderName, &str); 4] = [
    (header::CACHE_CONTROL, "no-store"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_FRAME_OPTIONS, "DENY"),
];

fn unguessable() -> u64 {
    // Keys of the system's random numbers.
    RandomState::new().hash_one(())
}
