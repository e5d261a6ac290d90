//! A compiled regular expression, as a value of a configuration.

use std::sync::Arc;

/// A compiled regular expression (PCRE) and the defined variables its named groups set.
#[derive(Clone)]
pub struct Regex {
    /// As written.
    pub source: Box<str>,
    /// Compiled.
    pub compiled: Arc<pcre2::bytes::Regex>,
    /// Group number -> index of a defined variable.
    pub named: Vec<(usize, usize)>,
}

impl std::fmt::Debug for Regex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Regex({:?})", self.source)
    }
}
