//! What `if`, `set`, `rewrite` and `return` do, in order.

use std::sync::Arc;

use super::{Location, Regex};
use crate::conf::variable::Complex;

/// A rewrite-phase operation.
#[derive(Debug)]
pub enum Operation {
    /// `set $v X` (`Variable::Defined` index).
    Set(usize, Complex),
    /// `set $args X`: the request's arguments.
    SetArgs(Complex),
    /// `if (cond) { ... }`: its operations run in place when true; its values become the request's location.
    If {
        /// The condition.
        condition: Condition,
        /// `None` for an `if` that only holds rewrite operations at the server level.
        location: Arc<Location>,
    },
    /// `rewrite RE REPLACEMENT [flag]`
    Rewrite {
        /// Matched against the URI.
        regex: Regex,
        /// New URI (and arguments).
        replacement: Complex,
        /// The replacement ends with `?`: the arguments of the request are not appended.
        drop_args: bool,
        /// What comes after.
        flag: RewriteFlag,
    },
    /// `return CODE [text|URL]`
    Return(Return),
    /// `break`
    Break,
}

/// Flag of a `rewrite`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "nginx's names; Continue is a rewrite without a flag")]
pub enum RewriteFlag {
    Continue,
    Last,
    Break,
    Redirect,
    Permanent,
}

/// A `return`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Return {
    /// Status; 444 closes the connection.
    pub code: u16,
    /// Body, or `Location` of 301, 302, 303, 307, 308.
    pub text: Option<Complex>,
}

/// Condition of an `if`.
#[derive(Debug)]
pub enum Condition {
    /// `($v)`: not empty and not `0`.
    True(Complex),
    /// `($v = text)` / `!=`
    Equal {
        /// Left side.
        value: Complex,
        /// Right side.
        text: Complex,
        /// `!=`
        negate: bool,
    },
    /// `($v ~ re)`, `~*`, `!~`, `!~*`
    Matches {
        /// Left side.
        value: Complex,
        /// Right side (case sensitivity compiled in).
        regex: Regex,
        /// `!~`
        negate: bool,
    },
    /// `-f`, `-d`, `-e`, `-x` and their negations.
    File {
        /// The path.
        path: Complex,
        /// Which test.
        test: FileTest,
        /// `!-f`
        negate: bool,
    },
}

/// File tests of `if`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "named after -f -d -e -x")]
pub enum FileTest {
    File,
    Directory,
    Exists,
    Executable,
}
