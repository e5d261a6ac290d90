//! How long the module's message templates make a text: it holds each message rendered by each of them in its shared memory.
//!
//! It does not render; lengths within a size class of that memory are enough. Only asked where the module is followed to the
//! letter.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::conf::Settings;
use crate::conf::settings::{Handler, Location, Locations, Mode, Operation};

/// What a placeholder other than `~text~` becomes, about.
const PLACEHOLDERS: [(&[u8], usize); 8] = [
    (b"~channel~", 23),
    (b"~id~", 3),
    (b"~tag~", 2),
    (b"~time~", 29),
    (b"~event-id~", 0),
    (b"~event-type~", 0),
    (b"~size~", 2),
    (b"~text~", 0),
];
/// What a chunk has around a message: its length, three line ends.
const CHUNK: usize = 9;

/// Bytes that each distinct message template of the subscriber locations adds to a text.
pub(super) fn rendered(settings: &Settings) -> Box<[usize]> {
    let mut templates = Templates::default();
    for server in settings.listeners.iter().flat_map(|listener| listener.names.all()) {
        templates.location(&server.root);
        templates.locations(&server.locations);
        server.named.values().for_each(|location| templates.location(location));
    }
    templates.0.iter().map(|(template, ..)| added_by(template)).collect()
}

/// Templates with whether they are those of an event stream, or of a websocket: each kind is rendered for itself.
#[derive(Default)]
struct Templates(BTreeSet<(Arc<[u8]>, bool, bool)>);

impl Templates {
    fn locations(&mut self, locations: &Locations) {
        for location in locations.exact.values().chain(&locations.prefixes).chain(&locations.regexes) {
            self.location(location);
        }
    }

    fn location(&mut self, location: &Location) {
        if let Handler::Subscriber(mode) = location.handler {
            let events = mode == Mode::EventSource || location.push.eventsource_support;
            self.0.insert((Arc::clone(&location.push.message_template), events, mode == Mode::WebSocket));
        }
        self.locations(&location.nested);
        for operation in &location.rewrite {
            if let Operation::If { location, .. } = operation {
                self.location(location);
            }
        }
    }
}

fn added_by(template: &[u8]) -> usize {
    let count = |name: &[u8]| memchr::memmem::find_iter(template, name).count();
    let names: usize = PLACEHOLDERS.iter().map(|(name, _)| count(name) * name.len()).sum();
    let values: usize = PLACEHOLDERS.iter().map(|(name, value)| count(name) * value).sum();
    template.len() - names + values + CHUNK
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_give_way_to_what_stands_for_them() {
        assert_eq!(added_by(b"~text~"), CHUNK);
        assert_eq!(added_by(br#"{"channel":"~channel~", "id":"~id~", "message":"~text~"}"#), 37 + 23 + 3 + CHUNK);
    }
}
