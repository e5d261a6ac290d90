//! What each block sets, with values read, and the view from a block outwards.
//!
//! A [`Level`] holds what one block says, a [`Scope`] is a level and the ones around it. Inheritance is the same for all
//! directives: the innermost level that says anything about a directive says all of it. What a value means is not known
//! here.

use std::collections::HashMap;

use super::compiler::Compiler;
use super::complex;
use super::directives::{self, Contents, Directive, Effect, Kind};
use super::error::{Fault, Note, os_error, shown};
use super::objection::{duplicate, invalid_value};
use super::row_default::{default_number, default_word, measure};
use super::settings::{Handler, LogLevel};
use super::tree::Node;
use super::variable::Complex;
use super::{mode, namespace};

/// A directive and its value.
#[derive(Debug)]
pub(super) struct Entry<'t> {
    pub(super) node: &'t Node,
    pub(super) value: Value,
}

/// A value as the table says it is read.
#[derive(Debug)]
pub(super) enum Value {
    Flag(bool),
    /// Digits, a time or a size.
    Number(u64),
    Complex(Complex),
    /// The bytes of a text, or of the file it names.
    Text(Vec<u8>),
    /// The words of the node, read by whoever applies them.
    Words,
}

/// What one block says.
#[derive(Debug, Default)]
pub(super) struct Level<'t> {
    /// The block; `None` for the main level.
    pub(super) node: Option<&'t Node>,
    values: HashMap<&'static str, Vec<Entry<'t>>>,
    /// Rewrite operations and `if` blocks, in order.
    pub(super) steps: Vec<Step<'t>>,
    /// Blocks within, other than `if`, in order.
    pub(super) blocks: Vec<Level<'t>>,
    /// Directives that are not applied, known or not.
    pub(super) unapplied: Vec<&'t Node>,
    /// What answers here, and the directive that said so.
    pub(super) handler: Option<(Handler, &'t Node)>,
    /// A mode of the module is set here.
    pub(super) has_mode: bool,
}

/// A rewrite operation.
#[derive(Debug)]
pub(super) enum Step<'t> {
    Plain(&'t Node),
    If(Level<'t>),
}

/// A level and the levels around it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scope<'a, 't> {
    pub(super) level: &'a Level<'t>,
    pub(super) outer: Option<&'a Scope<'a, 't>>,
}

impl<'t> Level<'t> {
    /// Reads the values of a block.
    pub(super) fn collect(
        node: Option<&'t Node>,
        children: &'t [Node],
        compiler: &mut Compiler,
    ) -> Result<Self, Fault> {
        let mut level = Self { node, ..Self::default() };
        for child in children {
            level.add(child, compiler)?;
        }
        Ok(level)
    }

    fn add(&mut self, node: &'t Node, compiler: &mut Compiler) -> Result<(), Fault> {
        let Some(row) = node.row else { return self.add_unknown(node, compiler) };
        compiler.note_spelling(node, row);
        let value = match row.kind {
            Kind::Silent => {
                note_missing_part(node, compiler);
                return Ok(());
            }
            Kind::NotApplied if is_default(node) => return Ok(()),
            Kind::NotApplied | Kind::Skipped(_) => {
                compiler.note_unapplied(node);
                return self.leave(node, compiler);
            }
            Kind::Step => {
                self.steps.push(Step::Plain(node));
                return Ok(());
            }
            Kind::Handler => return self.set_mode(node, row, compiler),
            Kind::Block(Contents::Directives(_)) => {
                self.refuse_second_block(node)?;
                let block = Level::collect(Some(node), &node.children, compiler)?;
                if row.name == "if" {
                    self.steps.push(Step::If(block));
                } else {
                    self.blocks.push(block);
                }
                return Ok(());
            }
            Kind::Block(_) | Kind::List => Value::Words,
            single => {
                self.refuse_duplicate(node, row.meaning)?;
                read(node, single, compiler)?
            }
        };
        self.values.entry(row.meaning).or_default().push(Entry { node, value });
        Ok(())
    }

    /// The last directive that says what answers here wins, but a publisher or subscriber never replaces another mode.
    fn set_mode(&mut self, node: &'t Node, row: &Directive, compiler: &mut Compiler) -> Result<(), Fault> {
        if self.has_mode && mode::is_exclusive(row) {
            return Err(duplicate(node));
        }
        self.handler = Some((mode::handler(node, row, compiler)?, node));
        self.has_mode |= row.name.starts_with("push_stream_");
        Ok(())
    }

    fn add_unknown(&mut self, node: &'t Node, compiler: &mut Compiler) -> Result<(), Fault> {
        compiler.note_unknown(node);
        self.leave(node, compiler)
    }

    /// Keeps what is not applied: it may give a variable, answer the location, or have guarded it.
    fn leave(&mut self, node: &'t Node, compiler: &mut Compiler) -> Result<(), Fault> {
        self.unapplied.push(node);
        compiler.foreign |= node.unknown || directives::is_foreign(&node.name());
        let in_location = self.node.is_some_and(|block| block.name() == "location");
        let name = node.name();
        if in_location && directives::family_of(&name).is_some_and(|family| family.effect == Effect::Answers) {
            self.handler = Some((Handler::Foreign((&*name).into()), node));
        }
        namespace::define_unapplied(node, &mut compiler.namespace)
    }

    fn refuse_duplicate(&self, node: &Node, meaning: &str) -> Result<(), Fault> {
        if !self.values.contains_key(meaning) {
            return Ok(());
        }
        let name = node.name();
        Err(if name == "push_stream_header_template_file" {
            let text =
                format_args!("\"{name}\" directive is duplicate or template set by 'push_stream_header_template'");
            Fault::emerg(text, &node.place)
        } else {
            duplicate(node)
        })
    }

    fn refuse_second_block(&self, node: &Node) -> Result<(), Fault> {
        let once = matches!(&*node.name(), "http" | "events");
        if once && self.blocks.iter().any(|block| block.node.is_some_and(|other| other.name() == node.name())) {
            return Err(duplicate(node));
        }
        Ok(())
    }

    /// Takes values of the zone that stand in servers and locations up into `http`: there is one zone for all.
    pub(super) fn raise_zone_values(&mut self, compiler: &mut Compiler) {
        for http in self.blocks.iter_mut().filter(|block| block.node.is_some_and(|node| node.name() == "http")) {
            let mut raised = Vec::new();
            http.blocks.iter_mut().for_each(|block| block.take_zone_values(&mut raised));
            for (name, entry) in raised {
                http.add_zone_value(name, entry, compiler);
            }
        }
    }

    /// The first value there is counts; others are warned of.
    fn add_zone_value(&mut self, name: &'static str, entry: Entry<'t>, compiler: &mut Compiler) {
        let own = self.values.entry(name).or_default();
        match own.first() {
            None => own.push(entry),
            Some(first) if first.node.args() == entry.node.args() => {}
            Some(first) => {
                let (name, used) = (entry.node.name(), &first.node.place);
                let text = format!("\"{name}\" counts for all locations, that in {used} is used");
                compiler.warn(text, &entry.node.place);
            }
        }
    }

    fn take_zone_values(&mut self, raised: &mut Vec<(&'static str, Entry<'t>)>) {
        let is_of_zone = |entry: &Entry<'_>| entry.node.row.is_some_and(|row| row.contexts == directives::HTTP);
        let names: Vec<&'static str> = self
            .values
            .iter()
            .filter(|(name, entries)| name.starts_with("push_stream_") && entries.iter().any(is_of_zone))
            .map(|(name, _)| *name)
            .collect();
        for name in names {
            let entries = self.values.remove(name).unwrap_or_default();
            raised.extend(entries.into_iter().map(|entry| (name, entry)));
        }
        self.blocks.iter_mut().for_each(|block| block.take_zone_values(raised));
    }

    /// Whether the block or one in it has a mode.
    pub(super) fn uses_module(&self) -> bool {
        self.has_mode || self.blocks.iter().any(Self::uses_module)
    }

    /// The directives of this level alone.
    pub(super) fn own(&self, name: &str) -> &[Entry<'t>] {
        self.values.get(name).map_or(&[][..], Vec::as_slice)
    }

    /// The blocks of this name.
    pub(super) fn blocks_named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Level<'t>> {
        self.blocks.iter().filter(move |block| block.node.is_some_and(|node| node.name() == name))
    }
}

impl<'a, 't> Scope<'a, 't> {
    /// The innermost directives of this name.
    pub(super) fn list(&self, name: &str) -> &'a [Entry<'t>] {
        let own = self.level.own(name);
        match self.outer {
            Some(outer) if own.is_empty() => outer.list(name),
            _ => own,
        }
    }

    /// The innermost directive of this name.
    pub(super) fn entry(&self, name: &str) -> Option<&'a Entry<'t>> {
        self.list(name).first()
    }

    /// A flag, or its row's default.
    pub(super) fn flag(&self, name: &str) -> bool {
        match self.entry(name).map(|entry| &entry.value) {
            Some(Value::Flag(flag)) => *flag,
            _ => default_word(name) == Some(b"on"),
        }
    }

    /// A number, a time or a size, or its row's default; none where the absence means something of its own.
    pub(super) fn number(&self, name: &str) -> Option<u64> {
        match self.entry(name).map(|entry| &entry.value) {
            Some(Value::Number(number)) => Some(*number),
            Some(_) => None,
            None => default_number(name),
        }
    }

    /// The same of a row that has a default.
    pub(super) fn quantity(&self, name: &str) -> u64 {
        self.number(name).unwrap_or_default()
    }

    pub(super) fn complex(&self, name: &str) -> Option<&'a Complex> {
        match &self.entry(name)?.value {
            Value::Complex(value) => Some(value),
            _ => None,
        }
    }

    /// A text, or its row's default.
    pub(super) fn text(&self, name: &str) -> Option<&'a [u8]> {
        match self.entry(name).map(|entry| &entry.value) {
            Some(Value::Text(text)) => Some(text),
            Some(_) => None,
            None => default_word(name),
        }
    }

    /// The server around.
    pub(super) fn server(&self) -> Option<&'a Level<'t>> {
        if self.level.node.is_some_and(|node| node.name() == "server") {
            return Some(self.level);
        }
        self.outer.and_then(Scope::server)
    }

    /// First word of the innermost directive of this name, or of its row's default.
    pub(super) fn word(&self, name: &str) -> Option<&'a [u8]> {
        self.entry(name).map(|entry| entry.node.arg(0)).or_else(|| default_word(name))
    }
}

/// Directives that are as good as applied but for one of their words.
fn note_missing_part(node: &Node, compiler: &mut Compiler) {
    match &*node.name() {
        "tcp_nodelay" if node.arg(0) == b"off" => compiler.note_unapplied_part(node, b"off"),
        "load_module" => compiler.foreign |= !node.arg(0).windows(11).any(|part| part == b"push_stream"),
        "env" if node.arg(0).contains(&b'=') => compiler.note_unapplied_part(node, node.arg(0)),
        _ => {}
    }
}

/// Whether a directive that is not applied asks for nothing.
fn is_default(node: &Node) -> bool {
    node.name() == "reset_timedout_connection" && node.arg(0) == b"off"
}

/// Reads the single word of a directive.
fn read(node: &Node, kind: Kind, compiler: &mut Compiler) -> Result<Value, Fault> {
    let word = node.arg(0);
    match kind {
        Kind::Flag => flag(node).map(Value::Flag),
        Kind::Number => measure(kind, word)
            .map(Value::Number)
            .ok_or_else(|| Fault::emerg(format_args!("\"{}\" directive invalid number", node.name()), &node.place)),
        Kind::Seconds | Kind::Milliseconds | Kind::Size | Kind::Offset => {
            measure(kind, word).map(Value::Number).ok_or_else(|| invalid_value(node))
        }
        Kind::Text => Ok(Value::Text(word.to_vec())),
        Kind::Complex => complex::compile(word, &mut compiler.namespace, &node.place).map(Value::Complex),
        _ if node.name() == "push_stream_header_template_file" => header_file(node).map(Value::Text),
        _ => Ok(Value::Words),
    }
}

fn flag(node: &Node) -> Result<bool, Fault> {
    let word = node.arg(0);
    if word.eq_ignore_ascii_case(b"on") {
        return Ok(true);
    }
    if word.eq_ignore_ascii_case(b"off") {
        return Ok(false);
    }
    let text = format_args!(
        "invalid value \"{}\" in \"{}\" directive, it must be \"on\" or \"off\"",
        shown(word),
        node.name()
    );
    Err(Fault::emerg(text, &node.place))
}

/// The header template of a file, opened with the path as written.
fn header_file(node: &Node) -> Result<Vec<u8>, Fault> {
    let name = shown(node.arg(0));
    let failed =
        |what: &str| Fault::module(format_args!("unable to {what} \"{name}\" for header template"), &node.place);
    let mut file = std::fs::File::open(&*name).map_err(|_| failed("open file"))?;
    let mut text = Vec::new();
    std::io::Read::read_to_end(&mut file, &mut text).map_err(|error| {
        let text = format!("pread() \"{name}\" failed {}", os_error(&error));
        Fault { notes: vec![Note { level: LogLevel::Crit, text }] }.then(failed("read data from file"))
    })?;
    Ok(text)
}
