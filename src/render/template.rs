//! A message template, compiled once: literal pieces and tokens.
//!
//! Tokens are replaced in a single pass, so a text that looks like a token is never expanded. Nothing is escaped: what the
//! values hold stands in the output byte by byte. The template does not know framing, nor where its values come from.

use std::io::Write;
use std::time::{Duration, UNIX_EPOCH};

use crate::model::{Capabilities, Message};

/// A token of `push_stream_message_template`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Id,
    Channel,
    Text,
    Size,
    Tag,
    Time,
    EventId,
    EventType,
}

/// The tokens as they are written, in any letter case.
const TOKENS: [(&[u8], Token); 8] = [
    (b"~id~", Token::Id),
    (b"~channel~", Token::Channel),
    (b"~text~", Token::Text),
    (b"~size~", Token::Size),
    (b"~tag~", Token::Tag),
    (b"~time~", Token::Time),
    (b"~event-id~", Token::EventId),
    (b"~event-type~", Token::EventType),
];

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Literal(Box<[u8]>),
    Token(Token),
}

/// What the tokens stand for in one rendering.
#[derive(Clone, Copy, Debug)]
pub struct Values<'a> {
    /// `~channel~`
    pub channel: &'a [u8],
    /// `~text~`, and its length as `~size~`.
    pub text: &'a [u8],
    /// `~id~`
    pub id: i64,
    /// `~time~`, Unix seconds.
    pub time: u32,
    /// `~tag~`
    pub tag: u32,
    /// `~event-id~`
    pub event_id: &'a [u8],
    /// `~event-type~`
    pub event_type: &'a [u8],
}

impl<'a> Values<'a> {
    /// The values of a message of a channel.
    pub fn new(channel: &'a [u8], message: &'a Message) -> Self {
        Self {
            channel,
            text: &message.text,
            id: message.id,
            time: message.stamp.time,
            tag: message.stamp.tag,
            event_id: message.event_id().unwrap_or_default(),
            event_type: message.event_type().unwrap_or_default(),
        }
    }
}

/// A compiled message template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    pieces: Vec<Piece>,
}

impl Template {
    /// Compiles a template as written. What is no token of this wire stays as it is.
    pub fn new(source: &[u8], capabilities: &Capabilities) -> Self {
        let mut pieces = Vec::new();
        let mut literal = Vec::new();
        let mut rest = source;
        while let Some((&first, tail)) = rest.split_first() {
            if let Some((length, token)) = token_at(rest, capabilities) {
                if !literal.is_empty() {
                    pieces.push(Piece::Literal(std::mem::take(&mut literal).into()));
                }
                pieces.push(Piece::Token(token));
                rest = rest.get(length..).unwrap_or_default();
            } else {
                literal.push(first);
                rest = tail;
            }
        }
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal.into()));
        }
        Self { pieces }
    }

    /// Appends the rendering of these values.
    pub fn render(&self, values: &Values<'_>, out: &mut Vec<u8>) {
        for piece in &self.pieces {
            match piece {
                Piece::Literal(bytes) => out.extend_from_slice(bytes),
                Piece::Token(token) => write_token(*token, values, out),
            }
        }
    }
}

/// The token these bytes begin with, and its length.
fn token_at(bytes: &[u8], capabilities: &Capabilities) -> Option<(usize, Token)> {
    if bytes.first() != Some(&b'~') {
        return None;
    }
    TOKENS
        .iter()
        .find(|(name, token)| {
            bytes.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
                && (*token != Token::Size || capabilities.size_token)
        })
        .map(|(name, token)| (name.len(), *token))
}

fn write_token(token: Token, values: &Values<'_>, out: &mut Vec<u8>) {
    // Writing into a Vec cannot fail.
    let _ = match token {
        Token::Id => write!(out, "{}", values.id),
        Token::Size => write!(out, "{}", values.text.len()),
        Token::Tag => write!(out, "{}", values.tag),
        Token::Time => {
            let time = UNIX_EPOCH + Duration::from_secs(u64::from(values.time));
            write!(out, "{}", httpdate::HttpDate::from(time))
        }
        Token::Channel => return out.extend_from_slice(values.channel),
        Token::Text => return out.extend_from_slice(values.text),
        Token::EventId => return out.extend_from_slice(values.event_id),
        Token::EventType => return out.extend_from_slice(values.event_type),
    };
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{Compat, Line};

    fn wire(line: Line) -> Capabilities {
        Capabilities::of(Compat { line, strict: false })
    }

    const VALUES: Values<'static> = Values {
        channel: b"ch",
        text: "~id~ \u{e9}".as_bytes(),
        id: 3,
        time: 1_795_373_031,
        tag: 7,
        event_id: b"ev 1",
        event_type: b"news",
    };

    fn rendered(template: &str, line: Line) -> String {
        let mut out = Vec::new();
        Template::new(template.as_bytes(), &wire(line)).render(&VALUES, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_token_is_replaced_in_any_letter_case_and_any_number_of_times() {
        for (template, expected) in [
            ("~id~|~channel~|~tag~|~event-id~|~event-type~", "3|ch|7|ev 1|news"),
            ("~TEXT~ ~Size~", "~id~ é 7"),
            ("~time~", "Sun, 22 Nov 2026 18:43:51 GMT"),
            ("~text~~text~ ~id~~id~", "~id~ é~id~ é 33"),
            ("no tokens", "no tokens"),
            ("", ""),
        ] {
            assert_eq!(rendered(template, Line::V05), expected, "{template}");
        }
    }

    #[test]
    fn what_is_no_token_stays() {
        for (template, expected) in [
            ("~~id~~", "~3~"),
            ("~foo~id~", "~foo3"),
            ("~id", "~id"),
            ("~", "~"),
            ("~id~text~", "3text~"),
            ("$x ~", "$x ~"),
        ] {
            assert_eq!(rendered(template, Line::V05), expected, "{template}");
        }
    }

    #[test]
    fn size_is_a_token_since_the_05_line() {
        assert_eq!(rendered("~size~", Line::V05), "7");
        assert_eq!(rendered("~size~", Line::V040), "~size~");
    }

    #[test]
    fn a_pseudo_message_has_an_empty_channel_and_the_epoch() {
        let message = Message::pseudo(Message::PING, b"ping!");
        let mut out = Vec::new();
        Template::new(b"<~id~:~text~:~channel~:~tag~:~time~:~size~>", &wire(Line::V05))
            .render(&Values::new(b"", &message), &mut out);
        assert_eq!(out, b"<-1:ping!::0:Thu, 01 Jan 1970 00:00:00 GMT:5>");
    }

    proptest! {
        #[test]
        fn a_template_without_tilde_renders_to_itself(source in prop::collection::vec(any::<u8>(), 0..200)) {
            let source: Vec<u8> = source.into_iter().filter(|byte| *byte != b'~').collect();
            let mut out = Vec::new();
            Template::new(&source, &wire(Line::V05)).render(&VALUES, &mut out);
            prop_assert_eq!(out, source);
        }

        #[test]
        fn the_text_stands_unchanged_between_its_neighbours(text in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut out = Vec::new();
            Template::new(b"<~text~>", &wire(Line::V05)).render(&Values { text: &text, ..VALUES }, &mut out);
            prop_assert_eq!(&out[1..out.len() - 1], &text[..]);
        }
    }
}
