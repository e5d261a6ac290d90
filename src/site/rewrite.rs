//! The rewrite phase: `set`, `if`, `rewrite`, `return`, `break`, run in file order against one exchange.
//!
//! Does not choose locations; it says whether the URI has changed so that the site looks again. Invariant: the operations
//! of every true `if` run, and the values of the last true one are those of the request.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use smallvec::SmallVec;

use super::captures::Captures;
use super::exchange::Exchange;
use super::log_context;
use super::precondition::precondition_failed;
use crate::conf::settings::{Condition, FileTest, Operation, Regex, Return, RewriteFlag};
use crate::conf::variable::{Builtin, Complex, Part, Variable};
use crate::request::reply::Reply;
use crate::request::status::{DROP, GONE};
use crate::request::uri::split_args;

/// What the operations of one level have come to.
#[expect(clippy::large_enum_variant, reason = "moved once or twice per request; a box would cost an allocation each")]
pub(crate) enum Rewritten {
    /// The request goes on; `true`: its URI has changed and wants another location.
    Proceed(bool),
    /// A `return` or a redirection.
    Reply(Reply),
    /// A status without a text: nginx's own page, subject to `error_page`.
    Status(u16),
    /// `return 444`
    Drop,
}

/// Runs the operations of a server or location.
pub(crate) fn run<'b>(exchange: &mut Exchange<'b>, operations: &'b [Operation]) -> Rewritten {
    let mut changed = false;
    match run_level(exchange, operations, &mut changed) {
        Some(end) => end,
        None => Rewritten::Proceed(changed),
    }
}

/// Runs operations in order. `None`: all have run; otherwise what ended them.
fn run_level<'b>(exchange: &mut Exchange<'b>, operations: &'b [Operation], changed: &mut bool) -> Option<Rewritten> {
    for operation in operations {
        match operation {
            Operation::Set(variable, value) => {
                let value = exchange.value(value).into_owned();
                exchange.assign(*variable, value);
            }
            Operation::SetArgs(value) => exchange.args = SmallVec::from_vec(exchange.value(value).into_owned()),
            Operation::If { condition, location } => {
                if holds(exchange, condition) {
                    exchange.location = location;
                    if let Some(end) = run_level(exchange, &location.rewrite, changed) {
                        return Some(end);
                    }
                }
            }
            Operation::Break => {
                *changed = false;
                return Some(Rewritten::Proceed(false));
            }
            Operation::Return(answer) => return Some(returned(exchange, answer)),
            Operation::Rewrite { regex, replacement, drop_args, flag } => {
                if let Some(end) = rewrite(exchange, regex, replacement, *drop_args, *flag, changed) {
                    return Some(end);
                }
            }
        }
    }
    None
}

fn holds(exchange: &mut Exchange<'_>, condition: &Condition) -> bool {
    match condition {
        Condition::True(value) => {
            let value = exchange.value(value);
            !value.is_empty() && *value != *b"0"
        }
        Condition::Equal { value, text, negate } => (exchange.value(value) == exchange.value(text)) != *negate,
        Condition::Matches { value, regex, negate } => {
            let captures = Captures::of(regex, &exchange.value(value));
            let matches = exchange.adopt(regex, captures);
            if !matches {
                exchange.forget_groups();
            }
            matches != *negate
        }
        Condition::File { path, test, negate } => {
            let path = exchange.value(path);
            passes(Path::new(std::ffi::OsStr::from_bytes(&path)), *test) != *negate
        }
    }
}

fn passes(path: &Path, test: FileTest) -> bool {
    let Ok(metadata) = std::fs::metadata(path) else { return false };
    match test {
        FileTest::File => metadata.is_file(),
        FileTest::Directory => metadata.is_dir(),
        FileTest::Exists => true,
        FileTest::Executable => metadata.permissions().mode() & 0o100 != 0,
    }
}

fn returned(exchange: &mut Exchange<'_>, answer: &Return) -> Rewritten {
    // An empty text of an error is as good as none.
    match (answer.text.as_ref().filter(|text| answer.code < 400 || !text.parts.is_empty()), answer.code) {
        (None, DROP | GONE) => Rewritten::Drop,
        (None, code @ 400..) => Rewritten::Status(code),
        (Some(target), code @ (301 | 302 | 303 | 307 | 308)) => {
            let target = exchange.value(target).into_owned();
            Rewritten::Reply(redirection(exchange, code, target))
        }
        (_, 200) if is_first_answer(exchange) && precondition_failed(exchange, None) => Rewritten::Status(412),
        (text, code) => {
            exchange.status.set(code);
            let body = text.map(|text| exchange.value(text).into_owned()).unwrap_or_default();
            let content_type = exchange.content_type(exchange.location).to_owned();
            Rewritten::Reply(Reply::full(code, content_type, body))
        }
    }
}

/// Whether what the client asked for is answered, not an error on the way to it and not another request's question.
fn is_first_answer(exchange: &Exchange<'_>) -> bool {
    exchange.status_override.is_none() && !exchange.route.subrequest
}

/// A redirection with nginx's page; it has its own status also where an `error_page` has led to it.
pub(crate) fn redirection(exchange: &mut Exchange<'_>, code: u16, target: Vec<u8>) -> Reply {
    exchange.status_override = Some(code);
    let page = Reply::html_page(code, exchange.location.core.server_tokens);
    Reply { location: Some(target), ..page }
}

fn rewrite(
    exchange: &mut Exchange<'_>,
    regex: &Regex,
    replacement: &Complex,
    drop_args: bool,
    flag: RewriteFlag,
    changed: &mut bool,
) -> Option<Rewritten> {
    let captures = Captures::of(regex, &exchange.uri);
    if !exchange.adopt(regex, captures) {
        exchange.forget_groups();
        return None;
    }
    let code = match flag {
        RewriteFlag::Permanent => Some(301),
        RewriteFlag::Redirect => Some(302),
        _ if is_url(replacement) => Some(302),
        _ => None,
    };
    let (mut target, mark) = expand(exchange, replacement, code.is_some());
    if !drop_args && !exchange.args.is_empty() && (mark.is_some() || code.is_some()) {
        target.push(if mark.is_some() { b'&' } else { b'?' });
        target.extend_from_slice(&exchange.args);
    }
    if let Some(code) = code {
        return Some(Rewritten::Reply(redirection(exchange, code, target)));
    }
    exchange.route.internal = true;
    if let Some(mark) = mark {
        let args = target.split_off(mark);
        exchange.args = SmallVec::from_slice(args.get(1..).unwrap_or_default());
    } else if drop_args {
        exchange.args = SmallVec::new();
    }
    if target.is_empty() {
        log_context::error(exchange, format_args!("the rewritten URI has a zero length"));
        return Some(Rewritten::Status(500));
    }
    exchange.uri = SmallVec::from_vec(target);
    *changed = flag != RewriteFlag::Break;
    exchange.route.rewritten_in_place |= flag == RewriteFlag::Break;
    match flag {
        RewriteFlag::Break => Some(Rewritten::Proceed(false)),
        RewriteFlag::Last => Some(Rewritten::Proceed(true)),
        _ => None,
    }
}

/// A replacement that names another server is a redirection whatever its flag.
fn is_url(replacement: &Complex) -> bool {
    match replacement.parts.first() {
        Some(Part::Text(text)) => text.starts_with(b"http://") || text.starts_with(b"https://"),
        Some(Part::Variable(variable)) => *variable == Variable::Builtin(Builtin::Scheme),
        None => false,
    }
}

/// Expands a replacement; also where its own `?` stands. A `?` within the value of a variable is an ordinary byte.
fn expand(exchange: &Exchange<'_>, replacement: &Complex, redirect: bool) -> (Vec<u8>, Option<usize>) {
    // Captures were decoded with the path; where they become part of a URL they are encoded again.
    let encoded = exchange.head.target().iter().any(|byte| matches!(byte, b'%' | b'+'));
    let mut out = Vec::new();
    let mut mark = None;
    for part in &replacement.parts {
        match part {
            Part::Text(text) => {
                if mark.is_none() {
                    mark = memchr::memchr(b'?', text).map(|at| out.len() + at);
                }
                out.extend_from_slice(text);
            }
            Part::Variable(variable @ Variable::Capture(_)) if encoded && (redirect || mark.is_some()) => {
                let reserved: &[u8] = if mark.is_some() { b"#%&+;? " } else { b"#% " };
                escape(&exchange.variable(variable), reserved, &mut out);
            }
            Part::Variable(variable) => out.extend_from_slice(&exchange.variable(variable)),
        }
    }
    (out, mark)
}

/// Appends `text` with `reserved`, control and non-ASCII bytes as `%XX`.
pub(crate) fn escape(text: &[u8], reserved: &[u8], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in text {
        if !(0x20..0x7f).contains(&byte) || reserved.contains(&byte) {
            let digit = |value: u8| HEX.get(usize::from(value)).copied().unwrap_or(b'0');
            out.extend_from_slice(&[b'%', digit(byte >> 4), digit(byte & 15)]);
        } else {
            out.push(byte);
        }
    }
}

/// Makes `target` (a path with or without arguments) the URI of the exchange, as an internal redirection does.
pub(crate) fn redirect_inside(exchange: &mut Exchange<'_>, target: &[u8]) {
    let (path, args) = split_args(target);
    exchange.uri = SmallVec::from_slice(path);
    exchange.args = SmallVec::from_slice(args);
    exchange.route.internal = true;
    exchange.route.rewritten_in_place = false;
}
