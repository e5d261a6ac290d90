//! HTTP as nginx speaks it: request, location, verb, reply.

mod access;
pub mod access_log;
mod captures;
pub mod chunked_body;
mod date;
mod defined_vars;
mod error_page;
pub mod exchange;
#[cfg(test)]
mod fixture;
pub mod gzip;
mod hostname;
mod location;
mod module_fields;
mod network;
mod password;
pub mod peer;
pub mod reply;
pub mod request_head;
mod rewrite;
mod secure_link;
mod server_name;
pub mod site;
#[cfg(test)]
mod site_tests;
mod static_file;
pub mod status;
mod uri;
mod vars;
pub mod waiting_head;

pub use exchange::Exchange;
pub use hostname::hostname;
pub use peer::{Peer, PeerAddress, TlsInfo};
pub use reply::{Body, Framing, Reply};
pub use request_head::{BadHead, BodyLength, HeadLimits, RequestHead, Version};
pub use site::{Routed, authorized, error_reply, route};
pub use waiting_head::WaitingHead;
