//! `auth_request`: another location is asked whether a request may pass; it answers itself or asks a backend.
//!
//! Also waits for `limit_req`: both are what a request may have to wait for on its way through a site. Knows nothing of
//! connections, so that any of them can wait here.

use std::sync::Arc;
use std::time::Duration;

use super::backend::{self, Answer};
use super::exchange::Exchange;
use super::phases::{self, Routed};
use crate::conf::settings::Location;
use crate::request::reply::Reply;
use crate::request::uri::split_args;

/// Where a request has come to that waits for nothing any more.
#[expect(clippy::large_enum_variant, reason = "moved once per request; a box would cost an allocation each")]
pub(crate) enum Settled<'b> {
    /// A handler of the caller.
    Serve(&'b Arc<Location>),
    /// An answer.
    Reply(Reply),
    /// The connection is closed without an answer.
    Drop,
}

/// Goes on from `routed` until there is nothing to wait for.
pub(crate) async fn settle<'b>(exchange: &mut Exchange<'b>, mut routed: Routed<'b>) -> Settled<'b> {
    loop {
        routed = match routed {
            Routed::Serve(location) => return Settled::Serve(location),
            Routed::Reply(reply) => return Settled::Reply(reply),
            Routed::Drop => return Settled::Drop,
            Routed::Wait(milliseconds) => {
                tokio::time::sleep(Duration::from_millis(milliseconds)).await;
                phases::waited(exchange)
            }
            Routed::Authorize { uri, .. } => {
                let status = ask(exchange, &uri).await;
                phases::authorized(exchange, status)
            }
        };
    }
}

/// The status of the subrequest for `uri`. Keeps what `auth_request_set` asks for, and the challenge of a 401.
async fn ask(exchange: &mut Exchange<'_>, uri: &[u8]) -> u16 {
    let mut asked = subrequest(exchange, uri);
    let (status, challenge) = match phases::route(&mut asked) {
        Routed::Reply(reply) => (asked.status_sent(&reply), carried_challenge(&asked)),
        Routed::Serve(location) => match &location.backend {
            Some(backend) => {
                let answer = backend::ask(&asked, backend).await;
                let challenge = answer.field(b"www-authenticate").map(<[u8]>::to_vec);
                let status = answer.status;
                asked.answer = Some(answer);
                (status, challenge)
            }
            // A handler pushstreamd does not have, or one that answers no questions.
            None => (500, None),
        },
        Routed::Drop | Routed::Wait(_) | Routed::Authorize { .. } => (500, None),
    };
    if asked.answer.is_none() {
        asked.answer = Some(Answer { status, fields: Vec::new() });
    }
    let location = exchange.location;
    let set = location.core.auth_request_set.iter();
    let values: Vec<_> = set.map(|(variable, value)| (*variable, asked.value(value).into_owned())).collect();
    // Variables belong to the request as a whole, whoever sets them.
    exchange.assigned = std::mem::take(&mut asked.assigned);
    for (variable, value) in values {
        exchange.assign(variable, value);
    }
    if let (401, Some(challenge)) = (status, challenge) {
        exchange.carried.retain(|(name, _)| *name != CHALLENGE);
        exchange.carried.push((CHALLENGE, challenge));
    }
    status
}

const CHALLENGE: &str = "WWW-Authenticate";

fn carried_challenge(asked: &Exchange<'_>) -> Option<Vec<u8>> {
    asked.carried.iter().find(|(name, _)| *name == CHALLENGE).map(|(_, value)| value.clone())
}

/// A GET for another URI of the same server, with the client's header and without its body.
fn subrequest<'b>(exchange: &mut Exchange<'b>, uri: &[u8]) -> Exchange<'b> {
    let mut asked =
        Exchange::unreadable(exchange.settings, exchange.peer, exchange.head, exchange.now, exchange.requests);
    asked.server = exchange.server;
    asked.host.clone_from(&exchange.host);
    asked.remote = exchange.remote;
    asked.method = b"GET";
    asked.assigned = std::mem::take(&mut exchange.assigned);
    let (path, args) = split_args(uri);
    asked.uri = path.to_vec().into();
    asked.args = args.to_vec().into();
    asked.route.internal = true;
    asked.route.subrequest = true;
    asked.route.real_ip_known = true;
    asked
}
