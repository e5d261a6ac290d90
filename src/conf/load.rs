//! A file -> [`Settings`], with everything there is to say about it.
//!
//! The order is nginx's: read and check the tree, then the zone, then locations, then variables and sockets; so the first
//! mistake that is reported is the one nginx reports.

use std::path::{Path, PathBuf};

use super::compiler::Compiler;
use super::directives::{ALWAYS, BEFORE_03, ONLY_03, SINCE_035};
use super::error::{ConfError, Fault, Note, Place};
use super::namespace::dollar_name;
use super::push::OLD_VARIABLES;
use super::scope::{Level, Scope};
use super::settings::{Compat, Line, LogLevel, Settings};
use super::tree::{Dialect, Node, Reader};
use super::written::Written;
use super::{backend, limits, listen, logs, process, server, tables, tls, zone};

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
    /// A text to be read instead of the file.
    pub text: Option<String>,
}

/// A configuration that can be used.
#[derive(Debug)]
pub struct Loaded {
    /// The compiled configuration.
    pub settings: Settings,
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
    let line = options.compat.unwrap_or_else(|| if options.strict { Line::V05 } else { detect(&tree) });
    let compat = Compat { line, strict: options.strict };
    let mut compiler = Compiler::new(dialect, compat, options.compat, options.prefix.clone(), directory);
    let outcome = compile(&tree, &mut compiler);
    notes.append(&mut compiler.notes);
    match outcome {
        Ok(settings) => {
            notes.append(&mut compiler.unapplied);
            Ok(Loaded { settings, notes, files: reader.files })
        }
        Err(fault) => {
            notes.extend(fault.notes);
            Err(ConfError { notes })
        }
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

/// The line a configuration was written for: 0.3.x if it uses names only that line had.
fn detect(nodes: &[Node]) -> Line {
    let mut found = Found::default();
    found.walk(nodes);
    let by_variable = found.old_variables.iter().any(|name| !found.paths.iter().any(|path| path.contains(name)));
    match (found.old_names || by_variable, found.since_035) {
        (false, _) => Line::V05,
        (true, false) => Line::V034,
        (true, true) => Line::V035,
    }
}

/// Names that tell the line.
#[derive(Default)]
struct Found {
    /// A name only 0.3.x or older versions had.
    old_names: bool,
    /// A name 0.3.4 did not have.
    since_035: bool,
    /// Variables of 0.3.x that are set.
    old_variables: Vec<String>,
    /// Values of `push_stream_channels_path`: a variable read there is an ordinary one.
    paths: Vec<String>,
}

impl Found {
    fn walk(&mut self, nodes: &[Node]) {
        for node in nodes {
            if let Some(row) = node.row {
                self.old_names |= row.lines == ONLY_03 || row.lines == BEFORE_03;
                self.since_035 |= row.lines == SINCE_035;
                debug_assert!(row.lines == ALWAYS || row.name.starts_with("push_stream_"));
            }
            match &*node.name() {
                "set" => {
                    let name = dollar_name(node.arg(0)).map(|name| name.to_ascii_lowercase());
                    self.old_variables.extend(name.filter(|name| OLD_VARIABLES.contains(&name.as_str())));
                }
                "push_stream_channels_path" => {
                    self.paths.push(String::from_utf8_lossy(node.arg(0)).to_ascii_lowercase());
                }
                _ => {}
            }
            self.walk(&node.children);
        }
    }
}

fn compile(nodes: &[Node], compiler: &mut Compiler) -> Result<Settings, Fault> {
    compiler.namespace.claim(nodes);
    check_dhparam(nodes, compiler)?;
    let main = Level::collect(None, nodes, compiler)?;
    let scope = Scope { level: &main, outer: None };
    logs::combined(compiler)?;
    let servers = match main.blocks_named("http").next() {
        Some(http) => self::http(http, compiler)?,
        None => Vec::new(),
    };
    let Some(events) = main.blocks_named("events").next() else {
        return Err(Fault::anywhere("no \"events\" section in configuration"));
    };
    let process = process::compile(&scope, Some(&Scope { level: events, outer: None }), compiler)?;
    compiler.namespace.check()?;
    let listeners = listen::listeners(&servers, compiler)?;
    Ok(Settings {
        process,
        zone: compiler.zone.clone(),
        zone_name: std::mem::take(&mut compiler.zone_name),
        compat: compiler.compat,
        listeners,
        variables: std::mem::take(&mut compiler.namespace).into_definitions(),
        log_formats: std::mem::take(&mut compiler.log_formats),
        upstreams: std::mem::take(&mut compiler.upstreams),
        limit_zones: std::mem::take(&mut compiler.limit_zones),
        largest_padding: compiler.largest_padding,
        uses_module: compiler.uses_module,
    })
}

/// Compiles the `http` block. The module's complaints name its last line.
fn http(level: &Level<'_>, compiler: &mut Compiler) -> Result<Vec<server::Compiled>, Fault> {
    let end = level.node.map_or(Place { file: None, line: 1 }, |node| node.end.clone());
    let scope = Scope { level, outer: None };
    logs::formats(&scope, compiler)?;
    limits::zones(&scope, compiler)?;
    tables::compile(&scope, compiler)?;
    backend::prepare(level, compiler)?;
    compiler.uses_module = server::uses_module(level);
    compiler.zone = zone::compile(&scope, &end, compiler)?;
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
