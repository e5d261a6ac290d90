//! `auth_request`: another location is asked whether a request may pass.

use super::exchange::Exchange;
use super::reply::Reply;
use super::site::{self, Routed};

/// What the subrequest for `uri` is answered with. A location whose handler pushstreamd does not have counts as 500.
pub(super) fn ask(exchange: &Exchange<'_>, uri: &[u8]) -> u16 {
    let mut asked = subrequest(exchange, uri);
    match site::route(&mut asked) {
        Routed::Reply(Reply { status, .. }) => status,
        _ => 500,
    }
}

/// A GET for another URI of the same server, with the client's header and without its body.
fn subrequest<'b>(exchange: &Exchange<'b>, uri: &[u8]) -> Exchange<'b> {
    let mut asked = Exchange::unreadable(exchange.settings, exchange.peer, exchange.now, exchange.requests);
    asked.head = exchange.head;
    asked.server = exchange.server;
    asked.host.clone_from(&exchange.host);
    asked.remote = exchange.remote;
    asked.method = b"GET";
    let (path, args) = match memchr::memchr(b'?', uri) {
        Some(mark) => (uri.get(..mark), uri.get(mark + 1..)),
        None => (Some(uri), None),
    };
    asked.uri = path.unwrap_or_default().to_vec().into();
    asked.args = args.unwrap_or_default().to_vec().into();
    asked.route.internal = true;
    asked.route.real_ip_known = true;
    asked
}
