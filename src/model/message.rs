//! A message before (`Draft`) and after (`Message`) a hub has given it an id and a stamp.

use std::sync::Arc;

use super::{Stamp, Tick};

/// What a publisher hands in: a message that has no id yet.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    /// The message bytes, unchanged from the request body; shared by all messages made of the draft.
    pub text: Arc<[u8]>,
    /// `Event-Id` / `Event-Type` of the request, if any; shared too.
    pub event: Option<Arc<EventTags>>,
    /// Whether the message is kept for replay (`push_stream_store_messages`).
    pub store: bool,
    /// Whether it came as a binary websocket message, and goes to websockets as one.
    pub binary: bool,
    /// When it was handed in, if it is to be known how long it takes to be delivered.
    pub at: Tick,
}

/// The two optional names a publisher can give to a message. Present but empty is a value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventTags {
    /// `Event-Id`.
    pub id: Option<Box<[u8]>>,
    /// `Event-Type`.
    pub kind: Option<Box<[u8]>>,
}

/// A published message. Immutable; shared by reference count between the backlog and the deliveries under way.
#[derive(Debug)]
pub struct Message {
    /// Per channel, counted from 1 over all publishes; -1 ping, -2 channel deleted, -3 timeout.
    pub id: i64,
    /// Position in the hub-wide order of all publishes, counted from 1; 0 in pseudo messages.
    pub seq: u64,
    /// Second of publish and place within it; zero in pseudo messages.
    pub stamp: Stamp,
    /// Second from which on the message may be dropped.
    pub expires: u32,
    /// Whether websockets get it as a binary message.
    pub binary: bool,
    /// The message bytes.
    pub text: Arc<[u8]>,
    /// The publisher's event id and type.
    pub event: Option<Arc<EventTags>>,
}

impl Message {
    /// Id of the pseudo message that keeps a stream alive.
    pub const PING: i64 = -1;
    /// Id of the pseudo message that tells that a channel was deleted.
    pub const DELETED: i64 = -2;
    /// Id of the pseudo message that answers a long-poll without a message.
    pub const TIMEOUT: i64 = -3;

    /// A pseudo message (`PING`, `DELETED`, `TIMEOUT`) with this text.
    pub fn pseudo(id: i64, text: &[u8]) -> Self {
        Self { id, seq: 0, stamp: Stamp::default(), expires: 0, binary: false, text: text.into(), event: None }
    }

    /// The publisher's event id.
    pub fn event_id(&self) -> Option<&[u8]> {
        self.event.as_ref()?.id.as_deref()
    }

    /// The publisher's event type.
    pub fn event_type(&self) -> Option<&[u8]> {
        self.event.as_ref()?.kind.as_deref()
    }
}
