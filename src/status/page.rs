//! The page for people: one file, nothing fetched from elsewhere.
//!
//! Invariant: no script runs but the page's own (each answer has a key of its own for it), and nobody may frame it.

use std::hash::{BuildHasher, RandomState};

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, header};
use axum::response::{Html, IntoResponse};

use super::Sources;

const PAGE: &str = include_str!("page.html");
/// What of it depends on who asks.
const BEGINS: &str = "<html lang=\"en\" data-messages=\"false\">";
const LANGUAGES: [&str; 2] = ["en", "ru"];

/// The page, in the language the browser asks for; who has chosen another on it gets that.
pub(super) async fn page(State(sources): State<Sources>, fields: HeaderMap) -> impl IntoResponse {
    let accepted = fields.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let begins = format!("<html lang=\"{}\" data-messages=\"{}\">", language(accepted), sources.messages);
    let nonce = format!("{:016x}{:016x}", unguessable(), unguessable());
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; img-src data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    ([(header::CONTENT_SECURITY_POLICY, policy)], Html(PAGE.replace("NONCE", &nonce).replacen(BEGINS, &begins, 1)))
}

/// The one of the page's languages that is liked best.
fn language(accepted: &str) -> &'static str {
    let mut best = ("en", 0.0);
    for wanted in accepted.split(',') {
        let (tag, weight) = wanted.split_once(';').unwrap_or((wanted, ""));
        let weight = weight.trim().strip_prefix("q=").map_or(1.0, |weight| weight.parse::<f32>().unwrap_or(0.0));
        let base = tag.trim().split('-').next().unwrap_or_default();
        let known = LANGUAGES.into_iter().find(|known| known.eq_ignore_ascii_case(base));
        if let Some(known) = known.filter(|_| weight > best.1) {
            best = (known, weight);
        }
    }
    best.0
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_language_is_the_one_of_the_two_that_is_liked_best() {
        for (accepted, chosen) in [
            ("", "en"),
            ("ru", "ru"),
            ("ru-RU,ru;q=0.9,en;q=0.8", "ru"),
            ("en-GB, ru;q=0.9", "en"),
            ("de, fr;q=0.9", "en"),
            ("de, RU;q=0.3, en;q=0.2", "ru"),
            ("ru;q=0, en;q=0.1", "en"),
            ("rum, *;q=0.5", "en"),
            ("ru;q=x", "en"),
        ] {
            assert_eq!(language(accepted), chosen, "{accepted}");
        }
        assert!(PAGE.contains(BEGINS));
    }
}
