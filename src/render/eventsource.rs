//! The event stream format: how templates are wrapped at load time and how a text is split into lines.
//!
//! It does not know chunks: where every body is followed by a line break, that is appended by the framing (`view`), so here
//! such a body comes without it.

use std::borrow::Cow;

use crate::model::Capabilities;

use super::template::{Template, Values};

/// The line end that closes a body of its own; empty where the framing adds it.
fn body_end(capabilities: &Capabilities) -> &'static [u8] {
    if capabilities.bodies_end_with_break { b"" } else { capabilities.event_line_end.as_bytes() }
}

/// The header as it is sent: a comment, so that the client has something to read at once.
pub(super) fn header(template: &[u8], capabilities: &Capabilities) -> Vec<u8> {
    if template.is_empty() { capabilities.event_greeting.into() } else { comment(template, capabilities) }
}

/// The footer as it is sent; an empty one stays empty.
pub(super) fn footer(template: &[u8], capabilities: &Capabilities) -> Vec<u8> {
    comment(template, capabilities)
}

/// A message template that brings its own `data: ` may be taken as it is, any other becomes one `data` line.
pub(super) fn message_template(template: &[u8], capabilities: &Capabilities) -> Vec<u8> {
    if template.starts_with(b"data: ") && capabilities.event_templates_stay {
        return template.to_vec();
    }
    let template = if template.is_empty() { b"~text~" } else { template };
    [b"data: ", template, capabilities.event_line_end.as_bytes()].concat()
}

/// The ping of an event stream: a comment.
pub(super) fn ping(capabilities: &Capabilities) -> Vec<u8> {
    [b": -1", body_end(capabilities)].concat()
}

/// The line that carries an event id (`id`) or an event type (`event`).
pub(super) fn field(name: &[u8], value: &[u8], capabilities: &Capabilities) -> Vec<u8> {
    [name, b": ", &one_line(value), body_end(capabilities)].concat()
}

/// The data part: the template once per line of the text, closed by an empty line.
pub(super) fn data(template: &Template, values: &Values<'_>, capabilities: &Capabilities, out: &mut Vec<u8>) {
    let (channel, event_id, event_type) =
        (one_line(values.channel), one_line(values.event_id), one_line(values.event_type));
    let values = Values { channel: &channel, event_id: &event_id, event_type: &event_type, ..*values };
    for text in lines(values.text, capabilities) {
        template.render(&Values { text, ..values }, out);
    }
    out.extend_from_slice(body_end(capabilities));
}

/// Each line as a comment, unless the template is one already and may stay as it is.
fn comment(template: &[u8], capabilities: &Capabilities) -> Vec<u8> {
    if template.starts_with(b": ") && capabilities.event_templates_stay {
        return template.to_vec();
    }
    let mut out = Vec::with_capacity(template.len() + 8);
    for text in lines(template, capabilities) {
        out.extend_from_slice(b": ");
        out.extend_from_slice(text);
        out.extend_from_slice(capabilities.event_line_end.as_bytes());
    }
    out
}

/// A value that takes part of a line: its line ends, which would begin a line of the client's choice, become spaces.
fn one_line(value: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr2(b'\r', b'\n', value).is_none() {
        return Cow::Borrowed(value);
    }
    value.iter().map(|byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { *byte }).collect()
}

/// The lines of a text, empty ones dropped. `\r\n`, `\r` and `\n` end a line; to the letter of the module nothing does behind a
/// NUL, nor a `\r` that no `\n` follows.
fn lines<'t>(text: &'t [u8], capabilities: &Capabilities) -> impl Iterator<Item = &'t [u8]> {
    let (split, rest) = text.split_at(if capabilities.all_line_ends_count { text.len() } else { last_line(text) });
    let lines = split.split(|byte| matches!(byte, b'\r' | b'\n'));
    lines.chain(std::iter::once(rest)).filter(|line| !line.is_empty())
}

/// Where the last line of a text begins for the module, which looks for the ends of lines no further than the last `\n` before
/// the first NUL.
fn last_line(text: &[u8]) -> usize {
    let seen = memchr::memchr(0, text).unwrap_or(text.len());
    text.get(..seen).and_then(|seen| memchr::memrchr(b'\n', seen)).map_or(0, |end| end + 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{Compat, Line, Message};

    fn wire(line: Line) -> Capabilities {
        Capabilities::of(Compat { line, strict: false })
    }

    fn data_of(template: &[u8], text: &[u8], line: Line) -> String {
        let wire = wire(line);
        let mut out = Vec::new();
        let message = Message::pseudo(1, text);
        let template = Template::new(&message_template(template, &wire), &wire);
        data(&template, &Values::new(b"a", &message), &wire, &mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn headers_become_comments() {
        for (template, line, expected) in [
            ("", Line::V05, ": \n"),
            ("", Line::V040, ": \r\n"),
            ("", Line::V035, ""),
            ("", Line::V034, ":"),
            ("one\ntwo", Line::V05, ": one\n: two\n"),
            ("one\r\n\r\ntwo\r", Line::V040, ": one\r\n: two\r\n"),
            (": ready\nretry", Line::V05, ": ready\nretry"),
            ("\n\n", Line::V05, ""),
        ] {
            assert_eq!(header(template.as_bytes(), &wire(line)), expected.as_bytes(), "{template:?} {line:?}");
        }
        assert_eq!(footer(b"", &wire(Line::V05)), b"");
        assert_eq!(footer(b"bye\nbye", &wire(Line::V05)), b": bye\n: bye\n");
    }

    #[test]
    fn a_text_is_sent_line_by_line() {
        for (template, text, expected) in [
            ("", "a\r\nb\n\nc\rd\n", "data: a\ndata: b\ndata: c\ndata: d\n\n"),
            ("<~id~ ~size~>~text~", "x\nyy", "data: <1 1>x\ndata: <1 2>yy\n\n"),
            ("~text~", "\r\n\n", "\n"),
            ("data: ~text~;", "x\ny", "data: x;data: y;\n"),
        ] {
            assert_eq!(data_of(template.as_bytes(), text.as_bytes(), Line::V05), expected, "{text:?}");
        }
        assert_eq!(data_of(b"", b"a\nb", Line::V040), "data: a\r\ndata: b\r\n\r\n");
        assert_eq!(data_of(b"", b"a\nb", Line::V035), "data: a\r\ndata: b\r\n");
    }

    #[test]
    fn the_module_looks_for_ends_of_lines_before_the_last_line_feed_and_the_first_nul() {
        for (text, strict, default) in [
            ("a\r\nb\n\nc\rd\n", "a|b|c|d", "a|b|c|d"),
            ("a\rb", "a\rb", "a|b"),
            ("a\rb\nc\rd\r", "a|b|c\rd\r", "a|b|c|d"),
            ("a\nb\0c\nd", "a|b\0c\nd", "a|b\0c|d"),
            ("\0\n", "\0\n", "\0"),
            ("\r\n\n", "", ""),
            ("", "", ""),
        ] {
            let joined = |strict| {
                let wire = Capabilities::of(Compat { strict, ..Compat::default() });
                lines(text.as_bytes(), &wire).collect::<Vec<_>>().join(&b'|')
            };
            assert_eq!(joined(true), strict.as_bytes(), "{text:?}");
            assert_eq!(joined(false), default.as_bytes(), "{text:?}");
        }
    }

    #[test]
    fn pings_and_fields_end_as_their_line_ends() {
        assert_eq!(ping(&wire(Line::V05)), b": -1\n");
        assert_eq!(ping(&wire(Line::V040)), b": -1\r\n");
        assert_eq!(field(b"id", b"9", &wire(Line::V05)), b"id: 9\n");
        assert_eq!(field(b"event", b"", &wire(Line::V035)), b"event: ");
    }

    #[test]
    fn a_channel_id_with_line_ends_stays_on_its_line() {
        let mut out = Vec::new();
        let message = Message::pseudo(1, b"x");
        let wire = wire(Line::V05);
        let template = Template::new(&message_template(b"~channel~|~text~", &wire), &wire);
        data(&template, &Values::new(b"a\r\ndata: b", &message), &wire, &mut out);
        assert_eq!(out, b"data: a  data: b|x\n\n");
        assert_eq!(field(b"id", b"1\nevent: x", &wire), b"id: 1 event: x\n");
    }

    proptest! {
        #[test]
        fn no_text_can_break_out_of_its_data_lines(text in prop::collection::vec(any::<u8>(), 0..100)) {
            let mut out = Vec::new();
            let message = Message::pseudo(1, &text);
            let wire = wire(Line::V05);
            data(&Template::new(b"data: ~text~\n", &wire), &Values::new(b"", &message), &wire, &mut out);
            prop_assert!(out.ends_with(b"\n"));
            let body = &out[..out.len() - 1];
            prop_assert!(body.split(|b| *b == b'\n').all(|line| line.is_empty() || line.starts_with(b"data: ")));
        }
    }
}
