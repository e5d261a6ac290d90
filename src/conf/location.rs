//! Locations: a block, the blocks within it, and all effective values.
//!
//! The mode of a location is active in its `if` blocks and not in locations nested in it; all other values are inherited
//! by both. Choosing a location for a request is `site`'s business.

use std::collections::HashMap;
use std::sync::Arc;

use super::compiler::Compiler;
use super::complex;
use super::error::{Fault, Place, shown};
use super::guard_findings::Subject;
use super::scope::{Level, Scope, Step};
use super::settings::{Backend, Handler, LimitExcept, Location, Locations, Match};
use super::tree::Node;
use super::{access, backend, core, guard, push, rewrite};

/// What an `if` block takes from the block around it.
pub(super) struct Parent<'a> {
    number: usize,
    handler: Handler,
    backend: Option<Arc<Backend>>,
    has_mode: bool,
    /// The push location, or what leads to one, as written.
    pub(super) pushes: Option<Subject>,
    /// Place of the `}` of `http`, for the module's complaints.
    pub(super) end: &'a Place,
}

/// The locations of a server or of a location.
#[derive(Default)]
pub(super) struct Within {
    pub(super) locations: Locations,
    pub(super) named: HashMap<Box<str>, Arc<Location>>,
}

/// The server's own level.
pub(super) fn root(scope: &Scope<'_, '_>, end: &Place, compiler: &mut Compiler) -> Result<Arc<Location>, Fault> {
    build(scope, Match::None, Locations::default(), end, compiler)
}

/// The locations of a block, in the order in which they are tried.
pub(super) fn within(scope: &Scope<'_, '_>, end: &Place, compiler: &mut Compiler) -> Result<Within, Fault> {
    let mut within = Within::default();
    let mut prefixes: Vec<(Arc<Location>, &Node)> = Vec::new();
    let mut exact: Vec<(Box<[u8]>, &Node)> = Vec::new();
    for level in scope.level.blocks_named("location") {
        let Some(node) = level.node else { continue };
        let (matched, name) = matched(node, compiler)?;
        check_nesting(scope.level.node, node, &matched, name)?;
        let inner = Scope { level, outer: Some(scope) };
        let nested = self::within(&inner, end, compiler)?.locations;
        let location = build(&inner, matched, nested, end, compiler)?;
        match &location.matched {
            Match::None => {
                within.named.entry(shown(name.get(1..).unwrap_or_default()).into()).or_insert(location);
            }
            Match::Exact(uri) => {
                exact.push((uri.clone(), node));
                within.locations.exact.entry(uri.clone()).or_insert(location);
            }
            Match::Prefix(_) | Match::StrongPrefix(_) => prefixes.push((location, node)),
            Match::Regex(_) => within.locations.regexes.push(location),
        }
    }
    prefixes.sort_by_key(|(location, _)| std::cmp::Reverse(prefix_of(location).len()));
    refuse_twins(exact.iter().map(|(uri, node)| (&**uri, *node)))?;
    refuse_twins(prefixes.iter().map(|(location, node)| (prefix_of(location), *node)))?;
    within.locations.prefixes = prefixes.into_iter().map(|(location, _)| location).collect();
    Ok(within)
}

/// The values of an `if` block.
pub(super) fn if_block(
    scope: &Scope<'_, '_>,
    parent: &Parent<'_>,
    compiler: &mut Compiler,
) -> Result<Arc<Location>, Fault> {
    let mut handler = match &scope.level.handler {
        Some((handler, _)) => handler.clone(),
        None => parent.handler.clone(),
    };
    let push = push::compile(scope, &mut handler, None, compiler)?;
    let core = core::compile(scope, compiler)?;
    let backend = parent.backend.clone();
    if let Some(pushes) = &parent.pushes
        && parent.has_mode
    {
        guard::inspect(scope, pushes, compiler);
    }
    let me = Parent {
        number: parent.number,
        handler,
        backend,
        has_mode: parent.has_mode,
        pushes: parent.pushes.clone(),
        end: parent.end,
    };
    let rewrite = rewrite::compile(scope, &me, compiler)?;
    Ok(Arc::new(Location {
        matched: Match::None,
        number: me.number,
        rewrite,
        nested: Locations::default(),
        handler: me.handler,
        push,
        core,
        backend: me.backend,
        try_files: None,
        limit_except: None,
    }))
}

fn build(
    scope: &Scope<'_, '_>,
    matched: Match,
    nested: Locations,
    end: &Place,
    compiler: &mut Compiler,
) -> Result<Arc<Location>, Fault> {
    let mut handler = scope.level.handler.as_ref().map_or(Handler::Static, |(handler, _)| handler.clone());
    let has_mode = scope.level.has_mode;
    let push = push::compile(scope, &mut handler, has_mode.then_some(end), compiler)?;
    let core = core::compile(scope, compiler)?;
    if matches!(matched, Match::None)
        && let Some(entry) = scope.level.own("root").iter().find(|entry| entry.node.name() == "alias")
    {
        let text = "the \"alias\" directive cannot be used inside the named location";
        return Err(Fault::emerg(text, &entry.node.place));
    }
    let backend = backend::compile(scope, &matched, compiler)?;
    let pushes = pushes(scope, &matched, compiler);
    let me = Parent { number: compiler.location_number(), handler, backend, has_mode, pushes, end };
    let rewrite = rewrite::compile(scope, &me, compiler)?;
    let try_files = core::try_files(scope, compiler)?;
    let limit_except = limit_except(scope, &me, compiler)?;
    let (number, handler, backend) = (me.number, me.handler, me.backend);
    Ok(Arc::new(Location { matched, number, rewrite, nested, handler, push, core, backend, try_files, limit_except }))
}

/// The `limit_except` of a location. Of what answers the location only a backend answers there too.
fn limit_except(
    scope: &Scope<'_, '_>,
    parent: &Parent<'_>,
    compiler: &mut Compiler,
) -> Result<Option<LimitExcept>, Fault> {
    let Some(level) = scope.level.blocks_named("limit_except").next() else { return Ok(None) };
    let Some(node) = level.node else { return Ok(None) };
    let methods = access::unlimited_methods(node)?;
    if parent.has_mode && !access::denies_all(level) {
        let text = "requests that \"limit_except\" lets in are not answered by push, as in nginx";
        compiler.warn(text, &node.place);
    }
    let inner = Scope { level, outer: Some(scope) };
    let mut handler = match (&level.handler, &parent.handler) {
        (Some((own, _)), _) => own.clone(),
        (None, Handler::Foreign(name)) if name.ends_with("_pass") => Handler::Foreign(name.clone()),
        (None, _) => Handler::Static,
    };
    let push = push::compile(&inner, &mut handler, None, compiler)?;
    let core = core::compile(&inner, compiler)?;
    let location = Arc::new(Location {
        matched: Match::None,
        number: compiler.location_number(),
        rewrite: Vec::new(),
        nested: Locations::default(),
        handler,
        push,
        core,
        backend: parent.backend.clone(),
        try_files: None,
        limit_except: None,
    });
    Ok(Some(LimitExcept { methods, location }))
}

/// What of this block decides about push requests: those of a location with a mode, of its server, of what `auth_request`
/// asks, and of what leads to push locations that nobody reaches from outside.
fn pushes(scope: &Scope<'_, '_>, matched: &Match, compiler: &mut Compiler) -> Option<Subject> {
    let level = scope.level;
    let described = guard::subject(scope);
    let is_server = level.node.is_some_and(|node| node.name() == "server");
    if is_server {
        return level.uses_module().then_some(described);
    }
    let asked = matches!(matched, Match::Exact(uri) | Match::Prefix(uri) if compiler.asked.iter().any(|asked| **asked == **uri));
    if level.has_mode || asked || (leads_on(level) && scope.server().is_some_and(has_inner_push)) {
        guard::inspect(scope, &described, compiler);
        return Some(described);
    }
    None
}

/// Whether requests may go from here to another location.
fn leads_on(level: &Level<'_>) -> bool {
    let rewrites = level.steps.iter().any(|step| matches!(step, Step::Plain(node) if node.name() == "rewrite"));
    rewrites || ["try_files", "error_page"].iter().any(|name| !level.own(name).is_empty())
}

/// Whether a push location is reached only from other locations.
fn has_inner_push(level: &Level<'_>) -> bool {
    level.blocks_named("location").any(|location| {
        let named = location.node.is_some_and(|node| node.arg(0).starts_with(b"@"));
        (location.has_mode && (named || !location.own("internal").is_empty())) || has_inner_push(location)
    })
}

fn prefix_of(location: &Location) -> &[u8] {
    match &location.matched {
        Match::Prefix(uri) | Match::StrongPrefix(uri) => uri,
        _ => b"",
    }
}

/// `[= | ^~ | ~ | ~*] NAME`, the modifier alone or right before the name.
pub(super) fn matched<'t>(node: &'t Node, compiler: &mut Compiler) -> Result<(Match, &'t [u8]), Fault> {
    let (modifier, name): (&[u8], &[u8]) = match node.args() {
        [modifier, name] => (modifier, name),
        [word] => match word.as_slice() {
            [b'=', name @ ..] => (b"=", name),
            [b'^', b'~', name @ ..] => (b"^~", name),
            [b'~', b'*', name @ ..] => (b"~*", name),
            [b'~', name @ ..] => (b"~", name),
            name => (b"", name),
        },
        _ => (b"", b""),
    };
    let matched = match modifier {
        b"" if name.first() == Some(&b'@') => Match::None,
        b"" => Match::Prefix(name.into()),
        b"=" => Match::Exact(name.into()),
        b"^~" => Match::StrongPrefix(name.into()),
        b"~" | b"~*" => {
            let caseless = modifier.len() == 2;
            Match::Regex(complex::regex(name, caseless, &mut compiler.namespace, &node.place)?)
        }
        other => {
            return Err(Fault::emerg(format_args!("invalid location modifier \"{}\"", shown(other)), &node.place));
        }
    };
    Ok((matched, name))
}

/// What may stand in a location.
fn check_nesting(outer: Option<&Node>, node: &Node, matched: &Match, name: &[u8]) -> Result<(), Fault> {
    let Some(outer) = outer.filter(|outer| outer.name() == "location") else { return Ok(()) };
    let outer_name = outer.args().last().map_or(&[][..], Vec::as_slice);
    let text = match (outer.args(), outer_name) {
        ([modifier, _], _) if modifier == b"=" => "the exact location",
        ([_], [b'=', ..]) => "the exact location",
        ([_], [b'@', ..]) => "the named location",
        _ => "",
    };
    let shown_name = shown(name);
    if !text.is_empty() {
        let text = format_args!("location \"{shown_name}\" cannot be inside {text} \"{}\"", shown(outer_name));
        return Err(Fault::emerg(text, &node.place));
    }
    if matches!(matched, Match::None) {
        let text = format_args!("named location \"{shown_name}\" can be on the server level only");
        return Err(Fault::emerg(text, &node.place));
    }
    let alone = outer.args().len() > 1;
    let modifiers = [&b"^~"[..], b"~*", b"~"].iter().find_map(|modifier| outer_name.strip_prefix(*modifier));
    let bare = modifiers.filter(|_| !alone).unwrap_or(outer_name);
    // nginx compares with the pattern of a regular expression as well, letter by letter.
    if !matches!(matched, Match::Regex(_)) && !name.starts_with(bare) {
        let text = format_args!("location \"{shown_name}\" is outside location \"{}\"", shown(bare));
        return Err(Fault::emerg(text, &node.place));
    }
    Ok(())
}

/// `duplicate location "/x"`, at the second one.
fn refuse_twins<'t>(named: impl Iterator<Item = (&'t [u8], &'t Node)>) -> Result<(), Fault> {
    let mut seen = std::collections::HashSet::new();
    for (name, node) in named {
        if !seen.insert(name) {
            return Err(Fault::emerg(format_args!("duplicate location \"{}\"", shown(name)), &node.place));
        }
    }
    Ok(())
}

/// Whether every request of this block is answered by a `return`.
pub(super) fn always_returns(level: &Level<'_>) -> bool {
    level.steps.iter().any(|step| matches!(step, super::scope::Step::Plain(node) if node.name() == "return"))
}
