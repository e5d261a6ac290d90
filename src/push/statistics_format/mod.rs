//! The numbers of channels in the six formats of the module: of one channel, of a group, of the whole zone.
//!
//! Pure templates of bytes: where the numbers come from and what status goes with them is not known here. A group is
//! written row by row, because a listing can be a million channels long. Ids that need no escaping give the module's bytes.

mod escape;
mod summary;
mod writer;

pub use writer::{Group, Writer};

/// A format of the answer, as chosen by `Accept`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Plain,
    Json,
    XJson,
    Yaml,
    XYaml,
    Xml,
}

/// The subtypes in the order in which they are compared.
const SUBTYPES: [(&[u8], Format); 6] = [
    (b"plain", Format::Plain),
    (b"json", Format::Json),
    (b"yaml", Format::Yaml),
    (b"xml", Format::Xml),
    (b"x-json", Format::XJson),
    (b"x-yaml", Format::XYaml),
];

impl Format {
    /// The format of an `Accept` value: behind the first `/` that is followed by a known subtype. Types, q-values and what
    /// follows the subtype do not matter; without a match it is JSON.
    pub fn choose(accept: Option<&[u8]>) -> Self {
        let accept = accept.unwrap_or_default();
        memchr::memchr_iter(b'/', accept)
            .filter_map(|slash| accept.get(slash + 1..))
            .find_map(|rest| SUBTYPES.iter().find(|(name, _)| rest.starts_with(name)))
            .map_or(Self::Json, |(_, format)| *format)
    }

    /// The `Content-Type` of the answer.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Plain => "text/plain",
            Self::Json => "application/json",
            Self::XJson => "text/x-json",
            Self::Yaml => "application/yaml",
            Self::XYaml => "text/x-yaml",
            Self::Xml => "application/xml",
        }
    }

    fn layout(self) -> Layout {
        match self {
            Self::Plain => Layout::Plain,
            Self::Json | Self::XJson => Layout::Json,
            Self::Yaml | Self::XYaml => Layout::Yaml,
            Self::Xml => Layout::Xml,
        }
    }
}

/// The numbers of one channel.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    /// The channel id.
    pub id: &'a [u8],
    /// Messages published since the channel was created.
    pub published: u64,
    /// Messages stored now.
    pub stored: u64,
    /// Subscriptions now.
    pub subscribers: u64,
}

/// What stands before the rows of a group.
#[derive(Clone, Copy, Debug)]
pub struct Heading<'a> {
    /// Name of the host.
    pub hostname: &'a str,
    /// Now, Unix seconds.
    pub time: u64,
    /// Channels that are not wildcard channels.
    pub channels: u64,
    /// Wildcard channels.
    pub wildcard_channels: u64,
    /// Seconds since the zone was created.
    pub uptime: u64,
}

/// The numbers of the whole zone.
#[derive(Clone, Debug)]
pub struct Summary<'a> {
    /// Host, time, channels and uptime.
    pub heading: Heading<'a>,
    /// Messages published since the zone was created.
    pub published: u64,
    /// Messages stored now.
    pub stored: u64,
    /// Messages that wait in the trash.
    pub messages_in_trash: u64,
    /// Channels that were deleted and are not in the trash yet.
    pub channels_in_delete: u64,
    /// Channels that wait in the trash.
    pub channels_in_trash: u64,
    /// Subscriber connections now.
    pub subscribers: u64,
    /// The workers by process slot.
    pub workers: Vec<Worker>,
}

/// The numbers of one worker.
#[derive(Clone, Copy, Debug)]
pub struct Worker {
    /// Process id.
    pub pid: u64,
    /// Its subscriber connections.
    pub subscribers: u64,
    /// Seconds since it started.
    pub uptime: u64,
}

/// The formats that differ in their bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    Plain,
    Json,
    Yaml,
    Xml,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_known_subtype_decides() {
        for (accept, expected) in [
            (None, Format::Json),
            (Some("*/*"), Format::Json),
            (Some("text/csv"), Format::Json),
            (Some("text/PLAIN"), Format::Json),
            (Some("*/*, application/xml"), Format::Xml),
            (Some("text/plainxx"), Format::Plain),
            (Some("text/html,application/xhtml+xml,application/xml;q=0.9"), Format::Xml),
            (Some("image/png, application/xml;q=0.2, text/plain"), Format::Xml),
            (Some("nonsense/yaml"), Format::Yaml),
            (Some("text/x-yaml"), Format::XYaml),
            (Some("/x-json"), Format::XJson),
            (Some("/"), Format::Json),
        ] {
            assert_eq!(Format::choose(accept.map(str::as_bytes)), expected, "{accept:?}");
        }
        let types = [Format::Plain, Format::Json, Format::XJson, Format::Yaml, Format::XYaml, Format::Xml]
            .map(Format::content_type);
        assert_eq!(
            types,
            ["text/plain", "application/json", "text/x-json", "application/yaml", "text/x-yaml", "application/xml"]
        );
    }
}
