//! The doors: [`http1`] as nginx spells it, [`http2`] by h2, and the [`service`] for requests of the `http` crate.
//!
//! A door reads a request, has it decided by the engine, and writes the verdict. No request is read twice, and nothing that
//! one door writes is read by another. Only here, in `request` and in `push::fields` are header names and status lines spelled.

mod elapsed;
#[cfg(test)]
mod fence_tests;
mod file_source;
#[cfg(test)]
mod history_tests;
pub mod http1;
mod http2;
mod listener_place;
mod log;
mod logged_source;
#[cfg(test)]
mod pace_tests;
mod reply_head;
pub(crate) mod service;
mod session;
#[cfg(test)]
mod trial;
#[cfg(test)]
mod window_tests;
mod workbench;

pub use http1::OVERLOADED;
pub use http1::connection::serve;
pub use http2::{PREFACE as HTTP2_PREFACE, serve_http2};
pub use listener_place::ListenerPlace;
pub use session::Session;
pub use workbench::Workbench;
