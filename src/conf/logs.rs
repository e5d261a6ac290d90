//! `log_format`, `access_log`, `open_log_file_cache` and `error_log`, and how lines are spelled.
//!
//! Opens no file. Paths are relative to the prefix.

use std::collections::HashMap;
use std::sync::Arc;

use super::compiler::Compiler;
use super::compiler::rooted;
use super::complex;
use super::error::{Fault, shown};
use super::objection::{invalid_parameter, invalid_value};
use super::scope::{Entry, Scope};
use super::settings::{
    AccessLog, AccessTarget, ErrorLog, LogEscape, LogFileCache, LogFormat, LogLevel, LogLines, LogStyle, LogTarget,
    NamedLog,
};
use super::tree::Node;
use super::{syslog, units};

/// The format that is always there.
const COMBINED: &[u8] = br#"$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent""#;

/// The format `json`, unless the configuration has one of that name: nginx's variables by their names, `time` as in the error log.
const JSON: &[u8] = br#"{"time":"$time_iso8601","remote_addr":"$remote_addr","remote_user":"$remote_user","host":"$host","request":"$request","request_method":"$request_method","status":$status,"bytes_sent":$bytes_sent,"body_bytes_sent":$body_bytes_sent,"request_length":$request_length,"request_time":$request_time,"http_referer":"$http_referer","http_user_agent":"$http_user_agent","connection":$connection,"connection_requests":$connection_requests}"#;

const LEVELS: [(&str, LogLevel); 8] = [
    ("debug", LogLevel::Debug),
    ("info", LogLevel::Info),
    ("notice", LogLevel::Notice),
    ("warn", LogLevel::Warn),
    ("error", LogLevel::Error),
    ("crit", LogLevel::Crit),
    ("alert", LogLevel::Alert),
    ("emerg", LogLevel::Emerg),
];

/// The formats that are always there: nginx's, and (unknown to the strict) one of ours.
pub(super) fn given_formats(compiler: &mut Compiler) -> Result<(), Fault> {
    let place = super::error::Place { file: None, line: 1 };
    let mut given = vec![("combined", COMBINED, LogEscape::Default)];
    given.extend((!compiler.dialect.strict).then_some(("json", JSON, LogEscape::Object)));
    compiler.log_formats = given
        .into_iter()
        .map(|(name, text, escape)| {
            let line = complex::compile(text, &mut compiler.namespace, &place)?;
            Ok((name.into(), Arc::new(LogFormat { line, escape })))
        })
        .collect::<Result<HashMap<_, _>, Fault>>()?;
    Ok(())
}

/// `push_stream_log_format` and `push_stream_log_channel_ids`; the command line goes before.
pub(super) fn log_lines(http: &Scope<'_, '_>, compiler: &Compiler) -> Result<LogLines, Fault> {
    let style = match http.entry("push_stream_log_format") {
        Some(entry) => LogStyle::named(entry.node.arg(0)).ok_or_else(|| invalid_value(entry.node))?,
        None => LogStyle::default(),
    };
    let whole_ids = match http.entry("push_stream_log_channel_ids") {
        Some(entry) => match entry.node.arg(0) {
            b"short" => false,
            b"full" => true,
            _ => return Err(invalid_value(entry.node)),
        },
        // nginx's lines have what was sent.
        None => compiler.dialect.strict,
    };
    let untold_refusals = compiler.dialect.strict;
    Ok(LogLines { style: compiler.log_style.unwrap_or(style), whole_ids, untold_ends: false, untold_refusals })
}

/// Compiles the formats of the `http` block.
pub(super) fn formats(http: &Scope<'_, '_>, compiler: &mut Compiler) -> Result<(), Fault> {
    for Entry { node, .. } in http.level.own("log_format") {
        let name: Box<str> = shown(node.arg(0)).into();
        let is_ours = |format: &Arc<LogFormat>| format.escape == LogEscape::Object;
        if compiler.log_formats.get(&name).is_some_and(|format| !is_ours(format)) {
            return Err(Fault::emerg(format_args!("duplicate \"log_format\" name \"{name}\""), &node.place));
        }
        let mut words = node.args().get(1..).unwrap_or_default();
        let mut escape = LogEscape::Default;
        if let Some(how) = words.first().and_then(|word| word.strip_prefix(b"escape=")) {
            escape = match how {
                b"default" => LogEscape::Default,
                b"json" => LogEscape::Json,
                b"none" => LogEscape::None,
                how => {
                    let text = format_args!("unknown log format escaping \"{}\"", shown(how));
                    return Err(Fault::emerg(text, &node.place));
                }
            };
            words = words.get(1..).unwrap_or_default();
        }
        let line = complex::compile(&words.concat(), &mut compiler.namespace, &node.place)?;
        compiler.log_formats.insert(name, Arc::new(LogFormat { line, escape }));
    }
    Ok(())
}

/// `access_log PATH [FORMAT [if=CONDITION]]` / `off`
pub(super) fn access_logs(scope: &Scope<'_, '_>, compiler: &mut Compiler) -> Result<Arc<[AccessLog]>, Fault> {
    let entries = scope.list("access_log");
    if entries.is_empty() {
        let target = AccessTarget::Fixed(LogTarget::File(compiler.in_prefix(b"logs/access.log")));
        let format = compiler.log_formats.get(usual(compiler)).cloned();
        return Ok(format.map(|format| AccessLog { target, format, condition: None }).into_iter().collect());
    }
    let cache = file_cache(scope)?;
    let mut logs = Vec::new();
    for Entry { node, .. } in entries {
        if node.arg(0) == b"off" {
            if let Some(extra) = node.args().get(1) {
                return Err(invalid_parameter(node, extra));
            }
            continue;
        }
        if node.arg(0).starts_with(PIPE) {
            compiler.note_unapplied_part(node, PIPE);
            continue;
        }
        logs.push(access_log(node, cache, compiler)?);
    }
    Ok(logs.into())
}

/// What Tengine's logs are passed to.
const PIPE: &[u8] = b"pipe:";

/// The format of a log that names none.
fn usual(compiler: &Compiler) -> &'static str {
    match compiler.log_lines.style {
        LogStyle::Json if compiler.log_formats.contains_key("json") => "json",
        _ => "combined",
    }
}

fn access_log(node: &Node, cache: Option<LogFileCache>, compiler: &mut Compiler) -> Result<AccessLog, Fault> {
    let mut name = usual(compiler).to_owned();
    let mut condition = None;
    let has_variables = node.arg(0).contains(&b'$') && !node.arg(0).starts_with(b"syslog:");
    for (index, word) in node.args().iter().enumerate().skip(1) {
        if let Some(value) = word.strip_prefix(b"if=") {
            condition = Some(complex::compile(value, &mut compiler.namespace, &node.place)?);
        } else if [&b"buffer="[..], b"flush=", b"gzip"].iter().any(|tuning| word.starts_with(tuning)) {
            check_buffering(node, word)?;
            if has_variables {
                return Err(Fault::emerg("buffered logs cannot have variables in name", &node.place));
            }
        } else if index == 1 {
            name = shown(word).into_owned();
        } else {
            return Err(invalid_parameter(node, word));
        }
    }
    let Some(format) = compiler.log_formats.get(&*name).cloned() else {
        return Err(Fault::emerg(format_args!("unknown log format \"{name}\""), &node.place));
    };
    let target = if has_variables {
        AccessTarget::Named(Arc::new(named(node, cache, compiler)?))
    } else {
        AccessTarget::Fixed(target(node, compiler)?)
    };
    Ok(AccessLog { target, format, condition })
}

/// Lines are written when requests end, only how they are gathered differs: that has to be spelled as for nginx.
fn check_buffering(node: &Node, word: &[u8]) -> Result<(), Fault> {
    let refuse =
        |what: &str, value: &[u8]| Err(Fault::emerg(format_args!("invalid {what} \"{}\"", shown(value)), &node.place));
    let gathers = |word: &Vec<u8>| word.starts_with(b"buffer=") || word.starts_with(b"gzip");
    if let Some(size) = word.strip_prefix(b"buffer=") {
        return if units::size(size).is_some_and(|size| size > 0) { Ok(()) } else { refuse("buffer size", size) };
    }
    if let Some(level) = word.strip_prefix(b"gzip=") {
        let known = units::number(level).is_some_and(|level| (1..=9).contains(&level));
        return if known { Ok(()) } else { refuse("compression level", level) };
    }
    match word.strip_prefix(b"flush=") {
        Some(time) if units::milliseconds(time).is_none_or(|time| time == 0) => refuse("flush time", time),
        Some(_) if !node.args().iter().any(gathers) => {
            let text = format_args!("no buffer is defined for access_log \"{}\"", shown(node.arg(0)));
            Err(Fault::emerg(text, &node.place))
        }
        None if word != b"gzip" => Err(invalid_parameter(node, word)),
        _ => Ok(()),
    }
}

fn named(node: &Node, cache: Option<LogFileCache>, compiler: &mut Compiler) -> Result<NamedLog, Fault> {
    let path = rooted(&compiler.prefix, complex::compile(node.arg(0), &mut compiler.namespace, &node.place)?);
    Ok(NamedLog::new(path, compiler.dialect.strict, cache))
}

/// `open_log_file_cache max=N [inactive=T] [min_uses=N] [valid=T]` / `off`
fn file_cache(scope: &Scope<'_, '_>) -> Result<Option<LogFileCache>, Fault> {
    let Some(Entry { node, .. }) = scope.entry("open_log_file_cache") else { return Ok(None) };
    if node.args().len() == 1 && node.arg(0) == b"off" {
        return Ok(None);
    }
    let mut cache = LogFileCache { max: 0, inactive: 10_000, min_uses: 1, valid: 60_000 };
    for word in node.args() {
        let (name, value) = word.split_at(memchr::memchr(b'=', word).map_or(word.len(), |at| at + 1));
        let milliseconds = || units::seconds(value).map(|seconds| seconds.saturating_mul(1000));
        let read = match name {
            b"max=" => units::number(value).map(|most| cache.max = usize::try_from(most).unwrap_or(usize::MAX)),
            b"inactive=" => milliseconds().map(|inactive| cache.inactive = inactive),
            b"min_uses=" => units::number(value).map(|uses| cache.min_uses = uses),
            b"valid=" => milliseconds().map(|valid| cache.valid = valid),
            _ => None,
        };
        if read.is_none() {
            let text = format_args!("invalid \"open_log_file_cache\" parameter \"{}\"", shown(word));
            return Err(Fault::emerg(text, &node.place));
        }
    }
    if cache.max == 0 {
        let text = "\"open_log_file_cache\" must have \"max\" parameter";
        return Err(Fault::emerg(text, &node.place));
    }
    Ok(Some(cache))
}

/// `error_log TARGET [LEVEL...]`
pub(super) fn read_error_logs(entries: &[Entry<'_>], compiler: &mut Compiler) -> Result<Vec<ErrorLog>, Fault> {
    let mut logs = Vec::new();
    for Entry { node, .. } in entries {
        let mut level = None;
        for word in node.args().get(1..).unwrap_or_default() {
            let text = shown(word);
            if text.starts_with("debug_") {
                level.get_or_insert(LogLevel::Debug);
                continue;
            }
            let Some((_, found)) = LEVELS.iter().find(|(name, _)| *name == text) else {
                return Err(Fault::emerg(format_args!("invalid log level \"{text}\""), &node.place));
            };
            if level.replace(*found).is_some() {
                return Err(Fault::emerg(format_args!("duplicate log level \"{text}\""), &node.place));
            }
        }
        if let Some(kind) = [&b"memory:"[..], PIPE].into_iter().find(|kind| node.arg(0).starts_with(kind)) {
            compiler.note_unapplied_part(node, kind);
            continue;
        }
        logs.push(ErrorLog { target: target(node, compiler)?, level: level.unwrap_or(LogLevel::Error) });
    }
    Ok(logs)
}

fn target(node: &Node, compiler: &Compiler) -> Result<LogTarget, Fault> {
    let word = node.arg(0);
    Ok(if word == b"stderr" {
        LogTarget::Stderr
    } else if let Some(words) = word.strip_prefix(b"syslog:") {
        LogTarget::Syslog(syslog::read(words, node)?)
    } else {
        LogTarget::File(compiler.in_prefix(word))
    })
}
