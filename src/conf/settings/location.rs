//! A location with its effective values: what is matched, and who answers.

use std::sync::Arc;

use ahash::AHashMap;

use super::{Backend, Core, Operation, Push, Regex};
use crate::conf::variable::Complex;

/// A set of sibling locations, ready for nginx's choice: `=`, then longest prefix, then regex.
#[derive(Debug, Default)]
pub struct Locations {
    /// `location = /x`
    pub exact: AHashMap<Box<[u8]>, Arc<Location>>,
    /// Prefix locations (`/x` and `^~ /x`), longest first.
    pub prefixes: Vec<Arc<Location>>,
    /// Regex locations in file order.
    pub regexes: Vec<Arc<Location>>,
}

/// How a location is chosen.
#[derive(Debug)]
pub enum Match {
    /// The server level itself, a named location, or an `if` block.
    None,
    /// `= /x`
    Exact(Box<[u8]>),
    /// `/x`
    Prefix(Box<[u8]>),
    /// `^~ /x`
    StrongPrefix(Box<[u8]>),
    /// `~ re`, `~* re`
    Regex(Regex),
}

/// A `location`, a server's own level, or an `if` block in one of them, with all its effective values.
#[derive(Debug)]
pub struct Location {
    /// How it is chosen.
    pub matched: Match,
    /// Unique within the settings; equal to that of the enclosing location for an `if` block's values.
    pub number: usize,
    /// Rewrite-phase operations in file order.
    pub rewrite: Vec<Operation>,
    /// Locations within.
    pub nested: Locations,
    /// What answers here.
    pub handler: Handler,
    /// Values of the push stream module.
    pub push: Push,
    /// Values of nginx itself.
    pub core: Core,
    /// Where `auth_request` asks when it leads here: `proxy_pass` and its tuning.
    pub backend: Option<Arc<Backend>>,
    /// `try_files`, before the handler.
    pub try_files: Option<TryFiles>,
    /// What takes its place for some methods.
    pub limit_except: Option<LimitExcept>,
}

/// `limit_except`: requests of other methods are answered by a location of its own, which has the values of the block and,
/// as nginx has it, neither the operations nor the handler of the location around.
#[derive(Debug)]
pub struct LimitExcept {
    /// Methods that are not limited (GET includes HEAD).
    pub methods: Vec<Box<str>>,
    /// What answers all others.
    pub location: Arc<Location>,
}

/// `try_files`.
#[derive(Debug)]
pub struct TryFiles {
    /// Paths below the root; those that end with `/` look for directories.
    pub candidates: Vec<Complex>,
    /// What answers where none exists.
    pub last: Fallback,
}

/// The last word of `try_files`.
#[derive(Debug)]
pub enum Fallback {
    /// `=CODE`
    Status(u16),
    /// A URI or `@name`.
    Uri(Complex),
}

/// What answers the requests of a location.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Handler {
    /// `push_stream_publisher [normal]` / `admin`
    Publisher {
        /// `admin`: DELETE is allowed.
        admin: bool,
    },
    /// `push_stream_subscriber MODE`
    Subscriber(Mode),
    /// `push_stream_channels_statistics`
    Statistics,
    /// Static files below `root`/`alias` (nginx's default).
    Static,
    /// `stub_status`
    StubStatus,
    /// A handler pushstreamd does not have (`proxy_pass`, `fastcgi_pass`, ...): the directive's name. Answered by 502.
    Foreign(Box<str>),
}

/// Mode of a subscriber location.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the module's names")]
pub enum Mode {
    Streaming,
    Polling,
    LongPolling,
    EventSource,
    WebSocket,
}
