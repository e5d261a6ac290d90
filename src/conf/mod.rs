//! nginx.conf -> immutable [`Settings`].
//!
//! The only room that knows nginx's configuration syntax. It reads files (includes, templates, certificates) while it
//! loads and never afterwards; what it returns is complete and checked, so that a reload either swaps in a whole new set
//! or changes nothing.
//!
//! Text goes through `token` and `tree` (syntax, names, places, against the table in [`directives`]), then through
//! `scope` (values, inheritance) into the settings: `load` is the order of it all.

mod access;
mod backend;
mod backplane;
mod compiler;
mod complex;
mod core;
pub(crate) mod default_layout;
pub mod directives;
mod error;
pub(crate) mod expires;
mod glob;
mod guard;
mod guard_findings;
mod limits;
mod listen;
mod listeners;
mod load;
mod location;
mod logs;
mod mode;
mod namespace;
mod objection;
pub mod ports;
mod process;
mod push;
mod referers;
mod regex;
mod rewrite;
mod row_default;
mod scope;
mod server;
mod server_name;
pub mod settings;
mod site;
mod state;
mod status;
mod syslog;
mod tables;
mod tls;
mod token;
mod tree;
mod try_it;
mod units;
pub mod variable;
pub mod written;
mod zone;

pub use error::{ConfError, Note};
pub use guard_findings::Unguarded;
pub use listen::addresses_of;
pub use load::{LoadOptions, Loaded, load, outline};
pub use settings::Settings;
pub use zone::is_unnamed;
