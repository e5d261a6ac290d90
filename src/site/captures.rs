//! The capture groups of the last regular expression that matched (`$1` ... `$9`), and values that one has chosen.
//!
//! Holds its own copy of the captured text, so that a rewritten URI does not pull the ground away from it; short texts
//! stay on the stack. Invariant: a match replaces all groups of the match before it, also when it has none itself.

use std::cell::RefCell;
use std::sync::Arc;

use pcre2::bytes::CaptureLocations;
use smallvec::SmallVec;

use crate::conf::settings::Regex;

thread_local! {
    /// The regex whose groups were asked for last, and room for them: making that costs more than matching once more.
    static LAST: RefCell<Option<(Arc<pcre2::bytes::Regex>, CaptureLocations)>> = const { RefCell::new(None) };
}

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
        LAST.with_borrow_mut(|last| {
            if !last.as_ref().is_some_and(|(known, _)| Arc::ptr_eq(known, &regex.compiled)) {
                // Most regexes that are tried do not match, and some have no groups.
                if !regex.compiled.is_match(subject).unwrap_or(false) {
                    return None;
                }
                if regex.compiled.captures_len() <= 1 {
                    return Some(Self::default());
                }
                *last = Some((Arc::clone(&regex.compiled), regex.compiled.capture_locations()));
            }
            let (_, locations) = last.as_mut()?;
            regex.compiled.captures_read(locations, subject).ok()??;
            Some(Self::copied(locations, subject))
        })
    }

    fn copied(locations: &CaptureLocations, subject: &[u8]) -> Self {
        let mut captures = Self::default();
        for group in 1..locations.len() {
            let taken = locations.get(group).and_then(|(start, end)| subject.get(start..end)).unwrap_or_default();
            let start = captures.text.len() as u32;
            captures.text.extend_from_slice(taken);
            captures.groups.push((start, captures.text.len() as u32));
        }
        captures
    }

    /// Group by number without the limit of nine, for named groups.
    pub(crate) fn group(&self, number: usize) -> &[u8] {
        u8::try_from(number).map_or(b"", |number| self.get(number))
    }
}

/// A value, and the groups of the regular expression of a `map` that has chosen it.
#[derive(Debug, Default)]
pub(crate) struct Computed {
    pub(crate) value: Vec<u8>,
    pub(crate) captures: Option<Box<Captures>>,
}

impl Computed {
    /// The group of this number of the regular expression.
    pub(crate) fn group(&self, number: u8) -> &[u8] {
        self.captures.as_ref().map_or(b"", |captures| captures.get(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn groups_are_those_of_the_regex_that_matches_whichever_was_asked_before() {
        let (one, other) = (regex("^/(a+)(b)?"), regex("^/a(.*)$"));
        for _ in 0..2 {
            let first = Captures::of(&one, b"/aab").unwrap();
            assert_eq!((first.get(1), first.get(2)), (&b"aa"[..], &b"b"[..]));
            assert!(Captures::of(&one, b"/x").is_none());
            assert_eq!(Captures::of(&one, b"/a").unwrap().get(2), b"");
            assert_eq!(Captures::of(&other, b"/aab").unwrap().get(1), b"ab");
            assert!(Captures::of(&other, b"/b").is_none());
        }
    }

    #[test]
    fn a_regex_without_groups_captures_nothing() {
        assert_eq!(Captures::of(&regex("a"), b"cat").unwrap().get(1), b"");
        assert!(Captures::of(&regex("a"), b"dog").is_none());
    }
}
