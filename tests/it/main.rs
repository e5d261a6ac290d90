//! The tests from outside, one binary: what they all start is built, linked and learnt once.
//!
//! A module a subject, named in front of its tests (`nextest run leaks::`); `support` is the only way to a real server.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::format_collect,
    clippy::format_push_string,
    reason = "a test fails by panicking, and its texts are short"
)]

mod architecture;
mod beside_nginx;
mod bodies;
mod bounds;
mod bytes;
mod circles;
mod command_line;
mod configuration;
mod configuration_errors;
mod defaults;
mod defects;
mod disk_trouble;
mod documentation;
mod embed;
mod ends;
mod fuzz_entry;
mod guards;
mod late_subscribers;
mod leaks;
mod logs;
mod metrics;
mod migration;
mod nginx_semantics;
mod nodes;
mod ports;
mod privileges;
mod refusals;
mod reload;
mod restart;
mod restart_soak;
mod server_ends;
mod server_process;
mod status;
mod stress;
mod support;
mod tls;
mod tls_server;
mod tools;
mod zones;
