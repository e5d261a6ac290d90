//! The rows of the push stream module: all names of 0.3.4 to 0.6.0 and the older ones.
//!
//! Present names first, as the module's documentation orders them, then the names of old versions, each with the present
//! one it means. What a value does is compiled in `conf::zone` and `conf::push`.

use super::row::Kind::{Complex, Flag, Handler, List, Milliseconds, Number, Offset, Seconds, Text, Words};
use super::row::{
    BEFORE_03, Directive, HSL, HSLI, HTTP, LOCATION, ONLY_03, OURS, SINCE_04, SINCE_05, SINCE_035, between, row, take,
};

/// Directives of the zone, `http` only.
pub(super) const ZONE: &[Directive] = &[
    row(
        "push_stream_shared_memory_size",
        HTTP,
        between(1, 2),
        List,
        "(none; 0.3.x: 32m)",
        "Capacity of the zone in bytes, and optionally its name. Required where the module is used.",
    ),
    row(
        "push_stream_drain_time",
        HTTP,
        take(1),
        Milliseconds,
        "1s",
        "Over what time the subscribers are told farewell when the server ends or hands over to a new binary, so that they do not all \
         come back at once; few take less, at most twenty every ten milliseconds. On TERM at most half a second. Not known with `--strict`.",
    )
    .known(OURS),
    row(
        "push_stream_drain_delay",
        HTTP,
        take(1),
        Milliseconds,
        "0",
        "How long the server serves on after QUIT while `/readyz` of `--status` already tells balancers to look elsewhere. Not known \
         with `--strict`.",
    )
    .known(OURS),
    row(
        "push_stream_channel_deleted_message_text",
        HTTP,
        take(1),
        Text,
        "\"Channel deleted\"",
        "Text that subscribers get when their channel is deleted and the DELETE has no body.",
    ),
    row(
        "push_stream_channel_inactivity_time",
        HTTP,
        take(1),
        Seconds,
        "30s",
        "How long a channel without messages and subscribers is kept.",
    )
    .known(SINCE_035),
    row("push_stream_ping_message_text", HTTP, take(1), Text, "\" \"", "Text of the ping message; in 0.3.x empty."),
    row(
        "push_stream_timeout_with_body",
        HTTP,
        take(1),
        Flag,
        "off",
        "Answer a long-polling timeout with 200 and a message instead of 304.",
    )
    .known(SINCE_04),
    row("push_stream_message_ttl", HTTP, take(1), Seconds, "30m", "How long a stored message is kept."),
    row(
        "push_stream_max_subscribers_per_channel",
        HTTP,
        take(1),
        Number,
        "(unlimited)",
        "Most subscribers of a channel at once.",
    ),
    row(
        "push_stream_max_messages_stored_per_channel",
        HTTP,
        take(1),
        Number,
        "(unlimited)",
        "Most stored messages of a channel; the oldest give way.",
    ),
    row(
        "push_stream_max_channel_id_length",
        HTTP,
        take(1),
        Number,
        "(unlimited)",
        "Longest channel id in bytes, after decoding.",
    ),
    row("push_stream_max_number_of_channels", HTTP, take(1), Number, "(unlimited)", "Most channels alive at once."),
    row(
        "push_stream_max_number_of_wildcard_channels",
        HTTP,
        take(1),
        Number,
        "(unlimited)",
        "Most wildcard channels alive at once.",
    )
    .known(SINCE_04),
    row(
        "push_stream_wildcard_channel_prefix",
        HTTP,
        take(1),
        Text,
        "(none)",
        "Channels whose id begins with it are wildcard channels.",
    )
    .known(SINCE_04),
    row(
        "push_stream_events_channel_id",
        HTTP,
        take(1),
        Text,
        "(none)",
        "Channel on which creation and deletion of channels and subscriptions are announced.",
    )
    .known(SINCE_05),
    row(
        "push_stream_state",
        HTTP,
        take(1),
        Text,
        "off",
        "Directory (below the prefix) of the log that lets channels and messages outlive the process; one process each.",
    )
    .known(OURS),
    row(
        "push_stream_unknown_channel_grace",
        HTTP,
        take(1),
        Seconds,
        "0",
        "How long after a start without its channels (no log, or a crash) subscribers of unknown ones wait instead of 403.",
    )
    .known(OURS),
    row(
        "push_stream_state_sync",
        HTTP,
        take(1),
        Text,
        "1s",
        "When the log is on the medium: `always` (before a publish is answered), `1s` (within a second), `off`.",
    )
    .known(OURS),
];

/// Modes and values of locations.
pub(super) const LOCATIONS: &[Directive] = &[
    row("push_stream_publisher", LOCATION, between(0, 1), Handler, "normal", "Publishes here: `normal` or `admin`."),
    row(
        "push_stream_subscriber",
        LOCATION,
        between(0, 1),
        Handler,
        "streaming",
        "Subscribes here: `streaming`, `polling`, `long-polling`, `eventsource` or `websocket`.",
    ),
    row("push_stream_channels_statistics", LOCATION, take(0), Handler, "", "Answers statistics of channels here."),
    row(
        "push_stream_channels_path",
        HSLI,
        take(1),
        Complex,
        "(none)",
        "The channels of the request: `id[.bN]/id[.bN]/...`. Required where a mode is set.",
    )
    .known(SINCE_04),
    row("push_stream_store_messages", HSLI, take(1), Flag, "off", "Keep published messages for later subscribers."),
    row(
        "push_stream_channel_info_on_publish",
        HSL,
        take(1),
        Flag,
        "on",
        "Answer a publish with the channel's information.",
    )
    .known(SINCE_035),
    row("push_stream_authorized_channels_only", HSL, take(1), Flag, "off", "Subscribers may not create channels."),
    row("push_stream_header_template", HSL, take(1), Text, "\"\"", "Sent before any message."),
    row(
        "push_stream_header_template_file",
        HSL,
        take(1),
        Words,
        "(none)",
        "A file that holds the header template; the path is relative to the working directory.",
    )
    .known(SINCE_05)
    .means("push_stream_header_template"),
    row("push_stream_message_template", HSL, take(1), Text, "~text~", "How a message is written."),
    row("push_stream_footer_template", HSL, take(1), Text, "\"\"", "Sent before the regular end of a response."),
    row(
        "push_stream_wildcard_channel_max_qtd",
        HSL,
        take(1),
        Number,
        "(push_stream_max_number_of_wildcard_channels)",
        "Most wildcard channels of one subscription request.",
    )
    .known(SINCE_04),
    row(
        "push_stream_ping_message_interval",
        HSL,
        take(1),
        Milliseconds,
        "(off)",
        "Time between pings to a subscriber.",
    ),
    row(
        "push_stream_subscriber_connection_ttl",
        HSL,
        take(1),
        Milliseconds,
        "(off)",
        "Longest life of a subscriber connection.",
    ),
    row(
        "push_stream_longpolling_connection_ttl",
        HSL,
        take(1),
        Milliseconds,
        "(push_stream_subscriber_connection_ttl)",
        "Longest wait of a long-polling request.",
    ),
    row(
        "push_stream_websocket_allow_publish",
        HSL,
        take(1),
        Flag,
        "off",
        "Websocket subscribers may publish to their channels.",
    ),
    row(
        "push_stream_websocket_deflate",
        HSL,
        take(1),
        Flag,
        "off",
        "Offer permessage-deflate (RFC 7692) to websocket clients. Not known with `--strict`.",
    )
    .known(OURS),
    row(
        "push_stream_websocket_max_message_size",
        HSL,
        take(1),
        Offset,
        "1m",
        "Longest message a websocket client may send; 0: any. `client_max_body_size` is for bodies alone.",
    )
    .known(OURS),
    row(
        "push_stream_last_received_message_time",
        HSLI,
        take(1),
        Complex,
        "(the If-Modified-Since header)",
        "Time of the last message the subscriber has.",
    ),
    row(
        "push_stream_last_received_message_tag",
        HSLI,
        take(1),
        Complex,
        "(the If-None-Match header)",
        "Tag of the last message the subscriber has.",
    ),
    row(
        "push_stream_last_event_id",
        HSLI,
        take(1),
        Complex,
        "(the Last-Event-Id header)",
        "Event id of the last message the subscriber has.",
    )
    .known(SINCE_04),
    row(
        "push_stream_user_agent",
        HSL,
        take(1),
        Complex,
        "(the User-Agent header)",
        "What padding rules are matched against.",
    ),
    row(
        "push_stream_padding_by_user_agent",
        HSL,
        take(1),
        Text,
        "(none; 0.3.x: Android 2 and Safari)",
        "`REGEX,HEADER_MIN,MESSAGE_MIN[:...]`: least sizes for browsers that buffer.",
    ),
    row(
        "push_stream_allowed_origins",
        HSL,
        take(1),
        Complex,
        "(none)",
        "Value of Access-Control-Allow-Origin; none: no CORS headers.",
    ),
    row(
        "push_stream_allow_connections_to_events_channel",
        HSLI,
        take(1),
        Flag,
        "off",
        "The events channel may be subscribed to here.",
    )
    .known(SINCE_05),
];

/// Names of old versions.
pub(super) const OLD: &[Directive] = &[
    row("push_stream_websocket", LOCATION, take(0), Handler, "", "`push_stream_subscriber websocket`.")
        .known(ONLY_03)
        .means("push_stream_subscriber"),
    row(
        "push_stream_eventsource_support",
        HSL,
        take(1),
        Flag,
        "off",
        "With `on` a streaming subscriber location is `push_stream_subscriber eventsource`.",
    )
    .known(ONLY_03),
    row(
        "push_stream_content_type",
        HSL,
        take(1),
        Text,
        "text/plain",
        "Content type of subscriber answers; now `default_type`.",
    )
    .known(ONLY_03),
    row(
        "push_stream_keepalive",
        HSL,
        take(1),
        Flag,
        "off",
        "Keep connections of publishers and statistics; now nginx's `keepalive_*`.",
    )
    .known(ONLY_03),
    row(
        "push_stream_broadcast_channel_prefix",
        HTTP,
        take(1),
        Text,
        "(none)",
        "`push_stream_wildcard_channel_prefix`.",
    )
    .known(ONLY_03)
    .means("push_stream_wildcard_channel_prefix"),
    row(
        "push_stream_broadcast_channel_max_qtd",
        HSL,
        take(1),
        Number,
        "(push_stream_max_number_of_broadcast_channels)",
        "`push_stream_wildcard_channel_max_qtd`.",
    )
    .known(ONLY_03)
    .means("push_stream_wildcard_channel_max_qtd"),
    row(
        "push_stream_max_number_of_broadcast_channels",
        HTTP,
        take(1),
        Number,
        "(unlimited)",
        "`push_stream_max_number_of_wildcard_channels`.",
    )
    .known(ONLY_03)
    .means("push_stream_max_number_of_wildcard_channels"),
    row(
        "push_stream_shared_memory_cleanup_objects_ttl",
        HTTP,
        take(1),
        Seconds,
        "(30s; 0.3.5: 10s)",
        "How long a removed object stayed in the trash; now fixed.",
    )
    .known(ONLY_03),
    row("push_stream_max_reserved_memory", HTTP, take(1), List, "32m", "`push_stream_shared_memory_size`.")
        .known(BEFORE_03)
        .means("push_stream_shared_memory_size"),
    row(
        "push_stream_memory_cleanup_timeout",
        HTTP,
        take(1),
        Seconds,
        "30s",
        "`push_stream_shared_memory_cleanup_objects_ttl`.",
    )
    .known(BEFORE_03)
    .means("push_stream_shared_memory_cleanup_objects_ttl"),
    row("push_stream_min_message_buffer_timeout", HTTP, take(1), Seconds, "30m", "`push_stream_message_ttl`.")
        .known(BEFORE_03)
        .means("push_stream_message_ttl"),
    row(
        "push_stream_max_message_buffer_length",
        HTTP,
        take(1),
        Number,
        "(unlimited)",
        "`push_stream_max_messages_stored_per_channel`.",
    )
    .known(BEFORE_03)
    .means("push_stream_max_messages_stored_per_channel"),
    row(
        "push_stream_subscriber_connection_timeout",
        HSL,
        take(1),
        Milliseconds,
        "(off)",
        "`push_stream_subscriber_connection_ttl`.",
    )
    .known(BEFORE_03)
    .means("push_stream_subscriber_connection_ttl"),
];
