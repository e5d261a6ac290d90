//! Text with `$variables` -> [`Complex`], and regular expressions with the variables their groups define.
//!
//! Does not know which directive the text belongs to. `$1` to `$9` are captures; there is no way to write a plain `$`.

use std::sync::Arc;

use super::error::{Fault, Place, shown};
use super::namespace::Namespace;
use super::settings::Regex;
use super::variable::{Complex, Part, Variable};

/// Compiles a value.
pub(super) fn compile(text: &[u8], namespace: &mut Namespace, place: &Place) -> Result<Complex, Fault> {
    let mut parts = Vec::new();
    let mut plain = Vec::new();
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        if byte != b'$' {
            plain.push(byte);
            rest = after;
            continue;
        }
        let (variable, after) = read_variable(after, namespace, place)?;
        if !plain.is_empty() {
            parts.push(Part::Text(std::mem::take(&mut plain).into()));
        }
        parts.push(Part::Variable(variable));
        rest = after;
    }
    if !plain.is_empty() {
        parts.push(Part::Text(plain.into()));
    }
    Ok(Complex { parts })
}

/// Text without variables.
pub(super) fn literal(text: &[u8]) -> Complex {
    if text.is_empty() { Complex::default() } else { Complex { parts: vec![Part::Text(text.into())] } }
}

/// The text of a value that has no variables.
pub(super) fn as_literal(value: &Complex) -> Option<&[u8]> {
    match value.parts.as_slice() {
        [] => Some(b""),
        [Part::Text(text)] => Some(text),
        _ => None,
    }
}

/// What stands behind a `$`, and the text behind that.
fn read_variable<'t>(text: &'t [u8], namespace: &mut Namespace, place: &Place) -> Result<(Variable, &'t [u8]), Fault> {
    let (braced, text) = match text {
        [digit @ b'1'..=b'9', rest @ ..] => return Ok((Variable::Capture(digit - b'0'), rest)),
        [b'{', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    let length = text.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
    let (name, rest) = text.split_at(length);
    let name = shown(name);
    let rest = match (braced, rest) {
        (false, rest) | (true, [b'}', rest @ ..]) => rest,
        (true, []) if name.is_empty() => return Err(Fault::emerg("invalid variable name", place)),
        (true, _) => {
            let text = format_args!("the closing bracket in \"{name}\" variable is missing");
            return Err(Fault::emerg(text, place));
        }
    };
    if name.is_empty() {
        return Err(Fault::emerg("invalid variable name", place));
    }
    Ok((namespace.variable(&name), rest))
}

/// Compiles a regular expression; its named groups define variables.
pub(super) fn regex(pattern: &[u8], caseless: bool, namespace: &mut Namespace, place: &Place) -> Result<Regex, Fault> {
    let source =
        std::str::from_utf8(pattern).map_err(|_| Fault::emerg("a regular expression must be UTF-8 text", place))?;
    let compiled = pcre2::bytes::RegexBuilder::new()
        .caseless(caseless)
        .jit_if_available(true)
        .build(source)
        .map_err(|error| Fault::emerg(compile_error(source, &error), place))?;
    let mut named = Vec::new();
    for (group, name) in compiled.capture_names().iter().enumerate() {
        if let Some(name) = name {
            named.push((group, namespace.define(name, place)?));
        }
    }
    Ok(Regex { source: source.into(), compiled: Arc::new(compiled), named })
}

/// `pcre2_compile() failed: WHAT in "PATTERN" at "REST"`
fn compile_error(source: &str, error: &pcre2::Error) -> String {
    let text = error.to_string();
    let what = text.rsplit(": ").next().unwrap_or(&text);
    match error.offset().and_then(|offset| source.get(offset..)) {
        Some(rest) if !rest.is_empty() => format!("pcre2_compile() failed: {what} in \"{source}\" at \"{rest}\""),
        _ => format!("pcre2_compile() failed: {what} in \"{source}\""),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::variable::Builtin;
    use super::*;

    fn place() -> Place {
        Place { file: None, line: 1 }
    }

    fn compiled(text: &str) -> Result<Vec<Part>, String> {
        compile(text.as_bytes(), &mut Namespace::default(), &place())
            .map(|value| value.parts)
            .map_err(|fault| fault.notes[0].text.clone())
    }

    fn text(text: &str) -> Part {
        Part::Text(text.as_bytes().into())
    }

    #[test]
    fn text_and_variables_become_parts() {
        let arg = || Part::Variable(Variable::Arg("id".into()));
        assert_eq!(compiled("a$arg_id-b"), Ok(vec![text("a"), arg(), text("-b")]));
        assert_eq!(compiled("${arg_id}.b1"), Ok(vec![arg(), text(".b1")]));
        assert_eq!(compiled("$12"), Ok(vec![Part::Variable(Variable::Capture(1)), text("2")]));
        assert_eq!(compiled("$uri"), Ok(vec![Part::Variable(Variable::Builtin(Builtin::Uri))]));
        assert_eq!(compiled(""), Ok(vec![]));
    }

    #[test]
    fn unfinished_variables_are_refused() {
        assert_eq!(
            compiled("x${arg_id").unwrap_err(),
            "the closing bracket in \"arg_id\" variable is missing in command line"
        );
        for bad in ["$", "a$-b", "${}", "${"] {
            assert_eq!(compiled(bad).unwrap_err(), "invalid variable name in command line", "{bad}");
        }
    }

    #[test]
    fn named_groups_define_variables() {
        let mut namespace = Namespace::default();
        let regex = regex(b"^/(?<who>[^/]+)/(?P<what>.*)$", false, &mut namespace, &place()).unwrap();
        let Variable::Defined(what) = namespace.variable("what") else { panic!() };
        assert_eq!((regex.named.len(), regex.named[1]), (2, (2, what)));
        assert_eq!(namespace.check(), Ok(()));
    }

    #[test]
    fn a_bad_pattern_is_an_error() {
        let fault = regex(b"a(", false, &mut Namespace::default(), &place()).unwrap_err();
        assert_eq!(
            fault.notes[0].text,
            "pcre2_compile() failed: missing closing parenthesis in \"a(\" in command line"
        );
    }

    proptest! {
        #[test]
        fn text_and_variables_come_out_as_they_were_put_in(pieces in prop::collection::vec(("[a-z/ %]{1,4}", "[a-z]{1,4}"), 0..4)) {
            let (mut written, mut parts) = (String::new(), Vec::new());
            for (between, name) in pieces {
                written = format!("{written}{between}${{arg_{name}}}");
                parts.extend([text(&between), Part::Variable(Variable::Arg(name.into()))]);
            }
            prop_assert_eq!(compiled(&written), Ok(parts));
        }

        #[test]
        fn bytes_without_a_variable_are_themselves(mut bytes: Vec<u8>) {
            bytes.retain(|byte| *byte != b'$');
            let parts = compile(&bytes, &mut Namespace::default(), &place()).unwrap().parts;
            let expected: Vec<_> = if bytes.is_empty() { vec![] } else { vec![Part::Text(bytes.into())] };
            prop_assert_eq!(parts, expected);
        }

        #[test]
        fn a_pattern_that_is_refused_is_named(bytes in "\\PC{0,8}[(\\[*]\\PC{0,8}") {
            if let Err(fault) = regex(bytes.as_bytes(), true, &mut Namespace::default(), &place()) {
                prop_assert!(fault.notes[0].text.starts_with("pcre2_compile() failed: "), "{}", fault.notes[0].text);
                prop_assert!(fault.notes[0].text.contains(&format!("in \"{bytes}\"")), "{}", fault.notes[0].text);
            }
        }
    }
}
