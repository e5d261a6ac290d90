//! Conditions a client makes: whether what it asks for is the one it means, and not the one it has.
//!
//! Judges by a time and a tag; does not know what has them. Dates are read as nginx reads them.

use super::exchange::Exchange;
use crate::conf::settings::IfModifiedSince;
use crate::request::http_date::parse_http_date;

/// `If-Unmodified-Since` and `If-Match`, for what was modified at a time and has a tag, or has neither.
pub(super) fn precondition_failed(exchange: &Exchange<'_>, held: Option<(i64, &[u8])>) -> bool {
    let head = &exchange.head;
    // A date that is none lies before all others.
    let since = head.header("if-unmodified-since").map(|date| parse_http_date(date).unwrap_or(-1));
    let stays = since.is_none_or(|since| held.is_some_and(|(modified, _)| modified <= since));
    let matches = head.header("if-match").is_none_or(|list| {
        let mut listed = list.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).filter(|tag| !tag.is_empty());
        list == b"*" || listed.any(|listed| held.is_some_and(|(_, tag)| listed == tag))
    });
    !stays || !matches
}

/// `If-Modified-Since` and `If-None-Match`: whether the client has what it asks for.
pub(super) fn not_modified(exchange: &Exchange<'_>, modified: i64, tag: &[u8]) -> bool {
    let since = exchange.head.header("if-modified-since");
    let none_match = exchange.head.header("if-none-match");
    if since.is_none() && none_match.is_none() {
        return false;
    }
    let fresh = |since: &[u8]| {
        let since = parse_http_date(since);
        match exchange.location.core.if_modified_since {
            IfModifiedSince::Off => false,
            IfModifiedSince::Exact => since == Some(modified),
            IfModifiedSince::Before => since.is_some_and(|since| since >= modified),
        }
    };
    since.is_none_or(fresh)
        && none_match.is_none_or(|list| {
            list.split(|&byte| byte == b',')
                .map(<[u8]>::trim_ascii)
                .filter(|tag| !tag.is_empty())
                .any(|listed| listed == b"*" || listed.strip_prefix(b"W/").unwrap_or(listed) == tag)
        })
}
