//! Rows of the table: the backplane that several nodes share their channels over.

use super::row::Kind::{Flag, Text};
use super::row::{Directive, HTTP, OURS, row, take};

/// Where it is, and as whom it is entered.
pub(super) const BACKPLANE: &[Directive] = &[
    row(
        "push_stream_backplane",
        HTTP,
        take(1),
        Text,
        "off",
        "Redis or Valkey that several nodes share their channels over: `redis://HOST`, `rediss://`, `redis+unix://`, `redis+sentinel://`.",
    )
    .known(OURS),
    row(
        "push_stream_backplane_password_file",
        HTTP,
        take(1),
        Text,
        "(none)",
        "File whose first line is its password; else the environment tells it: `PUSHSTREAMD_BACKPLANE_PASSWORD`.",
    )
    .known(OURS),
    row(
        "push_stream_backplane_ca",
        HTTP,
        take(1),
        Text,
        "(the system's)",
        "Certificates (PEM) of who signs that of the backplane.",
    )
    .known(OURS),
    row(
        "push_stream_backplane_zone",
        HTTP,
        take(1),
        Text,
        "pushstreamd",
        "Nodes of the same zone at the same backplane share their channels: letters, digits and `._-`.",
    )
    .known(OURS),
    row(
        "push_stream_backplane_local_on_failure",
        HTTP,
        take(1),
        Flag,
        "off",
        "While the backplane is away, publish to the subscribers of this node alone instead of answering 503.",
    )
    .known(OURS),
];
