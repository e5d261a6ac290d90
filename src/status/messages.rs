//! The stored messages of a channel as JSON, newest first, where the operator allows that texts are shown.
//!
//! Invariant: without leave no text leaves the process by this door.

use axum::Json;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::Sources;
use crate::model::Message;

/// Bytes of a text that are shown.
const SHOWN: usize = 4096;

#[derive(Deserialize)]
pub(super) struct Asked {
    /// The zone, that of servers which name none if it is not named.
    zone: Option<String>,
    /// The `place` of the channel, as listings tell it.
    place: u64,
    /// The `place` of the message before which to go on.
    before: Option<u64>,
}

/// A page of messages.
#[derive(Serialize)]
struct Page {
    messages: Vec<Told>,
    /// Whether there are older ones.
    more: bool,
}

#[derive(Serialize)]
struct Told {
    id: i64,
    /// Its place in the order of all messages.
    place: u64,
    /// Second of publish since the epoch, and the tag within it.
    time: u32,
    tag: u32,
    event_id: Option<String>,
    event_type: Option<String>,
    binary: bool,
    bytes: usize,
    /// The text, or its beginning.
    text: String,
}

impl Told {
    fn of(message: &Message) -> Self {
        let text = message.text.get(..SHOWN).unwrap_or(&message.text);
        let lossy = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
        Self {
            id: message.id,
            place: message.seq,
            time: message.stamp.time,
            tag: message.stamp.tag,
            event_id: message.event_id().map(lossy),
            event_type: message.event_type().map(lossy),
            binary: message.binary,
            bytes: message.text.len(),
            text: lossy(text),
        }
    }
}

/// Whoever asks for a zone that does not exist is told so.
pub(super) fn no_zone() -> Response {
    (StatusCode::NOT_FOUND, "there is no such zone\n").into_response()
}

/// The messages of a channel.
pub(super) async fn messages(State(sources): State<Sources>, Query(asked): Query<Asked>) -> Response {
    if !sources.messages {
        return (StatusCode::FORBIDDEN, "texts are shown with push_stream_status_messages on\n").into_response();
    }
    let Some(zone) = sources.zone(asked.zone.as_deref()) else { return no_zone() };
    match zone.hub.newest(asked.place.into(), asked.before.unwrap_or(u64::MAX)) {
        None => (StatusCode::NOT_FOUND, "there is no such channel\n").into_response(),
        Some((messages, more)) => {
            Json(Page { messages: messages.iter().map(|message| Told::of(message)).collect(), more }).into_response()
        }
    }
}
