//! Rows of our own: zones, what connections may hold, how log lines are spelled, what operators are told. Nothing of the module compares with
//! them.

use super::row::Kind::{Flag, Number, Offset, Text, Words};
use super::row::{Contexts, Directive, HTTP, OURS, SERVER, row, take};

/// Which zone a server is of.
pub(super) const ZONES: &[Directive] = &[row(
    "push_stream_zone",
    Contexts::of(&[HTTP, SERVER]),
    take(1),
    Text,
    "default",
    "Zone of the server: servers of the same zone share their channels, different zones share nothing. Limits, texts and \
     `push_stream_shared_memory_size` are the same for all and count for each by itself. Letters, digits and `._-`, at most 64, a `.` not \
     first. Not known with `--strict`.",
)
.known(OURS)];

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

/// The operators' listener, `http` only.
pub(super) const STATUS: &[Directive] = &[
    row(
        "push_stream_status",
        HTTP,
        take(1),
        Text,
        "off",
        "Address and port (or a port of the loopback interface) of the operators' listener: a page, `/metrics`, `/healthz`, `/readyz`, JSON.",
    )
    .known(OURS),
    row(
        "push_stream_status_token_file",
        HTTP,
        take(1),
        Text,
        "off",
        "File (below the prefix) with the token that the operators' listener asks for; without one only health is told on other addresses than the loopback's.",
    )
    .known(OURS),
    row(
        "push_stream_status_certificate",
        HTTP,
        take(2),
        Words,
        "(none)",
        "Certificate and key (PEM, beside the configuration file) of the operators' listener, which speaks TLS with them. Read anew by a reload.",
    )
    .known(OURS),
    row(
        "push_stream_status_messages",
        HTTP,
        take(1),
        Flag,
        "off",
        "The operators' listener shows the texts of stored messages too, to whoever may see channels there.",
    )
    .known(OURS),
];
