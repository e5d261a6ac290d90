//! The doors: HTTP/1 as nginx spells it, and HTTP/2 by hyper.
//!
//! A door reads a request, has it decided, and writes what came of it. Only here and in `request` are header names and status
//! lines known.

pub mod chunked_body;
mod connection;
mod failed_turn;
#[cfg(test)]
mod fence_tests;
mod http2;
mod listener_place;
mod overload;
mod patience;
mod reply_head;
mod session;
#[cfg(test)]
mod site_tests;
#[cfg(test)]
mod trial;
mod turn;
mod waiting;
mod waiting_head;
mod websocket;
mod workbench;

pub use connection::serve;
pub use http2::{PREFACE as HTTP2_PREFACE, serve_http2};
pub use listener_place::ListenerPlace;
pub use overload::OVERLOADED;
pub use session::Session;
pub use workbench::Workbench;
