//! The pages of the documentation: links lead somewhere, every block of commands says which test runs it, and the command lines in
//! them are ones that pushstreamd and the Makefile know.
//!
//! Knows Markdown by pulldown-cmark and GitHub's way of making anchors. What the commands do is the business of the tests they name.

mod figures;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser as _;
use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};
use pushstreamd::internals::cli::Cli;

/// A code block: where, its language, the comment above it, its text.
struct Block {
    page: PathBuf,
    language: String,
    mark: Option<String>,
    text: String,
}

/// What a page holds, as far as it is judged here.
#[derive(Default)]
struct Page {
    links: Vec<String>,
    anchors: BTreeSet<String>,
    codes: Vec<String>,
    blocks: Vec<Block>,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn below(directory: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "node_modules" && !name.starts_with('.') {
            below(&path, extension, found);
        } else if path.extension().is_some_and(|own| own == extension) {
            found.push(path);
        }
    }
}

/// All pages for readers.
fn pages() -> BTreeMap<PathBuf, Page> {
    let mut paths: Vec<PathBuf> =
        ["README.md", "README.ru.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(|name| root().join(name)).into();
    for directory in ["docs", "nginx-conf-examples", "compat-tests"] {
        below(&root().join(directory), "md", &mut paths);
    }
    paths.into_iter().map(|path| (path.clone(), read(&path))).collect()
}

fn read(path: &Path) -> Page {
    let text = fs::read_to_string(path).unwrap();
    let mut page = Page::default();
    let (mut heading, mut mark, mut block): (Option<String>, Option<String>, Option<Block>) = (None, None, None);
    for event in Parser::new_ext(&text, Options::ENABLE_TABLES) {
        match event {
            Event::Start(Tag::CodeBlock(kind)) => {
                let language = match kind {
                    CodeBlockKind::Fenced(language) => language.into_string(),
                    CodeBlockKind::Indented => String::new(),
                };
                block = Some(Block { page: path.to_owned(), language, mark: mark.take(), text: String::new() });
            }
            Event::End(TagEnd::CodeBlock) => page.blocks.extend(block.take()),
            Event::Html(html) => mark = Some(html.trim().to_owned()),
            Event::Start(Tag::HtmlBlock) | Event::End(TagEnd::HtmlBlock) => {}
            Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
            Event::End(TagEnd::Heading(_)) => {
                let slug = slug(&heading.take().unwrap_or_default());
                let taken = (1..).map(|number| format!("{slug}-{number}"));
                let free = std::iter::once(slug.clone()).chain(taken).find(|slug| !page.anchors.contains(slug));
                page.anchors.extend(free);
            }
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                page.links.push(dest_url.into_string());
            }
            Event::Text(words) => {
                if let Some(text) = heading.as_mut().or(block.as_mut().map(|block| &mut block.text)) {
                    text.push_str(&words);
                }
            }
            Event::Code(words) => match &mut heading {
                Some(heading) => heading.push_str(&words),
                None => page.codes.push(words.into_string()),
            },
            Event::Start(_) => mark = None,
            _ => {}
        }
    }
    page
}

/// GitHub's anchor of a heading.
fn slug(heading: &str) -> String {
    let kept = heading.to_lowercase().replace(' ', "-");
    kept.chars().filter(|letter| letter.is_alphanumeric() || *letter == '-' || *letter == '_').collect()
}

/// Pages whose commands somebody may type: decisions tell what was, the others hold none.
fn is_for_users(path: &Path) -> bool {
    let inside = path.strip_prefix(root()).unwrap();
    inside.parent() == Some(Path::new("")) || inside.parent() == Some(Path::new("docs"))
}

#[test]
fn every_link_leads_to_a_file_and_a_heading_that_are_there() {
    let pages = pages();
    let mut broken = Vec::new();
    for (path, page) in &pages {
        for link in &page.links {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { path.clone() } else { path.parent().unwrap().join(file) };
            let Ok(target) = target.canonicalize() else {
                broken.push(format!("{}: {link}", path.display()));
                continue;
            };
            let has = |anchors: &BTreeSet<String>| anchors.contains(anchor);
            if !anchor.is_empty() && !pages.get(&target).is_some_and(|page| has(&page.anchors)) {
                broken.push(format!("{}: {link}: no such heading", path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn every_block_of_commands_is_run_by_a_test_or_says_why_not() {
    let mut tests = Vec::new();
    below(&root().join("compat-tests"), "mjs", &mut tests);
    below(&root().join("tests"), "rs", &mut tests);
    let tests: Vec<String> = tests.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    let mut wrong = Vec::new();
    for block in pages().into_iter().filter(|(path, _)| is_for_users(path)).flat_map(|(_, page)| page.blocks) {
        let language = block.language.as_str();
        // Pictures have no commands; the guide's programs are compiled by `cargo test --doc`.
        if language == "mermaid" || language.starts_with("rust") && block.page.ends_with("docs/EMBEDDING.md") {
            continue;
        }
        let mark = block.mark.as_deref().and_then(|mark| mark.strip_prefix("<!-- ")?.strip_suffix(" -->"));
        let complaint = match mark.and_then(|mark| mark.split_once(": ")) {
            Some(("tested", name)) if !tests.iter().any(|text| text.contains(&format!("'{name}'"))) => {
                "no test names it"
            }
            Some(("tested" | "not run", _)) => continue,
            _ => "it has no mark",
        };
        wrong.push(format!("{}: {complaint}:\n{}", block.page.display(), block.text));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn blocks_of_one_name_are_the_same_commands_in_every_language() {
    let mut commands: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for block in pages().into_values().flat_map(|page| page.blocks) {
        let Some(mark) = block.mark.filter(|mark| mark.contains("tested: ")) else { continue };
        let lines = block.text.lines().map(|line| line.split("    #").next().unwrap_or(line).trim_end().to_owned());
        let lines: Vec<String> = lines.collect();
        assert_eq!(
            *commands.entry(mark.clone()).or_insert_with(|| lines.clone()),
            lines,
            "{mark} in {}",
            block.page.display()
        );
    }
    assert!(commands.len() > 5);
}

/// Lines that somebody may type, comments and redirections cut off.
fn command_lines<'p>(page: &'p Page, program: &str) -> Vec<Vec<&'p str>> {
    let lines = page.blocks.iter().flat_map(|block| block.text.lines()).chain(page.codes.iter().map(String::as_str));
    let of_program = |line: &'p str| {
        let words: Vec<&str> =
            line.split_whitespace().take_while(|word| !["#", ">", "|", "&&", "2>&1"].contains(word)).collect();
        (words.first() == Some(&program) && !line.contains('|')).then_some(words)
    };
    lines.filter_map(of_program).collect()
}

#[test]
fn command_lines_of_pushstreamd_are_ones_it_knows() {
    let mut seen = 0;
    for (path, page) in pages().iter().filter(|(path, _)| is_for_users(path)) {
        for words in command_lines(page, "pushstreamd") {
            // What stands for a value of the reader's parses like one.
            let words = words.iter().map(|word| word.trim_matches('"'));
            let parsed = Cli::try_parse_from(words.clone());
            let line: Vec<&str> = words.collect();
            assert!(parsed.is_ok(), "{}: {}: {}", path.display(), line.join(" "), parsed.err().unwrap());
            seen += 1;
        }
    }
    assert!(seen > 20, "{seen}");
}

#[test]
fn targets_of_make_are_ones_the_makefile_has() {
    let makefile = fs::read_to_string(root().join("Makefile")).unwrap();
    let targets: BTreeSet<&str> = makefile.lines().filter_map(|line| Some(line.split_once(':')?.0)).collect();
    for (path, page) in pages() {
        for words in command_lines(&page, "make") {
            for word in words.iter().skip(1).take_while(|word| !word.contains('=')) {
                assert!(targets.contains(word), "{}: make {word}", path.display());
            }
        }
    }
}

#[test]
fn the_book_has_every_page() {
    let docs = root().join("docs");
    let summary = read(&docs.join("SUMMARY.md"));
    let mut paths = Vec::new();
    below(&docs, "md", &mut paths);
    for path in paths {
        let name = path.strip_prefix(&docs).unwrap().to_string_lossy().into_owned();
        assert!(name == "SUMMARY.md" || summary.links.contains(&name), "docs/SUMMARY.md does not name {name}");
    }
}
