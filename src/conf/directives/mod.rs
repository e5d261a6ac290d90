//! THE TABLE: every directive that may stand in a configuration, once.
//!
//! The parser, the messages of `-t`, and docs/DIRECTIVES.md come from it. It says where a directive may stand, what it
//! takes and which versions knew it; it does not know how a value is compiled into the settings.

mod accepted;
mod backends;
mod backplane;
mod foreign;
mod nginx;
mod own;
mod page;
mod push;
mod row;

use std::collections::HashMap;
use std::sync::LazyLock;

pub use foreign::{Effect, FAMILIES, Family, family_of};
pub use page::markdown;
pub use row::{
    ALWAYS, Args, BEFORE_03, Contents, Contexts, Directive, EVENTS, HTTP, Kind, LIMIT_EXCEPT, LOCATION, LOCATION_IF,
    Lines, MAIN, ONLY_03, OURS, SERVER, SERVER_IF, SINCE_04, SINCE_05, SINCE_035, UPSTREAM,
};

/// The rows, and where the rows of a name are.
struct Table {
    rows: Vec<Directive>,
    by_name: HashMap<&'static str, Vec<usize>>,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let rows: Vec<Directive> = rows();
    let mut by_name: HashMap<&'static str, Vec<usize>> = HashMap::new();
    for (index, row) in rows.iter().enumerate() {
        by_name.entry(row.name).or_default().push(index);
    }
    Table { rows, by_name }
});

/// Every row.
pub fn all() -> &'static [Directive] {
    &TABLE.rows
}

/// The rows of a name: none for an unknown directive, several where it means different things in different contexts.
pub fn named(name: &str) -> impl Iterator<Item = &'static Directive> + use<> {
    let indices = TABLE.by_name.get(name).map_or(&[][..], Vec::as_slice);
    indices.iter().filter_map(|index| TABLE.rows.get(*index))
}

/// Whether a directive belongs to a module that does not come with nginx.
pub fn is_foreign(name: &str) -> bool {
    family_of(name).is_some_and(|family| !family.whose.starts_with("nginx"))
}

/// The rows of who may come in, and how often.
pub fn access_control() -> impl Iterator<Item = &'static Directive> {
    nginx::ACCESS_CONTROL.iter()
}

/// The known name that an unknown one is nearly, if there is one.
pub fn nearest(name: &str) -> Option<&'static str> {
    let allowed = if name.len() < 8 { 1 } else { 2 };
    let near = all().iter().map(|row| (strsim::damerau_levenshtein(row.name, name), row.name));
    near.filter(|(distance, known)| *distance <= allowed && known.len() > 3).min().map(|(_, known)| known)
}

fn rows() -> Vec<Directive> {
    let mut rows = Vec::new();
    for written in [
        push::ZONE,
        own::ZONES,
        own::BOUNDS,
        own::LOG_LINES,
        own::STATUS,
        backplane::BACKPLANE,
        push::LOCATIONS,
        push::OLD,
    ] {
        rows.extend_from_slice(written);
    }
    for written in [
        nginx::BLOCKS,
        nginx::PROCESS,
        nginx::SERVERS,
        nginx::HANDLERS,
        nginx::REWRITES,
        nginx::ACCESS_CONTROL,
        nginx::ANSWERS,
        nginx::LOGS,
    ] {
        rows.extend_from_slice(written);
    }
    let silent = "Accepted; has no effect that could be missed.";
    let missing = "Accepted; not applied, which is reported.";
    let asking = "Applied where `auth_request` asks a backend.";
    let elsewhere = "Accepted; the location answers 502, which is reported.";
    rows.extend(accepted::SILENT.iter().filter_map(|terse| expand("", terse, Kind::Silent, silent)));
    rows.extend(accepted::NOT_APPLIED.iter().filter_map(|terse| expand("", terse, Kind::NotApplied, missing)));
    rows.extend(accepted::BLOCKS.iter().filter_map(|terse| expand_block(terse)));
    rows.extend(backends::HANDLERS.iter().filter_map(|terse| expand("", terse, Kind::Handler, elsewhere)));
    rows.extend(backends::OWN.iter().filter_map(|terse| expand("", terse, Kind::NotApplied, missing)));
    for (prefixes, terse) in
        [(&backends::PREFIXES[..], backends::SHARED), (&backends::TLS_PREFIXES[..], backends::SHARED_TLS)]
    {
        for prefix in prefixes {
            rows.extend(terse.iter().filter_map(|terse| expand(prefix, terse, Kind::NotApplied, missing)));
        }
    }
    for row in &mut rows {
        if let Some((_, kind, default)) = backends::ASKING.iter().find(|(name, ..)| *name == row.name) {
            (row.kind, row.default, row.doc) = (*kind, *default, asking);
        }
    }
    rows
}

/// `name CONTEXTS words` -> a row. Prefixed names are made once for the life of the process.
fn expand(prefix: &str, terse: &'static str, kind: Kind, doc: &'static str) -> Option<Directive> {
    let mut fields = terse.split(' ');
    let short = fields.next()?;
    let name = if prefix.is_empty() { short } else { Box::leak(format!("{prefix}{short}").into_boxed_str()) };
    let contexts = Contexts::from_letters(fields.next()?)?;
    let args = Args::from_text(fields.next()?)?;
    Some(row::row(name, contexts, args, kind, "", doc))
}

/// `name CONTEXTS words CONTENTS` -> the row of a block that is skipped.
fn expand_block(terse: &'static str) -> Option<Directive> {
    let (row, contents) = terse.rsplit_once(' ')?;
    let contents = match contents {
        "words" => Contents::Words,
        "lua" => Contents::Lua,
        "opaque" => Contents::Opaque,
        letters => Contents::Directives(Contexts::from_letters(letters)?),
    };
    expand("", row, Kind::Skipped(contents), "Accepted; the block is skipped, which is reported.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_terse_row_is_well_formed() {
        for terse in [accepted::SILENT, accepted::NOT_APPLIED, backends::HANDLERS, backends::OWN].concat() {
            assert!(expand("", terse, Kind::Silent, "").is_some(), "{terse}");
            assert_eq!(terse.split(' ').count(), 3, "{terse}");
        }
        for terse in [backends::SHARED, backends::SHARED_TLS].concat() {
            assert!(expand("x_", terse, Kind::Silent, "").is_some(), "{terse}");
        }
        for terse in accepted::BLOCKS {
            assert!(expand_block(terse).is_some(), "{terse}");
        }
    }

    #[test]
    fn every_row_has_a_doc_and_a_place() {
        for row in all() {
            assert!(!row.doc.is_empty() && !row.contexts.names().is_empty(), "{}", row.name);
        }
    }

    #[test]
    fn no_name_stands_twice_in_one_context() {
        for row in all() {
            let same = named(row.name).filter(|other| other.contexts.meets(row.contexts)).count();
            assert_eq!(same, 1, "{}", row.name);
        }
    }

    #[test]
    fn old_spellings_mean_a_row_that_exists() {
        for row in all() {
            assert!(named(row.meaning).next().is_some(), "{}", row.name);
        }
    }
}
