//! `pushstreamd`: a push server that reads the nginx.conf of nginx-push-stream-module and answers as the module does.
//!
//! The rooms stand on one another, each importing only from those below it; docs/ARCHITECTURE.md has the map:
//! `server` > `wire` > `push` > `site`, `delivery` > `request`, `hub`, `render` > `conf`, `model`.

pub mod cli;
pub mod conf;
pub mod delivery;
mod embed;
pub mod hub;
pub mod log;
pub mod migrate;
pub mod model;
pub mod push;
pub mod render;
pub mod request;
pub mod server;
pub mod site;
pub mod wire;

pub use embed::{Channel, Error, Message, Options, PushStream, Start, Statistics, Subscription};
