//! The access log line of a request that is answered as a whole: at once, or when a body that is made as it is taken is over.

use std::rc::Rc;

use super::elapsed::milliseconds_since;
use super::logged_source::{LastingHead, LoggedSource};
use crate::delivery::Source;
use crate::push::context::Context;
use crate::request::reply::Reply;
use crate::site::access_log::{Outcome, SentHead};
use crate::site::exchange::Exchange;
use crate::site::log_files::open_lines;

/// What was sent.
#[derive(Clone, Copy)]
pub(super) struct Sent<'a> {
    pub head: SentHead<'a>,
    pub head_bytes: usize,
    pub body_bytes: usize,
}

/// Writes the lines of a request that is over.
pub(super) fn write(context: &Context, exchange: &Exchange<'_>, reply: &Reply, sent: Sent<'_>) {
    if exchange.location.core.access_log.is_empty() {
        return;
    }
    let now = context.worker.now();
    let outcome = Outcome {
        status: exchange.status_sent(reply),
        bytes_sent: (sent.head_bytes + sent.body_bytes) as u64,
        body_bytes_sent: sent.body_bytes as u64,
        request_time: milliseconds_since(exchange.began),
        now,
        complete: true,
        sent_head: sent.head,
    };
    context.logs.write(&open_lines(exchange), &outcome);
}

/// The body of a request whose lines are written when it is over; `None` if it is not sent, and over at once.
pub(super) fn at_end(
    context: &Rc<Context>,
    exchange: &Exchange<'_>,
    reply: &Reply,
    head: LastingHead,
    source: Box<dyn Source>,
    with_body: bool,
) -> Option<Box<dyn Source>> {
    let lines = open_lines(exchange);
    if lines.is_empty() {
        return with_body.then_some(source);
    }
    let logged = LoggedSource {
        source,
        context: Rc::clone(context),
        lines,
        status: exchange.status_sent(reply),
        began: exchange.began,
        head,
        made: 0,
        complete: !with_body,
    };
    with_body.then(|| -> Box<dyn Source> { Box::new(logged) })
}
