//! The engine and its push verbs: publish, subscribe, websocket, statistics, and what they share.
//!
//! [`engine`] sends an exchange through the site and asks the verb of the location it comes to; what comes of it is a verdict.
//! Knows no wire.

pub(crate) mod compression;
pub mod context;
pub(crate) mod engine;
pub(crate) mod feed;
pub(crate) mod fields;
pub(crate) mod history;
mod mode;
pub(crate) mod publish;
mod replay;
pub(crate) mod statistics;
pub mod statistics_format;
pub(crate) mod subscribe;
pub(crate) mod websocket;
