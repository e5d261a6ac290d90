//! The words of the field: channel ids and paths, messages, stamps, replay, refusals.
//!
//! Plain values without behaviour towards the outside: nothing here does I/O, reads a clock, knows nginx syntax, HTTP
//! header names or locks. Every other room may import this one; it imports nothing of the project.

mod channel_id;
mod channel_path;
mod json_text;
mod message;
mod now;
#[cfg(test)]
pub(crate) mod provoked;
mod refusal;
mod replay;
mod stamp;

pub use channel_id::ChannelId;
pub use channel_path::{Requested, parse_channel_path, percent_decode};
pub use json_text::write_json_text;
pub use message::{Draft, EventTags, Message};
pub use now::Now;
pub use refusal::Refusal;
pub use replay::Replay;
pub use stamp::Stamp;

/// Target of the log lines that are alerts: something that must not happen has.
pub const ALERT: &str = "alert";
