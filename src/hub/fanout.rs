//! What a publish hands to the workers: one note per worker, all sharing one fan-out with the rendered bytes.
//!
//! It does not know what a view is beyond its number, nor who subscribes. A message is rendered once per view and
//! fan-out, whichever worker comes first; the others wait for it and share the bytes.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::registry::ChannelKey;
use crate::model::{ChannelId, Message, Stamp, Tick};

/// News for the subscribers of one worker.
#[derive(Clone, Debug)]
pub enum Note {
    /// A message was published.
    Message(Arc<Fanout>),
    /// The channel was deleted; the message is the pseudo message that says so.
    Deleted(Arc<Fanout>),
}

/// One message on its way to all subscribers of its channel.
#[derive(Debug)]
pub struct Fanout {
    /// The channel, as in [`super::Registration::keys`].
    pub channel: ChannelKey,
    /// Its id.
    pub id: ChannelId,
    /// The message.
    pub message: Arc<Message>,
    /// What a client has seen if this is the last it was told: everything on its channels up to here.
    pub seen: Stamp,
    /// When the message was handed in.
    pub at: Tick,
    renderings: OnceLock<Rendering>,
}

/// The bytes for one view, and the place for those of the next view asked for.
#[derive(Debug)]
struct Rendering {
    view: u32,
    bytes: Bytes,
    next: OnceLock<Box<Rendering>>,
}

impl Fanout {
    /// A fan-out nothing was rendered for yet.
    pub fn new(channel: ChannelKey, id: ChannelId, message: Arc<Message>, seen: Stamp, at: Tick) -> Self {
        Self { channel, id, message, seen, at, renderings: OnceLock::new() }
    }

    /// The bytes of the message in a view; `render` is called if no worker has asked for this view before.
    pub fn rendered(&self, view: u32, render: impl FnOnce() -> Bytes) -> Bytes {
        let mut render = Some(render);
        let mut make = || {
            // Called at most once: the rendering it makes is the one looked for, and ends the walk.
            let bytes = render.take().map_or_else(Bytes::new, |render| render());
            Rendering { view, bytes, next: OnceLock::new() }
        };
        let mut at = self.renderings.get_or_init(&mut make);
        while at.view != view {
            at = at.next.get_or_init(|| Box::new(make()));
        }
        at.bytes.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::registry::Registry;
    use std::sync::atomic::{AtomicU32, Ordering};

    fn fanout() -> Fanout {
        let message = Arc::new(Message::pseudo(Message::PING, b"x"));
        Fanout::new(Registry::new().next_key(), "a".into(), message, Stamp::default(), Tick::default())
    }

    #[test]
    fn each_view_is_rendered_once() {
        let fanout = fanout();
        let calls = AtomicU32::new(0);
        for round in 0..3 {
            for view in [7, 2, 9] {
                let bytes = fanout.rendered(view, || {
                    calls.fetch_add(1, Ordering::Relaxed);
                    Bytes::from(view.to_string())
                });
                assert_eq!(bytes, view.to_string(), "round {round}");
            }
        }
        assert_eq!(calls.into_inner(), 3);
    }

    #[test]
    fn workers_that_render_at_once_share_the_bytes() {
        let fanout = fanout();
        let calls = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (fanout, calls) = (&fanout, &calls);
                scope.spawn(move || {
                    for step in 0..8 {
                        let view = (step + thread) % 8;
                        let bytes = fanout.rendered(view, || {
                            calls.fetch_add(1, Ordering::Relaxed);
                            Bytes::from(view.to_string())
                        });
                        assert_eq!(bytes, view.to_string());
                    }
                });
            }
        });
        assert_eq!(calls.into_inner(), 8);
    }
}
