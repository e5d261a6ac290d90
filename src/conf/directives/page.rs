//! docs/DIRECTIVES.md, written from the table.

use std::fmt::Write as _;

use super::{Directive, Effect, Kind, backends, backplane, nginx, own, push};

/// The page as it belongs into docs/DIRECTIVES.md.
pub fn markdown() -> String {
    let mut page = String::from(
        "# Directives\n\nGenerated from the table in `src/conf/directives`; `UPDATE_DOCS=1 cargo test directives_page` \
         writes it again.\n\n",
    );
    section(&mut page, "Push stream: the zone", push::ZONE, true);
    section(&mut page, "Push stream: zones", own::ZONES, true);
    section(&mut page, "Push stream: nodes", backplane::BACKPLANE, true);
    section(&mut page, "Push stream: what connections may hold", own::BOUNDS, true);
    section(&mut page, "Push stream: log lines", own::LOG_LINES, true);
    section(&mut page, "Push stream: the operators' listener", own::STATUS, true);
    section(&mut page, "Push stream: locations", push::LOCATIONS, true);
    section(&mut page, "Push stream: names of old versions", push::OLD, true);
    page.push_str(
        "\nIn versions 0.3.x the channels came from variables: `set $push_stream_channel_id X;` in publisher and \
         statistics locations, `set $push_stream_channels_path X;` in subscriber locations. Both are understood where no \
         `push_stream_channels_path` applies.\n",
    );
    for (title, rows) in [
        ("nginx: blocks", nginx::BLOCKS),
        ("nginx: the process", nginx::PROCESS),
        ("nginx: servers", nginx::SERVERS),
        ("nginx: files and handlers", nginx::HANDLERS),
        ("nginx: rewrite phase", nginx::REWRITES),
        ("nginx: access", nginx::ACCESS_CONTROL),
        ("nginx: requests and answers", nginx::ANSWERS),
        ("nginx: logs", nginx::LOGS),
    ] {
        section(&mut page, title, rows, false);
    }
    let asking: Vec<Directive> = super::all()
        .iter()
        .filter(|row| backends::ASKING.iter().any(|(name, ..)| *name == row.name))
        .copied()
        .collect();
    section(&mut page, "nginx: backends that `auth_request` asks", &asking, false);
    families(&mut page);
    page.push_str("\n`include FILE;` may stand anywhere.\n");
    names(&mut page, "Accepted without effect", "There is nothing to miss.", |row| row.kind == Kind::Silent);
    names(
        &mut page,
        "Accepted and reported",
        "pushstreamd does not apply them; `-t` and the error log say so once for each.",
        |row| matches!(row.kind, Kind::NotApplied | Kind::Skipped(_)),
    );
    let foreign: Vec<&str> = backends::HANDLERS.iter().filter_map(|terse| terse.split(' ').next()).collect();
    let _ = writeln!(
        page,
        "\n## Handlers pushstreamd does not have\n\nA location with one of these answers 502; \
         where `auth_request` leads to one with `proxy_pass`, its backend is asked.\n\n`{}`",
        foreign.join("` `")
    );
    page
}

fn families(page: &mut String) {
    page.push_str(
        "\n## Directives of other modules\n\nNone is applied. What guards ends the loading where it applies to a push \
         location (there, in its server, in `http`), and so does a condition, a limit, a link or a channels path that depends \
         on a variable nobody here fills in; `--accept-unguarded` loads all the same. A name of no row and no pattern ends it \
         inside a push location and is a warning elsewhere.\n\n| whose | names (`*`: anything) | without it |\n|---|---|---|\n",
    );
    for family in super::FAMILIES {
        let without = match family.effect {
            Effect::Guards => "everybody would come in: refused".to_owned(),
            Effect::GuardsWith(other) => format!("with `{other}`, everybody would come in: refused"),
            Effect::Answers => "the location answers 502".to_owned(),
            Effect::Gives => "the variable is empty; refused where a push location depends on it".to_owned(),
            Effect::Touches => "a warning".to_owned(),
        };
        let names: Vec<String> = family.names.split_ascii_whitespace().map(|name| format!("`{name}`")).collect();
        let _ = writeln!(page, "| {} | {} | {without} |", family.whose, names.join(" "));
    }
}

fn section(page: &mut String, title: &str, rows: &[Directive], versions: bool) {
    let _ = writeln!(page, "\n## {title}\n");
    let (head, rule) = if versions { ("versions | ", "---|") } else { ("", "") };
    let _ = writeln!(page, "| directive | context | words | default | {head}meaning |\n|---|---|---|---|{rule}---|");
    for row in rows {
        let default = if row.default.is_empty() { "" } else { row.default };
        let versions = if versions { format!("{} | ", row.lines.describe()) } else { String::new() };
        let _ = writeln!(
            page,
            "| `{}` | {} | {} | {} | {}{} |",
            row.name,
            row.contexts.names(),
            row.args,
            default.replace('|', "\\|"),
            versions,
            row.doc.replace('|', "\\|")
        );
    }
}

fn names(page: &mut String, title: &str, meaning: &str, belongs: impl Fn(&Directive) -> bool) {
    let mut names: Vec<&str> = super::all().iter().filter(|row| belongs(row)).map(|row| row.name).collect();
    names.sort_unstable();
    names.dedup();
    let _ = writeln!(page, "\n## {title}\n\n{meaning}\n\n`{}`", names.join("` `"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_page_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/DIRECTIVES.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, markdown()).unwrap();
        }
        assert_eq!(std::fs::read_to_string(path).unwrap_or_default(), markdown(), "run with UPDATE_DOCS=1");
    }
}
