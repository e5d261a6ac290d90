//! The table of figures: to the terminal, and into a document between two marks.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::proc;
use crate::rows::{Goal, Row};

/// The figures of one row: by server, by round.
pub(crate) struct Figures<'a> {
    pub(crate) row: &'a Row,
    pub(crate) by_server: Vec<Vec<f64>>,
}

/// The middle one of some figures.
pub(crate) fn median(figures: &[f64]) -> Option<f64> {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied()
}

impl Figures<'_> {
    /// The middle ratio of the first server to the floor, round by round.
    pub(crate) fn ratio(&self, floor: usize) -> Option<f64> {
        let (own, floor) = (self.by_server.first()?, self.by_server.get(floor)?);
        let ratios: Vec<f64> = own.iter().zip(floor).map(|(own, floor)| own / floor).collect();
        median(&ratios)
    }

    fn is_met(&self, floor: usize) -> Option<bool> {
        match self.row.goal {
            Goal::AtMost(most) => Some(median(self.by_server.first()?)? <= most),
            Goal::OfFloor(most) => Some(self.ratio(floor)? <= most),
        }
    }
}

/// A table in Markdown; `floor` is the floor's place among the servers.
pub(crate) fn markdown(servers: &[String], floor: usize, all: &[Figures<'_>]) -> String {
    let mut text = format!("| what | goal | {} | to floor | met |\n", servers.join(" | "));
    let _ = writeln!(text, "|---|---|{}---|---|", "---:|".repeat(servers.len()));
    for figures in all {
        let unit = figures.row.unit;
        let goal = match figures.row.goal {
            Goal::AtMost(most) => format!("<= {most} {unit}"),
            Goal::OfFloor(most) => format!("<= {most:.2} x floor"),
        };
        let _ = write!(text, "| {} | {} |", figures.row.what, goal.trim());
        for figures in &figures.by_server {
            let shown = median(figures).map_or_else(|| "-".to_owned(), |figure| with_unit(figure, unit));
            let _ = write!(text, " {shown} |");
        }
        let ratio = figures.ratio(floor).map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"));
        let met = figures.is_met(floor).map_or("-", |met| if met { "yes" } else { "NO" });
        let _ = writeln!(text, " {ratio} | {met} |");
    }
    text
}

/// Commit and machine, for below a table.
pub(crate) fn origin(rounds: usize) -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok()?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let commit = git(&["rev-parse", "--short", "HEAD"]).filter(|commit| !commit.is_empty());
    let dirty = git(&["status", "--porcelain", "--", "src", "Cargo.lock"]).is_some_and(|changed| !changed.is_empty());
    let commit = commit.unwrap_or_else(|| "unknown".to_owned());
    let changed = if dirty { " with changes" } else { "" };
    format!("Commit {commit}{changed}; {}; medians of {rounds}.", proc::machine())
}

fn with_unit(figure: f64, unit: &str) -> String {
    let shown = if figure >= 100.0 { format!("{figure:.0}") } else { format!("{figure:.2}") };
    format!("{shown} {unit}").trim().to_owned()
}

/// Puts text into a document between `<!-- NAME -->` and `<!-- end -->`.
pub(crate) fn write_between(path: &Path, name: &str, text: &str) -> Result<()> {
    let document = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mark = format!("<!-- {name} -->\n");
    let start =
        document.find(&mark).with_context(|| format!("{} has no {}", path.display(), mark.trim()))? + mark.len();
    let (head, rest) = document.split_at(start);
    let end = rest.find("<!-- end -->").context("a mark without its end")?;
    let rest = rest.get(end..).unwrap_or_default();
    Ok(fs::write(path, format!("{head}\n{text}\n{rest}"))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_one_in_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[]), None);
    }
}
