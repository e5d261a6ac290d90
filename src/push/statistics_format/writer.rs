//! The bytes of one channel and of a group, which is written row by row.
//!
//! What separates two rows is written before the second, so that nobody has to know which row is the last.

use std::io::Write;

use super::{Format, Heading, Layout, Row, escape};
use crate::model::Capabilities;

/// Writes answers of one format.
#[derive(Clone, Copy, Debug)]
pub struct Writer {
    pub(super) layout: Layout,
    pub(super) capabilities: Capabilities,
}

pub(super) const XML_DECLARATION: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\" ?>\r\n";

impl Writer {
    /// A writer of the format.
    pub fn new(format: Format, capabilities: &Capabilities) -> Self {
        Self { layout: format.layout(), capabilities: *capabilities }
    }

    /// The whole answer about one channel.
    pub fn one(self, row: &Row<'_>) -> Vec<u8> {
        let mut out = Vec::with_capacity(row.id.len() + 160);
        match self.layout {
            Layout::Plain | Layout::Json | Layout::Yaml => {
                self.write_row(row, &mut out);
                out.extend_from_slice(b"\r\n");
            }
            Layout::Xml => {
                out.extend_from_slice(XML_DECLARATION.as_bytes());
                self.write_row(row, &mut out);
                out.extend_from_slice(b"\r\n\r\n");
            }
        }
        out
    }

    /// Begins an answer about a group of channels.
    pub fn group(self, heading: &Heading<'_>, out: &mut Vec<u8>) -> Group {
        let members = self.heading_members(heading);
        match self.layout {
            Layout::Plain => {
                for (name, value) in &members {
                    put(out, format_args!("{name}: {value}, "));
                }
                out.extend_from_slice(b"infos: \r\n");
            }
            Layout::Json => {
                self.write_json_members(&members, out);
                out.extend_from_slice(b", \"infos\": [\r\n");
            }
            Layout::Yaml => {
                for (name, value) in &members {
                    put(out, format_args!("{name}: {value}\r\n"));
                }
                out.extend_from_slice(b"infos: \r\n");
            }
            Layout::Xml => {
                put(out, format_args!("{XML_DECLARATION}<root>\r\n"));
                write_xml_members(&members, out);
                out.extend_from_slice(b"  <infos>\r\n");
            }
        }
        Group { writer: self, any: false }
    }

    pub(super) fn heading_members(self, heading: &Heading<'_>) -> Vec<(&'static str, Value)> {
        vec![
            ("hostname", Value::Text(heading.hostname.to_owned())),
            ("time", Value::Text(iso_time(heading.time))),
            ("channels", Value::Number(heading.channels)),
            (self.wildcard_name(), Value::Number(heading.wildcard_channels)),
            ("uptime", Value::Number(heading.uptime)),
        ]
    }

    fn wildcard_name(self) -> &'static str {
        if self.capabilities.says_broadcast { "broadcast_channels" } else { "wildcard_channels" }
    }

    /// The quotation mark around numbers in JSON, where they are strings.
    pub(super) fn quote(self) -> &'static str {
        if self.capabilities.numbers_are_strings { "\"" } else { "" }
    }

    pub(super) fn write_json_members(self, members: &[(&'static str, Value)], out: &mut Vec<u8>) {
        let quote = self.quote();
        for (place, (name, value)) in members.iter().enumerate() {
            let before = if place == 0 { "{" } else { ", " };
            match value {
                Value::Text(text) => put(out, format_args!("{before}\"{name}\": \"{text}\"")),
                Value::Number(number) => put(out, format_args!("{before}\"{name}\": {quote}{number}{quote}")),
            }
        }
    }

    /// A channel without what separates or ends it.
    fn write_row(self, row: &Row<'_>, out: &mut Vec<u8>) {
        let [id, published, stored, subscribers, end] = self.words_of_a_row();
        let quote = if self.layout == Layout::Json { self.quote() } else { "" };
        out.extend_from_slice(id.as_bytes());
        self.write_id(row.id, out);
        for (word, number) in [(published, row.published), (stored, row.stored), (subscribers, row.subscribers)] {
            for part in [word, quote, itoa::Buffer::new().format(number), quote] {
                out.extend_from_slice(part.as_bytes());
            }
        }
        out.extend_from_slice(end.as_bytes());
    }

    /// What stands before the id and each number of a channel, and behind the last.
    fn words_of_a_row(self) -> [&'static str; 5] {
        match self.layout {
            Layout::Plain => {
                ["channel: ", "\r\npublished_messages: ", "\r\nstored_messages: ", "\r\nactive_subscribers: ", ""]
            }
            Layout::Json => [
                "{\"channel\": \"",
                "\", \"published_messages\": ",
                ", \"stored_messages\": ",
                ", \"subscribers\": ",
                "}",
            ],
            Layout::Yaml => {
                ["  channel: ", "\r\n  published_messages: ", "\r\n  stored_messages: ", "\r\n  subscribers: ", ""]
            }
            Layout::Xml => [
                "<channel>\r\n  <name>",
                "</name>\r\n  <published_messages>",
                "</published_messages>\r\n  <stored_messages>",
                "</stored_messages>\r\n  <subscribers>",
                "</subscribers>\r\n</channel>",
            ],
        }
    }

    fn write_id(self, id: &[u8], out: &mut Vec<u8>) {
        if !self.capabilities.ids_are_escaped {
            let end = memchr::memchr(0, id).unwrap_or(id.len());
            return out.extend_from_slice(id.get(..end).unwrap_or_default());
        }
        match self.layout {
            Layout::Json => escape::json(id, out),
            Layout::Xml => escape::xml(id, out),
            Layout::Yaml => escape::yaml(id, out),
            Layout::Plain => escape::line(id, out),
        }
    }
}

/// A listing under way: rows may follow, and in the end [`Group::finish`].
#[derive(Debug)]
pub struct Group {
    writer: Writer,
    any: bool,
}

impl Group {
    /// Appends a channel.
    pub fn row(&mut self, row: &Row<'_>, out: &mut Vec<u8>) {
        let layout = self.writer.layout;
        if self.any {
            out.extend_from_slice(match layout {
                Layout::Plain | Layout::Json => b",\r\n".as_slice(),
                Layout::Yaml | Layout::Xml => b"\r\n",
            });
        }
        if layout == Layout::Yaml {
            out.extend_from_slice(b" -\r\n");
        }
        self.writer.write_row(row, out);
        self.any = true;
    }

    /// Appends the end of the listing.
    pub fn finish(self, out: &mut Vec<u8>) {
        let layout = self.writer.layout;
        if self.any || matches!(layout, Layout::Plain | Layout::Yaml) {
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(match layout {
            Layout::Plain | Layout::Yaml => b"".as_slice(),
            Layout::Json => b"]}\r\n",
            Layout::Xml => b"  </infos>\r\n</root>\r\n",
        });
    }
}

/// The value of a member.
pub(super) enum Value {
    Text(String),
    Number(u64),
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Number(number) => write!(f, "{number}"),
        }
    }
}

pub(super) fn write_xml_members(members: &[(&'static str, Value)], out: &mut Vec<u8>) {
    for (name, value) in members {
        put(out, format_args!("  <{name}>{value}</{name}>\r\n"));
    }
}

pub(super) fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // Writing into a Vec cannot fail.
    let _ = out.write_fmt(text);
}

/// `YYYY-MM-DDThh:mm:ss`, UTC.
fn iso_time(secs: u64) -> String {
    let time = jiff::Timestamp::from_second(i64::try_from(secs).unwrap_or(i64::MAX)).unwrap_or(jiff::Timestamp::MAX);
    time.strftime("%Y-%m-%dT%H:%M:%S").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Compat, Line};

    const FORMATS: [Format; 6] = [Format::Plain, Format::Json, Format::XJson, Format::Yaml, Format::XYaml, Format::Xml];
    const HEADING: Heading<'static> =
        Heading { hostname: "h", time: 1_795_373_031, channels: 2, wildcard_channels: 1, uptime: 9 };
    const ALPHA: Row<'static> = Row { id: b"alpha", published: 3, stored: 2, subscribers: 1 };
    const BETA: Row<'static> = Row { id: b"beta", published: 0, stored: 0, subscribers: 0 };

    fn writer(format: Format, line: Line) -> Writer {
        Writer::new(format, &Capabilities::of(Compat { line, strict: false }))
    }

    fn one(format: Format, line: Line, row: &Row<'_>) -> String {
        String::from_utf8(writer(format, line).one(row)).unwrap()
    }

    fn group(format: Format, line: Line, rows: &[Row<'_>]) -> String {
        let mut out = Vec::new();
        let mut group = writer(format, line).group(&HEADING, &mut out);
        for row in rows {
            group.row(row, &mut out);
        }
        group.finish(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn one_channel_in_every_format() {
        for (format, expected) in FORMATS.into_iter().zip([
            "channel: alpha\r\npublished_messages: 3\r\nstored_messages: 2\r\nactive_subscribers: 1\r\n",
            "{\"channel\": \"alpha\", \"published_messages\": 3, \"stored_messages\": 2, \"subscribers\": 1}\r\n",
            "{\"channel\": \"alpha\", \"published_messages\": 3, \"stored_messages\": 2, \"subscribers\": 1}\r\n",
            "  channel: alpha\r\n  published_messages: 3\r\n  stored_messages: 2\r\n  subscribers: 1\r\n",
            "  channel: alpha\r\n  published_messages: 3\r\n  stored_messages: 2\r\n  subscribers: 1\r\n",
            "<?xml version=\"1.0\" encoding=\"UTF-8\" ?>\r\n<channel>\r\n  <name>alpha</name>\r\n  \
             <published_messages>3</published_messages>\r\n  <stored_messages>2</stored_messages>\r\n  \
             <subscribers>1</subscribers>\r\n</channel>\r\n\r\n",
        ]) {
            assert_eq!(one(format, Line::V05, &ALPHA), expected);
        }
        assert_eq!(
            one(Format::Json, Line::V040, &ALPHA),
            "{\"channel\": \"alpha\", \"published_messages\": \"3\", \"stored_messages\": \"2\", \"subscribers\": \"1\"}\r\n"
        );
    }

    #[test]
    fn a_group_in_every_format() {
        let rows = [ALPHA, BETA];
        assert_eq!(
            group(Format::Plain, Line::V05, &rows),
            "hostname: h, time: 2026-11-22T18:43:51, channels: 2, wildcard_channels: 1, uptime: 9, infos: \r\n\
             channel: alpha\r\npublished_messages: 3\r\nstored_messages: 2\r\nactive_subscribers: 1,\r\n\
             channel: beta\r\npublished_messages: 0\r\nstored_messages: 0\r\nactive_subscribers: 0\r\n"
        );
        assert_eq!(
            group(Format::Json, Line::V05, &rows),
            "{\"hostname\": \"h\", \"time\": \"2026-11-22T18:43:51\", \"channels\": 2, \"wildcard_channels\": 1, \
             \"uptime\": 9, \"infos\": [\r\n\
             {\"channel\": \"alpha\", \"published_messages\": 3, \"stored_messages\": 2, \"subscribers\": 1},\r\n\
             {\"channel\": \"beta\", \"published_messages\": 0, \"stored_messages\": 0, \"subscribers\": 0}\r\n]}\r\n"
        );
        assert_eq!(
            group(Format::Yaml, Line::V05, &rows),
            "hostname: h\r\ntime: 2026-11-22T18:43:51\r\nchannels: 2\r\nwildcard_channels: 1\r\nuptime: 9\r\ninfos: \r\n \
             -\r\n  channel: alpha\r\n  published_messages: 3\r\n  stored_messages: 2\r\n  subscribers: 1\r\n \
             -\r\n  channel: beta\r\n  published_messages: 0\r\n  stored_messages: 0\r\n  subscribers: 0\r\n"
        );
        let xml = group(Format::Xml, Line::V034, &rows);
        assert!(xml.starts_with(
            "<?xml version=\"1.0\" encoding=\"UTF-8\" ?>\r\n<root>\r\n  <hostname>h</hostname>\r\n  \
             <time>2026-11-22T18:43:51</time>\r\n  <channels>2</channels>\r\n  <broadcast_channels>1</broadcast_channels>\r\n  \
             <uptime>9</uptime>\r\n  <infos>\r\n<channel>\r\n  <name>alpha</name>\r\n"
        ));
        assert!(xml.ends_with("</channel>\r\n  </infos>\r\n</root>\r\n"));
        assert!(xml.contains("</channel>\r\n<channel>\r\n"));
    }

    #[test]
    fn a_group_without_channels_is_still_whole() {
        for (format, end) in [
            (Format::Plain, "infos: \r\n\r\n"),
            (Format::Json, "\"infos\": [\r\n]}\r\n"),
            (Format::Yaml, "infos: \r\n\r\n"),
            (Format::Xml, "  <infos>\r\n  </infos>\r\n</root>\r\n"),
        ] {
            assert!(group(format, Line::V05, &[]).ends_with(end), "{format:?}");
        }
        assert!(group(Format::Json, Line::V040, &[]).contains("\"channels\": \"2\", \"wildcard_channels\": \"1\", "));
    }

    #[test]
    fn ids_are_escaped_unless_the_module_is_followed_to_the_letter() {
        let row = |id| Row { id, ..BETA };
        assert!(one(Format::Json, Line::V05, &row(b"a\"b\\\n")).starts_with(r#"{"channel": "a\"b\\\u000a", "#));
        assert!(one(Format::Xml, Line::V05, &row(b"<a&b>")).contains("<name>&lt;a&amp;b&gt;</name>"));
        let strict = Writer::new(Format::Json, &Capabilities::of(Compat { line: Line::V05, strict: true }));
        assert!(strict.one(&row(b"a\"b\0c")).starts_with(b"{\"channel\": \"a\"b\", "));
        assert_eq!(strict.one(&ALPHA), writer(Format::XJson, Line::V05).one(&ALPHA));
    }

    #[test]
    fn times_are_dates_of_the_calendar() {
        for (secs, expected) in [
            (0, "1970-01-01T00:00:00"),
            (951_782_399, "2000-02-28T23:59:59"),
            (951_782_400, "2000-02-29T00:00:00"),
            (4_107_542_400, "2100-03-01T00:00:00"),
            (u64::MAX, "9999-12-30T22:00:00"),
        ] {
            assert_eq!(iso_time(secs), expected);
        }
    }
}
