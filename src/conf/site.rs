//! Whether a server serves a site beside push: something that would be missed if pushstreamd answered on its ports.
//!
//! Backends and files are a site. Error pages in whatever form of location, single pages, what is denied or returned,
//! counters and what only the server itself asks are none: a push server has them too.

use super::access;
use super::compiler::Compiler;
use super::error::shown;
use super::location;
use super::scope::{Level, Scope};
use super::settings::{Handler, Match};
use super::tree::Node;

/// URIs that only a site has; a regular expression that matches one is for more than error pages.
const OF_SITES: [&str; 9] =
    ["/", "/index.html", "/index.php", "/news/", "/news/first", "/a/b.html", "/style.css", "/app.js", "/logo.png"];
/// Pages that stand alone.
const SINGLE_PAGES: [&str; 7] = [
    "/favicon.ico",
    "/robots.txt",
    "/crossdomain.xml",
    "/sitemap.xml",
    "/apple-touch-icon.png",
    "/browserconfig.xml",
    "/.well-known/acme-challenge/token",
];

/// What of a server is a site: the directive and its place.
pub(super) fn of_server(level: &Level<'_>, server: &Scope<'_, '_>, compiler: &mut Compiler) -> Option<String> {
    let mut pages: Vec<Vec<u8>> = Vec::new();
    pages.extend(server.list("error_page").iter().filter_map(|entry| entry.node.args().last().cloned()));
    note_error_pages(level, &mut pages);
    pages.extend(compiler.asked.iter().cloned());
    let of_files = if covers_everything(level) { None } else { static_files(level) };
    of_files.map(described).or_else(|| within(level, &pages, compiler))
}

fn note_error_pages(level: &Level<'_>, pages: &mut Vec<Vec<u8>>) {
    for location in level.blocks_named("location") {
        pages.extend(location.own("error_page").iter().filter_map(|entry| entry.node.args().last().cloned()));
        note_error_pages(location, pages);
    }
}

fn within(level: &Level<'_>, pages: &[Vec<u8>], compiler: &mut Compiler) -> Option<String> {
    level.blocks_named("location").find_map(|location| {
        let node = location.node?;
        // What only the server itself asks is nobody's site.
        let internal = !location.own("internal").is_empty();
        if internal
            || access::denies_all(location)
            || location::always_returns(location)
            || is_page(node, pages, compiler)
        {
            return None;
        }
        let own = match &location.handler {
            Some((Handler::Foreign(name), _)) if tells_counters(name) => None,
            Some((Handler::Foreign(_), node)) => Some(*node),
            Some(_) => None,
            None => static_files(location),
        };
        own.map(described).or_else(|| within(location, pages, compiler))
    })
}

fn tells_counters(handler: &str) -> bool {
    handler.contains("status") || matches!(handler, "api" | "upstream_show" | "empty_gif" | "rtmp_stat")
}

/// A location of error pages or of pages that stand alone.
fn is_page(node: &Node, pages: &[Vec<u8>], compiler: &mut Compiler) -> bool {
    // A bad pattern has been told where the location was compiled; the names of its groups are known from there.
    let Ok((matched, name)) = location::matched(node, compiler) else { return false };
    let text = shown(name).to_ascii_lowercase();
    if pages.iter().any(|page| page == name) || text.contains("error") {
        return true;
    }
    match matched {
        // A file among its siblings, or below the name an error page has.
        Match::Exact(_) | Match::None => true,
        Match::Prefix(prefix) | Match::StrongPrefix(prefix) => {
            let last = text.rsplit('/').next().unwrap_or_default();
            let above_a_page = prefix.len() > 1 && pages.iter().any(|page| page.starts_with(&prefix));
            last.contains('.') || above_a_page || text.starts_with("/.well-known")
        }
        Match::Regex(regex) => {
            let matches = |uri: &[u8]| regex.compiled.is_match(uri).unwrap_or(true);
            let codes = (400..600).map(|code| format!("/{code}.html"));
            let mut known = codes.chain(["/50x.html".to_owned()]).chain(SINGLE_PAGES.map(str::to_owned));
            let is_for_pages = known.any(|page| matches(page.as_bytes())) || pages.iter().any(|page| matches(page));
            is_for_pages && !OF_SITES.iter().any(|uri| matches(uri.as_bytes()))
        }
    }
}

/// A directive of this level that is there to serve files.
fn static_files<'t>(level: &Level<'t>) -> Option<&'t Node> {
    let entry = ["root", "index", "try_files"].iter().find_map(|name| level.own(name).first())?;
    // `try_files /none @push` looks for nothing that is asked for: it leads on.
    let leads_on = |node: &Node| {
        let candidates = node.args().split_last().map_or(&[][..], |(_, candidates)| candidates);
        node.name() == "try_files" && !candidates.iter().any(|word| word.contains(&b'$'))
    };
    Some(entry.node).filter(|node| !leads_on(node))
}

fn described(node: &Node) -> String {
    format!("\"{}\" in {}", node.name(), node.place)
}

/// Whether a location `/` answers whatever no other location does without looking at files.
fn covers_everything(level: &Level<'_>) -> bool {
    level.blocks_named("location").any(|location| {
        let root = location.node.is_some_and(|node| node.args().last().is_some_and(|uri| uri == b"/"));
        root && (access::denies_all(location) || location::always_returns(location) || location.has_mode)
    })
}
