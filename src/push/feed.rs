//! What a subscription sends: what it starts with, and how each message becomes bytes from then on.
//!
//! Decided by the verb, begun by the door once its head is on the way.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;

use crate::delivery::{Admission, Connection, Ending, Manner, Source, Worker};
use crate::render::View;

/// A subscription whose bytes go on (streaming, eventsource, websocket).
pub(crate) struct Feed {
    /// Header template and padding, framed.
    pub header: Bytes,
    /// Missed messages.
    pub history: Option<Box<dyn Source>>,
    /// How its messages are rendered.
    pub view: Arc<View>,
    /// How they become bytes of the subscriber.
    pub manner: Manner,
    /// Where it is registered.
    pub admission: Admission,
    /// When it ends or wants a ping.
    pub ending: Ending,
}

impl Feed {
    /// Puts what it starts with behind what is in the outbox, and makes the connection a subscriber.
    pub(crate) fn begin(self, worker: &Worker, connection: &Rc<Connection>) {
        connection.push(self.header);
        if let Some(history) = self.history {
            connection.push_source(history);
        }
        worker.subscribe(connection, self.view, self.manner, self.admission, &self.ending);
    }
}
