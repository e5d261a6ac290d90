//! What users of nginx-push-stream-module suffered from: one test for each defect, through the real server.
//!
//! A name ends with the numbers of the issues of that project it answers, where there are any. By default none of the
//! defects is here; `docs/COMPATIBILITY.md` names these tests.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::format_collect,
    clippy::format_push_string,
    reason = "a test fails by a panic, and its texts are short"
)]

mod crashes;
mod delivery;
mod memory;
mod publishing;
mod reload;
mod requests;
mod statistics;
#[path = "../support/mod.rs"]
mod support;
mod websocket;
mod wires;
