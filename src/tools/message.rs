//! Messages among the bytes of an answer: Bitrix's frame, events of an EventSource, or whatever comes in one piece.
//!
//! A message may be cut anywhere between two reads; what is not whole is kept.

use crate::cli::tools::Mode;

const BEGIN: &str = "#!NGINXNMS!#";
const END: &str = "#!NGINXNME!#";
/// Bytes of a message that is not whole yet; beyond, it is taken for whole.
const LONGEST: usize = 64 << 20;

/// A message as it came.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Message {
    pub(super) text: String,
    pub(super) event_id: Option<String>,
    pub(super) event_type: Option<String>,
}

/// Takes messages out of bytes.
#[derive(Debug, Default)]
pub(super) struct Messages {
    events: bool,
    waiting: Vec<u8>,
}

impl Messages {
    pub(super) fn of(mode: Mode) -> Self {
        Self { events: mode == Mode::Eventsource, waiting: Vec::new() }
    }

    /// The messages that these bytes complete.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Vec<Message> {
        self.waiting.extend_from_slice(bytes);
        if self.events { self.take_events() } else { self.take_pieces() }
    }

    fn take_pieces(&mut self) -> Vec<Message> {
        let mut found = Vec::new();
        loop {
            let Some(begin) = memchr::memmem::find(&self.waiting, BEGIN.as_bytes()) else {
                // The beginning of a frame may have been cut off.
                if self.waiting.is_empty() || BEGIN.as_bytes().starts_with(&self.waiting) {
                    return found;
                }
                let text = std::mem::take(&mut self.waiting);
                found.extend(piece(&text));
                return found;
            };
            let rest = self.waiting.split_off(begin);
            found.extend(piece(&std::mem::replace(&mut self.waiting, rest)));
            let Some(end) = memchr::memmem::find(&self.waiting, END.as_bytes()) else {
                if self.waiting.len() > LONGEST {
                    found.extend(piece(&std::mem::take(&mut self.waiting)));
                }
                return found;
            };
            let rest = self.waiting.split_off(end + END.len());
            let framed = std::mem::replace(&mut self.waiting, rest);
            found.extend(piece(framed.get(BEGIN.len()..end).unwrap_or_default()));
        }
    }

    fn take_events(&mut self) -> Vec<Message> {
        let mut found = Vec::new();
        while let Some((length, mark)) = blank_line(&self.waiting) {
            let rest = self.waiting.split_off(length + mark);
            let block = std::mem::replace(&mut self.waiting, rest);
            found.extend(event(&String::from_utf8_lossy(&block)));
        }
        found
    }
}

/// Where the first blank line begins, and its length with the end of the line before.
fn blank_line(bytes: &[u8]) -> Option<(usize, usize)> {
    let ends = ["\r\n\r\n", "\n\n"].map(|mark| memchr::memmem::find(bytes, mark.as_bytes()).map(|at| (at, mark.len())));
    ends.into_iter().flatten().min()
}

/// A piece without the end of its line; nothing if that was all.
fn piece(bytes: &[u8]) -> Option<Message> {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_matches(['\r', '\n', '\0', ' ']);
    (!text.is_empty()).then(|| Message { text: text.to_owned(), ..Message::default() })
}

/// The event of a block of lines, if it has data; comments are none.
fn event(block: &str) -> Option<Message> {
    let mut message = Message::default();
    let mut data: Vec<&str> = Vec::new();
    for line in block.lines() {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "data" => data.push(value),
            "id" => message.event_id = Some(value.to_owned()),
            "event" => message.event_type = Some(value.to_owned()),
            _ => {}
        }
    }
    message.text = data.join("\n");
    (!data.is_empty()).then_some(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(found: &[Message]) -> Vec<&str> {
        found.iter().map(|message| &*message.text).collect()
    }

    #[test]
    fn frames_are_found_wherever_they_are_cut() {
        let whole = b"#!NGINXNMS!#{\"a\":1}#!NGINXNME!##!NGINXNMS!#2#!NGINXNME!#\r\n";
        for cut in 0..whole.len() {
            let mut messages = Messages::of(Mode::LongPolling);
            let mut found = messages.take(&whole[..cut]);
            found.extend(messages.take(&whole[cut..]));
            assert_eq!(texts(&found), ["{\"a\":1}", "2"], "cut at {cut}");
        }
    }

    #[test]
    fn events_have_ids_types_and_lines() {
        let whole = b": ping\n\nid: 7\nevent: news\ndata: a\ndata: b\n\ndata:c\r\n\r\n";
        for cut in 0..whole.len() {
            let mut messages = Messages::of(Mode::Eventsource);
            let mut found = messages.take(&whole[..cut]);
            found.extend(messages.take(&whole[cut..]));
            assert_eq!(texts(&found), ["a\nb", "c"], "cut at {cut}");
            assert_eq!((found[0].event_id.as_deref(), found[0].event_type.as_deref()), (Some("7"), Some("news")));
        }
    }

    #[test]
    fn without_a_frame_a_piece_is_a_message() {
        let mut messages = Messages::of(Mode::Streaming);
        assert_eq!(texts(&messages.take(b"one\r\n")), ["one"]);
        assert_eq!(texts(&messages.take(b"\r\n")), [""; 0]);
    }
}
