//! Which server a host name means: `Host` made comparable, and nginx's order of exact names, masks, regexes, default.
//!
//! Knows nothing of the rest of a request.

use std::borrow::Cow;
use std::sync::Arc;

use crate::conf::settings::{Regex, Server, ServerNames};
use crate::conf::variable::HostMask;

/// A host as sent -> lower-cased, without port and trailing dot. `None`: no valid host.
pub(crate) fn normal_host(sent: &[u8]) -> Option<Cow<'_, [u8]>> {
    let mut end = sent.len();
    let mut in_literal = false;
    let mut upper = false;
    let mut last_dot = None;
    let mut bytes = sent.iter().enumerate();
    for (index, &byte) in bytes.by_ref() {
        match byte {
            b'.' if last_dot.is_some_and(|dot: usize| dot + 1 == index) => return None,
            b'.' => last_dot = Some(index),
            b':' if !in_literal => {
                end = index;
                break;
            }
            b'[' if index == 0 => in_literal = true,
            b']' if in_literal => in_literal = false,
            b'/' | 0..=b' ' | 0x7f => return None,
            _ => upper |= byte.is_ascii_uppercase(),
        }
    }
    // What follows is a port; whatever it is, it must not hold what no host may hold.
    if bytes.any(|(_, &byte)| byte <= b' ' || byte == b'/' || byte == 0x7f) {
        return None;
    }
    let host = sent.get(..end)?;
    let host = host.strip_suffix(b".").unwrap_or(host);
    match (host.is_empty(), upper) {
        (true, _) => None,
        (false, true) => Some(Cow::Owned(host.to_ascii_lowercase())),
        (false, false) => Some(Cow::Borrowed(host)),
    }
}

/// The server for a (normal) host, and the regex that chose it.
pub(crate) fn find_server<'s>(names: &'s ServerNames, host: &[u8]) -> (&'s Arc<Server>, Option<&'s Regex>) {
    if let Ok(host) = std::str::from_utf8(host) {
        if let Some(server) = names.exact.get(host) {
            return (server, None);
        }
        if let Some((_, server)) = names.masks.iter().find(|(mask, _)| matches_mask(mask, host)) {
            return (server, None);
        }
    }
    if !host.is_empty() {
        for (regex, server) in &names.regexes {
            if regex.compiled.is_match(host).unwrap_or(false) {
                return (server, Some(regex));
            }
        }
    }
    (&names.default, None)
}

/// Whether a lower-cased name is meant by a mask.
pub(crate) fn matches_mask(mask: &HostMask, name: &str) -> bool {
    match mask {
        HostMask::Suffix { dotted, bare_too } => {
            (name.len() > dotted.len() && name.ends_with(&**dotted))
                || (*bare_too && dotted.strip_prefix('.').is_some_and(|bare| bare == name))
        }
        HostMask::Prefix(prefix) => name.len() > prefix.len() && name.starts_with(&**prefix),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_made_comparable() {
        let normal = |sent: &str| normal_host(sent.as_bytes()).map(|h| String::from_utf8_lossy(&h).into_owned());
        assert_eq!(normal("Some.Host:8080").as_deref(), Some("some.host"));
        assert_eq!(normal("second.example.").as_deref(), Some("second.example"));
        assert_eq!(normal("second.example.:80").as_deref(), Some("second.example"));
        assert_eq!(normal("[::1]:80").as_deref(), Some("[::1]"));
        for refused in ["", ":80", ".", "a..b", "a b", "a/b", "a\0", "a:8 0"] {
            assert_eq!(normal(refused), None, "{refused:?}");
        }
    }

    #[test]
    fn masks_match_as_in_nginx() {
        let suffix = HostMask::Suffix { dotted: ".wild.example".into(), bare_too: false };
        assert!(matches_mask(&suffix, "any.thing.wild.example"));
        assert!(!matches_mask(&suffix, "wild.example"));
        assert!(!matches_mask(&suffix, ".wild.example"));
        let both = HostMask::Suffix { dotted: ".wild.example".into(), bare_too: true };
        assert!(matches_mask(&both, "wild.example"));
        assert!(matches_mask(&HostMask::Prefix("www.".into()), "www.x"));
    }
}
