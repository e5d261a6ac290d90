//! The mode of a subscriber location, and how its messages are formatted.

use crate::conf::settings::{Handler, Location, Mode};
use crate::render::Kind;

/// What the configuration says, whatever a request asks for.
pub(super) fn own_mode(location: &Location) -> Mode {
    match location.handler {
        Handler::Subscriber(mode) => mode,
        _ => Mode::Streaming,
    }
}

/// Whether messages of a location are formatted as server-sent events.
pub(super) fn is_eventsource(location: &Location) -> bool {
    own_mode(location) == Mode::EventSource || location.push.eventsource_support
}

/// How messages of a location are formatted.
pub(super) fn kind(location: &Location) -> Kind {
    match own_mode(location) {
        Mode::WebSocket => Kind::WebSocket,
        _ if is_eventsource(location) => Kind::EventSource,
        _ => Kind::Text,
    }
}
