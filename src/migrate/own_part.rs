//! The configuration pushstreamd runs beside nginx: what it applies of the present one, and nothing else.
//!
//! Paths that were relative to the file become absolute, since the text may be put anywhere. Log and pid file get names of
//! their own in nginx's directories: two programs must not share them.

use std::path::Path;

use super::division::{Division, Kept, auth_requests, has_mode, is_for_push};
use crate::conf::written::{Part, Written};

/// Main directives that are taken over as they are.
const MAIN: [&str; 5] = ["user", "worker_processes", "worker_rlimit_nofile", "worker_shutdown_timeout", "env"];
/// Directives with a path relative to the directory of the configuration.
const PATHS: [&str; 6] = [
    "ssl_certificate",
    "ssl_certificate_key",
    "ssl_client_certificate",
    "ssl_dhparam",
    "auth_basic_user_file",
    "push_stream_header_template_file",
];

/// The text. `directory` is where the configuration that was divided stands.
pub fn own_part(tree: &[Written], division: &Division<'_>, directory: &Path) -> String {
    let mut own = Vec::new();
    let mut named = (false, false);
    for directive in tree {
        match directive.name().as_str() {
            "pid" => {
                named.0 = true;
                own.push(renamed(directive, "pushstreamd.pid"));
            }
            "error_log" => {
                named.1 = true;
                own.push(renamed(directive, "pushstreamd.log"));
            }
            name if MAIN.contains(&name) => own.push(directive.clone()),
            "events" => own.push(filtered(directive, &|child| child.part == Part::Applied)),
            _ => {}
        }
    }
    if !named.1 {
        own.insert(0, Written::simple(&["error_log", "logs/pushstreamd.log"]));
    }
    if !named.0 {
        own.insert(0, Written::simple(&["pid", "logs/pushstreamd.pid"]));
    }
    for http in tree.iter().filter(|directive| directive.name() == "http") {
        own.push(http_block(http, division));
    }
    let mut out = String::new();
    for mut directive in own {
        absolute(&mut directive, directory);
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
            && !["server", "root", "index", "types", "error_page"].contains(&&*name)
            && (asks || !(name == "upstream" || name.starts_with("proxy_")))
    };
    let mut children: Vec<Written> = types(http).into_iter().collect();
    children.extend(http.children().iter().filter(taken).cloned());
    children.extend(division.moved.iter().map(|moved| moved_server(moved.server)));
    children.extend(division.kept.iter().map(kept_server));
    Written { block: Some(children), ..http.clone() }
}

/// `types`, by the name of the file it is in where that is the usual one.
fn types(http: &Written) -> Option<Written> {
    let types = http.children().iter().find(|child| child.name() == "types")?;
    let file = types.place.rsplit_once(':').map_or("", |(file, _)| file);
    Some(if file.ends_with("mime.types") { Written::simple(&["include", file]) } else { types.clone() })
}

/// A whole server, but for what only nginx could do and the error pages that led there.
fn moved_server(server: &Written) -> Written {
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
    filtered(server, &|child| {
        let leads_nowhere = child.name() == "error_page"
            && child.args().last().is_some_and(|uri| dropped.contains(uri) || uri.starts_with('@'));
        let is_proxy = child.part == Part::Foreign || child.name().starts_with("proxy_");
        child.part != Part::Ignored && (asks || !is_proxy) && !is_dropped(child) && !leads_nowhere
    })
}

/// The push part of servers that stay with nginx, on a port of its own. nginx has logged the request and knows the client.
fn kept_server(kept: &Kept<'_>) -> Written {
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
        children.extend(server.children().iter().filter(|child| child.block.is_none() && is_for_push(child)).cloned());
    }
    children.extend(kept.locations.iter().cloned());
    Written { words: vec![b"server".to_vec()], block: Some(children), place: String::new(), part: Part::Applied }
}

/// A block with those of its directives that are wanted, all the way down. Locations with a mode keep nothing foreign.
fn filtered(directive: &Written, wanted: &dyn Fn(&Written) -> bool) -> Written {
    let children = directive.children().iter().filter(|child| wanted(child)).map(|child| filtered(child, wanted));
    let block = directive.block.is_some().then(|| children.collect());
    debug_assert!(!has_mode(directive) || block.is_some());
    Written { block, ..directive.clone() }
}

/// The same directive with another file name in the same directory; special targets stay.
fn renamed(directive: &Written, name: &str) -> Written {
    let mut directive = directive.clone();
    if let Some(word) = directive.words.get_mut(1) {
        let path = String::from_utf8_lossy(word).into_owned();
        if path != "stderr" && !path.contains(':') && path != "/dev/null" {
            *word = Path::new(&path).with_file_name(name).into_os_string().into_encoded_bytes();
        }
    }
    directive
}

fn absolute(directive: &mut Written, directory: &Path) {
    let name = directive.name();
    let by_file = PATHS.contains(&name.as_str());
    let template = name == "push_stream_header_template_file";
    if (by_file || template)
        && let Some(word) = directive.words.get_mut(1)
        && !word.starts_with(b"$")
    {
        let path = String::from_utf8_lossy(word).into_owned();
        *word = directory.join(path).into_os_string().into_encoded_bytes();
    }
    for child in directive.block.iter_mut().flatten() {
        absolute(child, directory);
    }
}
