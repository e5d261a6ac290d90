//! `$invalid_referer`: whether the page that led here is one of those `valid_referers` lists.
//!
//! Does not know who refuses. Invariant: as in nginx, the host decides (without port, whatever its letter case), then what
//! its path must begin with.

use super::exchange::Exchange;
use super::server_name::matches_mask;
use crate::conf::settings::Referers;

/// Longest host that is looked at.
const LONGEST_HOST: usize = 256;
/// What a URL has at least: `http://i.ru`.
const SHORTEST: usize = 11;

/// Whether the referer of a request is valid; where nothing is listed, any is.
pub(crate) fn is_valid(exchange: &Exchange<'_>) -> bool {
    match exchange.location.core.valid_referers.as_deref() {
        Some(referers) if referers.lists_hosts() => allows(referers, exchange.head.header("referer")),
        _ => true,
    }
}

fn allows(referers: &Referers, referer: Option<&[u8]>) -> bool {
    let Some(referer) = referer else { return referers.none };
    let Some(rest) = behind_scheme(referer) else { return referers.blocked };
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b':')).unwrap_or(rest.len());
    let host = rest.get(..end).unwrap_or_default().to_ascii_lowercase();
    if host.len() >= LONGEST_HOST {
        return false;
    }
    let text = std::str::from_utf8(&host).unwrap_or_default();
    let masked = || referers.masks.iter().find(|(mask, _)| matches_mask(mask, text)).map(|(_, path)| path);
    if let Some(path) = referers.exact.get(text).or_else(masked) {
        let at = memchr::memchr(b'/', rest).unwrap_or(rest.len());
        return rest.get(at..).unwrap_or_default().starts_with(path);
    }
    let any = |regexes: &[crate::conf::settings::Regex], text: &[u8]| {
        regexes.iter().any(|regex| regex.compiled.is_match(text).unwrap_or(false))
    };
    any(&referers.names, &host) || any(&referers.regexes, rest)
}

fn behind_scheme(referer: &[u8]) -> Option<&[u8]> {
    [&b"http://"[..], b"https://"].iter().find_map(|scheme| {
        let (start, rest) = referer.split_at_checked(scheme.len()).filter(|_| referer.len() >= SHORTEST)?;
        start.eq_ignore_ascii_case(scheme).then_some(rest)
    })
}
