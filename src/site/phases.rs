//! The way of a request through a site: nginx's phases from the server's rewrites to the handler that answers.
//!
//! post-read (`real_ip`) -> server rewrites -> location -> its rewrites (and again, if the URI has changed) -> limits ->
//! access -> handler. Knows no push verbs: their locations are handed to the caller. Invariant: every way out is a [`Routed`], and no
//! request changes its URI more than ten times.

use std::sync::Arc;

use super::access::{self, Access};
use super::encryption;
use super::error_page::{self, ErrorAnswer};
use super::exchange::Exchange;
use super::limits::{self, Limited};
use super::location::{find_location, for_method};
use super::log_context;
use super::rewrite::{self, Rewritten, redirect_inside};
use super::slow_password::{Busy, SlowPassword};
use super::static_file::{self, Found, Tried};
use crate::conf::settings::{Handler, Location};
use crate::request::head::BodyLength;
use crate::request::reply::Reply;
use crate::request::status::DROP;

/// Where a request has come to.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "moved once or twice per request; a box would cost an allocation each")]
pub enum Routed<'b> {
    /// A handler of the caller: push, `stub_status` or one that pushstreamd does not have.
    Serve(&'b Arc<Location>),
    /// An answer.
    Reply(Reply),
    /// 444: the connection is closed without an answer.
    Drop,
    /// `limit_req`: the answer waits so many milliseconds; go on with [`waited`].
    Wait(u64),
    /// `auth_request`: this URI is to be asked; go on with [`authorized`].
    Authorize {
        /// URI of the subrequest.
        uri: Vec<u8>,
    },
    /// `auth_basic`: this password is to be verified; go on with [`verified`].
    Verify(SlowPassword),
}

/// The phases a request may be sent to.
enum Phase {
    /// The rewrites of the server, then [`Phase::Search`].
    Server,
    /// The choice of a location, then [`Phase::Location`].
    Search,
    /// The rewrites of the exchange's location, then [`Phase::Limits`].
    Location,
    /// Limits of requests and connections, then [`Phase::Access`].
    Limits,
    /// Access rules, then [`Phase::Handler`].
    Access,
    /// `try_files`, then the handler.
    Handler,
}

/// What a phase has come to.
#[expect(clippy::large_enum_variant, reason = "moved once or twice per request; a box would cost an allocation each")]
enum Step<'b> {
    Enter(Phase),
    Done(Routed<'b>),
}

/// Sends a request on its way.
pub fn route<'b>(exchange: &mut Exchange<'b>) -> Routed<'b> {
    access::apply_real_ip(exchange);
    let Some(status) = encryption::refusal(exchange) else { return walk(exchange, Phase::Server) };
    match fail(exchange, status) {
        Step::Enter(phase) => walk(exchange, phase),
        Step::Done(routed) => routed,
    }
}

/// Goes on after [`Routed::Wait`].
pub fn waited<'b>(exchange: &mut Exchange<'b>) -> Routed<'b> {
    walk(exchange, Phase::Limits)
}

/// Goes on after [`Routed::Authorize`]: `status` is what the subrequest has answered.
pub fn authorized<'b>(exchange: &mut Exchange<'b>, status: u16) -> Routed<'b> {
    let access = access::check_answer(exchange, status);
    match after_access(exchange, access) {
        Step::Enter(phase) => walk(exchange, phase),
        Step::Done(routed) => routed,
    }
}

/// Goes on after [`Routed::Verify`].
pub fn verified<'b>(exchange: &mut Exchange<'b>, outcome: Result<bool, Busy>) -> Routed<'b> {
    match outcome {
        Ok(right) => {
            exchange.route.password = Some(right);
            walk(exchange, Phase::Access)
        }
        Err(Busy) => failed(exchange, exchange.location, 503),
    }
}

/// An error of nginx itself with the values of `location`: through `error_page` where one is set, else the HTML page. A page
/// that only a handler of the caller could give is replaced by the HTML page.
pub fn error_reply<'b>(exchange: &mut Exchange<'b>, location: &'b Arc<Location>, status: u16) -> Reply {
    match failed(exchange, location, status) {
        Routed::Reply(reply) => reply,
        Routed::Serve(_) | Routed::Drop | Routed::Wait(_) | Routed::Authorize { .. } | Routed::Verify(_) => {
            error_page::plain(exchange, status)
        }
    }
}

/// As [`error_reply`], for callers whose handlers may answer.
pub fn failed<'b>(exchange: &mut Exchange<'b>, location: &'b Arc<Location>, status: u16) -> Routed<'b> {
    exchange.location = location;
    match fail(exchange, status) {
        Step::Enter(phase) => walk(exchange, phase),
        Step::Done(routed) => routed,
    }
}

fn walk<'b>(exchange: &mut Exchange<'b>, start: Phase) -> Routed<'b> {
    let mut phase = start;
    loop {
        let step = match phase {
            Phase::Server => server_rewrites(exchange),
            Phase::Search => search(exchange),
            Phase::Location => location_rewrites(exchange),
            Phase::Limits => {
                access::apply_real_ip(exchange);
                judge(exchange)
            }
            Phase::Access if exchange.route.subrequest => Step::Enter(Phase::Handler),
            Phase::Access => {
                let access = access::check(exchange);
                after_access(exchange, access)
            }
            Phase::Handler => handle(exchange),
        };
        match step {
            Step::Enter(next) => phase = next,
            Step::Done(routed) => return routed,
        }
    }
}

fn server_rewrites<'b>(exchange: &mut Exchange<'b>) -> Step<'b> {
    let root = &exchange.server.root;
    settle(exchange, root);
    match rewrite::run(exchange, &root.rewrite) {
        // The location is chosen next whether or not the URI has changed.
        Rewritten::Proceed(_) => Step::Enter(Phase::Search),
        end => ended(exchange, end),
    }
}

fn search<'b>(exchange: &mut Exchange<'b>) -> Step<'b> {
    let found = find_location(exchange);
    // An `if` of the server level supplies values only until a location is chosen.
    let location = found.unwrap_or(&exchange.server.root);
    settle(exchange, location);
    if location.core.internal && !exchange.route.internal {
        return fail(exchange, 404);
    }
    if let BodyLength::Exact(length) = exchange.body
        && location.core.client_max_body_size != 0
        && length > location.core.client_max_body_size
        && !exchange.route.body_discarded
    {
        log_context::error(exchange, format_args!("client intended to send too large body: {length} bytes"));
        return fail(exchange, 413);
    }
    // The server's own operations have run already.
    Step::Enter(if found.is_some() { Phase::Location } else { Phase::Limits })
}

fn location_rewrites<'b>(exchange: &mut Exchange<'b>) -> Step<'b> {
    let location = exchange.location;
    if location.rewrite.is_empty() {
        return Step::Enter(Phase::Limits);
    }
    match rewrite::run(exchange, &location.rewrite) {
        Rewritten::Proceed(false) => Step::Enter(Phase::Limits),
        Rewritten::Proceed(true) if exchange.count_change() => Step::Enter(Phase::Search),
        Rewritten::Proceed(true) => {
            let cycle = format_args!("rewrite or internal redirection cycle while processing a request");
            log_context::error(exchange, cycle);
            fail(exchange, 500)
        }
        end => ended(exchange, end),
    }
}

/// Makes the values of `location` those of the request.
fn settle<'b>(exchange: &mut Exchange<'b>, location: &'b Arc<Location>) {
    exchange.location = for_method(location, exchange.method());
    exchange.chosen = location;
}

fn ended<'b>(exchange: &mut Exchange<'b>, end: Rewritten) -> Step<'b> {
    match end {
        Rewritten::Proceed(_) => Step::Enter(Phase::Search),
        Rewritten::Reply(reply) => Step::Done(Routed::Reply(reply)),
        Rewritten::Status(status) => fail(exchange, status),
        Rewritten::Drop => Step::Done(Routed::Drop),
    }
}

fn judge<'b>(exchange: &mut Exchange<'b>) -> Step<'b> {
    match limits::check(exchange) {
        Limited::Pass => Step::Enter(Phase::Access),
        Limited::Wait(milliseconds) => Step::Done(Routed::Wait(milliseconds)),
        Limited::Refused(status) => fail(exchange, status),
    }
}

fn after_access<'b>(exchange: &mut Exchange<'b>, access: Access) -> Step<'b> {
    match access {
        Access::Granted => Step::Enter(Phase::Handler),
        Access::Refused(status) => fail(exchange, status),
        Access::Verify(password) => Step::Done(Routed::Verify(password)),
        Access::Ask(uri) => Step::Done(Routed::Authorize { uri }),
    }
}

fn handle<'b>(exchange: &mut Exchange<'b>) -> Step<'b> {
    let location = exchange.location;
    if let Some(files) = &location.try_files {
        match static_file::try_files(exchange, files) {
            Tried::Found => {}
            Tried::Status(status) => return fail(exchange, status),
            Tried::Uri(target) => return send_on(exchange, &target),
        }
    }
    if location.handler != Handler::Static {
        return Step::Done(Routed::Serve(location));
    }
    match static_file::serve(exchange) {
        Found::Reply(reply) => Step::Done(Routed::Reply(reply)),
        Found::Status(status) => fail(exchange, status),
        Found::Index(path) if exchange.count_change() => {
            let mut target = path;
            if !exchange.args.is_empty() {
                target.push(b'?');
                target.extend_from_slice(&exchange.args);
            }
            redirect_inside(exchange, &target);
            Step::Enter(Phase::Server)
        }
        Found::Index(_) => fail(exchange, 500),
    }
}

/// Goes on with another URI or a named location.
fn send_on<'b>(exchange: &mut Exchange<'b>, target: &[u8]) -> Step<'b> {
    if !exchange.count_change() {
        log_context::error(
            exchange,
            format_args!("rewrite or internal redirection cycle while internally redirecting"),
        );
        return fail(exchange, 500);
    }
    let Some(name) = target.strip_prefix(b"@") else {
        redirect_inside(exchange, target);
        return Step::Enter(Phase::Server);
    };
    if let Some(location) = std::str::from_utf8(name).ok().and_then(|name| exchange.server.named.get(name)) {
        exchange.route.internal = true;
        settle(exchange, location);
        return Step::Enter(Phase::Location);
    }
    let name = String::from_utf8_lossy(name);
    log_context::error(exchange, format_args!("could not find named location \"@{name}\""));
    fail(exchange, 500)
}

/// Answers an error with the values of the exchange's location.
fn fail<'b>(exchange: &mut Exchange<'b>, status: u16) -> Step<'b> {
    if status == DROP {
        return Step::Done(Routed::Drop);
    }
    match error_page::answer(exchange, status) {
        ErrorAnswer::Reply(reply) => Step::Done(Routed::Reply(reply)),
        ErrorAnswer::Redirected => Step::Enter(Phase::Server),
        ErrorAnswer::Named(location) => {
            settle(exchange, location);
            Step::Enter(Phase::Location)
        }
    }
}
