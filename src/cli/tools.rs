//! The command line of the client's tools: `pub`, `tail`, `bench` and `doctor`.
//!
//! Only parses. The URLs that are not given are those of the embedded layout.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// Where the embedded layout publishes.
pub const PUBLISHER: &str = "http://127.0.0.1:8895/bitrix/pub/?CHANNEL_ID={}";
/// Where it has long-polling.
pub const LONG_POLLING: &str = "http://127.0.0.1:8893/bitrix/sub/?CHANNEL_ID={}&time={time}&tag={tag}";
/// Where it has websockets.
pub const WEBSOCKET: &str = "ws://127.0.0.1:8893/bitrix/subws/?CHANNEL_ID={}&time={time}&tag={tag}";

/// What is done from the side of a client.
#[derive(Subcommand, Clone, Debug)]
pub enum Tool {
    /// Publish a message
    Pub(Pub),
    /// Print what is published, as it comes
    Tail(Tail),
    /// Measure a running server: subscribers, messages, how long they are on their way
    Bench(Bench),
    /// Look for what will go wrong on this machine, and say what to do about it
    Doctor(Doctor),
}

/// How a server is reached.
#[derive(Args, Clone, Debug)]
pub struct Reach {
    /// A header field of each request, "Name: value"
    #[arg(short = 'H', long = "header", value_name = "FIELD", value_parser = field)]
    pub headers: Vec<(String, String)>,

    /// Certificates (PEM) to trust beside those of the system
    #[arg(long, value_name = "FILE")]
    pub cacert: Option<PathBuf>,
}

/// `pushstreamd pub`
#[derive(Args, Clone, Debug)]
pub struct Pub {
    /// The channel, or several with `/` between them
    pub channels: String,

    /// The message; without it, and without --file, it is read from standard input
    pub message: Option<String>,

    /// Publish what a file holds
    #[arg(long, value_name = "FILE", conflicts_with = "message")]
    pub file: Option<PathBuf>,

    /// Publish each line as a message of its own
    #[arg(long)]
    pub lines: bool,

    /// Publish the text as a JSON string, which the embedded layout needs
    #[arg(long)]
    pub quote: bool,

    /// Event id of the message
    #[arg(long, value_name = "ID")]
    pub event_id: Option<String>,

    /// Event type of the message
    #[arg(long, value_name = "TYPE")]
    pub event_type: Option<String>,

    /// Where to publish, with {} for the channels
    #[arg(long, value_name = "URL", default_value = PUBLISHER)]
    pub url: String,

    /// How it is reached
    #[command(flatten)]
    pub reach: Reach,
}

/// How a subscriber is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// An answer for what is published next
    LongPolling,
    /// An answer at once, asked for each second
    Polling,
    /// One answer without end
    Streaming,
    /// One answer of events
    Eventsource,
    /// A websocket
    Websocket,
}

impl Mode {
    /// Where the embedded layout has it, if it has.
    pub fn embedded(self) -> Option<&'static str> {
        match self {
            Self::LongPolling => Some(LONG_POLLING),
            Self::Websocket => Some(WEBSOCKET),
            Self::Polling | Self::Streaming | Self::Eventsource => None,
        }
    }
}

/// Where a subscriber begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum From {
    /// With what is published from now on
    Now,
    /// With everything that is stored
    Start,
}

/// `pushstreamd tail`
#[derive(Args, Clone, Debug)]
pub struct Tail {
    /// The channel, or several with `/` between them; `.bN` behind one asks for its last N messages
    pub channels: String,

    /// How to subscribe
    #[arg(long, value_name = "MODE", default_value = "long-polling")]
    pub mode: Mode,

    /// Where to begin
    #[arg(long, value_name = "WHERE", default_value = "now")]
    pub from: From,

    /// End after so many messages
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,

    /// Print each message as a line of JSON, with where it was and when it came
    #[arg(long)]
    pub json: bool,

    /// Where to subscribe, with {} for the channels and, where the server takes its position from the URL, {time} and {tag}
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,

    /// How it is reached
    #[command(flatten)]
    pub reach: Reach,
}

/// `pushstreamd bench`
#[derive(Args, Clone, Debug)]
pub struct Bench {
    /// Subscribers
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub subscribers: usize,

    /// Channels they are spread over
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub channels: usize,

    /// Messages published a second
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pub rate: u32,

    /// Bytes of a message
    #[arg(long, value_name = "BYTES", default_value_t = 200)]
    pub size: usize,

    /// How long to publish
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    pub seconds: u64,

    /// How to subscribe
    #[arg(long, value_name = "MODE", default_value = "websocket")]
    pub mode: Mode,

    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,

    /// Where to subscribe, as for `tail`
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,

    /// Where to publish, as for `pub`
    #[arg(long, value_name = "URL", default_value = PUBLISHER)]
    pub publish_url: String,

    /// How both are reached
    #[command(flatten)]
    pub reach: Reach,
}

/// `pushstreamd doctor`
#[derive(Args, Clone, Debug)]
pub struct Doctor {
    /// Where clients subscribe, by whatever stands in front, with {} for a channel: looks whether messages come through at once
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,

    /// How to subscribe there
    #[arg(long, value_name = "MODE", default_value = "long-polling")]
    pub mode: Mode,

    /// Where to publish meanwhile, as for `pub`
    #[arg(long, value_name = "URL", default_value = PUBLISHER)]
    pub publish_url: String,

    /// Print the findings as JSON
    #[arg(long)]
    pub json: bool,

    /// How both are reached
    #[command(flatten)]
    pub reach: Reach,
}

fn field(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("it is \"Name: value\"")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}
