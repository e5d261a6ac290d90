//! nginx's own values of one location.
//!
//! Knows nginx's defaults and its words for wrong values. Lists of rules (access, logs, limits) are compiled next door.

use std::collections::HashMap;
use std::sync::Arc;

use super::compiler::{Compiler, Types, rooted};
use super::complex;
use super::error::{Fault, shown};
use super::objection::{invalid_parameter, invalid_value, invalid_word};
use super::row_default::default_words;
use super::scope::{Entry, Scope};
use super::settings::{AddHeader, Charset, Core, ErrorPage, Fallback, Gzip, IfModifiedSince, PathTemplate, TryFiles};
use super::tree::Node;
use super::units;
use super::{access, expires, limits, logs, referers};

/// Content types where no `types` block applies.
const BUILT_IN_TYPES: [(&str, &str); 3] = [("html", "text/html"), ("gif", "image/gif"), ("jpg", "image/jpeg")];

/// Compiles the values.
pub(super) fn compile(scope: &Scope<'_, '_>, compiler: &mut Compiler) -> Result<Core, Fault> {
    let (keepalive_timeout, keepalive_header) = keepalive(scope)?;
    Ok(Core {
        default_type: shown(scope.text("default_type").unwrap_or_default()).into(),
        types: types(scope, compiler),
        add_headers: add_headers(scope, compiler)?,
        expires: expires::compile(scope, compiler)?,
        error_pages: error_pages(scope, compiler)?,
        access: access::rules(scope.list("allow"), compiler)?.into(),
        satisfy_any: match scope.word("satisfy") {
            None | Some(b"all") => false,
            Some(b"any") => true,
            Some(word) => return Err(wrong(scope, "satisfy", word)),
        },
        recursive_error_pages: scope.flag("recursive_error_pages"),
        auth_basic: access::auth_basic(scope, compiler)?,
        auth_request: access::auth_request(scope, compiler)?,
        auth_request_set: access::auth_request_set(scope, compiler)?,
        secure_link: access::secure_link(scope),
        valid_referers: referers::compile(scope, compiler)?,
        charset: charset(scope, compiler)?,
        root: path_template(scope, compiler)?,
        internal: !scope.level.own("internal").is_empty(),
        etag: scope.flag("etag"),
        if_modified_since: match scope.word("if_modified_since") {
            Some(b"off") => IfModifiedSince::Off,
            None | Some(b"exact") => IfModifiedSince::Exact,
            Some(b"before") => IfModifiedSince::Before,
            Some(word) => return Err(wrong(scope, "if_modified_since", word)),
        },
        client_max_body_size: scope.quantity("client_max_body_size"),
        client_body_timeout: scope.quantity("client_body_timeout"),
        send_timeout: scope.quantity("send_timeout"),
        keepalive_timeout,
        keepalive_header,
        keepalive_requests: scope.quantity("keepalive_requests"),
        chunked_transfer_encoding: scope.flag("chunked_transfer_encoding"),
        server_tokens: match scope.word("server_tokens") {
            None | Some(b"on" | b"build") => true,
            Some(b"off" | b"") => false,
            Some(word) => return Err(wrong(scope, "server_tokens", word)),
        },
        gzip: gzip(scope, compiler)?,
        access_log: logs::access_logs(scope, compiler)?,
        log_not_found: scope.flag("log_not_found"),
        limit_conn: limits::connections(scope, compiler)?,
        limit_req: limits::requests(scope, compiler)?,
        realip: access::realip(scope, compiler)?,
        absolute_redirect: scope.flag("absolute_redirect"),
        port_in_redirect: scope.flag("port_in_redirect"),
        server_name_in_redirect: scope.flag("server_name_in_redirect"),
    })
}

/// `invalid value "X"` at the directive in effect.
fn wrong(scope: &Scope<'_, '_>, name: &str, word: &[u8]) -> Fault {
    match scope.entry(name) {
        Some(entry) => invalid_word(entry.node, word),
        None => Fault::anywhere(format_args!("invalid value \"{}\"", shown(word))),
    }
}

/// `keepalive_timeout TIMEOUT [HEADER]`: milliseconds and seconds.
fn keepalive(scope: &Scope<'_, '_>) -> Result<(u64, Option<u64>), Fault> {
    let Some(entry) = scope.entry("keepalive_timeout") else {
        return Ok((scope.word("keepalive_timeout").and_then(units::milliseconds).unwrap_or_default(), None));
    };
    let node = entry.node;
    let timeout = units::milliseconds(node.arg(0)).ok_or_else(|| invalid_value(node))?;
    let header = match node.args().get(1) {
        None => None,
        Some(word) => Some(units::seconds(word).ok_or_else(|| invalid_value(node))?),
    };
    Ok((timeout, header))
}

/// All `types` blocks of the innermost level that has any.
fn types(scope: &Scope<'_, '_>, compiler: &mut Compiler) -> Types {
    let blocks = scope.list("types");
    let key = blocks.first().map_or(0, |entry| std::ptr::from_ref(entry.node).addr());
    let table = compiler.types.entry(key).or_insert_with(|| {
        let mut types: HashMap<Box<str>, Box<str>> = HashMap::new();
        if blocks.is_empty() {
            types.extend(BUILT_IN_TYPES.map(|(extension, kind)| (extension.into(), kind.into())));
        }
        for row in blocks.iter().flat_map(|entry| &entry.node.children) {
            for extension in row.args() {
                types.insert(shown(extension).to_ascii_lowercase().into(), row.name().into());
            }
        }
        Arc::new(types)
    });
    Arc::clone(table)
}

fn add_headers(scope: &Scope<'_, '_>, compiler: &mut Compiler) -> Result<Arc<[AddHeader]>, Fault> {
    let mut headers = Vec::new();
    for Entry { node, .. } in scope.list("add_header") {
        let always = match node.args().get(2).map(Vec::as_slice) {
            None => false,
            Some(b"always") => true,
            Some(word) => return Err(invalid_parameter(node, word)),
        };
        let value = complex::compile(node.arg(1), &mut compiler.namespace, &node.place)?;
        headers.push(AddHeader { name: shown(node.arg(0)).into(), value, always });
    }
    Ok(headers.into())
}

/// `error_page CODE... [=[CODE]] URI`
fn error_pages(scope: &Scope<'_, '_>, compiler: &mut Compiler) -> Result<Arc<[ErrorPage]>, Fault> {
    let mut pages = Vec::new();
    for Entry { node, .. } in scope.list("error_page") {
        let Some((uri, mut codes)) = node.args().split_last() else { continue };
        let mut replace = None;
        if let Some((last, rest)) = codes.split_last()
            && let Some(code) = last.strip_prefix(b"=")
        {
            codes = rest;
            replace = Some(match code {
                b"" => None,
                code => {
                    let code = units::number(code).and_then(|code| u16::try_from(code).ok());
                    Some(code.ok_or_else(|| invalid_word(node, last))?)
                }
            });
        }
        let codes = codes.iter().map(|word| error_code(node, word)).collect::<Result<_, _>>()?;
        let target = complex::compile(uri, &mut compiler.namespace, &node.place)?;
        pages.push(ErrorPage { codes, replace, target });
    }
    Ok(pages.into())
}

/// A status that may have a page.
fn error_code(node: &Node, word: &[u8]) -> Result<u16, Fault> {
    match units::number(word) {
        None | Some(499) => Err(invalid_word(node, word)),
        Some(code) => u16::try_from(code).ok().filter(|status| (300..=599).contains(status)).ok_or_else(|| {
            Fault::emerg(format_args!("value \"{}\" must be between 300 and 599", shown(word)), &node.place)
        }),
    }
}

/// `root` or `alias`, and `index`.
fn path_template(scope: &Scope<'_, '_>, compiler: &mut Compiler) -> Result<PathTemplate, Fault> {
    let entry = scope.entry("root");
    let path = match entry {
        Some(Entry { node, .. }) if names_itself(node.arg(0)).is_some() => {
            let text = format_args!(
                "the ${} variable cannot be used in the \"{}\" directive",
                names_itself(node.arg(0)).unwrap_or_default(),
                node.name()
            );
            return Err(Fault::emerg(text, &node.place));
        }
        Some(Entry { node, .. }) => complex::compile(node.arg(0), &mut compiler.namespace, &node.place)?,
        None => complex::literal(b"html"),
    };
    let mut index: Vec<Box<str>> = Vec::new();
    for entry in scope.list("index") {
        if entry.node.args().iter().any(Vec::is_empty) {
            return Err(Fault::emerg("index \"\" in \"index\" directive is invalid", &entry.node.place));
        }
        index.extend(entry.node.args().iter().map(|name| shown(name).into()));
    }
    if index.is_empty() {
        index.push("index.html".into());
    }
    Ok(PathTemplate {
        path: rooted(&compiler.prefix, path),
        alias: entry.filter(|entry| entry.node.name() == "alias").and_then(|_| aliased(scope)),
        index: index.into(),
    })
}

/// How long the name is that an alias stands for: that of the location the alias is written in. The alias of a regular
/// expression is the whole path.
fn aliased(scope: &Scope<'_, '_>) -> Option<usize> {
    let holder =
        std::iter::successors(Some(scope), |scope| scope.outer).find(|scope| !scope.level.own("root").is_empty())?;
    Some(match holder.level.node?.args() {
        [modifier, _] if modifier.starts_with(b"~") => usize::MAX,
        [_, name] => name.len(),
        [name] if name.starts_with(b"~") => usize::MAX,
        [name] => {
            let modifier = [&b"^~"[..], b"="].into_iter().find(|modifier| name.starts_with(modifier));
            name.len() - modifier.map_or(0, <[u8]>::len)
        }
        _ => 0,
    })
}

/// A variable in a path that is made of this path.
fn names_itself(path: &[u8]) -> Option<&'static str> {
    let text = shown(path).to_ascii_lowercase();
    let stands = |name: &&str| text.contains(&format!("${name}")) || text.contains(&format!("${{{name}}}"));
    ["document_root", "realpath_root"].into_iter().find(stands)
}

/// `try_files FILE... URI | @NAME | =CODE` of this level; it is not inherited.
pub(super) fn try_files(scope: &Scope<'_, '_>, compiler: &mut Compiler) -> Result<Option<TryFiles>, Fault> {
    let Some(Entry { node, .. }) = scope.level.own("try_files").first() else { return Ok(None) };
    let Some((last, files)) = node.args().split_last() else { return Ok(None) };
    let mut candidates = Vec::new();
    for file in files {
        candidates.push(complex::compile(file, &mut compiler.namespace, &node.place)?);
    }
    let last = match last.strip_prefix(b"=") {
        Some(code) => {
            let code = units::number(code).and_then(|code| u16::try_from(code).ok()).filter(|code| *code <= 999);
            let wrong = || Fault::emerg(format_args!("invalid code \"{}\"", shown(last)), &node.place);
            Fallback::Status(code.ok_or_else(wrong)?)
        }
        None => Fallback::Uri(complex::compile(last, &mut compiler.namespace, &node.place)?),
    };
    Ok(Some(TryFiles { candidates, last }))
}

/// All words of a directive that may be repeated, or those of its row's default.
fn words(scope: &Scope<'_, '_>, name: &str) -> Vec<Box<str>> {
    let entries = scope.list(name);
    if entries.is_empty() {
        return default_words(name).into_iter().map(Into::into).collect();
    }
    entries.iter().flat_map(|entry| entry.node.args()).map(|word| shown(word).into()).collect()
}

/// Content types of a list; `text/html` is always one.
fn types_of(scope: &Scope<'_, '_>, name: &str) -> (Vec<Box<str>>, bool) {
    let mut types = words(scope, name);
    if !types.iter().any(|kind| &**kind == "text/html") {
        types.push("text/html".into());
    }
    let all = types.iter().any(|kind| &**kind == "*");
    (types, all)
}

/// `charset NAME | off | $VARIABLE`, and the types it is told for.
fn charset(scope: &Scope<'_, '_>, compiler: &mut Compiler) -> Result<Option<Arc<Charset>>, Fault> {
    let Some(Entry { node, .. }) = scope.entry("charset") else { return Ok(None) };
    if node.arg(0) == b"off" {
        return Ok(None);
    }
    let (types, all_types) = types_of(scope, "charset_types");
    let name = complex::compile(node.arg(0), &mut compiler.namespace, &node.place)?;
    Ok(Some(Arc::new(Charset { name, types, all_types })))
}

fn gzip(scope: &Scope<'_, '_>, compiler: &mut Compiler) -> Result<Option<Arc<Gzip>>, Fault> {
    if !scope.flag("gzip") {
        return Ok(None);
    }
    let (types, all_types) = types_of(scope, "gzip_types");
    let mut disable = Vec::new();
    for Entry { node, .. } in scope.list("gzip_disable") {
        for word in node.args() {
            let pattern: &[u8] = match word.as_slice() {
                b"msie6" => b"MSIE [4-6]\\.(?!.*SV1)",
                b"degradation" => continue,
                pattern => pattern,
            };
            disable.push(complex::regex(pattern, true, &mut compiler.namespace, &node.place)?);
        }
    }
    let comp_level = scope.quantity("gzip_comp_level");
    if !(1..=9).contains(&comp_level)
        && let Some(entry) = scope.entry("gzip_comp_level")
    {
        return Err(Fault::emerg("value must be between 1 and 9", &entry.node.place));
    }
    let http_version_10 = match scope.word("gzip_http_version") {
        None | Some(b"1.1") => false,
        Some(b"1.0") => true,
        Some(word) => return Err(wrong(scope, "gzip_http_version", word)),
    };
    Ok(Some(Arc::new(Gzip {
        types,
        all_types,
        min_length: scope.quantity("gzip_min_length"),
        comp_level: comp_level as u32,
        http_version_10,
        vary: scope.flag("gzip_vary"),
        proxied: words(scope, "gzip_proxied").into_iter().filter(|when| &**when != "off").collect(),
        disable,
    })))
}
