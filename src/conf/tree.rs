//! Text -> tree of directives: includes read, names, contexts and numbers of words checked against the table.
//!
//! Does not look at values. Invariant: every node with a row stands where its row allows and has as many words as its row
//! takes; rows of words (`map`, `types`, ...) and what is inside skipped blocks have no row.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::directives::{self, Contents, Contexts, Directive, Kind, LOCATION_IF, MAIN, SERVER, SERVER_IF};
use super::error::{Fault, Note, Place, os_error, shown};
use super::glob;
use super::settings::LogLevel;
use super::token::{End, Lexer, Statement};
use crate::model::Line;

/// How deep includes and blocks may nest. nginx has no limit but its file descriptors and its stack.
const DEEPEST: usize = 100;

/// One directive.
#[derive(Debug)]
pub(super) struct Node {
    /// Its row; `None` for a row of words and for what is not known.
    pub(super) row: Option<&'static Directive>,
    /// A directive that no row knows.
    pub(super) unknown: bool,
    /// Name and words.
    pub(super) words: Vec<Vec<u8>>,
    /// The text of its block, where that is Lua.
    pub(super) lua: Option<Vec<u8>>,
    /// Where its `;` or `{` is.
    pub(super) place: Place,
    /// What stands in its block.
    pub(super) children: Vec<Node>,
    /// Where its `}` is.
    pub(super) end: Place,
}

impl Node {
    /// The name as written.
    pub(super) fn name(&self) -> std::borrow::Cow<'_, str> {
        shown(self.words.first().map_or(&[][..], Vec::as_slice))
    }

    /// Word `index` behind the name; empty where there is none.
    pub(super) fn arg(&self, index: usize) -> &[u8] {
        self.words.get(index + 1).map_or(&[][..], Vec::as_slice)
    }

    /// All words behind the name.
    pub(super) fn args(&self) -> &[Vec<u8>] {
        self.words.get(1..).unwrap_or_default()
    }
}

/// Byte order marks, of UTF-8 and of UTF-16.
const MARKS: [&[u8]; 3] = [b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff"];

/// Which names are known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dialect {
    /// Only those of this line of the module.
    pub(super) only: Option<Line>,
    /// A missing mime.types, user or dhparam is an error.
    pub(super) strict: bool,
}

/// Reads files into one tree.
pub(super) struct Reader {
    dialect: Dialect,
    /// Directory of the main file: includes start here.
    directory: PathBuf,
    depth: usize,
    /// Every file that was read, for `-T`.
    pub(super) files: Vec<(PathBuf, Vec<u8>)>,
    /// What was noticed on the way.
    pub(super) notes: Vec<Note>,
}

impl Reader {
    pub(super) fn new(dialect: Dialect, directory: PathBuf) -> Self {
        Self { dialect, directory, depth: 0, files: Vec::new(), notes: Vec::new() }
    }

    /// Reads a text of the main context; `file` is its name, `None` for the command line.
    pub(super) fn text(&mut self, text: &[u8], file: Option<&Path>, nodes: &mut Vec<Node>) -> Result<(), Fault> {
        let place = Place { file: file.map(Arc::from), line: 1 };
        self.block(&mut lexer(text, place)?, Contents::Directives(MAIN), false, nodes)
    }

    /// Reads the main file.
    pub(super) fn main_file(&mut self, path: &Path, nodes: &mut Vec<Node>) -> Result<(), Fault> {
        let text = std::fs::read(path).map_err(|error| Fault::anywhere(cannot_open(path, &error)))?;
        self.files.push((path.to_owned(), text.clone()));
        self.text(&text, Some(path), nodes)
    }

    /// Reads statements up to the end of the block, or of the text.
    fn block(
        &mut self,
        lexer: &mut Lexer<'_>,
        contents: Contents,
        inside: bool,
        nodes: &mut Vec<Node>,
    ) -> Result<(), Fault> {
        loop {
            let statement = lexer.statement()?;
            match statement.end {
                End::File if inside => {
                    return Err(Fault::emerg("unexpected end of file, expecting \"}\"", lexer.place()));
                }
                End::Close if !inside => return Err(Fault::emerg("unexpected \"}\"", lexer.place())),
                End::File | End::Close => return Ok(()),
                End::Semicolon | End::Open => self.statement(lexer, contents, statement, nodes)?,
            }
        }
    }

    fn statement(
        &mut self,
        lexer: &mut Lexer<'_>,
        contents: Contents,
        statement: Statement,
        nodes: &mut Vec<Node>,
    ) -> Result<(), Fault> {
        let Statement { words, end } = statement;
        let place = lexer.place().clone();
        if words.first().is_some_and(|name| name == b"include") {
            return self.include(&words, end, &place, contents, nodes);
        }
        let mut node =
            Node { row: None, unknown: false, lua: None, words, end: place.clone(), place, children: Vec::new() };
        let inner = match contents {
            Contents::Words if end == End::Open => return Err(Fault::emerg("unexpected \"{\"", &node.place)),
            Contents::Words => None,
            Contents::Opaque if node.name().ends_with("_by_lua_block") => Some(Contents::Lua),
            Contents::Opaque | Contents::Lua => (end == End::Open).then_some(Contents::Opaque),
            Contents::Directives(context) => {
                node.row = self.row(&node, context, end)?;
                node.unknown = node.row.is_none();
                match node.row {
                    Some(row) => inside(row, context),
                    None if node.name().ends_with("_by_lua_block") => Some(Contents::Lua),
                    None => Some(Contents::Opaque),
                }
            }
        };
        match inner {
            Some(Contents::Lua) if end == End::Open => node.lua = Some(lexer.skip_lua()?.to_vec()),
            Some(inner) if end == End::Open => {
                self.deeper(&node.place)?;
                self.block(lexer, inner, true, &mut node.children)?;
                self.depth -= 1;
            }
            _ => {}
        }
        node.end = lexer.place().clone();
        nodes.push(node);
        Ok(())
    }

    /// The row of a directive, if it may stand here as it does; none for what belongs to a module that is not known, which
    /// is somebody else's business.
    fn row(&self, node: &Node, context: Contexts, end: End) -> Result<Option<&'static Directive>, Fault> {
        let name = node.name();
        // Tables of other modules are written from what they say; where they disagree with a file, the file is right.
        let foreign = directives::is_foreign(&name);
        let mut known = false;
        for row in directives::named(&name) {
            if self.dialect.only.is_some_and(|line| !row.lines.know(line)) {
                continue;
            }
            let is_left = foreign && matches!(row.kind, Kind::NotApplied | Kind::Skipped(_));
            known |= !is_left;
            let misplaced = !row.contexts.meets(context) && !self.may_be_raised(row, context);
            if misplaced || (is_left && !fits(row, node, end)) {
                continue;
            }
            if !row.is_block() && end == End::Open {
                return Err(Fault::emerg(format_args!("directive \"{name}\" is not terminated by \";\""), &node.place));
            }
            if row.is_block() && end != End::Open {
                return Err(Fault::emerg(format_args!("directive \"{name}\" has no opening \"{{\""), &node.place));
            }
            if !row.args.allow(node.args().len()) {
                return Err(wrong_count(&name, &node.place));
            }
            return Ok(Some(row));
        }
        if known {
            return Err(Fault::emerg(format_args!("\"{name}\" directive is not allowed here"), &node.place));
        }
        if !name.starts_with("push_stream_") {
            return Ok(None);
        }
        let meant = directives::nearest(&name).filter(|_| self.dialect.only.is_none());
        let meant = meant.map(|near| format!(", did you mean \"{near}\"?")).unwrap_or_default();
        Err(Fault::emerg(format_args!("unknown directive \"{name}\"{meant}"), &node.place))
    }

    /// Lines before 0.3 had values of the zone in servers and locations too. Whether the file is of such a line is known
    /// when it has been read.
    fn may_be_raised(&self, row: &Directive, context: Contexts) -> bool {
        let in_http = directives::SERVER.meets(context) || directives::LOCATION.meets(context);
        self.dialect.only.is_none()
            && row.contexts == directives::HTTP
            && row.name.starts_with("push_stream_")
            && in_http
    }

    fn include(
        &mut self,
        words: &[Vec<u8>],
        end: End,
        place: &Place,
        contents: Contents,
        nodes: &mut Vec<Node>,
    ) -> Result<(), Fault> {
        let [_, name] = words else { return Err(wrong_count("include", place)) };
        if end == End::Open {
            return Err(Fault::emerg("directive \"include\" is not terminated by \";\"", place));
        }
        let path = self.directory.join(&*shown(name));
        let paths = if glob::is_pattern(&shown(name)) { glob::matches(&path) } else { vec![path] };
        for path in paths {
            let text = match std::fs::read(&path) {
                Ok(text) => text,
                Err(error) if self.may_be_missing(&path, &error) => {
                    let text = format!("{}, the built-in types are used in {place}", cannot_open(&path, &error));
                    self.notes.push(Note { level: LogLevel::Warn, text });
                    continue;
                }
                Err(error) => return Err(Fault::emerg(cannot_open(&path, &error), place)),
            };
            if !self.files.iter().any(|(read, _)| *read == path) {
                self.files.push((path.clone(), text.clone()));
            }
            self.deeper(place)?;
            let mut lexer = lexer(&text, Place { file: Some(Arc::from(path)), line: 1 })?;
            self.block(&mut lexer, contents, false, nodes)?;
            self.depth -= 1;
        }
        Ok(())
    }

    /// mime.types comes with nginx's package, not with the configuration.
    fn may_be_missing(&self, path: &Path, error: &std::io::Error) -> bool {
        !self.dialect.strict
            && error.kind() == std::io::ErrorKind::NotFound
            && path.file_name().is_some_and(|name| name == "mime.types")
    }

    fn deeper(&mut self, place: &Place) -> Result<(), Fault> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(Fault::emerg("blocks and includes are nested too deeply", place));
        }
        Ok(())
    }
}

/// Whether a directive is as its row says.
/// Reads a file; nginx would take its byte order mark, which is not to be seen, for the beginning of the first word.
fn lexer(text: &[u8], place: Place) -> Result<Lexer<'_>, Fault> {
    if MARKS.iter().any(|mark| text.starts_with(mark)) {
        return Err(Fault::emerg("the file begins with a byte order mark: save it as UTF-8 without one", &place));
    }
    Ok(Lexer::new(text, place))
}

fn fits(row: &Directive, node: &Node, end: End) -> bool {
    row.is_block() == (end == End::Open) && row.args.allow(node.args().len())
}

/// What stands in the block of `row`.
fn inside(row: &Directive, context: Contexts) -> Option<Contents> {
    match row.kind {
        Kind::Block(Contents::Directives(LOCATION_IF)) if context == SERVER => Some(Contents::Directives(SERVER_IF)),
        Kind::Block(contents) | Kind::Skipped(contents) => Some(contents),
        _ => None,
    }
}

fn wrong_count(name: &str, place: &Place) -> Fault {
    Fault::emerg(format_args!("invalid number of arguments in \"{name}\" directive"), place)
}

/// nginx's words for a file that cannot be read.
pub(super) fn cannot_open(path: &Path, error: &std::io::Error) -> String {
    format!("open() \"{}\" failed {}", path.display(), os_error(error))
}
