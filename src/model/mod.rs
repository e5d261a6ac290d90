//! The words of the field: channel ids and paths, messages, stamps, replay, refusals, the zone, versions and what they can do.
//!
//! Plain values without behaviour towards the outside: nothing here does I/O, reads a clock, knows nginx syntax, HTTP
//! header names or locks. Every other room may import this one; it imports nothing of the project.

mod capabilities;
mod channel_id;
mod channel_path;
mod durability;
mod json_text;
mod message;
mod now;
#[cfg(test)]
pub(crate) mod provoked;
mod refusal;
mod replay;
#[cfg(test)]
pub(crate) mod seeds;
mod stamp;
mod tick;
mod version;
mod zone;

pub use capabilities::{AfterClose, Capabilities, FrameRules};
pub use channel_id::ChannelId;
pub use channel_path::{Requested, parse_channel_path, percent_decode};
pub use durability::Durability;
pub use json_text::{harmless_json, write_json_text};
pub use message::{Draft, EventTags, Message};
pub use now::Now;
pub use refusal::Refusal;
pub use replay::Replay;
pub use stamp::Stamp;
pub use tick::Tick;
pub use version::{Compat, Line};
pub use zone::Zone;

/// Target of the log lines that are alerts: something that must not happen has.
pub const ALERT: &str = "alert";
/// Target of those that are worth a notice.
pub const NOTICE: &str = "notice";
