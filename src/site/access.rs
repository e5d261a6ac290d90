//! The access phase: `real_ip`, `allow`/`deny`, `auth_basic`, `auth_request`, combined by `satisfy`.
//!
//! Says whether a request may go on; the reply to one that may not is made elsewhere.

use std::net::{IpAddr, SocketAddr};

use super::exchange::Exchange;
use super::log_context;
use super::password::{self, Checked};
use super::slow_password::SlowPassword;
use crate::conf::settings::{AccessRule, AuthBasic, RealIp, Server, Who};
use crate::conf::variable::Complex;
use crate::request::peer::PeerAddress;

/// What the access phase has come to.
pub(crate) enum Access {
    /// The request goes on.
    Granted,
    /// 401, 403 or 500.
    Refused(u16),
    /// `auth_request`: the caller asks this URI and comes back with its status.
    Ask(Vec<u8>),
    /// `auth_basic`: the caller has the password verified and comes back.
    Verify(SlowPassword),
}

/// Replaces the client's address by the one a trusted peer names. Once per request.
pub(crate) fn apply_real_ip(exchange: &mut Exchange<'_>) {
    if exchange.route.real_ip_known {
        return;
    }
    let location = exchange.location;
    let Some(real_ip) = &location.core.realip else { return };
    exchange.route.real_ip_known = true;
    if let Some(address) = named_client(exchange, real_ip) {
        exchange.remote = PeerAddress::Ip(address);
    }
}

/// Whether a server takes this address for a proxy, which speaks for many clients.
pub(crate) fn is_proxy(server: &Server, address: &PeerAddress) -> bool {
    server.root.core.realip.as_ref().is_some_and(|real_ip| is_named(&real_ip.from, address))
}

fn named_client(exchange: &Exchange<'_>, real_ip: &RealIp) -> Option<SocketAddr> {
    if !is_named(&real_ip.from, &exchange.remote) {
        return None;
    }
    if &*real_ip.header == "proxy_protocol" {
        return exchange.peer.proxy;
    }
    let mut values: Vec<&[u8]> = exchange
        .head
        .headers()
        .filter(|(name, _)| name.eq_ignore_ascii_case(real_ip.header.as_bytes()))
        .map(|(_, value)| value)
        .collect();
    if &*real_ip.header != "x-forwarded-for" {
        values.truncate(1);
    }
    // The last address is the one the trusted peer has seen; trusted ones before it may be followed further.
    let mut found = None;
    let listed = values.iter().rev().flat_map(|value| value.rsplit(|byte| matches!(byte, b',' | b' ')));
    for text in listed.filter(|text| !text.is_empty()) {
        let Some(address) = parse_address(text) else { break };
        found = Some(address);
        if !real_ip.recursive || !is_named(&real_ip.from, &PeerAddress::Ip(address)) {
            break;
        }
    }
    found
}

/// `1.2.3.4`, `1.2.3.4:80`, `::1` or `[::1]:80`.
fn parse_address(text: &[u8]) -> Option<SocketAddr> {
    let text = std::str::from_utf8(text).ok()?;
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some(address);
    }
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, 0))
}

fn is_named(whom: &[Who], address: &PeerAddress) -> bool {
    whom.iter().any(|who| names(*who, address))
}

fn names(who: Who, address: &PeerAddress) -> bool {
    match who {
        Who::All => true,
        Who::Unix => *address == PeerAddress::Unix,
        Who::Network(network) => address.ip().is_some_and(|ip| network.contains(&ip.to_canonical())),
    }
}

/// Asks the rules of the request's location.
pub(crate) fn check(exchange: &mut Exchange<'_>) -> Access {
    let location = exchange.location;
    let core = &location.core;
    exchange.route.refused = None;
    if let Some(allowed) = verdict(&core.access, &exchange.remote) {
        if allowed && core.satisfy_any {
            return Access::Granted;
        }
        if !allowed {
            if !core.satisfy_any {
                log_context::error(exchange, format_args!("access forbidden by rule"));
                return Access::Refused(403);
            }
            exchange.route.refused = Some(403);
        }
    }
    match core.auth_basic.as_ref().map_or(Password::NotAsked, |basic| ask_password(exchange, basic)) {
        Password::Slow(password) => return Access::Verify(password),
        Password::Right if core.satisfy_any => return Access::Granted,
        Password::Right | Password::NotAsked => {}
        Password::Wrong(status @ 401) if core.satisfy_any => exchange.route.refused = Some(status),
        Password::Wrong(status @ 403) if core.satisfy_any => {
            exchange.route.refused.get_or_insert(status);
        }
        Password::Wrong(status) => return Access::Refused(status),
    }
    if let Some(uri) = &core.auth_request {
        return Access::Ask(asked_uri(exchange, uri));
    }
    conclude(exchange)
}

/// Goes on after `auth_request` was answered with this status.
pub(crate) fn check_answer(exchange: &mut Exchange<'_>, status: u16) -> Access {
    match status {
        200..=299 if exchange.location.core.satisfy_any => Access::Granted,
        200..=299 => conclude(exchange),
        401 | 403 if exchange.location.core.satisfy_any => {
            if exchange.route.refused != Some(401) {
                exchange.route.refused = Some(status);
            }
            conclude(exchange)
        }
        401 | 403 => Access::Refused(status),
        other => {
            log_context::error(exchange, format_args!("auth request unexpected status: {other}"));
            Access::Refused(500)
        }
    }
}

fn conclude(exchange: &mut Exchange<'_>) -> Access {
    match exchange.route.refused.take() {
        Some(status) => {
            if status == 403 {
                log_context::error(exchange, format_args!("access forbidden by rule"));
            }
            Access::Refused(status)
        }
        None => Access::Granted,
    }
}

fn asked_uri(exchange: &Exchange<'_>, uri: &Complex) -> Vec<u8> {
    exchange.value(uri).into_owned()
}

/// The first rule that names the address decides. A client whose address nobody tells could be anybody who is denied.
fn verdict(rules: &[AccessRule], address: &PeerAddress) -> Option<bool> {
    let untold = *address == PeerAddress::Untold;
    rules.iter().find(|rule| names(rule.who, address) || untold && !rule.allow).map(|rule| rule.allow)
}

enum Password {
    NotAsked,
    Right,
    Slow(SlowPassword),
    Wrong(u16),
}

fn ask_password(exchange: &mut Exchange<'_>, basic: &AuthBasic) -> Password {
    let realm = exchange.value(&basic.realm).into_owned();
    if realm == b"off" {
        return Password::NotAsked;
    }
    let verified = exchange.route.password.take();
    let verdict = match (verified, exchange.credentials()) {
        (Some(true), _) => Checked::Right,
        (Some(false), Some((user, _))) => {
            password::tell_mismatch(exchange, &user);
            Checked::Wrong(401)
        }
        (_, None) => {
            let text = format_args!("no user/password was provided for basic authentication");
            log_context::refuse(exchange, "unauthorized", text);
            Checked::Wrong(401)
        }
        (None, Some((user, word))) => password::check(exchange, &exchange.value(&basic.user_file), &user, &word),
    };
    match verdict {
        Checked::Right => Password::Right,
        Checked::Slow(password) => Password::Slow(password),
        Checked::Wrong(status) => {
            if status == 401 {
                let mut challenge = b"Basic realm=\"".to_vec();
                challenge.extend(realm.iter().filter(|byte| !matches!(byte, b'\r' | b'\n' | 0)));
                challenge.push(b'"');
                exchange.carried.retain(|(name, _)| *name != "WWW-Authenticate");
                exchange.carried.push(("WWW-Authenticate", challenge));
            }
            Password::Wrong(status)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str, prefix: u8) -> Who {
        Who::Network(ipnet::IpNet::new(text.parse().unwrap(), prefix).unwrap())
    }

    fn client(text: &str) -> PeerAddress {
        PeerAddress::Ip(parse_address(text.as_bytes()).unwrap())
    }

    #[test]
    fn the_first_rule_that_names_the_client_decides() {
        let rules =
            [AccessRule { allow: true, who: network("10.0.0.0", 8) }, AccessRule { allow: false, who: Who::All }];
        assert_eq!(verdict(&rules, &client("10.1.1.1")), Some(true));
        assert_eq!(verdict(&rules, &client("127.0.0.1")), Some(false));
        assert_eq!(verdict(&rules, &PeerAddress::Unix), Some(false));
        assert_eq!(verdict(&[], &client("127.0.0.1")), None);
        assert_eq!(verdict(&[AccessRule { allow: true, who: Who::Unix }], &PeerAddress::Unix), Some(true));
    }

    #[test]
    fn a_client_nobody_tells_of_is_whoever_is_denied_and_nobody_who_is_allowed() {
        let rule = |allow, who| AccessRule { allow, who };
        let denying = [rule(false, network("10.0.0.1", 32)), rule(true, Who::All)];
        assert_eq!(verdict(&denying, &PeerAddress::Untold), Some(false));
        for who in [Who::Unix, network("0.0.0.0", 0), network("::", 0)] {
            assert_eq!(verdict(&[rule(true, who), rule(false, Who::All)], &PeerAddress::Untold), Some(false));
            assert!(!is_named(&[who], &PeerAddress::Untold), "it is no proxy whose word counts");
        }
        assert_eq!(verdict(&[rule(true, Who::All)], &PeerAddress::Untold), Some(true));
    }

    #[test]
    fn addresses_come_with_and_without_port() {
        for (text, ip) in [("1.2.3.4", "1.2.3.4"), ("1.2.3.4:5", "1.2.3.4"), ("::1", "::1"), ("[::1]:5", "::1")] {
            assert_eq!(parse_address(text.as_bytes()).unwrap().ip(), ip.parse::<IpAddr>().unwrap());
        }
        assert!(parse_address(b"unknown").is_none());
    }
}
