//! Where a subscriber stands: what a server has to be told so that it goes on from there.

use std::time::SystemTime;

use http::HeaderMap;
use serde_json::Value;

use crate::cli::tools::{From, Mode};

/// Time and tag of the last message, and its event id.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Position {
    pub(super) time: String,
    pub(super) tag: String,
    pub(super) event_id: String,
}

impl Position {
    /// Where to begin; a server that is told nothing begins with what comes next, but one that answers at once has to be told.
    pub(super) fn of(from: From, mode: Mode) -> Self {
        match from {
            From::Now if mode == Mode::Polling => {
                Self { time: httpdate::fmt_http_date(SystemTime::now()), tag: "0".to_owned(), ..Self::default() }
            }
            From::Now => Self::default(),
            From::Start => {
                Self { time: "Thu, 01 Jan 1970 00:00:00 GMT".to_owned(), tag: "0".to_owned(), ..Self::default() }
            }
        }
    }

    /// Whether there is anything to go on from.
    pub(super) fn is_known(&self) -> bool {
        !self.time.is_empty() || !self.event_id.is_empty()
    }

    /// What an answer says to it.
    pub(super) fn read_head(&mut self, head: &HeaderMap) {
        let value = |name: &str| head.get(name).and_then(|value| value.to_str().ok());
        if let (Some(time), Some(tag)) = (value("last-modified"), value("etag")) {
            time.clone_into(&mut self.time);
            tag.trim_start_matches("W/").clone_into(&mut self.tag);
        }
    }

    /// What a message says to it, where its template has time and tag in JSON.
    pub(super) fn read_text(&mut self, text: &[u8]) {
        let Ok(Value::Object(message)) = serde_json::from_slice(text) else { return };
        let word = |name: &str| match message.get(name) {
            Some(Value::String(word)) => Some(word.clone()),
            Some(Value::Number(number)) => Some(number.to_string()),
            _ => None,
        };
        if let (Some(time), Some(tag)) = (word("time"), word("tag")) {
            (self.time, self.tag) = (time, tag);
        }
    }

    /// To be told.
    pub(super) fn shown(&self) -> String {
        match (self.time.is_empty(), self.event_id.is_empty()) {
            (false, _) => format!("{} tag {}", self.time, self.tag),
            (true, false) => format!("event id {}", self.event_id),
            (true, true) => "nowhere: messages of this URL do not tell their time and tag".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_tells_its_position_if_its_template_does() {
        let mut position = Position::of(From::Now, Mode::LongPolling);
        assert!(!position.is_known());
        position.read_text(b"{\"id\":1,\"tag\":\"4\",\"time\":\"Thu\",\"text\":{}}");
        assert_eq!((&*position.time, &*position.tag), ("Thu", "4"));
        position.read_text(b"{\"tag\":5}");
        position.read_text(b"no JSON");
        assert_eq!(position.shown(), "Thu tag 4");
    }
}
