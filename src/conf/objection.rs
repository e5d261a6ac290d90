//! What is said against the words of one directive, as nginx says it.

use super::error::{Fault, shown};
use super::tree::Node;

/// `"D" directive is duplicate`
pub(super) fn duplicate(node: &Node) -> Fault {
    Fault::emerg(format_args!("\"{}\" directive is duplicate", node.name()), &node.place)
}

/// `"D" directive invalid value`
pub(super) fn invalid_value(node: &Node) -> Fault {
    Fault::emerg(format_args!("\"{}\" directive invalid value", node.name()), &node.place)
}

/// `invalid parameter "X"`
pub(super) fn invalid_parameter(node: &Node, word: &[u8]) -> Fault {
    Fault::emerg(format_args!("invalid parameter \"{}\"", shown(word)), &node.place)
}

/// `invalid value "X"`
pub(super) fn invalid_word(node: &Node, word: &[u8]) -> Fault {
    Fault::emerg(format_args!("invalid value \"{}\"", shown(word)), &node.place)
}
