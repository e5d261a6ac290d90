//! One line of an access log: the format filled in with a request and what became of it.
//!
//! A subscriber outlives its request's buffers by hours, so a line is made in two steps: [`OpenLine::open`] fills in what
//! the request knows, [`OpenLine::close`] what only its end knows. The name of a file that a request chooses is made in the same
//! way. Does not know files; the server writes the lines.

use http::HeaderMap;
use smallvec::SmallVec;

use super::exchange::Exchange;
use crate::conf::settings::{AccessLog, LogEscape};
use crate::conf::variable::{Builtin, Complex, Part, Variable};
use crate::model::{Now, harmless_json, write_json_text};
use crate::request::date;

/// What became of a request.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Outcome<'a> {
    /// Status as sent; 0 when nothing was (`000`).
    pub status: u16,
    /// Bytes sent, head included.
    pub bytes_sent: u64,
    /// Bytes of body sent.
    pub body_bytes_sent: u64,
    /// Milliseconds from the first byte of the request to the end.
    pub request_time: u64,
    /// When the request ended.
    pub now: Now,
    /// Whether the reply was sent in full (`$request_completion`).
    pub complete: bool,
    /// The head that was sent, for `$sent_http_NAME`.
    pub sent_head: SentHead<'a>,
}

/// A head that was sent, as its wire has it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum SentHead<'a> {
    /// None is at hand any more.
    #[default]
    Unknown,
    /// Lines of HTTP/1.
    Spelled(&'a [u8]),
    /// Fields.
    Fields(&'a HeaderMap),
}

/// A line that waits for the end of its request.
#[derive(Clone, Debug)]
pub(crate) struct OpenLine {
    text: Vec<u8>,
    /// Where something is to be put in, in order.
    gaps: SmallVec<[(usize, Variable); 6]>,
    escape: LogEscape,
}

/// Whether a log wants a line for this request (`if=`).
pub(crate) fn wants(log: &AccessLog, exchange: &Exchange<'_>) -> bool {
    match &log.condition {
        None => true,
        Some(condition) => {
            let value = exchange.value(condition);
            !value.is_empty() && *value != *b"0"
        }
    }
}

/// The line of a request that is over, with its line end.
#[cfg(test)]
pub(crate) fn line(
    format: &crate::conf::settings::LogFormat,
    exchange: &Exchange<'_>,
    outcome: &Outcome<'_>,
) -> Vec<u8> {
    let mut line = OpenLine::open(&format.line, format.escape, exchange).close(outcome);
    line.push(b'\n');
    line
}

impl OpenLine {
    /// Fills in what the request knows.
    pub(crate) fn open(template: &Complex, how: LogEscape, exchange: &Exchange<'_>) -> Self {
        let mut line = Self { text: Vec::with_capacity(192), gaps: SmallVec::new(), escape: how };
        for part in &template.parts {
            match part {
                Part::Text(text) => line.text.extend_from_slice(text),
                Part::Variable(variable) if is_known_at_end(variable) => {
                    line.gaps.push((line.text.len(), variable.clone()));
                }
                Part::Variable(variable) => escape(&exchange.variable(variable), how, &mut line.text),
            }
        }
        line
    }

    /// Fills in what the end of the request knows; the line without its end.
    pub(crate) fn close(&self, outcome: &Outcome<'_>) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.text.len() + 64);
        let mut from = 0;
        for (at, variable) in &self.gaps {
            out.extend_from_slice(self.text.get(from..*at).unwrap_or_default());
            from = *at;
            escape(&value_at_end(variable, outcome, self.escape), self.escape, &mut out);
        }
        out.extend_from_slice(self.text.get(from..).unwrap_or_default());
        out
    }
}

fn is_known_at_end(variable: &Variable) -> bool {
    matches!(
        variable,
        Variable::SentHttp(_)
            | Variable::Builtin(
                Builtin::Status
                    | Builtin::BytesSent
                    | Builtin::BodyBytesSent
                    | Builtin::RequestTime
                    | Builtin::RequestCompletion
                    | Builtin::Msec
                    | Builtin::TimeLocal
                    | Builtin::TimeIso8601
            )
    )
}

fn value_at_end(variable: &Variable, outcome: &Outcome<'_>, how: LogEscape) -> Vec<u8> {
    let text = match variable {
        // A number of JSON begins with no zeros, and one time stands in all its lines.
        Variable::Builtin(Builtin::Status) if how == LogEscape::Object => outcome.status.to_string(),
        Variable::Builtin(Builtin::TimeIso8601) if how == LogEscape::Object => date::rfc3339(outcome.now),
        Variable::SentHttp(name) => return outcome.sent_head.field(name.as_bytes()).to_vec(),
        Variable::Builtin(Builtin::Status) => format!("{:03}", outcome.status),
        Variable::Builtin(Builtin::BytesSent) => outcome.bytes_sent.to_string(),
        Variable::Builtin(Builtin::BodyBytesSent) => outcome.body_bytes_sent.to_string(),
        Variable::Builtin(Builtin::RequestTime) => date::seconds(outcome.request_time),
        Variable::Builtin(Builtin::RequestCompletion) if outcome.complete => "OK".to_owned(),
        Variable::Builtin(Builtin::Msec) => date::msec(outcome.now),
        Variable::Builtin(Builtin::TimeLocal) => date::time_local(outcome.now),
        Variable::Builtin(Builtin::TimeIso8601) => date::time_iso8601(outcome.now),
        _ => String::new(),
    };
    text.into_bytes()
}

impl<'a> SentHead<'a> {
    /// The first field whose name, lower-cased and with `_` for `-`, is `name`.
    fn field(self, name: &[u8]) -> &'a [u8] {
        let is_name = |sent: &[u8]| {
            sent.len() == name.len()
                && sent.iter().zip(name).all(|(&sent, &wanted)| {
                    let sent = if sent == b'-' { b'_' } else { sent.to_ascii_lowercase() };
                    sent == wanted
                })
        };
        match self {
            Self::Unknown => b"",
            Self::Spelled(head) => head
                .split(|&byte| byte == b'\n')
                .skip(1)
                .filter_map(|line| Some((line, memchr::memchr(b':', line)?)))
                .find(|(line, colon)| line.get(..*colon).is_some_and(is_name))
                .and_then(|(line, colon)| line.get(colon + 1..))
                .unwrap_or_default()
                .trim_ascii(),
            Self::Fields(fields) => fields
                .iter()
                .find(|(sent, _)| is_name(sent.as_str().as_bytes()))
                .map(|(_, value)| value.as_bytes())
                .unwrap_or_default(),
        }
    }
}

/// Appends a value as the format asks. By default an empty value is `-`.
fn escape(value: &[u8], how: LogEscape, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let digit = |value: u8| HEX.get(usize::from(value & 15)).copied().unwrap_or(b'0');
    match how {
        LogEscape::None => out.extend_from_slice(value),
        LogEscape::Default if value.is_empty() => out.push(b'-'),
        LogEscape::Default => {
            for &byte in value {
                if !(0x20..0x7f).contains(&byte) || matches!(byte, b'"' | b'\\') {
                    out.extend_from_slice(&[b'\\', b'x', digit(byte >> 4), digit(byte)]);
                } else {
                    out.push(byte);
                }
            }
        }
        LogEscape::Object => {
            let mut text = Vec::with_capacity(value.len());
            write_json_text(value, &mut text);
            out.extend_from_slice(harmless_json(&String::from_utf8_lossy(&text)).as_bytes());
        }
        LogEscape::Json => {
            for &byte in value {
                match byte {
                    b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
                    b'\n' => out.extend_from_slice(b"\\n"),
                    b'\r' => out.extend_from_slice(b"\\r"),
                    b'\t' => out.extend_from_slice(b"\\t"),
                    0x08 => out.extend_from_slice(b"\\b"),
                    0x0c => out.extend_from_slice(b"\\f"),
                    0..0x20 => out.extend_from_slice(&[b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte)]),
                    byte => out.push(byte),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(value: &str, how: LogEscape) -> String {
        let mut out = Vec::new();
        escape(value.as_bytes(), how, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn values_are_escaped_as_the_format_asks() {
        assert_eq!(escaped("a\"b\\c\n\u{e9}", LogEscape::Default), "a\\x22b\\x5Cc\\x0A\\xC3\\xA9");
        assert_eq!(escaped("", LogEscape::Default), "-");
        assert_eq!(escaped("a\"b\\c\n\u{1}\u{e9}", LogEscape::Json), "a\\\"b\\\\c\\n\\u0001\u{e9}");
        assert_eq!(escaped("", LogEscape::Json), "");
        assert_eq!(escaped("a\"\n", LogEscape::None), "a\"\n");
        let mut bytes = [Vec::new(), Vec::new()];
        escape(b"\xff\n", LogEscape::Json, &mut bytes[0]);
        escape(b"\xff\n", LogEscape::Object, &mut bytes[1]);
        assert_eq!(bytes, [b"\xff\\n".to_vec(), "\u{fffd}\\u000a".into()], "nginx lets through what is no UTF-8");
    }

    #[test]
    fn sent_fields_are_found_by_name() {
        let head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-One: 1\r\n\r\n";
        assert_eq!(SentHead::Spelled(head).field(b"content_type"), b"text/plain");
        assert_eq!(SentHead::Spelled(head).field(b"x_one"), b"1");
        assert_eq!(SentHead::Spelled(head).field(b"x"), b"");
        assert_eq!(SentHead::Unknown.field(b"x"), b"");
    }
}
