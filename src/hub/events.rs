//! The events channel (`push_stream_events_channel_id`): what it tells and in which words.
//!
//! It does not know when something happens; whoever makes it happen says so. Events are ordinary messages of an ordinary
//! channel, always stored, and nothing is told about the events channel itself. Where the order of the zone is made elsewhere (`order`) each
//! node hands in what happens on it.

use std::sync::Arc;

use super::zone::ZoneState;
use crate::model::{ChannelId, Draft, EventTags, Now, write_json_text};

/// Most events that wait within one step of the hub.
const OUTGOING: usize = 10_000;

/// What can be told of a channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum EventKind {
    /// It came into being.
    ChannelCreated,
    /// It went to the trash.
    ChannelDestroyed,
    /// It has one subscription more.
    ClientSubscribed,
    /// It has one subscription less.
    ClientUnsubscribed,
}

impl EventKind {
    fn name(self) -> &'static str {
        match self {
            Self::ChannelCreated => "channel_created",
            Self::ChannelDestroyed => "channel_destroyed",
            Self::ClientSubscribed => "client_subscribed",
            Self::ClientUnsubscribed => "client_unsubscribed",
        }
    }
}

impl ZoneState {
    /// Tells something of a channel other than the events channel, if there is one.
    pub(super) fn emit(&mut self, kind: EventKind, channel: &ChannelId, now: Now) {
        let Some(slot) = self.events else { return };
        if self.is_events_channel(channel) {
            return;
        }
        let tags = EventTags { id: None, kind: Some(kind.name().as_bytes().into()) };
        let mut draft =
            Draft { text: event_text(kind, channel), event: Some(Arc::new(tags)), store: true, ..Draft::default() };
        if self.clock.is_led() {
            if kind == EventKind::ChannelCreated
                && let Some(created) = self.registry.find(channel).and_then(|slot| self.registry.get_mut(slot))
            {
                created.announced = true;
            }
            if self.outgoing.len() < OUTGOING {
                self.outgoing.push(draft);
            }
            return;
        }
        // Where full memory refuses, an event that cannot be kept is still told.
        draft.store = self.admit_copies(&draft, 1).is_ok();
        self.append(slot, draft, now);
    }
}

impl ZoneState {
    /// Tells that a channel is gone. Of those that several nodes have only who has told that it came tells that it went.
    pub(super) fn emit_destroyed(&mut self, channel: &ChannelId, announced: bool, now: Now) {
        if announced || !self.clock.is_led() {
            self.emit(EventKind::ChannelDestroyed, channel, now);
        }
    }
}

/// `{"type": "TYPE", "channel": "C"}`, C escaped only where JSON demands it.
fn event_text(kind: EventKind, channel: &ChannelId) -> Arc<[u8]> {
    let mut text = format!("{{\"type\": \"{}\", \"channel\": \"", kind.name()).into_bytes();
    write_json_text(channel.as_bytes(), &mut text);
    text.extend_from_slice(b"\"}");
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_json_whatever_the_id() {
        let text = |id: &[u8]| event_text(EventKind::ChannelCreated, &ChannelId::new(id));
        assert_eq!(*text(b"a b"), *br#"{"type": "channel_created", "channel": "a b"}"#);
        assert_eq!(*text(b"\"\\\n"), *br#"{"type": "channel_created", "channel": "\"\\\u000a"}"#);
    }
}
