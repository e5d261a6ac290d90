//! Messages among the bytes of an answer: Bitrix's frame, events of an EventSource, or whatever comes in one piece.
//!
//! A message may be cut anywhere between two reads; what is not whole is kept. Where nothing frames the messages of a poll's answer,
//! short pieces are messages, as servers send them, and a long one goes on with the next: it has been cut on its way.

use crate::cli::tools::Mode;

const BEGIN: &str = "#!NGINXNMS!#";
const END: &str = "#!NGINXNME!#";
/// Bytes of a message that is not whole yet; beyond, it is taken for whole.
const LONGEST: usize = 64 << 20;
/// A piece that may be a part of a message: less than a packet holds beside a head.
const LONG: usize = 1024;

/// A message as it came.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Message {
    pub(super) text: Vec<u8>,
    pub(super) event_id: Option<String>,
    pub(super) event_type: Option<String>,
}

/// Takes messages out of bytes.
#[derive(Debug, Default)]
pub(super) struct Messages {
    events: bool,
    /// The answer has an end: a long piece need not be all of its message.
    ends: bool,
    waiting: Vec<u8>,
}

impl Messages {
    pub(super) fn of(mode: Mode) -> Self {
        let ends = matches!(mode, Mode::LongPolling | Mode::Polling);
        Self { events: mode == Mode::Eventsource, ends, waiting: Vec::new() }
    }

    /// The messages that these bytes complete.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Vec<Message> {
        self.waiting.extend_from_slice(bytes);
        if self.events { self.take_events() } else { self.take_pieces(bytes.len() >= LONG) }
    }

    /// What is left when the answer has ended.
    pub(super) fn finish(&mut self) -> Option<Message> {
        piece(&std::mem::take(&mut self.waiting)).filter(|_| self.ends)
    }

    fn take_pieces(&mut self, long: bool) -> Vec<Message> {
        let mut found = Vec::new();
        loop {
            let Some(begin) = memchr::memmem::find(&self.waiting, BEGIN.as_bytes()) else {
                // The beginning of a frame may have been cut off.
                let open = self.ends && long && self.waiting.len() <= LONGEST;
                if self.waiting.is_empty() || open || BEGIN.as_bytes().starts_with(&self.waiting) {
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
            found.extend(event(&block));
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
    // Padding is no message, and blanks at the end of one may belong to it.
    if bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n' | 0 | b' ')) {
        return None;
    }
    let ends = |byte: &u8| matches!(byte, b'\r' | b'\n');
    let begin = bytes.iter().position(|byte| !ends(byte))?;
    let end = bytes.iter().rposition(|byte| !ends(byte))?;
    Some(Message { text: bytes.get(begin..=end)?.to_vec(), ..Message::default() })
}

/// The event of a block of lines, if it has data; comments are none.
fn event(block: &[u8]) -> Option<Message> {
    let mut message = Message::default();
    let mut data: Vec<&[u8]> = Vec::new();
    for line in block.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let (name, value) = line.split_at(colon);
        let value = value.strip_prefix(b":").unwrap_or(value);
        let value = value.strip_prefix(b" ").unwrap_or(value);
        let word = || Some(String::from_utf8_lossy(value).into_owned());
        match name {
            b"data" => data.push(value),
            b"id" => message.event_id = word(),
            b"event" => message.event_type = word(),
            _ => {}
        }
    }
    message.text = data.join(&b'\n');
    (!data.is_empty()).then_some(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(found: &[Message]) -> Vec<&str> {
        found.iter().map(|message| std::str::from_utf8(&message.text).unwrap()).collect()
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
    fn without_a_frame_a_poll_has_short_messages_and_long_ones_of_any_bytes() {
        let sent: Vec<u8> = (0..=255).cycle().take(5000).chain(*b" \0 \r\n").collect();
        for cut in [LONG, 2000, 3500, 4990] {
            let mut messages = Messages::of(Mode::LongPolling);
            assert_eq!(messages.take(&sent[..cut]), []);
            let mut found = messages.take(&sent[cut..]);
            found.extend(messages.finish());
            assert_eq!(found.len(), 1);
            assert_eq!(found[0].text, sent[..sent.len() - 2]);
            assert_eq!(messages.finish(), None);
        }
        let mut messages = Messages::of(Mode::Polling);
        assert_eq!(texts(&messages.take(b"one")), ["one"]);
        assert_eq!(texts(&messages.take(b"two")), ["two"]);
        assert_eq!(messages.finish(), None);
        let mut events = Messages::of(Mode::Eventsource);
        assert_eq!(events.take(b"data: \xff\x00\r\ndata: \xfe\n\n")[0].text, b"\xff\x00\n\xfe");
        assert_eq!(events.finish(), None);
    }

    #[test]
    fn without_a_frame_a_piece_is_a_message() {
        let mut messages = Messages::of(Mode::Streaming);
        assert_eq!(texts(&messages.take(b"one\r\n")), ["one"]);
        assert_eq!(texts(&messages.take(b"\r\n")), [""; 0]);
    }
}
