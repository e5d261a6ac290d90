//! The lexer of nginx's configuration language: bytes -> statements.
//!
//! A statement is the words up to `;`, `{` or `}`. It does not know any directive; the one concession to the outside is
//! [`Lexer::skip_lua`], because the text of a lua block is not in this language. Invariant: no input panics, and the
//! line of an error is the line the reading had come to.

use super::error::{Fault, Place, shown};

/// How a statement ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// `;`
    Semicolon,
    /// `{`
    Open,
    /// `}` (without words)
    Close,
    /// The end of the text (without words).
    File,
}

/// Words and what ended them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Statement {
    pub(super) words: Vec<Vec<u8>>,
    pub(super) end: End,
}

/// Reads statements from one text.
pub(super) struct Lexer<'t> {
    text: &'t [u8],
    at: usize,
    place: Place,
}

/// What closes the word being read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Quote {
    None,
    Single,
    Double,
}

impl<'t> Lexer<'t> {
    /// `place` is the first line of the text.
    pub(super) fn new(text: &'t [u8], place: Place) -> Self {
        Self { text, at: 0, place }
    }

    /// Where the reading has come to.
    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// The next statement.
    pub(super) fn statement(&mut self) -> Result<Statement, Fault> {
        let mut words = Vec::new();
        loop {
            let Some(byte) = self.next_of_statement() else {
                return if words.is_empty() {
                    Ok(Statement { words, end: End::File })
                } else {
                    Err(self.end_of_text())
                };
            };
            match byte {
                b';' | b'{' if words.is_empty() => return Err(self.unexpected(byte)),
                b';' => return Ok(Statement { words, end: End::Semicolon }),
                b'{' => return Ok(Statement { words, end: End::Open }),
                b'}' if words.is_empty() => return Ok(Statement { words, end: End::Close }),
                b'}' => return Err(self.unexpected(byte)),
                _ => {
                    let (word, end) = self.word(byte)?;
                    words.push(word);
                    if let Some(end) = end {
                        return Ok(Statement { words, end });
                    }
                }
            }
        }
    }

    /// Skips the text of a lua block, the opening brace of which has been read. Braces in lua strings and comments do not
    /// count.
    /// The text is returned without its last brace.
    pub(super) fn skip_lua(&mut self) -> Result<&'t [u8], Fault> {
        let start = self.at;
        let mut depth = 1usize;
        while let Some(byte) = self.next() {
            match byte {
                b'{' => depth += 1,
                b'}' => depth -= 1,
                b'"' | b'\'' => self.skip_lua_string(byte),
                b'-' if self.peek() == Some(b'-') => {
                    self.next();
                    if !self.skip_long_bracket() {
                        while self.next().is_some_and(|byte| byte != b'\n') {}
                    }
                }
                b'[' => {
                    self.at = self.at.saturating_sub(1);
                    if !self.skip_long_bracket() {
                        self.next();
                    }
                }
                _ => {}
            }
            if depth == 0 {
                return Ok(self.text.get(start..self.at.saturating_sub(1)).unwrap_or_default());
            }
        }
        Err(Fault::emerg("unexpected end of file, expecting \"}\"", &self.place))
    }

    fn skip_lua_string(&mut self, quote: u8) {
        while let Some(byte) = self.next() {
            if byte == b'\\' {
                self.next();
            } else if byte == quote || byte == b'\n' {
                return;
            }
        }
    }

    /// `[[ ... ]]`, `[==[ ... ]==]`; false, with nothing read, where none begins.
    fn skip_long_bracket(&mut self) -> bool {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let level = rest.iter().skip(1).take_while(|byte| **byte == b'=').count();
        if rest.first() != Some(&b'[') || rest.get(level + 1) != Some(&b'[') {
            return false;
        }
        let close = [&b"]"[..], &vec![b'='; level], b"]"].concat();
        while self.at < self.text.len() {
            if self.text.get(self.at..).is_some_and(|rest| rest.starts_with(&close)) {
                self.at += close.len();
                break;
            }
            self.next();
        }
        true
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        if byte == b'\n' {
            self.place.line += 1;
        }
        Some(byte)
    }

    /// The next byte that is neither white space nor comment.
    fn next_of_statement(&mut self) -> Option<u8> {
        loop {
            match self.next()? {
                b' ' | b'\t' | b'\r' | b'\n' => {}
                b'#' => while self.next()? != b'\n' {},
                byte => return Some(byte),
            }
        }
    }

    /// A word that begins with `first`; a `;` or `{` right behind it ends the statement.
    fn word(&mut self, first: u8) -> Result<(Vec<u8>, Option<End>), Fault> {
        let quote = match first {
            b'"' => Quote::Double,
            b'\'' => Quote::Single,
            _ => Quote::None,
        };
        let mut raw = if quote == Quote::None { vec![first] } else { Vec::new() };
        let mut after_dollar = first == b'$';
        if first == b'\\' {
            raw.push(self.next().ok_or_else(|| self.end_of_text())?);
        }
        loop {
            let byte = self.next().ok_or_else(|| self.end_of_text())?;
            if byte == b'{' && after_dollar {
                after_dollar = false;
                raw.push(byte);
                continue;
            }
            after_dollar = byte == b'$';
            match (byte, quote) {
                (b'\\', _) => {
                    raw.push(byte);
                    raw.push(self.next().ok_or_else(|| self.end_of_text())?);
                }
                (b'"', Quote::Double) | (b'\'', Quote::Single) => {
                    let end = self.after_quote()?;
                    return Ok((unescape(&raw), end));
                }
                (b' ' | b'\t' | b'\r' | b'\n', Quote::None) => return Ok((unescape(&raw), None)),
                (b';', Quote::None) => return Ok((unescape(&raw), Some(End::Semicolon))),
                (b'{', Quote::None) => return Ok((unescape(&raw), Some(End::Open))),
                _ => raw.push(byte),
            }
        }
    }

    /// Behind a closing quote only white space, `;`, `{` and `)` may follow; a `)` begins the next word.
    fn after_quote(&mut self) -> Result<Option<End>, Fault> {
        match self.peek() {
            Some(b')') => Ok(None),
            None => Err(self.end_of_text()),
            Some(byte) => {
                self.next();
                match byte {
                    b' ' | b'\t' | b'\r' | b'\n' => Ok(None),
                    b';' => Ok(Some(End::Semicolon)),
                    b'{' => Ok(Some(End::Open)),
                    _ => Err(self.unexpected(byte)),
                }
            }
        }
    }

    fn unexpected(&self, byte: u8) -> Fault {
        Fault::emerg(format_args!("unexpected \"{}\"", shown(&[byte])), &self.place)
    }

    fn end_of_text(&self) -> Fault {
        let text = if self.place.file.is_some() {
            "unexpected end of file, expecting \";\" or \"}\""
        } else {
            "unexpected end of parameter, expecting \";\""
        };
        Fault::emerg(text, &self.place)
    }
}

/// `\"` `\'` `\\` are the character, `\t` `\r` `\n` control characters; any other backslash stays.
fn unescape(raw: &[u8]) -> Vec<u8> {
    let mut word = Vec::with_capacity(raw.len());
    let mut bytes = raw.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        let escaped = match (byte, bytes.peek()) {
            (b'\\', Some(next @ (b'"' | b'\'' | b'\\'))) => Some(*next),
            (b'\\', Some(b't')) => Some(b'\t'),
            (b'\\', Some(b'r')) => Some(b'\r'),
            (b'\\', Some(b'n')) => Some(b'\n'),
            _ => None,
        };
        if escaped.is_some() {
            bytes.next();
        }
        word.push(escaped.unwrap_or(byte));
    }
    word
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;

    fn place() -> Place {
        Place { file: Some(Arc::from(Path::new("f"))), line: 1 }
    }

    fn words(text: &str) -> Vec<String> {
        let statement = Lexer::new(text.as_bytes(), place()).statement().unwrap();
        statement.words.iter().map(|word| shown(word).into_owned()).collect()
    }

    fn error(text: &str) -> String {
        let mut lexer = Lexer::new(text.as_bytes(), place());
        loop {
            match lexer.statement() {
                Ok(Statement { end: End::File, .. }) => return String::new(),
                Ok(_) => {}
                Err(fault) => return fault.notes[0].text.clone(),
            }
        }
    }

    #[test]
    fn words_end_at_white_space_of_any_kind() {
        assert_eq!(words("a\tb\r\n  c ;"), ["a", "b", "c"]);
    }

    #[test]
    fn comments_begin_only_where_a_word_could() {
        assert_eq!(words("# x; y\na b#c \"#d\" # e;\n;"), ["a", "b#c", "#d"]);
    }

    #[test]
    fn quotes_hold_everything_and_may_be_empty() {
        assert_eq!(words("a '' \"x; {y} #\nz\" 'it\\'s';"), ["a", "", "x; {y} #\nz", "it's"]);
    }

    #[test]
    fn known_escapes_are_replaced_and_others_kept() {
        assert_eq!(words(r#"a \"q\" \t\n\r\\ \.php$ "\d+\"";"#), ["a", "\"q\"", "\t\n\r\\", "\\.php$", "\\d+\""]);
    }

    #[test]
    fn an_escaped_delimiter_does_not_end_a_word() {
        assert_eq!(words("a b\\;c\\ d;"), ["a", "b\\;c\\ d"]);
    }

    #[test]
    fn a_brace_behind_a_dollar_opens_no_block() {
        assert_eq!(words("set $x pre${y}post;"), ["set", "$x", "pre${y}post"]);
    }

    #[test]
    fn a_bracket_may_follow_a_closing_quote() {
        assert_eq!(words("if ($a = \"b\") {"), ["if", "($a", "=", "b", ")"]);
    }

    #[test]
    fn anything_else_behind_a_closing_quote_is_refused() {
        assert_eq!(error("a \"b\"c;"), "unexpected \"c\" in f:1");
    }

    #[test]
    fn errors_name_the_line_that_was_reached() {
        assert_eq!(error("a\n\"b;\n"), "unexpected end of file, expecting \";\" or \"}\" in f:3");
        assert_eq!(error("a b\n}"), "unexpected \"}\" in f:2");
        assert_eq!(error(";"), "unexpected \";\" in f:1");
    }

    #[test]
    fn lua_is_skipped_by_its_braces_only() {
        let text = b" local a = \"}\" -- }\n --[[ } ]] b = [==[ } ]] ]==] if x then t = {} end }after;";
        let mut lexer = Lexer::new(text, place());
        lexer.skip_lua().unwrap();
        assert_eq!(lexer.statement().unwrap().words, [b"after"]);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_lexer_panic(text: Vec<u8>) {
            let mut lexer = Lexer::new(&text, place());
            while let Ok(statement) = lexer.statement() {
                if statement.end == End::File {
                    break;
                }
                if statement.end == End::Open {
                    let _ = lexer.skip_lua();
                }
            }
        }
    }
}
