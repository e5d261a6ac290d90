//! The zone-wide directives: defaults by line, and the module's checks.
//!
//! The checks run only where a location uses the module, and name the line of the `}` that closes `http`.

use super::compiler::Compiler;
use super::error::{Fault, Note, Place, shown};
use super::row_default::{default_number, default_word};
use super::scope::{Entry, Scope};
use super::settings::LogLevel;
use super::tree::Node;
use super::units;
use crate::model::{Line, Zone};

const PAGE: u64 = 4096;
/// Least capacity: 32 pages.
const LEAST_MEMORY: u64 = 32 * PAGE;
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
