//! Guards that are not honoured close: what would keep somebody out of a push location, and cannot be applied, ends the
//! loading, unless the operator has accepted it.
//!
//! What is found is gathered while locations are compiled and told together at the end, after nginx's own complaints. What
//! a directive does comes from the table of families; a variable that nobody here can fill in counts where a condition, a
//! limit, a link or the channels of a push location depend on it. Invariant: every finding names a line.

use std::collections::HashSet;

use super::compiler::Compiler;
use super::directives::{self, Effect};
use super::error::{Fault, Note, shown};
use super::guard_findings::{Ask, Finding, Kind, Subject, Unguarded};
use super::scope::{Level, Scope};
use super::settings::{Handler, Location, Locations, LogLevel, Match, Operation, Server};
use super::tree::Node;

/// The ways out, told once.
const WAYS_OUT: &str = "say the same with allow, deny, auth_basic, auth_request or secure_link, or leave these locations \
                        to nginx and let it pass them on (\"pushstreamd migrate\" prints how), or start with \
                        --accept-unguarded";

/// A block as it is written (`location = /pub`), and its server.
pub(super) fn subject(scope: &Scope<'_, '_>) -> Subject {
    let words = scope.level.node.map_or(&[][..], |node| &node.words);
    let words: Vec<_> = words.iter().map(|word| shown(word)).collect();
    let server = scope.server().and_then(|server| server.node).map(|node| node.place.to_string());
    Subject { location: words.join(" "), server: server.unwrap_or_default() }
}

/// Looks for guards that apply to a block which pushes, set in it or around it.
pub(super) fn inspect(scope: &Scope<'_, '_>, subject: &Subject, compiler: &mut Compiler) {
    let mut decided: HashSet<String> = HashSet::new();
    let mut next = Some(scope);
    let mut inside = true;
    while let Some(Scope { level, outer }) = next {
        inspect_level(level, inside, scope, &decided, subject, compiler);
        for block in level.blocks_named("limit_except").filter(|_| inside) {
            inspect_level(block, true, scope, &HashSet::new(), subject, compiler);
        }
        decided.extend(level.unapplied.iter().map(|node| node.name().into_owned()));
        inside = false;
        next = *outer;
    }
    read_values(scope, subject, compiler);
    if let Some(entry) = scope.entry("auth_request").filter(|entry| entry.node.arg(0) != b"off") {
        let uri = entry.node.arg(0).split(|byte| *byte == b'?').next().unwrap_or_default().to_vec();
        compiler.guards.asks.push(Ask { place: entry.node.place.clone(), uri, subject: subject.clone() });
    }
}

fn inspect_level(
    level: &Level<'_>,
    inside: bool,
    scope: &Scope<'_, '_>,
    decided: &HashSet<String>,
    subject: &Subject,
    compiler: &mut Compiler,
) {
    for node in &level.unapplied {
        let name = node.name();
        if decided.contains(&*name) {
            continue;
        }
        let guards = &mut compiler.guards;
        match directives::family_of(&name).map(|family| family.effect) {
            Some(Effect::Guards) if is_off(node) => {}
            Some(Effect::Guards) => guards.find(&node.place, Kind::Guard, &name, subject),
            Some(Effect::GuardsWith(other)) => {
                if !is_off(node) && scope.word(other).is_some_and(|word| word != b"off") {
                    guards.find(&node.place, Kind::Guard, &name, subject);
                }
            }
            Some(Effect::Gives | Effect::Touches) => {}
            Some(Effect::Answers) | None if !node.unknown => {}
            Some(Effect::Answers) | None => {
                let near = directives::nearest(&name).filter(|near| is_access(near));
                match near {
                    Some(near) => guards.find(&node.place, Kind::Typo(near), &name, subject),
                    None if inside => guards.find(&node.place, Kind::Unknown, &name, subject),
                    None => {}
                }
            }
        }
    }
}

/// `auth_jwt off`, `modsecurity off`, `waf_mode 0`.
fn is_off(node: &Node) -> bool {
    matches!(node.args(), [word] if matches!(word.as_slice(), b"off" | b"OFF" | b"Off" | b"0" | b"no" | b"false"))
}

fn is_access(name: &str) -> bool {
    directives::access_control().any(|row| row.name == name)
}

/// What decides about a request beside directives: keys of limits, the link, the channels.
fn read_values(scope: &Scope<'_, '_>, subject: &Subject, compiler: &mut Compiler) {
    for name in ["push_stream_channels_path", "secure_link", "secure_link_md5", "auth_basic"] {
        if let (Some(entry), Some(value)) = (scope.entry(name), scope.complex(name)) {
            compiler.guards.reads(&entry.node.place, name, vec![value.clone()], subject.clone());
        }
    }
    for name in ["limit_conn", "limit_req"] {
        for entry in scope.list(name) {
            let zone = entry.node.args().iter().map(|word| word.strip_prefix(b"zone=").unwrap_or(word));
            let zone: Vec<&[u8]> = zone.collect();
            let keys = compiler.limit_zones.iter().filter(|known| zone.contains(&known.name.as_bytes()));
            let keys = keys.map(|known| known.key.clone()).collect();
            compiler.guards.reads(&entry.node.place, name, keys, subject.clone());
        }
    }
}

/// Looks whether what the `auth_request`s of a server ask can be asked.
pub(super) fn follow_asks(server: &Server, compiler: &mut Compiler) {
    for ask in std::mem::take(&mut compiler.guards.asks) {
        let Some(asked) = chosen(&server.locations, &ask.uri) else { continue };
        let moves_on = asked.rewrite.iter().any(|step| !matches!(step, Operation::Set(..)));
        if let Handler::Foreign(name) = &asked.handler
            && asked.backend.is_none()
            && !moves_on
        {
            let kind = Kind::Asks(format!("\"{}\", which \"{name}\" answers", shown(&ask.uri)));
            compiler.guards.find(&ask.place, kind, "auth_request", &ask.subject);
        }
    }
}

/// The location of a URI, by nginx's order of choice.
fn chosen<'l>(locations: &'l Locations, uri: &[u8]) -> Option<&'l Location> {
    if let Some(exact) = locations.exact.get(uri) {
        return Some(exact);
    }
    let prefix = locations.prefixes.iter().find(|location| match &location.matched {
        Match::Prefix(prefix) | Match::StrongPrefix(prefix) => uri.starts_with(prefix),
        _ => false,
    });
    let nested = prefix.and_then(|prefix| chosen(&prefix.nested, uri));
    if prefix.is_some_and(|prefix| matches!(prefix.matched, Match::StrongPrefix(_))) {
        return nested.or(prefix.map(AsRef::as_ref));
    }
    let regex = locations.regexes.iter().find(
        |location| matches!(&location.matched, Match::Regex(regex) if regex.compiled.is_match(uri).unwrap_or(false)),
    );
    regex.map(AsRef::as_ref).or(nested).or(prefix.map(AsRef::as_ref))
}

/// Tells what was found: the end of the loading, or warnings where the operator has accepted it.
pub(super) fn judge(accepted: bool, compiler: &mut Compiler) -> Result<(), Fault> {
    for reading in std::mem::take(&mut compiler.guards.readings) {
        let unmade = reading.values.iter().find_map(|value| compiler.namespace.unmade_in(value));
        if let Some(unmade) = unmade {
            compiler.guards.find(&reading.place, Kind::Reads(unmade), &reading.directive, &reading.subject);
        }
    }
    let findings = std::mem::take(&mut compiler.guards.findings);
    if findings.is_empty() {
        return Ok(());
    }
    let level = if accepted { LogLevel::Warn } else { LogLevel::Emerg };
    let mut notes: Vec<Note> =
        findings.iter().map(|found| Note { level, text: format!("{} in {}", told(found), found.place) }).collect();
    if accepted {
        compiler.unguarded = findings.iter().map(Unguarded::of).collect();
        compiler.unapplied.append(&mut notes);
        return Ok(());
    }
    let count = findings.len();
    let guards = if count == 1 { "a guard".to_owned() } else { format!("{count} guards") };
    notes.push(Note { level, text: format!("{guards} of push locations would be missing: {WAYS_OUT}") });
    Err(Fault { notes })
}

fn told(found: &Finding) -> String {
    let Finding { name, subjects, .. } = found;
    let first = subjects.first().map_or("", |subject| &subject.location);
    let locations = match subjects.len() {
        0 | 1 => format!("\"{first}\""),
        count => format!("\"{first}\" and {} more push locations", count - 1),
    };
    match &found.kind {
        Kind::Guard => format!("\"{name}\" guards {locations}, and pushstreamd cannot apply it"),
        Kind::Unknown => format!("unknown directive \"{name}\" in {locations}, which pushes: it may be a guard"),
        Kind::Typo(near) => {
            format!("unknown directive \"{name}\" applies to {locations}, did you mean \"{near}\"?")
        }
        Kind::Reads(variable) => {
            format!("\"{name}\" of {locations} depends on ${variable}, which pushstreamd cannot fill in")
        }
        Kind::Asks(what) => format!("\"{name}\" of {locations} asks {what}: pushstreamd cannot ask there"),
    }
}
