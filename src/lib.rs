//! A push server: streaming, long-polling, EventSource and WebSocket for subscribers, a POST for publishers, and the directives and
//! answers of nginx-push-stream-module.
//!
//! The program `pushstreamd` reads the module's nginx.conf and takes its place. This library is the same server inside an application
//! of [axum]: a [`PushStream`] is made from a configuration, gives a router to nest wherever the application likes, and can be
//! published to and subscribed to by function calls.
//!
//! ```no_run
//! use std::net::SocketAddr;
//!
//! use pushstreamd::{PushStream, Start};
//!
//! # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
//! let push = PushStream::from_text(
//!     "location ~ ^/ev/(.*)$ { push_stream_subscriber eventsource; push_stream_channels_path $1; }
//!      location ~ ^/ws/(.*)$ { push_stream_subscriber websocket; push_stream_channels_path $1; }",
//! )?;
//! // A browser: new EventSource("/push/ev/news")
//! let app = axum::Router::new().nest("/push", push.router());
//! // The application itself.
//! let mut messages = push.subscribe("news", Start::Now)?;
//! push.publish("news", "hello")?;
//! assert_eq!(messages.next().await.map(|message| message.text), Some("hello".into()));
//!
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
//! axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await?;
//! # Ok(())
//! # }
//! ```
//!
//! The guide is docs/EMBEDDING.md: routes, who may do what, restarts, threads, and what becomes of slow readers. All directives stand in
//! docs/DIRECTIVES.md.
//!
//! Everything else in this crate is the house of the program, whose rooms stand on one another; docs/ARCHITECTURE.md has the map:
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
        pub use crate::cli::{Cli, Command, complaint, console, read};
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
