//! `expires`: how long an answer may be kept, as a configuration or the value of a variable spells it.
//!
//! Reads words; the fields they come to are the business of `wire`. Invariant: what a variable may say is what the
//! configuration may, and whatever else it says sets nothing.

use super::compiler::Compiler;
use super::complex;
use super::error::Fault;
use super::objection::invalid_value;
use super::scope::Scope;
use super::settings::Expires;
use super::tree::Node;
use super::units;

const DAY: u64 = 24 * 60 * 60;

/// What is wrong with a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    Value,
    DailyModified,
    NotADay,
}

/// `expires [modified] TIME | @TIME | epoch | max | off | $VARIABLE`
pub(super) fn compile(scope: &Scope<'_, '_>, compiler: &mut Compiler) -> Result<Option<Expires>, Fault> {
    let Some(entry) = scope.entry("expires") else { return Ok(None) };
    let node = entry.node;
    let (word, modified) = match node.args() {
        [word] => (word.as_slice(), false),
        [first, word] if first == b"modified" => (word.as_slice(), true),
        _ => return Err(invalid_value(node)),
    };
    let value = complex::compile(word, &mut compiler.namespace, &node.place)?;
    if complex::as_literal(&value).is_none() {
        return Ok(Some(Expires::Given { value, modified }));
    }
    read(word, modified).map_err(|wrong| objection(node, wrong))
}

/// What the value of a variable says; nothing where it is wrong.
pub(crate) fn given(word: &[u8], modified: bool) -> Option<Expires> {
    read(word, modified).ok().flatten()
}

fn read(word: &[u8], modified: bool) -> Result<Option<Expires>, Wrong> {
    let seconds = |text: &[u8]| units::seconds(text).ok_or(Wrong::Value);
    let from = |seconds: i64| if modified { Expires::Modified(seconds) } else { Expires::In(seconds) };
    Ok(Some(match word {
        b"off" if !modified => return Ok(None),
        b"epoch" if !modified => Expires::Epoch,
        b"max" if !modified => Expires::Max,
        [b'@', ..] if modified => return Err(Wrong::DailyModified),
        [b'@', time @ ..] => match seconds(time)? {
            time if time > DAY => return Err(Wrong::NotADay),
            time => Expires::Daily(time),
        },
        [b'-', time @ ..] => from(-(seconds(time)? as i64)),
        [b'+', time @ ..] | time => from(seconds(time)? as i64),
    }))
}

fn objection(node: &Node, wrong: Wrong) -> Fault {
    let text = match wrong {
        Wrong::Value => return invalid_value(node),
        Wrong::DailyModified => "\"expires\" directive daily time cannot be used with \"modified\" parameter",
        Wrong::NotADay => "\"expires\" directive daily time value must be less than 24 hours",
    };
    Fault::emerg(text, &node.place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_as_nginx_reads_them() {
        for (word, read_as) in [
            ("off", Ok(None)),
            ("epoch", Ok(Some(Expires::Epoch))),
            ("max", Ok(Some(Expires::Max))),
            ("1h", Ok(Some(Expires::In(3600)))),
            ("+1h30m", Ok(Some(Expires::In(5400)))),
            ("-1", Ok(Some(Expires::In(-1)))),
            ("0", Ok(Some(Expires::In(0)))),
            ("@15h30m", Ok(Some(Expires::Daily(55_800)))),
            ("@25h", Err(Wrong::NotADay)),
            ("@", Err(Wrong::Value)),
            ("", Err(Wrong::Value)),
            ("soon", Err(Wrong::Value)),
        ] {
            assert_eq!(read(word.as_bytes(), false), read_as, "{word}");
        }
        assert_eq!(read(b"1h", true), Ok(Some(Expires::Modified(3600))));
        assert_eq!(read(b"epoch", true), Err(Wrong::Value));
        assert_eq!(read(b"@10h", true), Err(Wrong::DailyModified));
        assert_eq!((given(b"off", false), given(b"whenever", false)), (None, None));
    }
}
