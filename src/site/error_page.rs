//! What answers an error of nginx itself: an `error_page` (URI, named location or URL), else the HTML page.
//!
//! The module's own header-only answers never come here. Invariant: one error uses at most one `error_page`, unless
//! `recursive_error_pages` is on; an error on the way to it gets the plain page.

use std::sync::Arc;

use super::exchange::Exchange;
use super::log_context;
use super::rewrite::{redirect_inside, redirection};
use crate::conf::settings::{ErrorPage, Location};
use crate::request::reply::Reply;
use crate::request::status::ends_connection;

/// How an error is answered.
#[expect(clippy::large_enum_variant, reason = "moved once or twice per request; a box would cost an allocation each")]
pub(crate) enum ErrorAnswer<'b> {
    /// By this reply.
    Reply(Reply),
    /// By whatever the exchange's new URI leads to.
    Redirected,
    /// By a named location.
    Named(&'b Arc<Location>),
}

/// Answers `status` with the values of the exchange's location.
pub(crate) fn answer<'b>(exchange: &mut Exchange<'b>, status: u16) -> ErrorAnswer<'b> {
    exchange.status_override = Some(status);
    exchange.route.body_discarded = true;
    if ends_connection(status) {
        exchange.route.close = true;
    }
    let location = exchange.location;
    let page = location.core.error_pages.iter().find(|page| page.codes.contains(&status));
    match page {
        Some(page) if !exchange.route.error_page_used || location.core.recursive_error_pages => {
            exchange.route.error_page_used = true;
            follow(exchange, page, status)
        }
        _ => ErrorAnswer::Reply(plain(exchange, status)),
    }
}

/// nginx's own page.
pub(crate) fn plain(exchange: &mut Exchange<'_>, status: u16) -> Reply {
    exchange.status_override = Some(status);
    Reply::html_page(status, exchange.location.core.server_tokens)
}

fn follow<'b>(exchange: &mut Exchange<'b>, page: &'b ErrorPage, status: u16) -> ErrorAnswer<'b> {
    exchange.status_override = page.replace.unwrap_or(Some(status)).filter(|&status| status != 0);
    let target = exchange.value(&page.target).into_owned();
    if !target.starts_with(b"/") && !target.starts_with(b"@") {
        let code = match page.replace {
            Some(Some(code @ (301 | 302 | 303 | 307 | 308))) => code,
            _ => 302,
        };
        return ErrorAnswer::Reply(redirection(exchange, code, target));
    }
    if !exchange.count_change() {
        log_context::error(exchange, format_args!("rewrite or internal redirection cycle"));
        return ErrorAnswer::Reply(plain(exchange, 500));
    }
    exchange.route.internal = true;
    let Some(name) = target.strip_prefix(b"@") else {
        if !exchange.is_head() {
            exchange.route.as_get = true;
        }
        redirect_inside(exchange, &target);
        return ErrorAnswer::Redirected;
    };
    if let Some(location) = std::str::from_utf8(name).ok().and_then(|name| exchange.server.named.get(name)) {
        ErrorAnswer::Named(location)
    } else {
        let name = String::from_utf8_lossy(name);
        log_context::error(exchange, format_args!("could not find named location \"@{name}\""));
        exchange.route.close = true;
        ErrorAnswer::Reply(plain(exchange, 500))
    }
}
