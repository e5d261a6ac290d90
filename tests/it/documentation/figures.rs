//! The five figures of the READMEs are those of the tables that `make bench` and `make siege` write, rounded, in either language.
//!
//! Knows where each stands; `UPDATE_DOCS=1 cargo test figures_of_the_readmes` puts them in.

use std::fs;

use super::root;

/// A row of a README: the command that measures it, and how both languages tell it.
struct Figure {
    command: &'static str,
    english: String,
    russian: String,
}

/// The cells of a table's row whose first one is `name`.
fn row(page: &str, name: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join(page)).unwrap();
    let rows = text.lines().filter(|line| line.starts_with('|'));
    let mut cells = rows.map(|line| line.split('|').map(|cell| cell.trim().to_owned()).skip(1).collect::<Vec<_>>());
    cells.find(|cells| cells[0] == name).unwrap_or_else(|| panic!("{page} has no row {name}"))
}

/// The figure pushstreamd has in the table of docs/PERFORMANCE.md, which is told in `unit`.
fn measured(name: &str, unit: &str) -> f64 {
    let cell = &row("docs/PERFORMANCE.md", name)[2];
    let number = cell.strip_suffix(unit).unwrap_or_else(|| panic!("{name}: {cell} is not in {unit}"));
    number.trim().parse().unwrap()
}

fn thousands(number: &str, between: &str) -> String {
    let groups: Vec<&str> = number.as_bytes().rchunks(3).rev().map(|group| str::from_utf8(group).unwrap()).collect();
    groups.join(between)
}

fn figures() -> [Figure; 5] {
    let idle = ["long-poll", "streaming", "eventsource", "websocket"]
        .map(|mode| measured(&format!("idle subscriber, {mode}"), " B") / 1000.0);
    let (least, most) = (idle.iter().copied().fold(f64::MAX, f64::min), idle.iter().copied().fold(0.0, f64::max));
    let to_floor = &row("docs/PERFORMANCE.md", "fan-out to 1,000 streaming subscribers, a delivery")[4];
    let publish = measured("publish 200 B, stored, 8 connections", " µs");
    let restart = measured("start with 1,000,000 stored messages of 200 B", " s");
    let siege = row("docs/SECURITY.md", "messages published / received");
    let (_, received) = siege[1].split_once(" / ").unwrap();
    let wrong = &row("docs/SECURITY.md", "lost / repeated or out of order")[1];
    let wrong = if wrong == "0 / 0" { "0" } else { wrong };
    let comma = |text: String| text.replace('.', ",");
    let both = |command, english: String, russian| Figure { command, english, russian };
    [
        both(
            "make bench ROWS=idle",
            format!("{least:.1} to {most:.1} kB"),
            comma(format!("от {least:.1} до {most:.1} кБ")),
        ),
        both(
            "make bench ROWS=fan",
            format!("{to_floor} of what the least possible server takes"),
            comma(format!("{to_floor} от наименьшего возможного")),
        ),
        both("make bench ROWS=publish", format!("{publish:.1} µs"), comma(format!("{publish:.1} мкс"))),
        both("make bench ROWS=restore", format!("{restart:.1} s"), comma(format!("{restart:.1} с"))),
        both(
            "make siege",
            format!("{wrong} of {}", thousands(received, ",")),
            format!("{wrong} из {}", thousands(received, "\u{a0}")),
        ),
    ]
}

/// The page with the figures in the rows of their commands.
fn with_figures(page: &str, told: impl Fn(&Figure) -> String) -> String {
    let mut lines: Vec<String> = page.lines().map(str::to_owned).collect();
    for figure in figures() {
        let end = format!(" | `{}` |", figure.command);
        let line = lines.iter_mut().find(|line| line.starts_with("| ") && line.ends_with(&end));
        let line = line.unwrap_or_else(|| panic!("no row for {}", figure.command));
        let what = line.split('|').nth(1).unwrap().trim().to_owned();
        *line = format!("| {what} | {}{end}", told(&figure));
    }
    lines.join("\n") + "\n"
}

#[test]
fn figures_of_the_readmes_are_those_of_the_tables() {
    for name in ["README.md", "README.ru.md"] {
        let page = fs::read_to_string(root().join(name)).unwrap();
        let told = |figure: &Figure| if name == "README.md" { figure.english.clone() } else { figure.russian.clone() };
        let right = with_figures(&page, told);
        if std::env::var_os("UPDATE_DOCS").is_some() {
            fs::write(root().join(name), &right).unwrap();
        } else {
            assert!(page == right, "{name}: UPDATE_DOCS=1 cargo test figures_of_the_readmes");
        }
    }
}

#[test]
fn thousands_are_told_apart() {
    assert_eq!(["7", "299990", "1299990"].map(|number| thousands(number, ",")), ["7", "299,990", "1,299,990"]);
}
