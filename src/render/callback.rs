//! The body of a polling or long-polling answer: header, messages, footer, end, and the JSONP callback around the messages.
//!
//! The callback's name is written as it is given; whether it may be used (and its decoding) is decided by the caller.

use crate::model::{ChannelId, Message};

use super::view::View;

/// Where the messages of a body come from, which a callback can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Stored messages, and the message of a deletion.
    Backlog,
    /// A live or timeout message.
    Live,
}

/// The whole body of a polling or long-polling answer, each part in a chunk of its own (depending on the view's framing).
pub fn poll_body<'a>(
    view: &View,
    callback: Option<&[u8]>,
    origin: Origin,
    messages: impl Iterator<Item = (&'a ChannelId, &'a Message)>,
) -> Vec<u8> {
    let (mut writer, mut out) = PollWriter::open(view, callback, origin);
    for (channel, message) in messages {
        writer.message(view, channel, message, &mut out);
    }
    writer.close(view, &mut out);
    out
}

/// Writes the body of a polling or long-polling answer message by message.
#[derive(Clone, Copy, Debug)]
pub struct PollWriter {
    in_callback: bool,
    /// A comma follows each message, or (else) stands between them.
    trailing_comma: bool,
    first: bool,
}

impl PollWriter {
    /// Begins a body; also what stands before its first message.
    pub fn open(view: &View, callback: Option<&[u8]>, origin: Origin) -> (Self, Vec<u8>) {
        let mut out = view.header().to_vec();
        let callback = callback.filter(|name| !name.is_empty());
        if let Some(name) = callback {
            view.write_body(name, &mut out);
            view.write_bare(b"([", &mut out);
        }
        let trailing_comma = view.capabilities().callback_trails_comma && origin == Origin::Backlog;
        (Self { in_callback: callback.is_some(), trailing_comma, first: true }, out)
    }

    /// Appends a message.
    pub fn message(&mut self, view: &View, channel: &ChannelId, message: &Message, out: &mut Vec<u8>) {
        if self.in_callback && !self.trailing_comma && !self.first {
            view.write_bare(b",", out);
        }
        out.extend_from_slice(&view.message(channel.as_bytes(), message));
        if self.in_callback && self.trailing_comma {
            view.write_bare(b",", out);
        }
        self.first = false;
    }

    /// Appends what stands behind the last message.
    pub fn close(self, view: &View, out: &mut Vec<u8>) {
        if self.in_callback {
            view.write_body(b"]);", out);
        }
        out.extend_from_slice(view.footer());
        out.extend_from_slice(view.end());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Capabilities, Compat, Line};
    use crate::render::{Framing, Kind, ViewSpec};

    fn body(line: Line, callback: Option<&str>, origin: Origin, texts: &[&str], framing: Framing) -> String {
        let view = View::new(&ViewSpec {
            header: b"HEAD ",
            message: b"~id~:~text~;",
            footer: b"FOOT",
            ping_text: b" ",
            kind: Kind::Text,
            framing,
            padding: None,
            capabilities: &Capabilities::of(Compat { line, strict: true }),
        });
        let channel = ChannelId::from("a");
        let messages: Vec<Message> =
            texts.iter().zip(1..).map(|(text, id)| Message::pseudo(id, text.as_bytes())).collect();
        let messages = messages.iter().map(|message| (&channel, message));
        String::from_utf8(poll_body(&view, callback.map(str::as_bytes), origin, messages)).unwrap()
    }

    #[test]
    fn messages_stand_between_header_and_footer() {
        let plain = |texts: &[&str]| body(Line::V05, None, Origin::Backlog, texts, Framing::Plain);
        assert_eq!(plain(&["x", "y"]), "HEAD 1:x;2:y;FOOT");
        assert_eq!(
            body(Line::V05, None, Origin::Live, &["x"], Framing::Chunked),
            "5\r\nHEAD \r\n4\r\n1:x;\r\n4\r\nFOOT\r\n0\r\n\r\n"
        );
    }

    #[test]
    fn a_callback_gets_a_list_of_messages() {
        let with = |line, origin, texts: &[&str]| body(line, Some("f"), origin, texts, Framing::Plain);
        assert_eq!(with(Line::V05, Origin::Backlog, &["x", "y"]), "HEAD f([1:x;,2:y;]);FOOT");
        assert_eq!(with(Line::V040, Origin::Backlog, &["x", "y"]), "HEAD f([1:x;,2:y;,]);FOOT");
        assert_eq!(with(Line::V040, Origin::Live, &["x"]), "HEAD f([1:x;]);FOOT");
        assert_eq!(with(Line::V035, Origin::Backlog, &["x"]), "HEAD \r\nf\r\n([1:x;\r\n,]);\r\nFOOT\r\n");
        assert_eq!(
            body(Line::V05, Some("cb"), Origin::Live, &["x"], Framing::Chunked),
            "5\r\nHEAD \r\n2\r\ncb\r\n2\r\n([\r\n4\r\n1:x;\r\n3\r\n]);\r\n4\r\nFOOT\r\n0\r\n\r\n"
        );
    }

    #[test]
    fn an_empty_callback_is_none() {
        assert_eq!(body(Line::V05, Some(""), Origin::Live, &["x"], Framing::Plain), "HEAD 1:x;FOOT");
    }
}
