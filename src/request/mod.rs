//! The nouns of a request that every floor above shares: its head, who sent it, and the reply, as values.
//!
//! Nothing here decides anything, reads a socket or knows the configuration beyond the limits of a head.

pub mod date;
pub mod head;
pub mod head_parser;
pub(crate) mod http_date;
pub mod peer;
pub mod reply;
pub mod status;
pub mod uri;
