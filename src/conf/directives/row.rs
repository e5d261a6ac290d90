//! The shape of a row of the directive table: where a directive may stand, what it takes, which versions knew it.
//!
//! Does not know any directive. Rows are plain constants, so that the whole table can be read as a table.

use std::ops::BitOr;

use crate::model::Line;

/// A directive.
#[derive(Clone, Copy, Debug)]
pub struct Directive {
    /// As written in a configuration.
    pub name: &'static str,
    /// Where it may stand.
    pub contexts: Contexts,
    /// What it takes.
    pub args: Args,
    /// How it applies.
    pub kind: Kind,
    /// The words that say the same as its absence; empty: there are none. In brackets: what its absence means, where no words
    /// say it.
    pub default: &'static str,
    /// Versions of the module that know the name.
    pub lines: Lines,
    /// The directive whose value it gives: an old spelling names the present one, every other row itself.
    pub meaning: &'static str,
    /// One line for docs/DIRECTIVES.md.
    pub doc: &'static str,
}

/// How a directive applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `on` / `off`, once.
    Flag,
    /// Digits, once.
    Number,
    /// A time, once, kept in seconds.
    Seconds,
    /// A time, once, kept in milliseconds.
    Milliseconds,
    /// Bytes up to `m`, once.
    Size,
    /// Bytes up to `g`, once.
    Offset,
    /// A word taken as it stands, once.
    Text,
    /// A value with variables, once.
    Complex,
    /// Words read by whoever applies them, once.
    Words,
    /// As `Words`, any number of times.
    List,
    /// An operation of the rewrite phase.
    Step,
    /// What answers a location: a mode of the module, or a handler of nginx that pushstreamd does not have.
    Handler,
    /// A block that is compiled.
    Block(Contents),
    /// Has no effect that could be missed: accepted without a word.
    Silent,
    /// Its effect is missing: accepted and reported.
    NotApplied,
    /// As `NotApplied`, a block the inside of which is read as `Contents` says and then left alone.
    Skipped(Contents),
}

/// What stands in a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contents {
    /// Directives of this context.
    Directives(Contexts),
    /// Rows of words (`map`, `types`, ...) and `include`.
    Words,
    /// Directives of a language that is not looked into (`stream`, `mail`).
    Opaque,
    /// Lua.
    Lua,
}

/// A set of places where a directive may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contexts(u16);

/// The top of the file.
pub const MAIN: Contexts = Contexts(1);
/// `events`
pub const EVENTS: Contexts = Contexts(1 << 1);
/// `http`
pub const HTTP: Contexts = Contexts(1 << 2);
/// `upstream`
pub const UPSTREAM: Contexts = Contexts(1 << 3);
/// `server`
pub const SERVER: Contexts = Contexts(1 << 4);
/// `location`
pub const LOCATION: Contexts = Contexts(1 << 5);
/// `if` in a server
pub const SERVER_IF: Contexts = Contexts(1 << 6);
/// `if` in a location
pub const LOCATION_IF: Contexts = Contexts(1 << 7);
/// `limit_except`
pub const LIMIT_EXCEPT: Contexts = Contexts(1 << 8);

/// Context letters of the terse lists, and names for readers.
const LETTERS: [(char, Contexts, &str); 9] = [
    ('M', MAIN, "main"),
    ('E', EVENTS, "events"),
    ('H', HTTP, "http"),
    ('U', UPSTREAM, "upstream"),
    ('S', SERVER, "server"),
    ('L', LOCATION, "location"),
    ('s', SERVER_IF, "if in server"),
    ('l', LOCATION_IF, "if in location"),
    ('X', LIMIT_EXCEPT, "limit_except"),
];

impl BitOr for Contexts {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl Contexts {
    /// All places of `sets`.
    pub(super) const fn of(sets: &[Self]) -> Self {
        let mut all = 0;
        let mut at = 0;
        while at < sets.len() {
            all |= sets[at].0;
            at += 1;
        }
        Self(all)
    }

    /// Whether any place of `other` is in the set.
    pub fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The names of the places, for readers.
    pub fn names(self) -> String {
        let names: Vec<&str> =
            LETTERS.iter().filter(|(_, context, _)| self.meets(*context)).map(|(_, _, name)| *name).collect();
        names.join(", ")
    }

    /// `HSL` -> http, server, location.
    pub(super) fn from_letters(letters: &str) -> Option<Self> {
        letters.chars().try_fold(Self(0), |set, letter| {
            LETTERS.iter().find(|(known, ..)| *known == letter).map(|(_, context, _)| set | *context)
        })
    }
}

/// How many words follow the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Args {
    /// Fewest.
    pub min: usize,
    /// Most; `usize::MAX` for any number.
    pub max: usize,
}

/// Exactly `count` words.
pub(super) const fn take(count: usize) -> Args {
    Args { min: count, max: count }
}

/// Between `min` and `max` words.
pub(super) const fn between(min: usize, max: usize) -> Args {
    Args { min, max }
}

/// `min` words or more.
pub(super) const fn at_least(min: usize) -> Args {
    Args { min, max: usize::MAX }
}

impl Args {
    /// Whether `count` words are right.
    pub fn allow(self, count: usize) -> bool {
        (self.min..=self.max).contains(&count)
    }

    /// `2`, `1-2`, `1+`, `*`.
    pub(super) fn from_text(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(at_least(0));
        }
        if let Some(min) = text.strip_suffix('+') {
            return Some(at_least(min.parse().ok()?));
        }
        match text.split_once('-') {
            Some((min, max)) => Some(between(min.parse().ok()?, max.parse().ok()?)),
            None => Some(take(text.parse().ok()?)),
        }
    }
}

impl std::fmt::Display for Args {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.min, self.max) {
            (0, usize::MAX) => f.write_str("any"),
            (min, usize::MAX) => write!(f, "{min} or more"),
            (min, max) if min == max => write!(f, "{min}"),
            (min, max) => write!(f, "{min} to {max}"),
        }
    }
}

/// A set of version lines of the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lines(u8);

/// Every line, and everything that is not the module's.
pub const ALWAYS: Lines = Lines(0b1111);
/// Only before 0.3.0.
pub const BEFORE_03: Lines = Lines(0);
/// Only 0.3.4 and 0.3.5.
pub const ONLY_03: Lines = Lines(0b0011);
/// 0.3.5 and later.
pub const SINCE_035: Lines = Lines(0b1110);
/// 0.4.0 and later.
pub const SINCE_04: Lines = Lines(0b1100);
/// 0.5.0 and later.
pub const SINCE_05: Lines = Lines(0b1000);
/// No version of the module: pushstreamd's own.
pub const OURS: Lines = Lines(0b1_0000);

impl Lines {
    /// Whether `line` knows the name.
    pub fn know(self, line: Line) -> bool {
        let bit = match line {
            Line::V034 => 0,
            Line::V035 => 1,
            Line::V040 => 2,
            Line::V05 => 3,
        };
        self.0 & (1 << bit) != 0
    }

    /// For readers.
    pub fn describe(self) -> &'static str {
        match self {
            BEFORE_03 => "before 0.3.0",
            ONLY_03 => "0.3.x",
            SINCE_035 => "since 0.3.5",
            SINCE_04 => "since 0.4.0",
            SINCE_05 => "since 0.5.0",
            OURS => "pushstreamd only",
            _ => "all",
        }
    }
}

/// A row whose name is its meaning and which every line knows.
pub(super) const fn row(
    name: &'static str,
    contexts: Contexts,
    args: Args,
    kind: Kind,
    default: &'static str,
    doc: &'static str,
) -> Directive {
    Directive { name, contexts, args, kind, default, lines: ALWAYS, meaning: name, doc }
}

impl Directive {
    /// The same row, known only to `lines`.
    #[must_use]
    pub const fn known(mut self, lines: Lines) -> Self {
        self.lines = lines;
        self
    }

    /// The same row as an old spelling of `meaning`.
    #[must_use]
    pub const fn means(mut self, meaning: &'static str) -> Self {
        self.meaning = meaning;
        self
    }

    /// The words of the default, if words say it.
    pub fn default_words(&self) -> Option<Vec<&'static str>> {
        let words = self.default;
        if words.is_empty() || words.starts_with('(') {
            return None;
        }
        match words.strip_prefix('"').and_then(|quoted| quoted.strip_suffix('"')) {
            Some(quoted) => Some(vec![quoted]),
            None => Some(words.split(' ').collect()),
        }
    }

    /// Whether it opens a block.
    pub fn is_block(&self) -> bool {
        matches!(self.kind, Kind::Block(_) | Kind::Skipped(_))
    }
}

/// Sets of contexts that recur.
pub(super) const HSL: Contexts = Contexts(HTTP.0 | SERVER.0 | LOCATION.0);
/// http and server.
pub(super) const HS: Contexts = Contexts(HTTP.0 | SERVER.0);
/// http, server, location and `if` in a location.
pub(super) const HSLI: Contexts = Contexts(HSL.0 | LOCATION_IF.0);
