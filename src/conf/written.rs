//! A configuration as it is written: directives with their words, and the way back to text.
//!
//! For who reads configurations as texts (`migrate`). Nothing is compiled; of a directive only its part in pushstreamd is
//! known. Invariant: what is printed reads back as the same words.

use std::fmt::Write as _;

use super::directives::{Directive, Kind};
use super::error::shown;
use super::namespace;
use super::tree::Node;

/// A directive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Name and words, unquoted.
    pub words: Vec<Vec<u8>>,
    /// What stands in its block; `None`: it has none.
    pub block: Option<Vec<Written>>,
    /// The text of its block, where that is Lua.
    pub lua: Option<Vec<u8>>,
    /// `file:line`.
    pub place: String,
    /// Variables it gives values to, without `$`, where it is accepted only.
    pub gives: Vec<String>,
    /// What pushstreamd makes of it.
    pub part: Part,
}

/// What pushstreamd makes of a directive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// A mode of the module.
    Mode,
    /// A handler that pushstreamd does not have.
    Foreign,
    /// A step of the rewrite phase.
    Step,
    /// A value or block that it applies, or a row of words in such a block.
    Applied,
    /// Accepted only.
    Ignored,
}

impl Written {
    /// A directive without a block.
    pub fn simple(words: &[&str]) -> Self {
        let words = words.iter().map(|word| word.as_bytes().to_vec()).collect();
        Self { words, block: None, lua: None, place: String::new(), gives: Vec::new(), part: Part::Applied }
    }

    pub(super) fn of(node: &Node) -> Self {
        let part = match node.row {
            Some(row) => match row.kind {
                Kind::Handler if row.name.starts_with("push_stream_") => Part::Mode,
                Kind::Handler if row.name == "stub_status" => Part::Applied,
                Kind::Handler => Part::Foreign,
                Kind::Step => Part::Step,
                Kind::Silent | Kind::NotApplied | Kind::Skipped(_) => Part::Ignored,
                _ => Part::Applied,
            },
            None if node.unknown => Part::Ignored,
            None => Part::Applied,
        };
        let has_block = node.lua.is_none() && node.row.map_or(!node.children.is_empty(), Directive::is_block);
        Self {
            words: node.words.clone(),
            block: has_block.then(|| node.children.iter().map(Self::of).collect()),
            lua: node.lua.clone(),
            place: node.place.to_string(),
            gives: if part == Part::Ignored { namespace::defined_by(node) } else { Vec::new() },
            part,
        }
    }

    /// A block of these directives.
    pub fn block(words: &[&str], children: Vec<Written>) -> Self {
        Self { block: Some(children), ..Self::simple(words) }
    }

    /// The name.
    pub fn name(&self) -> String {
        self.words.first().map(|word| shown(word).into_owned()).unwrap_or_default()
    }

    /// The words behind the name, as text.
    pub fn args(&self) -> Vec<String> {
        self.words.iter().skip(1).map(|word| shown(word).into_owned()).collect()
    }

    /// What stands in its block.
    pub fn children(&self) -> &[Written] {
        self.block.as_deref().unwrap_or_default()
    }

    /// Name and words as they are written in a file.
    pub fn line(&self) -> String {
        let words: Vec<String> = self.words.iter().map(|word| quoted(&shown(word))).collect();
        words.join(" ")
    }

    /// Appends the directive as text, indented by `depth` levels.
    pub fn print(&self, depth: usize, out: &mut String) {
        let indent = "    ".repeat(depth);
        let _ = write!(out, "{indent}{}", self.line());
        match &self.block {
            None => match &self.lua {
                Some(lua) => {
                    let _ = writeln!(out, " {{{}}}", shown(lua));
                }
                None => out.push_str(";\n"),
            },
            Some(children) => {
                out.push_str(" {\n");
                for child in children {
                    child.print(depth + 1, out);
                }
                let _ = writeln!(out, "{indent}}}");
            }
        }
    }
}

/// A word as it must be written to be read as this word.
fn quoted(word: &str) -> String {
    let mut text = String::with_capacity(word.len() + 2);
    let special = |byte: char| byte.is_ascii_whitespace() || matches!(byte, ';' | '{' | '}' | '"' | '\'' | '#');
    let quote = match word {
        "" => Some('"'),
        // `${name}` is one word, but a brace at any other place would begin or end a block.
        _ if !word.replace("${", "").replace('}', "").contains(special) && balanced(word) => None,
        _ if word.contains('"') && !word.contains('\'') => Some('\''),
        _ => Some('"'),
    };
    text.extend(quote);
    let mut rest = word.chars().peekable();
    while let Some(letter) = rest.next() {
        let escapes = letter == '\\'
            && match rest.peek() {
                None => true,
                Some(next) => matches!(next, '"' | '\'' | '\\' | 't' | 'r' | 'n'),
            };
        if escapes || Some(letter) == quote {
            text.push('\\');
        }
        text.push(letter);
    }
    text.extend(quote);
    text
}

/// Whether every `}` closes a `${`.
fn balanced(word: &str) -> bool {
    word.matches("${").count() == word.matches('}').count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::error::Place;
    use super::super::token::Lexer;
    use super::*;

    fn read_back(line: &str) -> Vec<Vec<u8>> {
        let text = format!("{line};");
        Lexer::new(text.as_bytes(), Place { file: None, line: 1 }).statement().unwrap().words
    }

    #[test]
    fn words_are_quoted_only_where_they_must_be() {
        for (word, text) in [
            ("plain", "plain"),
            ("", "\"\""),
            ("${a}b", "${a}b"),
            ("a b", "\"a b\""),
            ("{\"id\":1}", "'{\"id\":1}'"),
            ("\\.php$", "\\.php$"),
            ("a\\n", "a\\\\n"),
            ("^/(\\d{2})", "\"^/(\\d{2})\""),
        ] {
            assert_eq!(quoted(word), text);
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back_as_the_same_words(words in proptest::collection::vec("[ -~\t\r\n]{0,12}", 1..4)) {
            let mut all = vec!["name".to_owned()];
            all.extend(words);
            let refs: Vec<&str> = all.iter().map(String::as_str).collect();
            let written = Written::simple(&refs);
            prop_assert_eq!(read_back(&written.line()), written.words);
        }
    }
}
