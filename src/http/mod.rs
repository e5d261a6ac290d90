//! HTTP as nginx speaks it: request, location, verb, reply.
//!
//! The only room that knows header names and status lines. A request is read ([`request_head`]), given a context
//! ([`exchange`]), sent through nginx's phases ([`site`]) and answered by a verb (`publish`, `subscribe`, `websocket`,
//! `statistics`); `connection` does that for HTTP/1, request after request.

mod access;
pub mod access_log;
mod authorization;
mod backend;
mod captures;
mod channels;
pub mod chunked_body;
mod compression;
mod connection;
mod context;
mod date;
mod defined_vars;
mod encryption;
mod error_page;
pub mod exchange;
mod explanation;
mod failed_turn;
#[cfg(test)]
mod fixture;
pub mod gzip;
mod hostname;
mod http2;
mod limiter;
mod limits;
mod listener_place;
mod location;
mod log_context;
mod log_files;
mod module_fields;
mod network;
mod overload;
mod password;
mod patience;
pub mod peer;
mod publish;
mod replay;
pub mod reply;
pub mod request_head;
mod rewrite;
mod secure_link;
mod server_name;
mod session;
pub mod site;
#[cfg(test)]
mod site_tests;
mod static_file;
mod statistics;
pub mod statistics_format;
pub mod status;
mod subscribe;
mod turn;
mod uri;
mod vars;
mod waiting;
mod waiting_head;
mod websocket;

pub use connection::serve;
pub use context::Context;
pub use date::log_date;
pub use exchange::Exchange;
pub use hostname::hostname;
pub use http2::{PREFACE as HTTP2_PREFACE, serve_http2};
pub use limiter::Limiter;
pub use listener_place::ListenerPlace;
pub use overload::OVERLOADED;
pub use peer::{Peer, PeerAddress, TlsInfo};
pub use reply::{Body, Framing, Reply};
pub use request_head::{BadHead, BodyLength, HeadLimits, RequestHead, Version};
pub(crate) use server_name::find_server;
pub use session::Session;
pub use site::{Routed, authorized, error_reply, route};
pub use waiting_head::WaitingHead;
