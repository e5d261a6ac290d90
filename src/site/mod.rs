//! The site: nginx's phases from the server's rewrites to the handler that answers, and what they need.
//!
//! [`phases`] sends an [`exchange::Exchange`] on its way; everything else is a phase or one of its tools. Knows no push verb
//! and no wire.

pub(crate) mod access;
pub(crate) mod access_log;
pub(crate) mod authorization;
pub(crate) mod backend;
mod backend_answer;
mod captures;
mod channel_veil;
pub(crate) mod channels;
mod defined_vars;
mod encryption;
pub(crate) mod error_page;
pub mod exchange;
#[cfg(test)]
pub(crate) mod fixture;
pub mod gzip;
pub(crate) mod limiter;
mod limits;
pub(crate) mod location;
pub(crate) mod log_context;
mod log_file;
pub(crate) mod log_files;
mod named_logs;
pub(crate) mod opened_logs;
mod password;
mod password_hash;
pub mod phases;
#[cfg(test)]
pub(crate) mod phases_tests;
mod precondition;
mod referer;
mod rewrite;
mod secure_link;
pub(crate) mod server_name;
pub(crate) mod slow_password;
mod static_file;
pub(crate) mod syslog;
pub(crate) mod vars;
