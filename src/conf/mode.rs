//! What answers a location: the module's modes, `stub_status`, and the handlers pushstreamd does not have.
//!
//! Knows the words of the mode directives and nothing of their other values.

use super::compiler::Compiler;
use super::directives::Directive;
use super::error::{Fault, shown};
use super::settings::{Handler, Mode};
use super::tree::Node;
use crate::model::Line;

/// Whether a location can have no other mode beside this one.
pub(super) fn is_exclusive(row: &Directive) -> bool {
    matches!(row.name, "push_stream_publisher" | "push_stream_subscriber" | "push_stream_websocket")
}

/// What answers a location with this directive.
pub(super) fn handler(node: &Node, row: &Directive, compiler: &mut Compiler) -> Result<Handler, Fault> {
    Ok(match row.name {
        "push_stream_publisher" => publisher(node)?,
        "push_stream_subscriber" => Handler::Subscriber(subscriber(node, compiler)?),
        "push_stream_websocket" => Handler::Subscriber(Mode::WebSocket),
        "push_stream_channels_statistics" => Handler::Statistics,
        "stub_status" => Handler::StubStatus,
        // Reported once it is clear that `auth_request` does not ask there.
        "proxy_pass" => Handler::Foreign("proxy_pass".into()),
        foreign => {
            compiler.note_unapplied(node);
            Handler::Foreign(foreign.into())
        }
    })
}

fn publisher(node: &Node) -> Result<Handler, Fault> {
    match node.args().first() {
        None => Ok(Handler::Publisher { admin: false }),
        Some(word) if word.eq_ignore_ascii_case(b"normal") => Ok(Handler::Publisher { admin: false }),
        Some(word) if word.eq_ignore_ascii_case(b"admin") => Ok(Handler::Publisher { admin: true }),
        Some(word) => Err(unknown_mode(node, word, "normal, admin")),
    }
}

fn subscriber(node: &Node, compiler: &Compiler) -> Result<Mode, Fault> {
    let modes: &[(&str, Mode)] = &[
        ("streaming", Mode::Streaming),
        ("polling", Mode::Polling),
        ("long-polling", Mode::LongPolling),
        ("eventsource", Mode::EventSource),
        ("websocket", Mode::WebSocket),
    ];
    // The modes of their own came with 0.4.0; before, they were directives of their own.
    let old = compiler.dialect.only.is_some_and(|line| line < Line::V040);
    let modes = if old { modes.get(..3).unwrap_or(modes) } else { modes };
    let Some(word) = node.args().first() else { return Ok(Mode::Streaming) };
    let found = modes.iter().find(|(name, _)| word.eq_ignore_ascii_case(name.as_bytes()));
    found.map(|(_, mode)| *mode).ok_or_else(|| {
        let names: Vec<&str> = modes.iter().map(|(name, _)| *name).collect();
        unknown_mode(node, word, &names.join(", "))
    })
}

fn unknown_mode(node: &Node, word: &[u8], accepted: &str) -> Fault {
    let text = format_args!("invalid {} mode value: {}, accepted values ({accepted})", node.name(), shown(word));
    Fault::module(text, &node.place)
}
