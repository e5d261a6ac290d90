//! What to change in nginx's configuration, as comments and snippets.
//!
//! Access control, limits and templates stay with the push locations, which pushstreamd answers with all their values; the
//! snippet only passes requests on, unbuffered and without a limit of time where somebody waits.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::division::{Division, Kept, blocks_or_values, has_mode};
use crate::conf::written::{Part, Written};

/// The text. `tree` is what was divided.
pub fn nginx_part(tree: &[Written], division: &Division<'_>) -> String {
    let mut out = String::new();
    moved(division, &mut out);
    for kept in &division.kept {
        snippet(kept, &mut out);
    }
    leftovers(tree, division, &mut out);
    out
}

fn moved(division: &Division<'_>, out: &mut String) {
    if division.moved.is_empty() {
        return;
    }
    out.push_str("# Servers that pushstreamd takes over: take them out of nginx's configuration.\n");
    for server in division.moved.iter().map(|moved| moved.server) {
        let listens: Vec<String> = blocks_or_values(server.children(), "listen").map(Written::line).collect();
        let _ = writeln!(out, "#     server in {} ({})", server.place, listens.join(", "));
    }
    out.push('\n');
}

fn snippet(kept: &Kept<'_>, out: &mut String) {
    out.push_str("# Servers that stay with nginx: put this in place of their push locations.\n");
    for server in &kept.servers {
        let names: Vec<String> = blocks_or_values(server.children(), "server_name").map(Written::line).collect();
        let _ = writeln!(out, "#     server in {} ({})", server.place, names.join(", "));
    }
    for location in &kept.locations {
        print_location(location, kept.port, 0, out);
    }
    out.push('\n');
}

/// A location with a mode becomes a proxy; one around it is only named.
fn print_location(location: &Written, port: u16, depth: usize, out: &mut String) {
    let indent = "    ".repeat(depth);
    let nested: Vec<&Written> = location.children().iter().filter(|child| child.name() == "location").collect();
    if !has_mode(location) && nested.is_empty() {
        // Asked by auth_request; nginx need not ask as well.
        return;
    }
    let _ = writeln!(out, "{indent}# was at {}", location.place);
    let _ = writeln!(out, "{indent}{} {{", location.line());
    if has_mode(location) {
        for line in proxy(location, port) {
            let _ = writeln!(out, "{indent}    {line}");
        }
    } else {
        let _ = writeln!(out, "{indent}    # everything else stays as it is");
    }
    for nested in nested {
        print_location(nested, port, depth + 1, out);
    }
    let _ = writeln!(out, "{indent}}}");
}

fn proxy(location: &Written, port: u16) -> Vec<String> {
    let websocket = mode(location) == Some("websocket".into());
    let waits = mode(location).is_some_and(|mode| mode != "polling");
    let mut lines = vec![format!("proxy_pass http://127.0.0.1:{port};"), "proxy_http_version 1.1;".to_owned()];
    if websocket {
        lines.push("proxy_set_header Upgrade $http_upgrade;".to_owned());
        lines.push("proxy_set_header Connection \"upgrade\";".to_owned());
    } else {
        lines.push("proxy_set_header Connection \"\";".to_owned());
    }
    lines.push("proxy_set_header Host $http_host;".to_owned());
    lines.push("proxy_set_header X-Real-IP $remote_addr;".to_owned());
    lines.push("proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;".to_owned());
    lines.push("proxy_set_header X-Forwarded-Proto $scheme;".to_owned());
    lines.push("proxy_redirect off;".to_owned());
    lines.push("proxy_buffering off;".to_owned());
    lines.push("proxy_cache off;".to_owned());
    if waits {
        // pushstreamd knows who is still there; nginx must not guess.
        lines.push("proxy_read_timeout 1d;".to_owned());
        lines.push("proxy_send_timeout 60s;".to_owned());
    } else {
        // A publisher may close its socket right after the write.
        lines.push("proxy_ignore_client_abort on;".to_owned());
    }
    lines.extend(
        blocks_or_values(location.children(), "client_max_body_size").map(|value| format!("{};", value.line())),
    );
    lines
}

/// The mode of a subscriber location; `None` for publishers and statistics.
fn mode(location: &Written) -> Option<String> {
    let handler = location.children().iter().find(|child| child.part == Part::Mode)?;
    match handler.name().as_str() {
        "push_stream_websocket" => Some("websocket".into()),
        "push_stream_subscriber" => Some(handler.args().first().map_or("streaming".into(), |mode| mode.to_lowercase())),
        _ => None,
    }
}

/// Directives of the module outside of what goes, which an nginx without the module would not know.
fn leftovers(tree: &[Written], division: &Division<'_>, out: &mut String) {
    let mut places = BTreeSet::new();
    let gone: BTreeSet<&str> = division.moved.iter().map(|moved| moved.server.place.as_str()).collect();
    find_leftovers(tree, &gone, &mut places);
    if places.is_empty() {
        return;
    }
    out.push_str("# Directives of the module that go too, when nginx runs without it.\n");
    for (place, name) in places {
        let _ = writeln!(out, "#     {name} in {place}");
    }
}

fn find_leftovers(directives: &[Written], gone: &BTreeSet<&str>, places: &mut BTreeSet<(String, String)>) {
    for directive in directives {
        if gone.contains(directive.place.as_str()) || (directive.name() == "location" && has_mode(directive)) {
            continue;
        }
        let loads = directive.name() == "load_module" && directive.args().concat().contains("push_stream");
        if directive.name().starts_with("push_stream_") || loads {
            places.insert((directive.place.clone(), directive.name()));
        }
        find_leftovers(directive.children(), gone, places);
    }
}
