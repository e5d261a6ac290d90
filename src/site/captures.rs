//! The capture groups of the last regular expression that matched (`$1` ... `$9`).
//!
//! Holds its own copy of the captured text, so that a rewritten URI does not pull the ground away from it; short texts
//! stay on the stack. Invariant: a match replaces all groups of the match before it, also when it has none itself.

use smallvec::SmallVec;

use crate::conf::settings::Regex;

/// Groups of a match.
#[derive(Clone, Debug, Default)]
pub(crate) struct Captures {
    text: SmallVec<[u8; 64]>,
    /// Range of each group within `text`, group 1 first.
    groups: SmallVec<[(u32, u32); 4]>,
}

impl Captures {
    /// Group `number`; empty for a group that took no part in the match.
    pub(crate) fn get(&self, number: u8) -> &[u8] {
        let range = usize::from(number).checked_sub(1).and_then(|index| self.groups.get(index));
        let Some(&(start, end)) = range else { return b"" };
        self.text.get(start as usize..end as usize).unwrap_or_default()
    }

    /// Matches and, if it does, tells the groups. A regex that gives up (limits of the matcher) has not matched.
    pub(crate) fn of(regex: &Regex, subject: &[u8]) -> Option<Self> {
        // Asking for the groups allocates; most regexes that are tried do not match, and some have none.
        if !regex.compiled.is_match(subject).unwrap_or(false) {
            return None;
        }
        if regex.compiled.captures_len() <= 1 {
            return Some(Self::default());
        }
        let mut locations = regex.compiled.capture_locations();
        regex.compiled.captures_read(&mut locations, subject).ok()??;
        let mut captures = Self::default();
        for group in 1..locations.len() {
            let taken = locations.get(group).and_then(|(start, end)| subject.get(start..end)).unwrap_or_default();
            let start = captures.text.len() as u32;
            captures.text.extend_from_slice(taken);
            captures.groups.push((start, captures.text.len() as u32));
        }
        Some(captures)
    }

    /// Group by number without the limit of nine, for named groups.
    pub(crate) fn group(&self, number: usize) -> &[u8] {
        u8::try_from(number).map_or(b"", |number| self.get(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn regex(source: &str) -> Regex {
        Regex { source: source.into(), compiled: Arc::new(pcre2::bytes::Regex::new(source).unwrap()), named: vec![] }
    }

    #[test]
    fn groups_are_numbered_from_one() {
        let captures = Captures::of(&regex("^/(a)(x)?/(.*)$"), b"/a/rest").unwrap();
        assert_eq!((captures.get(1), captures.get(2), captures.get(3)), (&b"a"[..], &b""[..], &b"rest"[..]));
        assert_eq!((captures.get(0), captures.get(9)), (&b""[..], &b""[..]));
    }

    #[test]
    fn a_regex_without_groups_captures_nothing() {
        assert_eq!(Captures::of(&regex("a"), b"cat").unwrap().get(1), b"");
        assert!(Captures::of(&regex("a"), b"dog").is_none());
    }
}
