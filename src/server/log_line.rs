//! A line of the error log: as nginx spells it, or as a JSON object.
//!
//! Knows no file. Invariant: one event is one line, and what clients have sent cannot make it another; a JSON line is JSON.

use std::fmt::Write as _;

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;
use tracing::Event;
use tracing::field::{Field, Visit};

use crate::conf::settings::{LogLevel, LogStyle};
use crate::model::{Now, harmless_json};
use crate::request::date::{log_date, rfc3339};

/// What a line of JSON begins with, which no field may be called.
const HEAD: [&str; 4] = ["time", "level", "pid", "message"];

/// What is told.
#[derive(Debug, Default)]
pub(super) struct LogLine {
    message: String,
    fields: Vec<Told>,
}

/// A field.
#[derive(Debug)]
struct Told {
    name: &'static str,
    value: Value,
    /// Text of a client, which nginx puts in quotes.
    quoted: bool,
}

impl LogLine {
    /// A line that is a text.
    pub(super) fn text(message: &str) -> Self {
        Self { message: message.to_owned(), fields: Vec::new() }
    }

    /// The line of an event.
    pub(super) fn of(event: &Event<'_>) -> Self {
        let mut line = Self::default();
        event.record(&mut line);
        line
    }

    /// The line with its end.
    pub(super) fn spelled(&self, style: LogStyle, level: LogLevel, now: Now) -> String {
        let pid = std::process::id();
        match style {
            LogStyle::Text => self.as_nginx(level, now, pid),
            LogStyle::Json => {
                let object = Object { line: self, level, time: rfc3339(now), pid };
                // Strings and numbers under names: nothing that could fail.
                let json = serde_json::to_string(&object).unwrap_or_default();
                harmless_json(&json).into_owned() + "\n"
            }
        }
    }

    fn as_nginx(&self, level: LogLevel, now: Now, pid: u32) -> String {
        let mut line = format!("{} [{}] {pid}#0: ", log_date(now), name(level));
        if let Some(Told { value, .. }) = self.fields.iter().find(|told| told.name == CONNECTION) {
            let _ = write!(line, "*{value} ");
        }
        plain(&self.message, ' ', &mut line);
        for Told { name, value, quoted } in self.fields.iter().filter(|told| told.name != CONNECTION) {
            let _ = write!(line, ", {name}: ");
            match value {
                Value::String(text) if *quoted => {
                    line.push('"');
                    plain(text, '?', &mut line);
                    line.push('"');
                }
                Value::String(text) => plain(text, ' ', &mut line),
                other => {
                    let _ = write!(line, "{other}");
                }
            }
        }
        line.push('\n');
        line
    }

    fn tell(&mut self, field: &Field, value: Value, quoted: bool) {
        match (field.name(), value) {
            ("message", Value::String(text)) => self.message = text,
            (name, value) => self.fields.push(Told { name, value, quoted }),
        }
    }
}

/// The field that nginx puts before the text.
const CONNECTION: &str = "connection";

/// nginx's name of a level.
pub(super) fn name(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Debug => "debug",
        LogLevel::Info => "info",
        LogLevel::Notice => "notice",
        LogLevel::Warn => "warn",
        LogLevel::Error => "error",
        LogLevel::Crit => "crit",
        LogLevel::Alert => "alert",
        LogLevel::Emerg => "emerg",
    }
}

/// Appends a text without what a terminal acts upon, or what could pass for another line.
fn plain(text: &str, instead: char, line: &mut String) {
    let ends = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    line.extend(text.chars().map(|c| if ends(c) { instead } else { c }));
}

impl Visit for LogLine {
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.tell(field, value.into(), false);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.tell(field, value.into(), false);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.tell(field, value.into(), false);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.tell(field, value.into(), false);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.tell(field, value.into(), true);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.tell(field, format!("{value:?}").into(), false);
    }
}

/// A line as an object.
struct Object<'a> {
    line: &'a LogLine,
    level: LogLevel,
    time: String,
    pid: u32,
}

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("time", &self.time)?;
        map.serialize_entry("level", name(self.level))?;
        map.serialize_entry("pid", &self.pid)?;
        map.serialize_entry("message", &self.line.message)?;
        for Told { name, value, .. } in self.line.fields.iter().filter(|told| !HEAD.contains(&told.name)) {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(message: &str, client: &str, request: &str) -> LogLine {
        let told = |name, text: &str, quoted| Told { name, value: text.into(), quoted };
        let mut line = LogLine::text(message);
        line.fields = vec![
            Told { name: CONNECTION, value: 7.into(), quoted: false },
            told("client", client, false),
            told("request", request, true),
            Told { name: "seconds", value: 1.5.into(), quoted: false },
        ];
        line
    }

    #[test]
    fn a_line_is_nginxs_or_an_object() {
        let told = line("it failed", "::1", "GET / HTTP/1.1");
        let text = told.spelled(LogStyle::Text, LogLevel::Error, Now(0));
        let wanted = format!(
            "[error] {}#0: *7 it failed, client: ::1, request: \"GET / HTTP/1.1\", seconds: 1.5\n",
            std::process::id()
        );
        assert!(text.ends_with(&wanted), "{text}");
        let json: Value = serde_json::from_str(&told.spelled(LogStyle::Json, LogLevel::Crit, Now(0))).unwrap();
        assert_eq!((&json["level"], &json["message"]), (&"crit".into(), &"it failed".into()));
        assert_eq!(
            (&json["connection"], &json["seconds"], &json["pid"]),
            (&7.into(), &1.5.into(), &std::process::id().into())
        );
        assert_eq!(json["time"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_millisecond(), 0);
    }

    proptest! {
        #[test]
        fn whatever_is_told_is_one_line(message in any::<String>(), client in any::<String>(), request in any::<String>()) {
            let told = line(&message, &client, &request);
            let text = told.spelled(LogStyle::Text, LogLevel::Info, Now(0));
            prop_assert_eq!(text.chars().filter(|c| c.is_control()).collect::<String>(), "\n");
            prop_assert!(text.ends_with('\n'));
            let json = told.spelled(LogStyle::Json, LogLevel::Info, Now(0));
            prop_assert_eq!(json.chars().filter(|c| c.is_control() || *c == '\u{2028}').collect::<String>(), "\n");
            let read: Value = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(read["message"].as_str(), Some(&*message));
            prop_assert_eq!(read["client"].as_str(), Some(&*client));
            prop_assert_eq!(read["request"].as_str(), Some(&*request));
        }
    }
}
