//! `pushstreamd`: a push server that reads the nginx.conf of nginx-push-stream-module and answers as the module does.
//!
//! The rooms stand on one another, each importing only from those below it; docs/ARCHITECTURE.md has the map:
//! `server` > `http` > `delivery` > `hub`, `render` > `conf`, `model`.

pub mod cli;
pub mod conf;
pub mod delivery;
pub mod http;
pub mod hub;
pub mod migrate;
pub mod model;
pub mod render;
pub mod server;
