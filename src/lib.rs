//! `pushstreamd`: a push server that reads the nginx.conf of nginx-push-stream-module and answers as the module does.
//!
//! As a library it is [`PushStream`], a push server inside an application of axum; docs/EMBEDDING.md is its guide. Everything else
//! is the house of the program, whose rooms stand on one another; docs/ARCHITECTURE.md has the map:
//! `server` > `wire` > `push` > `site`, `delivery` > `request`, `metrics` > `hub`, `render` > `model`, and `conf` beside them.

mod backplane;
mod cli;
mod conf;
mod delivery;
mod embed;
mod hub;
mod log;
mod metrics;
mod migrate;
mod model;
mod push;
mod render;
mod request;
mod server;
mod site;
mod status;
mod tools;
mod wire;

/// The guide, whose code is compiled and run with the tests.
#[cfg(doctest)]
#[doc = include_str!("../docs/EMBEDDING.md")]
struct Guide;

pub use embed::{Channel, End, Error, Message, Options, PushStream, Start, Statistics, Subscription};

/// What the program itself, its benches, its fuzz targets and its tests from outside need of the house: no promise to anybody
/// else, and no more than they use, so that the compiler finds what nobody uses.
#[doc(hidden)]
pub mod internals {
    pub mod cli {
        pub use crate::cli::{Cli, Command, complaint};
    }
    pub mod conf {
        pub use crate::conf::{LoadOptions, Loaded, Note, directives, load, ports, settings, variable};
    }
    pub mod hub {
        pub use crate::hub::{Answer, Ask, AskKind, Hub};
    }
    pub mod model {
        pub use crate::model::{
            Capabilities, ChannelId, Compat, Draft, FrameRules, Line, Message, Now, Replay, Stamp, Zone,
            parse_channel_path, percent_decode,
        };
    }
    pub mod render {
        pub use crate::render::{Decoder, Event, Framing, Kind, Template, Values, View, ViewSpec};
    }
    pub mod request {
        pub use crate::request::{head, head_parser};
    }
    pub mod server {
        pub use crate::server::run;
    }
    pub mod tools {
        pub use crate::tools::run;
    }
    pub mod wire {
        pub use crate::wire::http1::chunked_body::ChunkedBody;
    }
}
