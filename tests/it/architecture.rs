//! The laws of the house, read off its files: who may know whom, how files begin, how long they may be, what they must not
//! hold, and that what is written about the directives and the examples is true.

use std::fs;
use std::path::{Path, PathBuf};

use pushstreamd::internals::conf::{self, LoadOptions, directives};

/// The floors of docs/ARCHITECTURE.md: a room may import from the rooms named with it, and from itself.
const ROOMS: [(&str, &[&str]); 18] = [
    ("model", &[]),
    ("log", &["model"]),
    ("conf", &["model"]),
    ("hub", &["log", "model"]),
    ("backplane", &["conf", "hub", "log", "model"]),
    ("render", &["model"]),
    ("metrics", &["backplane", "hub", "log", "model"]),
    ("delivery", &["hub", "metrics", "model", "render"]),
    ("request", &["conf", "model"]),
    ("site", &["conf", "model", "request"]),
    ("push", &["conf", "delivery", "hub", "metrics", "model", "render", "request", "site"]),
    ("wire", &["conf", "delivery", "hub", "metrics", "model", "push", "render", "request", "site"]),
    (
        "embed",
        &[
            "backplane",
            "conf",
            "delivery",
            "hub",
            "log",
            "metrics",
            "model",
            "push",
            "render",
            "request",
            "site",
            "wire",
        ],
    ),
    ("status", &["backplane", "delivery", "embed", "hub", "log", "metrics", "model", "site"]),
    ("migrate", &["conf"]),
    (
        "server",
        &[
            "backplane",
            "cli",
            "conf",
            "delivery",
            "hub",
            "log",
            "metrics",
            "migrate",
            "model",
            "push",
            "render",
            "request",
            "site",
            "status",
            "wire",
        ],
    ),
    // Clients; `doctor` asks `server` what a start would meet.
    ("tools", &["cli", "server"]),
    // Only parses: the one thing it knows is the version of the module that `--compat` names.
    ("cli", &["conf", "model"]),
];

/// The longest a file may be.
const LINES: usize = 450;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// All files below a directory with this ending, with their texts.
fn files(dir: &str, ending: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut dirs = vec![root().join(dir)];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display())) {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.to_string_lossy().ends_with(ending) {
                let name = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
                found.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "{dir} holds no {ending}");
    found
}

pub(crate) fn sources() -> Vec<(String, String)> {
    files("src", ".rs")
}

/// The text without comments, so that a room may be spoken of where it must not be used.
pub(crate) fn code(text: &str) -> String {
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// The first names after `crate::`, those of `crate::{a, b::c}` included.
fn rooms_used(text: &str) -> Vec<String> {
    let name = |text: &str| -> String { text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect() };
    let mut rooms = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        let rest = &text[at + "crate::".len()..];
        let Some(group) = rest.strip_prefix('{') else {
            rooms.push(name(rest));
            continue;
        };
        let mut depth = 0;
        let mut begins = true;
        for (at, byte) in group.char_indices() {
            match byte {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => begins = true,
                c if begins && !c.is_whitespace() => {
                    rooms.push(name(&group[at..]));
                    begins = false;
                }
                _ => {}
            }
        }
    }
    rooms
}

fn room_of(file: &str) -> &str {
    let inner = file.strip_prefix("src/").unwrap_or(file);
    inner.split('/').next().unwrap_or_default().trim_end_matches(".rs")
}

#[test]
fn a_room_imports_only_from_the_rooms_below_it() {
    for (file, text) in sources() {
        let room = room_of(&file);
        if matches!(room, "main" | "lib") {
            continue;
        }
        let (_, allowed) =
            ROOMS.iter().find(|(name, _)| *name == room).unwrap_or_else(|| panic!("{file}: unknown room"));
        for used in rooms_used(&code(&text)) {
            let fine = used == room || allowed.contains(&used.as_str());
            assert!(fine, "{file} uses `crate::{used}`, which is not below {room}");
        }
    }
}

/// The text before its unit tests.
pub(crate) fn untested(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default()
}

/// Versions are compared in one table; what a configuration may say in which version is conf's own business.
#[test]
fn whoever_serves_asks_for_a_capability_and_never_for_a_version() {
    let mut named = 0;
    for (file, text) in sources() {
        let tests = ["tests", "fixture", "trial", "simulation"].iter().any(|word| file.contains(word));
        if matches!(room_of(&file), "model" | "conf" | "cli") || tests {
            continue;
        }
        let code = code(untested(&text));
        assert!(!code.contains("Line::V0"), "{file} names a version: let model/capabilities.rs name what differs");
        // `--strict` also decides what the process takes over; nothing below it may look beyond the table.
        assert!(room_of(&file) == "server" || !code.contains("compat"), "{file} asks for a version or for --strict");
        named += code.matches("apabilities.").count();
    }
    assert!(named > 40, "the table is read: {named}");
}

#[test]
fn rooms_are_the_crates_own() {
    let text = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    for (room, _) in ROOMS {
        assert!(text.contains(&format!("\nmod {room};\n")), "src/lib.rs: {room} is not private");
    }
}

#[test]
fn nested_imports_are_seen() {
    let text = "use crate::{hub::{A, B}, model, render::View};\nlet x = crate::conf::load();";
    assert_eq!(rooms_used(text), ["hub", "model", "render", "conf"]);
}

#[test]
fn the_architecture_page_names_every_room() {
    let page = fs::read_to_string(root().join("docs/ARCHITECTURE.md")).unwrap();
    for (room, _) in ROOMS.iter().filter(|(room, _)| *room != "cli") {
        assert!(page.contains(&format!("`{room}/`")), "docs/ARCHITECTURE.md does not name {room}/");
    }
}

#[test]
fn every_file_says_first_what_it_is() {
    for (file, text) in
        sources().into_iter().chain(files("tests", ".rs")).chain(files("fuzz", ".rs")).chain(files("examples", ".rs"))
    {
        let first = text.lines().find(|line| !line.is_empty() && !line.starts_with("#!")).unwrap_or_default();
        let head = first.starts_with("//! ");
        assert!(head, "{file} does not begin with //!");
    }
}

#[test]
fn no_file_holds_a_second_idea() {
    for (file, text) in sources().into_iter().chain(files("tests", ".rs")) {
        let lines = text.lines().count();
        assert!(lines <= LINES, "{file} has {lines} lines, more than {LINES}: find its second idea");
    }
}

#[test]
fn nothing_is_left_to_be_done() {
    let words = ["todo!", "unimplemented!", "FIXME", "TODO", "XXX"];
    for (file, text) in sources() {
        for word in words {
            assert!(!text.contains(word), "{file} holds {word}");
        }
    }
}

#[test]
fn unsafe_code_stays_where_it_is_documented() {
    for (file, text) in sources() {
        let code = code(&text);
        if code.contains("unsafe {") || code.contains("unsafe fn") || code.contains("unsafe impl") {
            assert!(text.contains("SAFETY:"), "{file} holds unsafe code without a reason");
        }
    }
}

#[test]
fn every_directive_has_one_line_of_documentation() {
    let page = fs::read_to_string(root().join("docs/DIRECTIVES.md")).unwrap();
    for row in directives::all() {
        assert!(!row.doc.trim().is_empty() && !row.doc.contains('\n'), "{}", row.name);
        if row.name.starts_with("push_stream_") {
            assert!(page.contains(&format!("`{}`", row.name)), "docs/DIRECTIVES.md does not name {}", row.name);
        }
    }
}

#[test]
fn the_page_of_directives_is_current() {
    let page = fs::read_to_string(root().join("docs/DIRECTIVES.md")).unwrap();
    assert!(page == directives::markdown(), "UPDATE_DOCS=1 cargo test directives_page");
}

#[test]
fn every_example_configuration_loads() {
    let empty = empty_dir();
    for (file, text) in files("nginx-conf-examples", ".conf") {
        // Those of proxies are for other programs.
        if file.contains("/proxies/") {
            continue;
        }
        // Lines for within a `server` block.
        let text = if text.contains("events {") || text.contains("events  {") {
            text
        } else {
            format!("events {{}} http {{ server {{ {text} }} }}")
        };
        let name = root().join(&file);
        let options = LoadOptions { file: name, prefix: empty.clone(), text: Some(text), ..LoadOptions::default() };
        if let Err(error) = conf::load(&options) {
            // The certificate is the reader's own.
            let certificate = error.notes.iter().all(|note| note.text.contains("cannot load certificate"));
            assert!(certificate, "{file}: {:?}", error.notes);
        }
    }
}

#[test]
fn every_example_is_listed_in_their_readme() {
    let readme = fs::read_to_string(root().join("nginx-conf-examples/README.md")).unwrap();
    for (file, _) in files("nginx-conf-examples", ".conf").into_iter().chain(files("nginx-conf-examples", ".cfg")) {
        let name = Path::new(&file).file_name().unwrap().to_string_lossy().into_owned();
        assert!(readme.contains(&name), "nginx-conf-examples/README.md does not name {name}");
    }
}

#[test]
fn nothing_names_a_machine_or_a_registry() {
    let pages = files("docs", ".md").into_iter().chain(sources()).chain(files("nginx-conf-examples", ".conf"));
    for (file, text) in pages {
        for word in ["/home/", "/root/", "crates.io", "registry.npmjs"] {
            assert!(!text.contains(word), "{file} names {word}");
        }
    }
}

fn empty_dir() -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("architecture");
    fs::create_dir_all(&dir).unwrap();
    dir
}
