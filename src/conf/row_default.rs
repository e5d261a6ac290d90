//! The value of a directive that is not there, out of its row.

use super::directives::{self, Directive, Kind};
use super::units;

/// The row of a present name.
fn row_of(name: &str) -> Option<&'static Directive> {
    let row = directives::named(name).find(|row| row.meaning == name && row.kind != Kind::Silent);
    debug_assert!(row.is_some(), "{name} is no directive");
    row
}

/// The words of a row's default.
pub(super) fn default_words(name: &str) -> Vec<&'static str> {
    row_of(name).and_then(Directive::default_words).unwrap_or_default()
}

/// The first of them.
pub(super) fn default_word(name: &str) -> Option<&'static [u8]> {
    default_words(name).first().map(|word| word.as_bytes())
}

/// A row's default as a number.
pub(super) fn default_number(name: &str) -> Option<u64> {
    measure(row_of(name)?.kind, default_word(name)?)
}

/// A number, time or size as the table says it is read.
pub(super) fn measure(kind: Kind, word: &[u8]) -> Option<u64> {
    match kind {
        Kind::Number => units::number(word),
        Kind::Seconds => units::seconds(word),
        Kind::Milliseconds => units::milliseconds(word),
        Kind::Size => units::size(word),
        Kind::Offset => units::offset(word),
        _ => None,
    }
}
