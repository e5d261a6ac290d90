//! nginx's choice of a location for a URI.
//!
//! Exact, then the longest prefix and what lies within it, then regexes in file order unless the prefix is `^~`. Knows
//! nothing of what a location does.

use std::sync::Arc;

use super::captures::Captures;
use super::exchange::Exchange;
use crate::conf::settings::{Handler, LimitExcept, Location, Locations, Match, Server};

/// Whether a server has a location for a path that does something of its own: one that pushes, or a more special one than `/`.
pub(crate) fn claims(server: &Server, path: &[u8]) -> bool {
    let locations = &server.locations;
    let special = |location: &Location| match &location.matched {
        Match::Prefix(prefix) | Match::StrongPrefix(prefix) => {
            path.starts_with(prefix) && (prefix.len() > 1 || location.handler != Handler::Static)
        }
        Match::Regex(regex) => regex.compiled.is_match(path).unwrap_or(false),
        Match::Exact(_) | Match::None => false,
    };
    locations.exact.contains_key(path) || locations.prefixes.iter().chain(&locations.regexes).any(|one| special(one))
}

/// The location whose values count for requests of a method: that of `limit_except` where it limits the method.
pub(crate) fn for_method<'b>(location: &'b Arc<Location>, method: &[u8]) -> &'b Arc<Location> {
    match &location.limit_except {
        Some(except) if is_limited(except, method) => &except.location,
        _ => location,
    }
}

/// Whether `limit_except` applies to a method; GET stands for HEAD as well.
fn is_limited(except: &LimitExcept, method: &[u8]) -> bool {
    let frees = |method: &[u8]| except.methods.iter().any(|free| free.as_bytes() == method);
    !(frees(method) || method == b"HEAD" && frees(b"GET"))
}

/// The location of the exchange's URI; `None` where no location of the server matches.
pub(crate) fn find_location<'b>(exchange: &mut Exchange<'b>) -> Option<&'b Arc<Location>> {
    let mut found = None;
    search(exchange, &exchange.server.locations, &mut found);
    found
}

/// Looks among siblings and inside the one chosen. Whether the choice is final: an exact or a regex location.
fn search<'b>(exchange: &mut Exchange<'b>, siblings: &'b Locations, found: &mut Option<&'b Arc<Location>>) -> bool {
    if !siblings.exact.is_empty()
        && let Some(location) = siblings.exact.get(&*exchange.uri)
    {
        *found = Some(location);
        return true;
    }
    let mut regexes_allowed = true;
    if let Some(location) = siblings.prefixes.iter().find(|location| matches_prefix(location, &exchange.uri)) {
        *found = Some(location);
        regexes_allowed = !matches!(location.matched, Match::StrongPrefix(_));
        if search(exchange, &location.nested, found) {
            return true;
        }
    }
    if !regexes_allowed {
        return false;
    }
    for location in &siblings.regexes {
        let Match::Regex(regex) = &location.matched else { continue };
        let captures = Captures::of(regex, &exchange.uri);
        if exchange.adopt(regex, captures) {
            *found = Some(location);
            search(exchange, &location.nested, found);
            return true;
        }
    }
    false
}

fn matches_prefix(location: &Location, uri: &[u8]) -> bool {
    match &location.matched {
        Match::Prefix(prefix) | Match::StrongPrefix(prefix) => uri.starts_with(prefix),
        _ => false,
    }
}
