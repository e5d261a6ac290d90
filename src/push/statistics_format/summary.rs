//! The bytes of the summary of the zone, with its workers.

use super::writer::{Value, Writer, XML_DECLARATION, put, write_xml_members};
use super::{Layout, Summary, Worker};

impl Writer {
    /// The whole answer about the zone.
    pub fn summary(self, summary: &Summary<'_>) -> Vec<u8> {
        let mut out = Vec::with_capacity(1024);
        let members = self.summary_members(summary);
        match self.layout {
            Layout::Plain | Layout::Yaml => {
                let indent = if self.layout == Layout::Yaml { "  " } else { "" };
                for (name, value) in &members {
                    put(&mut out, format_args!("{indent}{name}: {value}\r\n"));
                }
                put(&mut out, format_args!("{indent}by_worker:\r\n"));
            }
            Layout::Json => {
                self.write_json_members(&members, &mut out);
                out.extend_from_slice(b", \"by_worker\": [\r\n");
            }
            Layout::Xml => {
                put(&mut out, format_args!("{XML_DECLARATION}<infos>\r\n"));
                write_xml_members(&members, &mut out);
                out.extend_from_slice(b"  <by_worker>");
            }
        }
        let separator: &[u8] = match self.layout {
            Layout::Plain | Layout::Json => b",\r\n",
            Layout::Yaml => b"\r\n",
            Layout::Xml => b"",
        };
        for (place, worker) in summary.workers.iter().enumerate() {
            if place > 0 {
                out.extend_from_slice(separator);
            }
            self.write_worker(worker, &mut out);
        }
        out.extend_from_slice(match self.layout {
            Layout::Plain | Layout::Yaml => b"\r\n".as_slice(),
            Layout::Json => b"\r\n]}\r\n",
            Layout::Xml => b"</by_worker>\r\n</infos>\r\n",
        });
        out
    }

    fn summary_members(self, summary: &Summary<'_>) -> Vec<(&'static str, Value)> {
        let mut members = self.heading_members(&summary.heading);
        let uptime = members.pop();
        members.push(("published_messages", Value::Number(summary.published)));
        if self.capabilities.summary_counts_stored {
            members.push(("stored_messages", Value::Number(summary.stored)));
            members.push(("messages_in_trash", Value::Number(summary.messages_in_trash)));
            if self.capabilities.summary_counts_deleted {
                members.push(("channels_in_delete", Value::Number(summary.channels_in_delete)));
            }
            members.push(("channels_in_trash", Value::Number(summary.channels_in_trash)));
        }
        members.push(("subscribers", Value::Number(summary.subscribers)));
        members.extend(uptime);
        members
    }

    fn write_worker(self, worker: &Worker, out: &mut Vec<u8>) {
        let Worker { pid, subscribers, uptime } = *worker;
        match self.layout {
            Layout::Plain => {
                put(out, format_args!("  pid: {pid}\r\n  subscribers: {subscribers}\r\n  uptime: {uptime}"));
            }
            Layout::Json => {
                let q = self.quote();
                put(out, format_args!("{{\"pid\": \"{pid}\", \"subscribers\": {q}{subscribers}{q}, "));
                put(out, format_args!("\"uptime\": {q}{uptime}{q}}}"));
            }
            Layout::Yaml => {
                put(
                    out,
                    format_args!("   -\r\n    pid: {pid}\r\n    subscribers: {subscribers}\r\n    uptime: {uptime}"),
                );
            }
            Layout::Xml => {
                put(
                    out,
                    format_args!("<worker>\r\n  <pid>{pid}</pid>\r\n  <subscribers>{subscribers}</subscribers>\r\n"),
                );
                put(out, format_args!("  <uptime>{uptime}</uptime>\r\n</worker>\r\n"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Capabilities, Compat, Line};
    use crate::push::fields::version_headers;
    use crate::push::statistics_format::{Format, Heading};

    const HEADING: Heading<'static> =
        Heading { hostname: "h", time: 1_795_373_031, channels: 2, wildcard_channels: 1, uptime: 9 };

    fn writer(format: Format, line: Line) -> Writer {
        Writer::new(format, &Capabilities::of(Compat { line, strict: false }))
    }

    fn summary(format: Format, line: Line) -> String {
        let worker = Worker { pid: 77, subscribers: 5, uptime: 8 };
        let summary = Summary {
            heading: HEADING,
            published: 10,
            stored: 11,
            messages_in_trash: 12,
            channels_in_delete: 13,
            channels_in_trash: 14,
            subscribers: 15,
            workers: vec![worker, Worker { pid: 78, ..worker }],
        };
        String::from_utf8(writer(format, line).summary(&summary)).unwrap()
    }

    #[test]
    fn the_summary_in_every_format() {
        assert_eq!(
            summary(Format::Json, Line::V05),
            "{\"hostname\": \"h\", \"time\": \"2026-11-22T18:43:51\", \"channels\": 2, \"wildcard_channels\": 1, \
             \"published_messages\": 10, \"stored_messages\": 11, \"messages_in_trash\": 12, \"channels_in_delete\": 13, \
             \"channels_in_trash\": 14, \"subscribers\": 15, \"uptime\": 9, \"by_worker\": [\r\n\
             {\"pid\": \"77\", \"subscribers\": 5, \"uptime\": 8},\r\n\
             {\"pid\": \"78\", \"subscribers\": 5, \"uptime\": 8}\r\n]}\r\n"
        );
        assert_eq!(
            summary(Format::Plain, Line::V05),
            "hostname: h\r\ntime: 2026-11-22T18:43:51\r\nchannels: 2\r\nwildcard_channels: 1\r\npublished_messages: 10\r\n\
             stored_messages: 11\r\nmessages_in_trash: 12\r\nchannels_in_delete: 13\r\nchannels_in_trash: 14\r\n\
             subscribers: 15\r\nuptime: 9\r\nby_worker:\r\n  pid: 77\r\n  subscribers: 5\r\n  uptime: 8,\r\n  \
             pid: 78\r\n  subscribers: 5\r\n  uptime: 8\r\n"
        );
        let yaml = summary(Format::XYaml, Line::V05);
        assert!(yaml.starts_with("  hostname: h\r\n  time: 2026-11-22T18:43:51\r\n  channels: 2\r\n"));
        assert!(yaml.ends_with(
            "  uptime: 9\r\n  by_worker:\r\n   -\r\n    pid: 77\r\n    subscribers: 5\r\n    uptime: 8\r\n   \
             -\r\n    pid: 78\r\n    subscribers: 5\r\n    uptime: 8\r\n"
        ));
        let xml = summary(Format::Xml, Line::V05);
        assert!(
            xml.starts_with("<?xml version=\"1.0\" encoding=\"UTF-8\" ?>\r\n<infos>\r\n  <hostname>h</hostname>\r\n")
        );
        assert!(xml.ends_with(
            "  <by_worker><worker>\r\n  <pid>77</pid>\r\n  <subscribers>5</subscribers>\r\n  <uptime>8</uptime>\r\n</worker>\r\n\
             <worker>\r\n  <pid>78</pid>\r\n  <subscribers>5</subscribers>\r\n  <uptime>8</uptime>\r\n</worker>\r\n\
             </by_worker>\r\n</infos>\r\n"
        ));
    }

    #[test]
    fn older_lines_know_fewer_members() {
        assert!(summary(Format::Plain, Line::V034).contains(
            "channels: 2\r\nbroadcast_channels: 1\r\npublished_messages: 10\r\nsubscribers: 15\r\nuptime: 9\r\n"
        ));
        assert!(summary(Format::Json, Line::V040).contains(
            "\"wildcard_channels\": \"1\", \"published_messages\": \"10\", \"stored_messages\": \"11\", \
             \"messages_in_trash\": \"12\", \"channels_in_trash\": \"14\", \"subscribers\": \"15\", \"uptime\": \"9\", "
        ));
        assert!(
            summary(Format::Json, Line::V034).contains("{\"pid\": \"77\", \"subscribers\": \"5\", \"uptime\": \"8\"}")
        );
        assert_eq!(&*version_headers(&Capabilities::of(Compat { line: Line::V035, strict: false }))[0].1, b"0.3.4");
    }
}
