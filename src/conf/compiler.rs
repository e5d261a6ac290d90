//! What is carried through the compilation of one configuration: names, notes, paths, the line of the module.
//!
//! Holds no value of any location; those live in the levels and end in the settings.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::directives::{self, Directive, OURS};
use super::error::{Note, Place, shown};
use super::guard_findings::{Guards, Unguarded};
use super::namespace::Namespace;
use super::row_default::default_number;
use super::settings::{Bounds, LimitZone, LogFormat, LogLevel, LogLines, LogStyle, UpstreamServer};
use super::tree::{Dialect, Node};
use super::variable::{Complex, Part, Variable};
use crate::model::{Compat, Line, Zone};

/// Content types by extension.
pub(super) type Types = Arc<HashMap<Box<str>, Box<str>>>;

/// The state of a compilation.
pub(super) struct Compiler {
    pub(super) namespace: Namespace,
    pub(super) dialect: Dialect,
    pub(super) compat: Compat,
    /// The line the operator asked for.
    chosen: Option<Line>,
    /// Directory of logs, the pid file and documents.
    pub(super) prefix: PathBuf,
    /// Directory of the main file: certificates and password files.
    pub(super) directory: PathBuf,
    /// What is printed before anything else, in order.
    pub(super) notes: Vec<Note>,
    /// What is printed if the configuration can be used.
    pub(super) unapplied: Vec<Note>,
    noted: HashSet<String>,
    /// Names of no row, with their first place and how often they stand.
    unknown: Vec<(String, Place, usize)>,
    /// Modules that are not nginx's own have left words here.
    pub(super) foreign: bool,
    /// What guards push locations and is not honoured.
    pub(super) guards: Guards,
    /// Guards whose absence the operator has accepted.
    pub(super) unguarded: Vec<Unguarded>,
    /// Known before the first server is compiled.
    pub(super) zone: Zone,
    pub(super) zone_name: Box<str>,
    /// Names of zones, by number.
    pub(super) zones: Vec<Box<str>>,
    pub(super) log_formats: HashMap<Box<str>, Arc<LogFormat>>,
    /// How log lines are spelled: as the command line has it, and as all in all.
    pub(super) log_style: Option<LogStyle>,
    pub(super) log_lines: LogLines,
    pub(super) limit_zones: Vec<LimitZone>,
    pub(super) upstreams: HashMap<Box<str>, Vec<UpstreamServer>>,
    /// URIs that an `auth_request` names, without arguments.
    pub(super) asked: Vec<Vec<u8>>,
    /// Hosts whose backends are asked.
    pub(super) asked_hosts: HashSet<Box<str>>,
    /// Compiled `types`, by the place of the first block.
    pub(super) types: HashMap<usize, Types>,
    pub(super) largest_padding: usize,
    /// `push_stream_drain_time` and `push_stream_drain_delay`, milliseconds.
    pub(super) drain: (u64, u64),
    pub(super) bounds: Bounds,
    /// Whether a location has a mode.
    pub(super) uses_module: bool,
    next_location: usize,
}

impl Compiler {
    pub(super) fn new(
        dialect: Dialect,
        compat: Compat,
        chosen: Option<Line>,
        prefix: PathBuf,
        directory: PathBuf,
        zone: Zone,
    ) -> Self {
        Self {
            namespace: Namespace::default(),
            dialect,
            compat,
            chosen,
            prefix,
            directory,
            notes: Vec::new(),
            unapplied: Vec::new(),
            noted: HashSet::new(),
            unknown: Vec::new(),
            foreign: false,
            guards: Guards::default(),
            unguarded: Vec::new(),
            zone,
            zone_name: "push_stream_module".into(),
            zones: Vec::new(),
            log_formats: HashMap::new(),
            log_style: None,
            log_lines: LogLines::default(),
            limit_zones: Vec::new(),
            upstreams: HashMap::new(),
            asked: Vec::new(),
            asked_hosts: HashSet::new(),
            types: HashMap::new(),
            largest_padding: 0,
            drain: (
                default_number("push_stream_drain_time").unwrap_or_default(),
                default_number("push_stream_drain_delay").unwrap_or_default(),
            ),
            bounds: Bounds::default(),
            uses_module: false,
            next_location: 0,
        }
    }

    /// Whether the wire is that of 0.3.x.
    pub(super) fn is_03(&self) -> bool {
        self.compat.line < Line::V040
    }

    /// A number no other location has.
    pub(super) fn location_number(&mut self) -> usize {
        self.next_location += 1;
        self.next_location
    }

    /// `[warn] TEXT in FILE:LINE`
    pub(super) fn warn(&mut self, text: impl std::fmt::Display, place: &Place) {
        self.notes.push(Note { level: LogLevel::Warn, text: format!("{text} in {place}") });
    }

    /// The same of what stands nowhere.
    pub(super) fn warn_of_all(&mut self, text: impl std::fmt::Display) {
        self.notes.push(Note { level: LogLevel::Warn, text: text.to_string() });
    }

    /// Says once that a directive is not applied.
    pub(super) fn note_unapplied(&mut self, node: &Node) {
        let name = node.name();
        if self.noted.insert(name.to_string()) {
            let text = format!("the \"{name}\" directive is not applied by pushstreamd in {}", node.place);
            self.unapplied.push(Note { level: LogLevel::Warn, text });
        }
    }

    /// Counts a directive of a module that is not known.
    pub(super) fn note_unknown(&mut self, node: &Node) {
        let name = node.name();
        match self.unknown.iter_mut().find(|(known, ..)| *known == name) {
            Some((_, _, count)) => *count += 1,
            None => self.unknown.push((name.into_owned(), node.place.clone(), 1)),
        }
    }

    /// Says once for each name what is not known, how often it stands, and what may have been meant.
    pub(super) fn tell_unknown(&mut self) {
        for (name, place, count) in std::mem::take(&mut self.unknown) {
            let times = if count == 1 { String::new() } else { format!(" ({count} times)") };
            let meant = directives::nearest(&name).map(|near| format!(", did you mean \"{near}\"?"));
            let meant = meant.unwrap_or_default();
            let text = format!("unknown directive \"{name}\"{times} is not applied by pushstreamd{meant} in {place}");
            self.unapplied.push(Note { level: LogLevel::Warn, text });
        }
    }

    /// Says once that something of a directive is not applied.
    pub(super) fn note_unapplied_part(&mut self, node: &Node, what: &[u8]) {
        let text = format!("\"{}\" of the \"{}\" directive is not applied by pushstreamd", shown(what), node.name());
        if self.noted.insert(text.clone()) {
            self.unapplied.push(Note { level: LogLevel::Warn, text: format!("{text} in {}", node.place) });
        }
    }

    /// Says once that a directive is an old spelling.
    pub(super) fn note_spelling(&mut self, node: &Node, row: &Directive) {
        let asked_for = self.chosen.is_some_and(|line| row.lines.know(line));
        if asked_for || row.lines == OURS || row.lines.know(Line::V05) || !self.noted.insert(row.name.to_owned()) {
            return;
        }
        let text = if row.meaning == row.name {
            format!("the \"{}\" directive is of an older version of the module", row.name)
        } else {
            format!("the \"{}\" directive is an old spelling of \"{}\"", row.name, row.meaning)
        };
        self.unapplied.push(Note { level: LogLevel::Warn, text: format!("{text} in {}", node.place) });
    }

    /// A path of logs and the like.
    pub(super) fn in_prefix(&self, path: &[u8]) -> PathBuf {
        join(&self.prefix, path)
    }

    /// A path of certificates and the like.
    pub(super) fn in_directory(&self, path: &[u8]) -> PathBuf {
        join(&self.directory, path)
    }
}

fn join(base: &Path, path: &[u8]) -> PathBuf {
    base.join(&*shown(path))
}

/// Puts the directory before a path with variables, unless the path begins with one.
pub(super) fn rooted(base: &Path, mut value: Complex) -> Complex {
    match value.parts.first_mut() {
        Some(Part::Text(text)) => *text = join(base, text).into_os_string().into_encoded_bytes().into(),
        Some(Part::Variable(_)) => {}
        None => value = super::complex::literal(base.as_os_str().as_encoded_bytes()),
    }
    value
}

/// The value of one variable alone.
pub(super) fn of_variable(variable: Variable) -> Complex {
    Complex { parts: vec![Part::Variable(variable)] }
}
