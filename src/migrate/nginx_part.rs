//! What to change in nginx's configuration, as comments and snippets.
//!
//! Access control, limits and templates stay with the push locations, which pushstreamd answers with all their values. The
//! snippet only passes requests on, unbuffered and without a limit of time where somebody waits; what pushstreamd does not
//! apply (guards and filters of other modules) stays in it. Invariant: a place in a file gets one text, whoever includes it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::division::{Division, HEADERS, Kept, blocks, blocks_or_values, has, has_in_if, has_mode};
use crate::conf::written::{Part, Written};

/// The variable that holds the local port where one file serves several.
const PORT_VARIABLE: &str = "$pushstreamd_port";

/// The text. `tree` is what was divided.
pub fn nginx_part(tree: &[Written], division: &Division<'_>) -> String {
    let mut out = String::new();
    moved(division, &mut out);
    Snippets::of(division).print(division, &mut out);
    leftovers(tree, division, &mut out);
    out
}

fn moved(division: &Division<'_>, out: &mut String) {
    let (whole, parts): (Vec<_>, Vec<_>) = division.moved.iter().partition(|moved| moved.left.is_empty());
    if !whole.is_empty() {
        out.push_str("# Servers that pushstreamd takes over: take them out of nginx's configuration.\n");
        for moved in whole {
            let listens: Vec<String> = moved.taken.iter().map(|line| line.line()).collect();
            let _ = writeln!(out, "#     server in {} ({})", moved.server.place, listens.join(", "));
        }
        out.push('\n');
    }
    if !parts.is_empty() {
        out.push_str("# Ports that pushstreamd takes over from servers that stay: take these lines out.\n");
        for line in parts.iter().flat_map(|moved| &moved.taken) {
            let _ = writeln!(out, "#     {}; in {}", line.line(), line.place);
        }
        out.push('\n');
    }
}

/// Push locations of servers that stay, by the ports that answer them.
struct Snippets<'d> {
    /// Places that are more than one port's.
    shared: BTreeSet<&'d str>,
    kept: &'d [Kept<'d>],
}

impl<'d> Snippets<'d> {
    fn of(division: &'d Division<'_>) -> Self {
        let mut ports: BTreeMap<&str, BTreeSet<u16>> = BTreeMap::new();
        for kept in &division.kept {
            for location in &kept.locations {
                ports.entry(&location.place).or_default().insert(kept.port);
            }
        }
        let shared = ports.into_iter().filter(|(_, ports)| ports.len() > 1).map(|(place, _)| place).collect();
        Self { shared, kept: &division.kept }
    }

    fn print(&self, division: &Division<'_>, out: &mut String) {
        let mut printed = BTreeSet::new();
        for kept in self.kept {
            out.push_str("# Servers that stay with nginx: put this in place of their push locations.\n");
            let shares = kept.locations.iter().any(|location| self.shared.contains(location.place.as_str()));
            for server in &kept.servers {
                let names: Vec<String> =
                    blocks_or_values(server.children(), "server_name").map(Written::line).collect();
                let _ = writeln!(out, "#     server in {} ({})", server.place, names.join(", "));
                if shares {
                    let _ = writeln!(out, "#         add to it: set {PORT_VARIABLE} {};", kept.port);
                }
            }
            for location in &kept.locations {
                let shared = self.shared.contains(location.place.as_str());
                if shared && !printed.insert(location.place.as_str()) {
                    let _ = writeln!(out, "# {} as above", location.place);
                    continue;
                }
                let port = if shared { PORT_VARIABLE.to_owned() } else { kept.port.to_string() };
                let source = find(&kept.sources, &location.place).unwrap_or(location);
                print_location(source, location, &port, 0, division, out);
            }
            out.push('\n');
        }
    }
}

/// The location of this place.
fn find<'w>(locations: &'w [Written], place: &str) -> Option<&'w Written> {
    locations.iter().find(|location| location.place == place)
}

/// A location with a mode becomes a proxy; one around it is only named. `source` is how nginx has it.
fn print_location(
    source: &Written,
    location: &Written,
    port: &str,
    depth: usize,
    division: &Division<'_>,
    out: &mut String,
) {
    let indent = "    ".repeat(depth);
    let nested: Vec<&Written> = blocks(location.children(), "location").collect();
    if !has_mode(location) && nested.is_empty() {
        // Asked by auth_request; nginx need not ask as well.
        return;
    }
    let _ = writeln!(out, "{indent}# was at {}", location.place);
    let _ = writeln!(out, "{indent}{} {{", location.line());
    if has_mode(location) {
        for kept in nginx_own(source, division) {
            kept.print(depth + 1, out);
        }
        for name in HEADERS.iter().filter(|name| has(source, name) || has_in_if(source, name)) {
            let off = if *name == "expires" { "expires off;" } else { "add_header X-Pushstreamd \"\";" };
            let _ = writeln!(out, "{indent}    # pushstreamd answers with the {name} of this location, and no other");
            let _ = writeln!(out, "{indent}    {off}");
        }
        for line in proxy(location, port) {
            let _ = writeln!(out, "{indent}    {line}");
        }
    } else {
        let _ = writeln!(out, "{indent}    # everything else stays as it is");
    }
    for nested in nested {
        let source = find(source.children(), &nested.place).unwrap_or(nested);
        print_location(source, nested, port, depth + 1, division, out);
    }
    let _ = writeln!(out, "{indent}}}");
}

/// What stays with nginx of a push location: guards that only it can apply, and what pushstreamd leaves alone.
fn nginx_own(location: &Written, division: &Division<'_>) -> Vec<Written> {
    const PASSING: [&str; 5] = ["proxy_", "fastcgi_", "uwsgi_", "scgi_", "grpc_"];
    let mut own = Vec::new();
    for child in location.children() {
        let name = child.name();
        let passes = PASSING.iter().any(|prefix| name.starts_with(prefix));
        if division.is_nginx_guard(child) || (child.part == Part::Ignored && !passes) {
            own.push(child.clone());
        } else if name == "if" {
            let inner = nginx_own(child, division);
            if !inner.is_empty() {
                own.push(Written { block: Some(inner), ..child.clone() });
            }
        }
    }
    own
}

fn proxy(location: &Written, port: &str) -> Vec<String> {
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
    let whole = division.moved.iter().filter(|moved| moved.left.is_empty());
    let gone: BTreeSet<&str> = whole.map(|moved| moved.server.place.as_str()).collect();
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
