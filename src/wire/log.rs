//! The access log line of a request that is answered as a whole.

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
        request_time: now.0.saturating_sub(exchange.now.0),
        now,
        complete: true,
        sent_head: sent.head,
    };
    context.logs.write(&open_lines(exchange), &outcome);
}
