//! Rows of our own that bound what connections may hold, and say how log lines are spelled; nothing of the module compares with them.

use super::row::Kind::{Number, Offset, Text};
use super::row::{Directive, HTTP, OURS, row, take};

/// Bounds, `http` only.
pub(super) const BOUNDS: &[Directive] = &[
    row(
        "push_stream_connections_memory",
        HTTP,
        take(1),
        Offset,
        "(a quarter of the machine's or cgroup's memory)",
        "Most bytes that are held for all connections of the process: what waits for clients, and bodies and messages of clients that \
         have not come whole. Beyond it the connections that hold the most are let go, and bodies get 503. 0: any amount. Not known \
         with `--strict`.",
    )
    .known(OURS),
    row(
        "push_stream_address_connections",
        HTTP,
        take(1),
        Number,
        "0",
        "Most connections of one address (of IPv6: of one /64 network) at once; more are closed. 0: any number. Addresses of \
         `set_real_ip_from` in the main or default server are exempt. Not known with `--strict`.",
    )
    .known(OURS),
    row(
        "push_stream_address_memory",
        HTTP,
        take(1),
        Offset,
        "0",
        "Most bytes that are held for the connections of one address, counted as for `push_stream_address_connections`; the one that \
         asks for more is let go. 0: any amount. Not known with `--strict`.",
    )
    .known(OURS),
];

/// Log lines, `http` only: they are those of the process.
pub(super) const LOG_LINES: &[Directive] = &[
    row(
        "push_stream_log_format",
        HTTP,
        take(1),
        Text,
        "text",
        "How log lines are spelled: `text` as nginx does, or `json`: each line of the error log, and of access logs that name no format, is \
         an object. `--log-format` goes before. Not known with `--strict`.",
    )
    .known(OURS),
    row(
        "push_stream_log_channel_ids",
        HTTP,
        take(1),
        Text,
        "short",
        "Channel ids in lines of the error log: `short`, their first 8 characters, or `full`. Not known with `--strict`, which has them full.",
    )
    .known(OURS),
];
