//! nginx.conf -> immutable [`Settings`].
//!
//! The only room that knows nginx's configuration syntax. It reads files (includes, templates, certificates) while it
//! loads and never afterwards; what it returns is complete and checked, so that a reload either swaps in a whole new set
//! or changes nothing.

pub mod settings;
pub mod variable;

pub use settings::Settings;
