//! The push verbs: publish, subscribe, websocket, statistics, and what they share.
//!
//! They are given an exchange that the site has led to one of their locations, and say what it is answered with. Knows no
//! wire.

mod channels;
pub(crate) mod compression;
pub mod context;
mod explanation;
pub(crate) mod fields;
pub(crate) mod publish;
mod replay;
pub(crate) mod statistics;
pub mod statistics_format;
pub(crate) mod subscribe;
pub(crate) mod websocket;
