//! The law against circles: of two files that need each other neither can be read alone, so each circle of imports that is
//! left stands here with its reason.
//!
//! A file and the folder it lies in may know each other: the folder hands out what the file holds. Tests do not count.

use std::collections::{BTreeMap, BTreeSet};

use super::architecture::{code, sources, untested};

/// The circles a reader would call natural.
const NATURAL: [(&[&str], &str); 9] = [
    (&["conf/location", "conf/rewrite"], "an `if` is a step of a location and holds the values of one"),
    (&["conf/settings/location", "conf/settings/rewrite"], "the same, as it is compiled"),
    (
        &["hub/events", "hub/journal", "hub/restore", "hub/sweep", "hub/zone"],
        "acts upon the state of the zone, a file each",
    ),
    (&["delivery/stream", "delivery/tls_stream"], "TLS is a stream over a stream"),
    (
        &["delivery/connection", "delivery/subscribers"],
        "a connection holds its subscriber, the table of them connections",
    ),
    (&["delivery/departure", "delivery/parting", "delivery/worker"], "acts of the worker, a file each"),
    (&["request/head", "request/head_parser"], "a head and its grammar"),
    (&["embed/subscription", "embed/subscriptions"], "a subscription leaves the table it stands in"),
    (&["server/ending", "server/service"], "the end of the service"),
];

type Module = Vec<String>;

/// The path of a source within the crate; `None` for the program and the crate's root.
fn module_of(file: &str) -> Option<Module> {
    let inner = file.strip_prefix("src/")?.strip_suffix(".rs")?;
    let mut path: Module = inner.split('/').map(str::to_owned).collect();
    if path.last().is_some_and(|last| last == "mod") {
        path.pop();
    }
    (path != ["main"] && path != ["lib"]).then_some(path)
}

/// The names of `a::b`.
fn names(path: &str) -> impl Iterator<Item = String> {
    path.split("::").map(|name| name.trim().to_owned()).filter(|name| !name.is_empty())
}

/// `a::{b, c::{d}}` -> `a::b`, `a::c::d`.
fn expand(prefix: &[String], tree: &str, into: &mut Vec<Module>) {
    let mut depth = 0;
    let parts = tree.split(|c: char| {
        depth += i32::from(c == '{') - i32::from(c == '}');
        c == ',' && depth == 0
    });
    for part in parts.map(str::trim).filter(|part| !part.is_empty()) {
        if let Some((path, group)) = part.split_once('{') {
            let path: Module = prefix.iter().cloned().chain(names(path)).collect();
            expand(&path, group.trim_end().strip_suffix('}').unwrap_or(group), into);
        } else {
            let name = part.split(" as ").next().unwrap_or(part);
            into.push(prefix.iter().cloned().chain(names(name)).collect());
        }
    }
}

/// Every path a text names: in `use` and, with its first word, anywhere else.
fn paths(text: &str) -> Vec<Module> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("use ") {
        if let Some(end) = text[at..].find(';') {
            expand(&[], &text[at + 4..at + end], &mut found);
        }
    }
    for first in ["crate::", "super::", "self::"] {
        for (at, _) in text.match_indices(first) {
            let path: String =
                text[at..].chars().take_while(|c| c.is_alphanumeric() || matches!(c, '_' | ':')).collect();
            expand(&[], &path, &mut found);
        }
    }
    found
}

/// A path as it is written in a file, from the root of the crate.
fn absolute(module: &Module, path: &Module) -> Module {
    let mut base = match path.first().map(String::as_str) {
        Some("crate") => Module::new(),
        _ => module.clone(),
    };
    for name in path {
        match name.as_str() {
            "crate" | "self" => {}
            "super" => drop(base.pop()),
            name => base.push(name.to_owned()),
        }
    }
    base
}

/// Who imports whom. What a folder hands out counts as imported from the file that holds it.
fn imports() -> BTreeMap<Module, BTreeSet<Module>> {
    let texts: BTreeMap<Module, String> = sources()
        .iter()
        .filter_map(|(file, text)| Some((module_of(file)?, code(untested(text)))))
        .filter(|(module, _)| module.iter().all(|name| !name.ends_with("tests") && name != "simulation"))
        .collect();
    let held_by = |path: &Module| (1..=path.len()).rev().map(|n| path[..n].to_vec()).find(|p| texts.contains_key(p));
    let mut handed_out: BTreeMap<Module, Module> = BTreeMap::new();
    for (module, text) in &texts {
        for (at, _) in text.match_indices("pub use ").chain(text.match_indices("pub(crate) use ")) {
            let mut paths = Vec::new();
            let start = at + text[at..].find("use ").unwrap_or_default() + 4;
            expand(&[], text[start..].split(';').next().unwrap_or_default(), &mut paths);
            for path in paths {
                let (name, target) = (path.last().cloned().unwrap_or_default(), absolute(module, &path));
                if let Some(file) = held_by(&target) {
                    handed_out.insert(module.iter().cloned().chain([name]).collect(), file);
                }
            }
        }
    }
    let kin = |a: &Module, b: &Module| a.starts_with(b) || b.starts_with(a);
    let edges = texts.iter().map(|(module, text)| {
        let used = paths(text).into_iter().filter_map(|path| {
            let path = absolute(module, &path);
            let file = held_by(&path)?;
            let through = path.get(..file.len() + 1).and_then(|name| handed_out.get(name));
            Some(through.cloned().unwrap_or(file))
        });
        (module.clone(), used.filter(|used| !kin(used, module)).collect())
    });
    edges.collect()
}

/// Everything that can be reached from a module.
fn reach(imports: &BTreeMap<Module, BTreeSet<Module>>, from: &Module) -> BTreeSet<Module> {
    let (mut seen, mut next) = (BTreeSet::new(), vec![from.clone()]);
    while let Some(module) = next.pop() {
        for used in imports.get(&module).into_iter().flatten() {
            if seen.insert(used.clone()) {
                next.push(used.clone());
            }
        }
    }
    seen
}

/// The sets of files each of which needs every other.
fn circles(imports: &BTreeMap<Module, BTreeSet<Module>>) -> BTreeSet<BTreeSet<String>> {
    let reached: BTreeMap<&Module, _> = imports.keys().map(|module| (module, reach(imports, module))).collect();
    let circle = |module: &&Module| {
        let mutual = |other: &&Module| reached[module].contains(*other) && reached[other].contains(*module);
        imports.keys().filter(mutual).map(|module| module.join("/")).collect::<BTreeSet<_>>()
    };
    imports.keys().map(|module| circle(&module)).filter(|circle| circle.len() > 1).collect()
}

#[test]
fn only_natural_circles_of_imports_are_left() {
    let natural: BTreeSet<BTreeSet<String>> =
        NATURAL.iter().map(|(files, _)| files.iter().map(|&file| file.to_owned()).collect()).collect();
    assert_eq!(circles(&imports()), natural);
}

#[test]
fn a_circle_is_found_however_it_is_written() {
    let module = |path: &str| path.split('/').map(str::to_owned).collect::<Module>();
    let mut found = Vec::new();
    expand(&[], "super::{a, b::{self, c as d}}", &mut found);
    let found: Vec<_> = found.iter().map(|path| absolute(&module("room/file"), path).join("/")).collect();
    assert_eq!(found, ["room/a", "room/b", "room/b/c"]);
    let ring = ["a", "b", "c"].map(|name| (module(name), BTreeSet::new()));
    let mut imports = BTreeMap::from(ring);
    for (from, to) in [("a", "b"), ("b", "c"), ("c", "a")] {
        assert!(circles(&imports).is_empty());
        imports.get_mut(&module(from)).unwrap().insert(module(to));
    }
    assert_eq!(circles(&imports).len(), 1);
}
