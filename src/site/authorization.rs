//! `auth_request`: another location is asked whether a request may pass; it answers itself or asks a backend.
//!
//! Knows nothing of connections, so that any of them can wait here.

use std::rc::Rc;

use smallvec::SmallVec;

use super::backend;
use super::backend_answer::Answer;
use super::channels;
use super::exchange::Exchange;
use super::phases::{self, Routed};
use crate::request::uri::split_args;

/// The status of the subrequest for `uri`. Keeps what `auth_request_set` asks for, and the challenge of a 401.
pub(crate) async fn ask(exchange: &mut Exchange<'_>, uri: &[u8]) -> u16 {
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
        Routed::Drop | Routed::Wait(_) | Routed::Authorize { .. } | Routed::Verify(_) => (500, None),
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
fn subrequest<'s>(exchange: &mut Exchange<'s>, uri: &[u8]) -> Exchange<'s> {
    let (settings, listener, peer) = (exchange.settings, exchange.listener, Rc::clone(&exchange.peer));
    let mut asked = Exchange::new(settings, listener, peer, exchange.head.clone(), exchange.now, exchange.requests);
    asked.server = exchange.server;
    asked.host.clone_from(&exchange.host);
    asked.remote = exchange.remote;
    asked.assigned = std::mem::take(&mut exchange.assigned);
    let (path, args) = split_args(uri);
    asked.uri = SmallVec::from_slice(path);
    asked.args = SmallVec::from_slice(args);
    asked.hidden = channels::ids(exchange, exchange.location);
    asked.route.as_get = true;
    asked.route.internal = true;
    asked.route.subrequest = true;
    asked.route.real_ip_known = true;
    asked
}
