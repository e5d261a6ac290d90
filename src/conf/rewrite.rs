//! The rewrite phase of one block: `set`, `if`, `rewrite`, `return`, `break`, in file order.
//!
//! Compiles operations; does not run them. The values of an `if` block are compiled as a location of their own, which
//! `conf::location` does.

use super::compiler::{Compiler, of_variable};
use super::complex;
use super::error::{Fault, shown};
use super::location::{self, Parent};
use super::namespace::dollar_name;
use super::objection::invalid_parameter;
use super::scope::{Level, Scope, Step};
use super::settings::{Condition, FileTest, Operation, Return, RewriteFlag};
use super::tree::Node;
use super::units;
use super::variable::Complex;

/// Compiles the operations of a block.
pub(super) fn compile(
    scope: &Scope<'_, '_>,
    parent: &Parent,
    compiler: &mut Compiler,
) -> Result<Vec<Operation>, Fault> {
    let mut operations = Vec::new();
    for step in &scope.level.steps {
        match step {
            Step::Plain(node) => operations.extend(operation(node, compiler)?),
            Step::If(level) => operations.push(if_block(level, scope, parent, compiler)?),
        }
    }
    Ok(operations)
}

fn operation(node: &Node, compiler: &mut Compiler) -> Result<Option<Operation>, Fault> {
    match &*node.name() {
        "set" => set(node, compiler),
        "return" => answer(node, compiler).map(Operation::Return).map(Some),
        "rewrite" => rewrite(node, compiler).map(Some),
        _ => Ok(Some(Operation::Break)),
    }
}

/// `set $NAME VALUE`
fn set(node: &Node, compiler: &mut Compiler) -> Result<Option<Operation>, Fault> {
    let Some(name) = dollar_name(node.arg(0)) else {
        return Err(Fault::emerg(format_args!("invalid variable name \"{}\"", shown(node.arg(0))), &node.place));
    };
    let value = complex::compile(node.arg(1), &mut compiler.namespace, &node.place)?;
    match &*name.to_ascii_lowercase() {
        "args" => Ok(Some(Operation::SetArgs(value))),
        "limit_rate" => {
            compiler.note_unapplied_part(node, node.arg(0));
            Ok(None)
        }
        name => {
            let index = compiler.namespace.define(name, &node.place)?;
            compiler.namespace.assigns(index, &value);
            Ok(Some(Operation::Set(index, value)))
        }
    }
}

/// `return CODE [TEXT]`, `return CODE URL`, `return URL`
fn answer(node: &Node, compiler: &mut Compiler) -> Result<Return, Fault> {
    let word = node.arg(0);
    let mut compile = |text: &[u8]| complex::compile(text, &mut compiler.namespace, &node.place);
    let code = units::number(word).and_then(|code| u16::try_from(code).ok()).filter(|code| *code <= 999);
    match (code, node.args().get(1)) {
        (Some(code), None) => Ok(Return { code, text: None }),
        (Some(code), Some(text)) => Ok(Return { code, text: Some(compile(text)?) }),
        (None, None) if is_url(word) => Ok(Return { code: 302, text: Some(compile(word)?) }),
        _ => Err(Fault::emerg(format_args!("invalid return code \"{}\"", shown(word)), &node.place)),
    }
}

fn is_url(word: &[u8]) -> bool {
    [&b"http://"[..], b"https://", b"$scheme"].iter().any(|start| word.starts_with(start))
}

/// `rewrite REGEX REPLACEMENT [FLAG]`
fn rewrite(node: &Node, compiler: &mut Compiler) -> Result<Operation, Fault> {
    let regex = complex::regex(node.arg(0), false, &mut compiler.namespace, &node.place)?;
    let mut flag = if is_url(node.arg(1)) { RewriteFlag::Redirect } else { RewriteFlag::Continue };
    match node.args().get(2).map(Vec::as_slice) {
        Some(b"last") if flag == RewriteFlag::Continue => flag = RewriteFlag::Last,
        Some(b"break") if flag == RewriteFlag::Continue => flag = RewriteFlag::Break,
        None | Some(b"last" | b"break") => {}
        Some(b"redirect") => flag = RewriteFlag::Redirect,
        Some(b"permanent") => flag = RewriteFlag::Permanent,
        Some(word) => return Err(invalid_parameter(node, word)),
    }
    if node.arg(1).is_empty() {
        return Err(Fault::emerg("empty replacement", &node.place));
    }
    let (replacement, drop_args) = match node.arg(1).strip_suffix(b"?") {
        Some(replacement) => (replacement, true),
        None => (node.arg(1), false),
    };
    let replacement = complex::compile(replacement, &mut compiler.namespace, &node.place)?;
    Ok(Operation::Rewrite { regex, replacement, drop_args, flag })
}

fn if_block(
    level: &Level<'_>,
    outer: &Scope<'_, '_>,
    parent: &Parent,
    compiler: &mut Compiler,
) -> Result<Operation, Fault> {
    let Some(node) = level.node else { return Ok(Operation::Break) };
    let condition = condition(node, compiler)?;
    if let Some(pushes) = &parent.pushes {
        let values = match &condition {
            Condition::True(value) | Condition::Matches { value, .. } => vec![value.clone()],
            Condition::Equal { value, text, .. } => vec![value.clone(), text.clone()],
            Condition::File { path, .. } => vec![path.clone()],
        };
        compiler.guards.reads(&node.place, "if", values, pushes.clone());
    }
    let scope = Scope { level, outer: Some(outer) };
    let location = location::if_block(&scope, parent, compiler)?;
    Ok(Operation::If { condition, location })
}

/// The words between the brackets, which may touch their neighbours.
fn inner_words(node: &Node) -> Result<Vec<&[u8]>, Fault> {
    let invalid = |word: &[u8]| Fault::emerg(format_args!("invalid condition \"{}\"", shown(word)), &node.place);
    let mut words: Vec<&[u8]> = node.args().iter().map(Vec::as_slice).collect();
    if let Some(first) = words.first_mut() {
        *first = first.strip_prefix(b"(").ok_or_else(|| invalid(first))?;
    }
    if let Some(last) = words.last_mut() {
        *last = last.strip_suffix(b")").ok_or_else(|| invalid(last))?;
    }
    if words.len() > 1 && words.first().is_some_and(|word| word.is_empty()) {
        words.remove(0);
    }
    // An empty last word is a bracket that stood alone; an empty right side is written "" and then a bracket.
    if words.len() > 1
        && words.last().is_some_and(|word| word.is_empty())
        && node.args().last().is_some_and(|word| word == b")")
    {
        words.pop();
    }
    Ok(words)
}

fn condition(node: &Node, compiler: &mut Compiler) -> Result<Condition, Fault> {
    let words = inner_words(node)?;
    let invalid = |word: &[u8]| Fault::emerg(format_args!("invalid condition \"{}\"", shown(word)), &node.place);
    let variable = |word: &[u8], compiler: &mut Compiler| -> Result<Complex, Fault> {
        match dollar_name(word) {
            Some(name) => match name.as_bytes() {
                [digit @ b'1'..=b'9'] => Ok(of_variable(super::variable::Variable::Capture(digit - b'0'))),
                _ => Ok(of_variable(compiler.namespace.variable(&name))),
            },
            None => Err(invalid(word)),
        }
    };
    match words.as_slice() {
        [word] if word.starts_with(b"$") => Ok(Condition::True(variable(word, compiler)?)),
        [word, operator, right] if word.starts_with(b"$") => {
            let value = variable(word, compiler)?;
            let place = &node.place;
            Ok(match *operator {
                b"=" | b"!=" => Condition::Equal {
                    value,
                    text: complex::compile(right, &mut compiler.namespace, place)?,
                    negate: operator.starts_with(b"!"),
                },
                b"~" | b"~*" | b"!~" | b"!~*" => Condition::Matches {
                    value,
                    regex: complex::regex(right, operator.ends_with(b"*"), &mut compiler.namespace, place)?,
                    negate: operator.starts_with(b"!"),
                },
                other => {
                    return Err(Fault::emerg(format_args!("unexpected \"{}\" in condition", shown(other)), place));
                }
            })
        }
        [test, path] => {
            let (negate, letter) = match test.strip_prefix(b"!") {
                Some(letter) => (true, letter),
                None => (false, *test),
            };
            let test = match letter {
                b"-f" => FileTest::File,
                b"-d" => FileTest::Directory,
                b"-e" => FileTest::Exists,
                b"-x" => FileTest::Executable,
                _ => return Err(invalid(test)),
            };
            let path = complex::compile(path, &mut compiler.namespace, &node.place)?;
            Ok(Condition::File { path, test, negate })
        }
        other => Err(invalid(other.first().copied().unwrap_or_default())),
    }
}
