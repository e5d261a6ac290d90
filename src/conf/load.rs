//! A file -> [`Settings`], with everything there is to say about it.
//!
//! The order is nginx's: read and check the tree, then the zone, then locations, then variables and sockets; so the first
//! mistake that is reported is the one nginx reports.

use std::path::{Path, PathBuf};

use super::compiler::Compiler;
use super::directives::{ALWAYS, BEFORE_03, HTTP, ONLY_03, SINCE_04, SINCE_05, SINCE_035};
use super::error::{ConfError, Fault, MODULE, Note, Place, shown};
use super::guard_findings::Unguarded;
use super::namespace::dollar_name;
use super::push::OLD_VARIABLES;
use super::scope::{Level, Scope};
use super::settings::{Backplane, Bounds, LogLevel, LogStyle, Settings, State, Status};
use super::tree::{Dialect, Node, Reader};
use super::written::Written;
use super::{backend, guard, limits, listeners, logs, process, server, tables, tls, zone};
use crate::model::{Capabilities, Compat, Line};

/// What to load, and how.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// The main file, relative to the prefix (`-c`).
    pub file: PathBuf,
    /// Where relative paths of logs, the pid file and documents start (`-p`).
    pub prefix: PathBuf,
    /// Directives of the main context that go before the file (`-g`).
    pub global_directives: String,
    /// Whose wire to speak; `None`: the present one, unless the names in the configuration are those of 0.3.x.
    pub compat: Option<Line>,
    /// Exactly the module: only the names of that version, and its defects.
    pub strict: bool,
    /// Guards that cannot be applied are warned of and left out.
    pub accept_unguarded: bool,
    /// A text to be read instead of the file.
    pub text: Option<String>,
    /// How log lines are spelled, whatever the configuration says.
    pub log_style: Option<LogStyle>,
    /// Zones that have numbers, which they keep: those of the configuration before. Empty: there was none.
    pub zones: Vec<Box<str>>,
}

/// A configuration that can be used.
#[derive(Debug)]
pub struct Loaded {
    /// The compiled configuration.
    pub settings: Settings,
    /// Whose wire is spoken, and which words of the configuration say so (a notice) or that none does.
    pub wire: Note,
    /// Guards of push locations that are not applied and were accepted.
    pub unguarded: Vec<Unguarded>,
    /// What a person should know about it, in order.
    pub notes: Vec<Note>,
    /// The files it was read from, with what they held.
    pub files: Vec<(PathBuf, Vec<u8>)>,
}

/// Reads a configuration as it is written: includes in place, nothing compiled.
pub fn outline(options: &LoadOptions) -> Result<Vec<Written>, ConfError> {
    let path = options.prefix.join(&options.file);
    let directory = path.parent().map(Path::to_owned).unwrap_or_default();
    let mut reader = Reader::new(Dialect { only: None, strict: false }, directory);
    let mut tree = Vec::new();
    match read(&mut reader, options, &path, &mut tree) {
        Ok(()) => Ok(tree.iter().map(Written::of).collect()),
        Err(fault) => Err(ConfError { notes: fault.notes }),
    }
}

/// Reads, checks and compiles a configuration.
pub fn load(options: &LoadOptions) -> Result<Loaded, ConfError> {
    let path = options.prefix.join(&options.file);
    let directory = path.parent().map(Path::to_owned).unwrap_or_default();
    let only = options.strict.then(|| options.compat.unwrap_or(Line::V05));
    let dialect = Dialect { only, strict: options.strict };
    let mut reader = Reader::new(dialect, directory.clone());
    let mut tree = Vec::new();
    let outcome = read(&mut reader, options, &path, &mut tree);
    let mut notes = std::mem::take(&mut reader.notes);
    if let Err(fault) = outcome {
        notes.extend(fault.notes);
        return Err(ConfError { notes });
    }
    let (line, why) = match options.compat {
        Some(line) => (line, "--compat".to_owned()),
        None if options.strict => (Line::V05, "--strict".to_owned()),
        None => detect(&tree),
    };
    let compat = Compat { line, strict: options.strict };
    let mut compiler =
        Compiler::new(dialect, compat, options.compat, options.prefix.clone(), directory, zone::defaults(compat.line));
    compiler.log_style = options.log_style;
    compiler.log_lines.style = options.log_style.unwrap_or_default();
    compiler.zones.clone_from(&options.zones);
    let outcome = compile(&tree, options.accept_unguarded, &mut compiler);
    notes.append(&mut compiler.notes);
    match outcome {
        Ok(settings) => {
            notes.append(&mut compiler.unapplied);
            let text = format!("the wire is that of {}, by {why}", line.shown());
            let chosen_by_words = options.compat.is_none() && why.starts_with('"');
            let wire = Note { level: if chosen_by_words { LogLevel::Notice } else { LogLevel::Info }, text };
            Ok(Loaded { settings, wire, unguarded: compiler.unguarded, notes, files: reader.files })
        }
        Err(mut fault) => {
            if line < Line::V040 {
                fault.notes.iter_mut().for_each(before_04);
            }
            notes.extend(fault.notes);
            Err(ConfError { notes })
        }
    }
}

/// Versions before 0.4.0 did not put the module's name before their complaints.
fn before_04(note: &mut Note) {
    if let Some(text) = note.text.strip_prefix(MODULE) {
        note.text = text.to_owned();
    }
}

fn read(reader: &mut Reader, options: &LoadOptions, path: &Path, nodes: &mut Vec<Node>) -> Result<(), Fault> {
    if !options.global_directives.is_empty() {
        reader.text(options.global_directives.as_bytes(), None, nodes)?;
    }
    match &options.text {
        Some(text) => {
            reader.files.push((path.to_owned(), text.clone().into_bytes()));
            reader.text(text.as_bytes(), Some(path), nodes)
        }
        None => reader.main_file(path, nodes),
    }
}

/// The line a configuration was written for, and why: the newest words decide, since an old word may be a left-over and a
/// new one cannot be.
fn detect(nodes: &[Node]) -> (Line, String) {
    let mut found = Found::default();
    found.walk(nodes);
    let variable = found.variables.iter().find(|(name, _)| !found.paths.iter().any(|path| path.contains(name)));
    let variable = variable.map(|(name, place)| (format!("set ${name}"), place));
    let old = found.old.as_ref().map(|(name, place)| (name.clone(), place)).or(variable);
    let by = |(name, place): &(String, &Place)| format!("\"{name}\" in {place}");
    let since_04 = found.since_04.as_ref().map(|(name, place)| (name.clone(), place));
    match (old, since_04, found.since_035) {
        (None, _, _) => (Line::V05, "no word of an older version".to_owned()),
        (Some(old), Some(new), _) => (Line::V05, format!("{}, which is newer than {}", by(&new), by(&old))),
        (Some(old), None, Some((name, place))) => (Line::V035, format!("{} and {}", by(&old), by(&(name, &place)))),
        (Some(old), None, None) => (Line::V034, by(&old)),
    }
}

/// Words that tell the line, each with its first place.
#[derive(Default)]
struct Found {
    /// A name only 0.3.x or older versions had.
    old: Option<(String, Place)>,
    /// A name 0.3.4 did not have.
    since_035: Option<(String, Place)>,
    /// A name or word 0.3.x did not have.
    since_04: Option<(String, Place)>,
    /// Variables of 0.3.x that are set.
    variables: Vec<(String, Place)>,
    /// Values of `push_stream_channels_path`: a variable read there is an ordinary one.
    paths: Vec<String>,
}

impl Found {
    fn walk(&mut self, nodes: &[Node]) {
        for node in nodes {
            let told = || Some((node.name().into_owned(), node.place.clone()));
            if let Some(row) = node.row {
                let slot = match row.lines {
                    ONLY_03 | BEFORE_03 => Some(&mut self.old),
                    SINCE_035 => Some(&mut self.since_035),
                    SINCE_04 | SINCE_05 => Some(&mut self.since_04),
                    _ => None,
                };
                if let Some(slot @ None) = slot {
                    *slot = told();
                }
                debug_assert!(row.lines == ALWAYS || row.name.starts_with("push_stream_"));
            }
            match &*node.name() {
                "set" => {
                    let name = dollar_name(node.arg(0)).map(|name| name.to_ascii_lowercase());
                    let name = name.filter(|name| OLD_VARIABLES.contains(&name.as_str()));
                    self.variables.extend(name.map(|name| (name, node.place.clone())));
                }
                "push_stream_channels_path" => {
                    self.paths.push(String::from_utf8_lossy(node.arg(0)).to_ascii_lowercase());
                }
                "push_stream_subscriber" if is_mode_of_04(node.arg(0)) && self.since_04.is_none() => {
                    self.since_04 =
                        Some((format!("push_stream_subscriber {}", shown(node.arg(0))), node.place.clone()));
                }
                _ => {}
            }
            self.walk(&node.children);
        }
    }
}

/// Modes that were directives of their own before.
fn is_mode_of_04(word: &[u8]) -> bool {
    [&b"eventsource"[..], b"websocket"].iter().any(|mode| word.eq_ignore_ascii_case(mode))
}

/// Whether a name of 0.1 or 0.2 stands anywhere.
fn is_before_03(nodes: &[Node]) -> bool {
    nodes.iter().any(|node| node.row.is_some_and(|row| row.lines == BEFORE_03) || is_before_03(&node.children))
}

/// The lines of 0.1 and 0.2 read values of the zone in servers and locations; elsewhere they may not stand there.
fn refuse_misplaced(nodes: &[Node], in_http: bool) -> Result<(), Fault> {
    for node in nodes {
        if !in_http && node.row.is_some_and(|row| row.contexts == HTTP && row.name.starts_with("push_stream_")) {
            return Err(Fault::emerg(format_args!("\"{}\" directive is not allowed here", node.name()), &node.place));
        }
        refuse_misplaced(&node.children, node.name() == "http")?;
    }
    Ok(())
}

fn compile(nodes: &[Node], accept_unguarded: bool, compiler: &mut Compiler) -> Result<Settings, Fault> {
    if compiler.dialect.only.is_none() && !is_before_03(nodes) {
        refuse_misplaced(nodes, false)?;
    }
    compiler.namespace.claim(nodes);
    check_dhparam(nodes, compiler)?;
    let mut main = Level::collect(None, nodes, compiler)?;
    main.raise_zone_values(compiler);
    let main = main;
    let scope = Scope { level: &main, outer: None };
    logs::given_formats(compiler)?;
    let servers = match main.blocks_named("http").next() {
        Some(http) => self::http(http, compiler)?,
        None => Vec::new(),
    };
    let (state, backplane, status) = match main.blocks_named("http").next() {
        Some(level) => {
            let http = Scope { level, outer: None };
            let state = super::state::compile(&http, compiler)?;
            (state, super::backplane::compile(&http, compiler)?, super::status::compile(&http, compiler)?)
        }
        None => (State::default(), Backplane::none(), Status::default()),
    };
    let Some(events) = main.blocks_named("events").next() else {
        return Err(Fault::anywhere("no \"events\" section in configuration"));
    };
    let events = Scope { level: events, outer: None };
    let process = process::compile(&scope, Some(&events), main.blocks_named("http").next(), compiler)?;
    if compiler.dialect.strict || !compiler.foreign {
        compiler.namespace.check()?;
    } else {
        note_foreign_variables(compiler);
    }
    let listeners = listeners::compile(&servers, compiler)?;
    compiler.tell_unknown();
    guard::judge(accept_unguarded, compiler)?;
    Ok(Settings {
        process,
        zone: compiler.zone.clone(),
        state,
        backplane,
        status,
        log_lines: compiler.log_lines,
        zones: zone::all(compiler),
        zone_name: std::mem::take(&mut compiler.zone_name),
        compat: compiler.compat,
        capabilities: Capabilities::of(compiler.compat),
        listeners,
        variables: std::mem::take(&mut compiler.namespace).into_definitions(),
        log_formats: std::mem::take(&mut compiler.log_formats),
        upstreams: std::mem::take(&mut compiler.upstreams),
        limit_zones: std::mem::take(&mut compiler.limit_zones),
        largest_padding: compiler.largest_padding,
        uses_module: compiler.uses_module,
        drain_time: compiler.drain.0,
        drain_delay: compiler.drain.1,
        bounds: compiler.bounds,
    })
}

/// Where there are words of other modules, variables that nobody defines may be theirs: they are empty.
fn note_foreign_variables(compiler: &mut Compiler) {
    for name in compiler.namespace.settle_unknown() {
        let text = format!("unknown \"{name}\" variable is always empty");
        compiler.unapplied.push(Note { level: LogLevel::Warn, text });
    }
}

/// Compiles the `http` block. The module's complaints name its last line.
fn http(level: &Level<'_>, compiler: &mut Compiler) -> Result<Vec<server::Compiled>, Fault> {
    let end = level.node.map_or(Place { file: None, line: 1 }, |node| node.end.clone());
    let scope = Scope { level, outer: None };
    compiler.log_lines = logs::log_lines(&scope, compiler)?;
    logs::formats(&scope, compiler)?;
    limits::zones(&scope, compiler)?;
    tables::compile(&scope, compiler)?;
    backend::prepare(level, compiler)?;
    compiler.uses_module = level.uses_module();
    compiler.zone = zone::compile(&scope, &end, compiler)?;
    compiler.drain = (scope.quantity("push_stream_drain_time"), scope.quantity("push_stream_drain_delay"));
    compiler.bounds = Bounds {
        memory: scope.number("push_stream_connections_memory"),
        address_connections: scope.quantity("push_stream_address_connections"),
        address_memory: scope.quantity("push_stream_address_memory"),
    };
    let mut servers = Vec::new();
    for level in level.blocks_named("server") {
        servers.push(server::compile(&Scope { level, outer: Some(&scope) }, &end, compiler)?);
    }
    backend::note_idle_upstreams(level, compiler);
    Ok(servers)
}

/// `ssl_dhparam` is not applied, but a missing file is what nginx would stop at.
fn check_dhparam(nodes: &[Node], compiler: &mut Compiler) -> Result<(), Fault> {
    for node in nodes {
        if node.name() == "ssl_dhparam"
            && node.row.is_some()
            && let Some(text) = tls::dhparam(node.arg(0), compiler)
        {
            if compiler.dialect.strict {
                return Err(Fault::anywhere(text));
            }
            let text = format!("{text} in {}", node.place);
            if !compiler.notes.iter().any(|note| note.text == text) {
                compiler.notes.push(Note { level: LogLevel::Warn, text });
            }
        }
        check_dhparam(&node.children, compiler)?;
    }
    Ok(())
}
