//! The configuration pushstreamd runs beside nginx: what it applies of the present one, and nothing else.
//!
//! Paths become absolute, since the text may be put anywhere. Logs and pid file get names of their own in nginx's
//! directories: two programs must not share them. What only nginx can apply stays with nginx.

use super::division::{Division, Kept, Moved, NATIVE, auth_requests, blocks_or_values, has_mode, inherited};
use super::paths::{Paths, UNIT_STATE};
use crate::conf::written::{Part, Written};

/// Main directives that are taken over as they are.
const MAIN: [&str; 5] = ["user", "daemon", "worker_processes", "worker_rlimit_nofile", "worker_shutdown_timeout"];

/// The text. `paths` says where nginx's relative paths begin.
pub fn own_part(tree: &[Written], division: &Division<'_>, paths: &Paths) -> String {
    let http: Vec<&Written> = tree.iter().filter(|directive| directive.name() == "http").collect();
    let mut own = vec![paths.pid(blocks_or_values(tree, "pid").next())];
    own.extend(paths.error_logs(tree, http.first().copied()));
    // The unit says who the process is and that it stays in the foreground.
    let main = |name: &str| MAIN.contains(&name) && !(paths.unit && ["user", "daemon"].contains(&name));
    own.extend(tree.iter().filter(|directive| main(&directive.name())).cloned());
    let events = tree.iter().filter(|directive| directive.name() == "events");
    own.extend(events.map(|events| filtered(events, &|child| child.part == Part::Applied)));
    own.extend(http.iter().map(|http| http_block(http, division)));
    if paths.unit
        && let Some(last) = own.last_mut()
        && let Some(children) = &mut last.block
        && blocks_or_values(children, "push_stream_state").next().is_none()
    {
        children.insert(0, Written::simple(&["push_stream_state", UNIT_STATE]));
    }
    for directive in &mut own {
        paths.absolute(directive);
    }
    stub_variables(tree, &mut own);
    let mut out = String::new();
    for directive in own {
        directive.print(0, &mut out);
    }
    out
}

fn http_block(http: &Written, division: &Division<'_>) -> Written {
    // What belongs to backends matters only where access is asked of one.
    let asks = !auth_requests(http).is_empty();
    let taken = |child: &&Written| {
        let name = child.name();
        child.part == Part::Applied
            && !["server", "root", "index", "types", "error_page", "error_log"].contains(&&*name)
            && !NATIVE.contains(&&*name)
            && !division.is_nginx_guard(child)
            && (asks || !(name == "upstream" || name.starts_with("proxy_")))
    };
    let mut children: Vec<Written> = types(http).into_iter().collect();
    children.extend(http.children().iter().filter(taken).cloned());
    children.extend(division.moved.iter().map(|moved| moved_server(http, moved)));
    children.extend(division.kept.iter().map(|kept| kept_server(kept, division)));
    Written { block: Some(children), ..http.clone() }
}

/// `types`, by the name of the file it is in where that is the usual one.
fn types(http: &Written) -> Option<Written> {
    let types = http.children().iter().find(|child| child.name() == "types")?;
    let file = types.place.rsplit_once(':').map_or("", |(file, _)| file);
    Some(if file.ends_with("mime.types") { Written::simple(&["include", file]) } else { types.clone() })
}

/// A server with the ports that move, but for what only nginx could do and the error pages that led there. What `http` says
/// of headers and limits goes into it: servers that stay have that from nginx.
fn moved_server(http: &Written, moved: &Moved<'_>) -> Written {
    let server = moved.server;
    let asked = auth_requests(server);
    let is_dropped = |location: &Written| {
        location.name() == "location"
            && location.children().iter().any(|child| child.part == Part::Foreign)
            && !location.args().last().is_some_and(|uri| asked.contains(uri))
    };
    let dropped: Vec<String> = server
        .children()
        .iter()
        .filter(|child| is_dropped(child))
        .filter_map(|location| location.args().pop())
        .collect();
    let asks = !asked.is_empty();
    let mut own = filtered(server, &|child| {
        let name = child.name();
        let leads_nowhere = name == "error_page"
            && child.args().last().is_some_and(|uri| dropped.contains(uri) || uri.starts_with('@'));
        let is_proxy = child.part == Part::Foreign || name.starts_with("proxy_");
        let stays = moved.left.iter().any(|line| **line == *child);
        child.part != Part::Ignored && (asks || !is_proxy) && !is_dropped(child) && !leads_nowhere && !stays
    });
    if let Some(children) = &mut own.block {
        for name in NATIVE.iter().filter(|name| blocks_or_values(server.children(), name).next().is_none()) {
            children.extend(inherited(&[http], name));
        }
    }
    own
}

/// The push part of servers that stay with nginx, on a port of its own. nginx has logged the request and knows the client.
fn kept_server(kept: &Kept<'_>, division: &Division<'_>) -> Written {
    let mut children = vec![Written::simple(&["listen", &format!("127.0.0.1:{}", kept.port)])];
    let names = kept.names();
    if !names.is_empty() {
        let mut words = vec!["server_name"];
        words.extend(names.iter().map(String::as_str));
        children.push(Written::simple(&words));
    }
    for line in [&["set_real_ip_from", "127.0.0.1"][..], &["real_ip_header", "X-Real-IP"], &["access_log", "off"]] {
        children.push(Written::simple(line));
    }
    if let Some(server) = kept.servers.first() {
        children.extend(division.own_values(server));
    }
    children.extend(kept.locations.iter().cloned());
    Written::block(&["server"], children)
}

/// A block with those of its directives that are wanted, all the way down. Locations with a mode keep nothing foreign.
fn filtered(directive: &Written, wanted: &dyn Fn(&Written) -> bool) -> Written {
    let children = directive.children().iter().filter(|child| wanted(child)).map(|child| filtered(child, wanted));
    let block = directive.block.is_some().then(|| children.collect());
    debug_assert!(!has_mode(directive) || block.is_some());
    Written { block, ..directive.clone() }
}

/// Variables of other modules that the text still reads (in a log format, say) are empty here, as they are for pushstreamd.
fn stub_variables(tree: &[Written], own: &mut [Written]) {
    let mut names = Vec::new();
    note_given(tree, &mut names);
    let mut text = String::new();
    for directive in own.iter() {
        directive.print(0, &mut text);
    }
    let read = |name: &String| text.contains(&format!("${name}")) || text.contains(&format!("${{{name}}}"));
    let stubs = names
        .iter()
        .filter(|name| read(name))
        .map(|name| Written::block(&["map", "", &format!("${name}")], vec![Written::simple(&["default", ""])]));
    let stubs: Vec<Written> = stubs.collect();
    if let Some(http) = own.iter_mut().find(|directive| directive.name() == "http")
        && let Some(children) = &mut http.block
    {
        children.splice(0..0, stubs);
    }
}

fn note_given(directives: &[Written], names: &mut Vec<String>) {
    for directive in directives {
        for name in &directive.gives {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        note_given(directive.children(), names);
    }
}
