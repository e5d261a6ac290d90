//! The zone-wide directives: defaults by line, and the module's checks; and which zone a server is of.
//!
//! The checks run only where a location uses the module, and name the line of the `}` that closes `http`.

use super::compiler::Compiler;
use super::error::{Fault, Note, Place, shown};
use super::objection::invalid_value;
use super::row_default::{default_number, default_word};
use super::scope::{Entry, Scope};
use super::settings::LogLevel;
use super::tree::Node;
use super::units;
use crate::model::{Line, Zone};

const PAGE: u64 = 4096;
/// Least capacity: 32 pages.
const LEAST_MEMORY: u64 = 32 * PAGE;
/// Most zones of a process, those of configurations before among them: each has memory, and maybe threads, of its own.
const MOST_ZONES: usize = 1024;
/// Most bytes of a zone's name, which is that of a directory too.
const LONGEST_NAME: usize = 64;
/// Capacity of 0.3.x where none is given.
const OLD_MEMORY: u64 = 32 << 20;

/// The zone of a configuration that sets nothing.
pub(super) fn defaults(line: Line) -> Zone {
    let old = line < Line::V040;
    let text = |name| Box::from(default_word(name).unwrap_or_default());
    Zone {
        memory: OLD_MEMORY,
        deleted_text: text("push_stream_channel_deleted_message_text"),
        inactivity: default_number("push_stream_channel_inactivity_time").map_or(0, narrow),
        ping_text: if old { Box::default() } else { text("push_stream_ping_message_text") },
        timeout_with_body: false,
        message_ttl: default_number("push_stream_message_ttl").map_or(0, narrow),
        max_subscribers_per_channel: None,
        max_messages_per_channel: None,
        max_channel_id_length: None,
        max_channels: None,
        max_wildcard_channels: None,
        wildcard_prefix: Box::default(),
        events_channel_id: Box::default(),
        unknown_grace: 0,
    }
}

/// Reads `push_stream_shared_memory_size`, the mistakes of which are found even if nobody uses the module.
fn memory(entries: &[Entry<'_>], compiler: &mut Compiler) -> Result<Option<u64>, Fault> {
    let mut zones: Vec<(&[u8], u64)> = Vec::new();
    for entry in entries {
        let size = capacity(entry.node, compiler)?;
        let name = if entry.node.args().len() > 1 { entry.node.arg(1) } else { b"push_stream_module" };
        if compiler.is_03() && entry.node.args().len() > 1 && compiler.dialect.only.is_some() {
            let text = format_args!("invalid number of arguments in \"{}\" directive", entry.node.name());
            return Err(Fault::emerg(text, &entry.node.place));
        }
        if let Some((_, declared)) = zones.iter().find(|(other, _)| *other == name) {
            let name = shown(name);
            return Err(if *declared == size {
                Fault::emerg(format_args!("duplicate zone \"{name}\""), &entry.node.place)
            } else {
                let text = format_args!(
                    "the size {size} of shared memory zone \"{name}\" conflicts with already declared size {declared}"
                );
                Fault::emerg(text, &entry.node.place)
            });
        }
        zones.push((name, size));
    }
    let Some((name, size)) = zones.last() else { return Ok(None) };
    compiler.zone_name = shown(name).into();
    Ok(Some(*size))
}

/// A size, rounded up to pages; too small is the end in 0.4.0 and later, and only raised before.
fn capacity(node: &Node, compiler: &mut Compiler) -> Result<u64, Fault> {
    let size = units::size(node.arg(0)).map_or(0, |size| size.div_ceil(PAGE).saturating_mul(PAGE));
    if size >= LEAST_MEMORY {
        return Ok(size);
    }
    let text = format!("The {} value must be at least {}KiB", node.name(), LEAST_MEMORY / 1024);
    if compiler.is_03() {
        compiler.warn(text, &node.place);
        return Ok(LEAST_MEMORY);
    }
    Err(Fault { notes: vec![Note { level: LogLevel::Warn, text: format!("{text} in {}", node.place) }] })
}

/// Compiles the zone. `end` is the place of the `}` of `http`.
pub(super) fn compile(http: &Scope<'_, '_>, end: &Place, compiler: &mut Compiler) -> Result<Zone, Fault> {
    let memory = memory(http.level.own("push_stream_shared_memory_size"), compiler)?;
    let mut zone = defaults(compiler.compat.line);
    let old_ttl = http.number("push_stream_shared_memory_cleanup_objects_ttl");
    if let Some(memory) = memory {
        zone.memory = memory;
    } else if compiler.uses_module && !compiler.is_03() {
        return Err(Fault::module("push_stream_shared_memory_size must be set.", end));
    }
    let bytes = |name: &str, default: &[u8]| match http.entry(name) {
        Some(_) => Box::from(http.text(name).unwrap_or_default()),
        None => Box::from(default),
    };
    zone.deleted_text = bytes("push_stream_channel_deleted_message_text", &zone.deleted_text);
    zone.ping_text = bytes("push_stream_ping_message_text", &zone.ping_text);
    zone.wildcard_prefix = bytes("push_stream_wildcard_channel_prefix", b"");
    zone.events_channel_id = bytes("push_stream_events_channel_id", b"");
    zone.unknown_grace = narrow(http.quantity("push_stream_unknown_channel_grace"));
    zone.timeout_with_body = http.flag("push_stream_timeout_with_body");
    zone.inactivity = http.number("push_stream_channel_inactivity_time").map_or(zone.inactivity, narrow);
    let checked = Checked { http, end, used: compiler.uses_module };
    zone.message_ttl = checked.number("push_stream_message_ttl")?.unwrap_or(zone.message_ttl);
    zone.max_channels = checked.number("push_stream_max_number_of_channels")?;
    zone.max_wildcard_channels = checked.number("push_stream_max_number_of_wildcard_channels")?;
    zone.max_subscribers_per_channel = checked.number("push_stream_max_subscribers_per_channel")?;
    zone.max_messages_per_channel = checked.number("push_stream_max_messages_stored_per_channel")?;
    zone.max_channel_id_length = checked.number("push_stream_max_channel_id_length")?.map(|length| length as usize);
    let least = if compiler.compat.line == Line::V034 { 30 } else { 10 };
    if old_ttl.is_some_and(|ttl| ttl < least) && checked.used && compiler.dialect.only.is_some() {
        let text = format_args!("push_stream_shared_memory_cleanup_objects_ttl cannot be less than {least}.");
        return Err(Fault::module(text, end));
    }
    Ok(zone)
}

/// Whether it is the zone of servers that name none, which is where everything was before there were zones.
pub fn is_unnamed(zone: &str) -> bool {
    default_word("push_stream_zone").is_some_and(|word| zone.as_bytes() == word)
}

/// The names of all zones, by number. There is at least one.
pub(super) fn all(compiler: &mut Compiler) -> Vec<Box<str>> {
    if compiler.zones.is_empty() {
        unnamed(compiler);
    }
    std::mem::take(&mut compiler.zones)
}

fn unnamed(compiler: &mut Compiler) -> u16 {
    numbered(shown(default_word("push_stream_zone").unwrap_or_default()).into(), compiler)
}

fn numbered(name: Box<str>, compiler: &mut Compiler) -> u16 {
    let number = compiler.zones.iter().position(|zone| *zone == name).unwrap_or_else(|| {
        compiler.zones.push(name);
        compiler.zones.len() - 1
    });
    u16::try_from(number).unwrap_or(u16::MAX)
}

/// The number of the zone that a server is of. One that names none and has nothing of the module makes none either: any will do.
pub(super) fn number(server: &Scope<'_, '_>, compiler: &mut Compiler) -> Result<u16, Fault> {
    let Some(entry) = server.entry("push_stream_zone") else {
        return Ok(if server.level.uses_module() { unnamed(compiler) } else { 0 });
    };
    let name = String::from_utf8_lossy(entry.node.arg(0)).into_owned();
    // It stands in names of keys and directories.
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    if name.is_empty() || name.len() > LONGEST_NAME || name.starts_with('.') || !plain {
        return Err(invalid_value(entry.node));
    }
    let number = numbered(name.into(), compiler);
    if usize::from(number) >= MOST_ZONES {
        let text = format_args!("more than {MOST_ZONES} zones, those of configurations before this one among them");
        return Err(Fault::emerg(text, &entry.node.place));
    }
    Ok(number)
}

/// Numbers that may not be zero where the module is used.
struct Checked<'a, 't> {
    http: &'a Scope<'a, 't>,
    end: &'a Place,
    used: bool,
}

impl Checked<'_, '_> {
    fn number(&self, name: &str) -> Result<Option<u32>, Fault> {
        let Some(entry) = self.http.entry(name) else { return Ok(None) };
        match self.http.number(name) {
            Some(0) if self.used => Err(Fault::module(format_args!("{} cannot be zero.", entry.node.name()), self.end)),
            number => Ok(number.map(narrow)),
        }
    }
}

/// A number of the configuration in the width the runtime counts in.
pub(super) fn narrow(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::MOST_ZONES;
    use crate::conf::{LoadOptions, Settings, load};

    fn loaded(http: &str, known: &[&str]) -> Result<Settings, String> {
        let text = format!("events {{}} http {{ push_stream_shared_memory_size 1m; {http} }}");
        let zones = known.iter().map(|&name| name.into()).collect();
        let options = LoadOptions { prefix: "/p".into(), text: Some(text), zones, ..LoadOptions::default() };
        load(&options).map(|loaded| loaded.settings).map_err(|error| error.notes[0].text.clone())
    }

    fn names(settings: &Settings) -> Vec<&str> {
        settings.zones.iter().map(|name| &**name).collect()
    }

    /// The zone of a server by its name.
    fn zone_of<'s>(settings: &'s Settings, server: &str) -> &'s str {
        &settings.zones[usize::from(settings.listeners[0].names.exact[server].zone)]
    }

    const SERVERS: &str =
        "server { listen 1; server_name a; location / { push_stream_subscriber; push_stream_channels_path $uri; } }
        server { listen 1; server_name b; push_stream_zone chat; }
        server { listen 1; server_name c; push_stream_zone default; }";

    #[test]
    fn a_server_is_of_the_zone_it_names_or_that_of_http_or_the_unnamed_one() {
        let settings = loaded(SERVERS, &[]).unwrap();
        assert_eq!(names(&settings), ["default", "chat"]);
        assert_eq!(["a", "b", "c"].map(|server| zone_of(&settings, server)), ["default", "chat", "default"]);
        let settings = loaded(&format!("push_stream_zone site; {SERVERS}"), &[]).unwrap();
        assert_eq!(["a", "b", "c"].map(|server| zone_of(&settings, server)), ["site", "chat", "default"]);
        assert!(loaded("server { location / { push_stream_zone a; } }", &[]).unwrap_err().contains("not allowed here"));
    }

    #[test]
    fn the_unnamed_zone_is_there_where_a_server_with_something_of_the_module_is_of_it_or_nothing_else_is() {
        let named = "server { listen 1; push_stream_zone chat; location / { push_stream_subscriber; push_stream_channels_path $uri; } }";
        assert_eq!(names(&loaded(named, &[]).unwrap()), ["chat"]);
        let redirect = "server { listen 2; return 301 https://example.com/; }";
        assert_eq!(names(&loaded(&format!("{redirect} {named}"), &[]).unwrap()), ["chat"]);
        assert_eq!(names(&loaded(redirect, &[]).unwrap()), ["default"]);
        assert_eq!(names(&loaded("", &[]).unwrap()), ["default"]);
        let unnamed = named.replace("push_stream_zone chat;", "");
        assert_eq!(names(&loaded(&format!("{named} {unnamed}"), &[]).unwrap()), ["chat", "default"]);
        assert_eq!(names(&loaded(&unnamed, &["chat"]).unwrap()), ["chat", "default"]);
        assert_eq!(names(&loaded(named, &["default", "chat"]).unwrap()), ["default", "chat"]);
    }

    #[test]
    fn zones_that_have_numbers_keep_them_whether_a_server_names_them_or_not() {
        let settings = loaded(SERVERS, &["default", "gone", "chat"]).unwrap();
        assert_eq!(names(&settings), ["default", "gone", "chat"]);
        assert_eq!(zone_of(&settings, "b"), "chat");
        let settings = loaded(SERVERS, &["default", "gone"]).unwrap();
        assert_eq!(names(&settings), ["default", "gone", "chat"]);
    }

    #[test]
    fn there_are_no_more_zones_than_a_process_may_have() {
        let mut servers = String::new();
        for number in 0..MOST_ZONES {
            write!(servers, "server {{ listen 1; server_name s{number}; push_stream_zone z{number}; }} ").unwrap();
        }
        assert_eq!(loaded(&servers, &[]).unwrap().zones.len(), MOST_ZONES);
        let refused = loaded(&servers, &["one-more"]).unwrap_err();
        assert!(refused.contains("more than 1024 zones"), "{refused}");
    }
}
