//! `log_format`, `access_log` and `error_log`.
//!
//! Opens no file. Paths are relative to the prefix.

use std::collections::HashMap;
use std::sync::Arc;

use super::compiler::Compiler;
use super::complex;
use super::error::{Fault, shown};
use super::objection::invalid_parameter;
use super::scope::{Entry, Scope};
use super::settings::{AccessLog, ErrorLog, LogEscape, LogFormat, LogLevel, LogTarget};
use super::syslog;
use super::tree::Node;

/// The format that is always there.
const COMBINED: &[u8] = br#"$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent""#;

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

/// `combined`, for a configuration that has no `http` block or names no format.
pub(super) fn combined(compiler: &mut Compiler) -> Result<(), Fault> {
    let place = super::error::Place { file: None, line: 1 };
    let line = complex::compile(COMBINED, &mut compiler.namespace, &place)?;
    let format = Arc::new(LogFormat { line, escape: LogEscape::Default });
    compiler.log_formats = HashMap::from([("combined".into(), format)]);
    Ok(())
}

/// Compiles the formats of the `http` block.
pub(super) fn formats(http: &Scope<'_, '_>, compiler: &mut Compiler) -> Result<(), Fault> {
    for Entry { node, .. } in http.level.own("log_format") {
        let name: Box<str> = shown(node.arg(0)).into();
        if compiler.log_formats.contains_key(&name) {
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
    let combined = || compiler.log_formats.get("combined").cloned();
    if entries.is_empty() {
        let target = LogTarget::File(compiler.in_prefix(b"logs/access.log"));
        return Ok(combined().map(|format| AccessLog { target, format, condition: None }).into_iter().collect());
    }
    let mut logs = Vec::new();
    for Entry { node, .. } in entries {
        if node.arg(0) == b"off" {
            if let Some(extra) = node.args().get(1) {
                return Err(invalid_parameter(node, extra));
            }
            continue;
        }
        logs.extend(access_log(node, compiler)?);
    }
    Ok(logs.into())
}

fn access_log(node: &Node, compiler: &mut Compiler) -> Result<Option<AccessLog>, Fault> {
    let mut name = "combined".to_owned();
    let mut condition = None;
    for (index, word) in node.args().iter().enumerate().skip(1) {
        if let Some(value) = word.strip_prefix(b"if=") {
            condition = Some(complex::compile(value, &mut compiler.namespace, &node.place)?);
        } else if [&b"buffer="[..], b"flush=", b"gzip"].iter().any(|tuning| word.starts_with(tuning)) {
            // Lines are written when requests end; only how they are gathered differs.
        } else if index == 1 {
            name = shown(word).into_owned();
        } else {
            return Err(invalid_parameter(node, word));
        }
    }
    let Some(format) = compiler.log_formats.get(&*name).cloned() else {
        return Err(Fault::emerg(format_args!("unknown log format \"{name}\""), &node.place));
    };
    if node.arg(0).contains(&b'$') {
        compiler.note_unapplied_part(node, node.arg(0));
        return Ok(None);
    }
    Ok(Some(AccessLog { target: target(node, compiler)?, format, condition }))
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
        if node.arg(0).starts_with(b"memory:") {
            compiler.note_unapplied_part(node, b"memory:");
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
