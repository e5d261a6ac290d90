//! Static files below `root` or `alias`, as far as a push server needs them: error pages, a client script, an index.
//!
//! GET and HEAD, conditional requests, one byte range. Invariant: the path is made of a directory of the configuration and
//! a canonical URI, so it stays below that directory (symbolic links aside, which nginx follows as well).

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io::{ErrorKind, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;

use super::exchange::Exchange;
use super::log_context;
use super::precondition::{not_modified, precondition_failed};
use super::rewrite::redirection;
use crate::conf::settings::{Fallback, TryFiles};
use crate::conf::variable::Part;
use crate::request::http_date::parse_http_date;
use crate::request::reply::{Body, FilePart, Reply};

/// Larger files are read as they are taken.
const WHOLE: u64 = 256 * 1024;

/// What has been found for a URI.
#[expect(clippy::large_enum_variant, reason = "moved once or twice per request; a box would cost an allocation each")]
pub(crate) enum Found {
    /// The answer.
    Reply(Reply),
    /// An error of nginx.
    Status(u16),
    /// An index file: go on with this path.
    Index(Vec<u8>),
}

/// Looks for the file of the exchange's URI.
pub(crate) fn serve(exchange: &mut Exchange<'_>) -> Found {
    if !matches!(exchange.method(), b"GET" | b"HEAD" | b"POST") {
        return Found::Status(405);
    }
    if exchange.location.core.root.alias.is_some() && exchange.route.rewritten_in_place {
        log_context::error(
            exchange,
            format_args!("\"alias\" cannot be used in a location where the URI was rewritten"),
        );
        return Found::Status(500);
    }
    let path = path_of(exchange);
    if exchange.uri.ends_with(b"/") {
        return index(exchange, &path);
    }
    let metadata = match std::fs::metadata(OsStr::from_bytes(&path)) {
        Ok(metadata) => metadata,
        Err(error) => return failed(exchange, &path, &error),
    };
    if metadata.is_dir() {
        let url = directory_url(exchange);
        return Found::Reply(redirection(exchange, 301, url));
    }
    if !metadata.is_file() {
        return Found::Status(404);
    }
    if exchange.method() == b"POST" {
        return Found::Status(405);
    }
    match content(Path::new(OsStr::from_bytes(&path))) {
        Ok((metadata, content)) => found(exchange, &metadata, &content),
        Err(error) => failed(exchange, &path, &error),
    }
}

/// A file as it is when it is opened.
fn content(path: &Path) -> std::io::Result<(Metadata, Content)> {
    let mut file = File::open(path)?;
    let metadata = file.metadata()?;
    if metadata.len() > WHOLE {
        let part = FilePart { file: Arc::new(file), offset: 0, length: metadata.len() };
        return Ok((metadata, Content::File(part)));
    }
    let mut bytes = Vec::with_capacity(metadata.len() as usize);
    file.read_to_end(&mut bytes)?;
    Ok((metadata, Content::Bytes(bytes.into())))
}

/// What a file holds.
enum Content {
    Bytes(Bytes),
    File(FilePart),
}

impl Content {
    fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File(part) => part.length,
        }
    }

    /// The bytes from one to another, both included.
    fn part(&self, first: u64, last: u64) -> Body {
        match self {
            Self::Bytes(bytes) => Body::Full(bytes.slice(first as usize..=last as usize)),
            Self::File(part) => Body::File(FilePart { offset: first, length: last - first + 1, ..part.clone() }),
        }
    }

    fn whole(&self) -> Body {
        match self {
            Self::Bytes(bytes) => Body::Full(bytes.clone()),
            Self::File(part) => Body::File(part.clone()),
        }
    }
}

/// What `try_files` has come to.
pub(crate) enum Tried {
    /// The exchange's URI is that of a file that exists.
    Found,
    /// `=CODE`
    Status(u16),
    /// Go on with this URI or named location.
    Uri(Vec<u8>),
}

/// Looks for the first candidate that exists and makes it the exchange's URI.
pub(crate) fn try_files(exchange: &mut Exchange<'_>, files: &TryFiles) -> Tried {
    let taken = prefix_length(exchange);
    for candidate in &files.candidates {
        let name = exchange.value(candidate).into_owned();
        // Below an alias names still begin with the location's prefix, as `$uri` does.
        let below = if taken > 0 && name.starts_with(exchange.uri.get(..taken).unwrap_or_default()) {
            name.get(taken..).unwrap_or_default()
        } else {
            &name
        };
        let mut path = exchange.value(&exchange.location.core.root.path).into_owned();
        path.extend_from_slice(below);
        let directory =
            candidate.parts.last().is_some_and(|part| matches!(part, Part::Text(text) if text.ends_with(b"/")));
        let exists = std::fs::metadata(OsStr::from_bytes(&path))
            .is_ok_and(|metadata| if directory { metadata.is_dir() } else { metadata.is_file() });
        if exists {
            let mut uri = exchange.uri.get(..taken).unwrap_or_default().to_vec();
            uri.extend_from_slice(below);
            if directory && uri.len() > 1 {
                uri.truncate(uri.len() - usize::from(uri.ends_with(b"/")));
            }
            exchange.uri = SmallVec::from_vec(uri);
            return Tried::Found;
        }
    }
    match &files.last {
        Fallback::Status(status) => Tried::Status(*status),
        Fallback::Uri(uri) => Tried::Uri(exchange.value(uri).into_owned()),
    }
}

/// How much of the URI an alias stands for.
fn prefix_length(exchange: &Exchange<'_>) -> usize {
    exchange.location.core.root.alias.map_or(0, |taken| taken.min(exchange.uri.len()))
}

/// `$request_filename`: where the URI lies in the file system.
pub(crate) fn path_of(exchange: &Exchange<'_>) -> Vec<u8> {
    let mut path = exchange.value(&exchange.location.core.root.path).into_owned();
    path.extend_from_slice(exchange.uri.get(prefix_length(exchange)..).unwrap_or_default());
    path
}

fn index(exchange: &Exchange<'_>, directory: &[u8]) -> Found {
    for (tried, name) in exchange.location.core.root.index.iter().enumerate() {
        // Once a file was not there it matters whether its directory is.
        if tried == 1
            && let Err(error) = std::fs::metadata(OsStr::from_bytes(directory))
        {
            return failed(exchange, directory, &error);
        }
        if name.starts_with('/') {
            return Found::Index(name.as_bytes().to_vec());
        }
        let candidate = [directory, name.as_bytes()].concat();
        if Path::new(OsStr::from_bytes(&candidate)).is_file() {
            return Found::Index([&exchange.uri, name.as_bytes()].concat());
        }
    }
    match std::fs::metadata(OsStr::from_bytes(directory)) {
        Ok(metadata) if metadata.is_dir() => {
            let shown = log_context::shown(exchange, directory);
            log_context::error(exchange, format_args!("directory index of \"{shown}\" is forbidden"));
            Found::Status(403)
        }
        Ok(_) => Found::Status(404),
        Err(error) => failed(exchange, directory, &error),
    }
}

fn failed(exchange: &Exchange<'_>, path: &[u8], error: &std::io::Error) -> Found {
    let status = match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::InvalidFilename => 404,
        ErrorKind::PermissionDenied => 403,
        _ => 500,
    };
    if status != 404 || exchange.location.core.log_not_found {
        let (shown, why) = (log_context::shown(exchange, path), log_context::system_error(error));
        log_context::error(exchange, format_args!("open() \"{shown}\" failed ({why})"));
    }
    Found::Status(status)
}

/// The URI of a directory that was asked for without its slash.
fn directory_url(exchange: &Exchange<'_>) -> Vec<u8> {
    let mut url = exchange.uri.to_vec();
    url.push(b'/');
    if !exchange.args.is_empty() {
        url.push(b'?');
        url.extend_from_slice(&exchange.args);
    }
    url
}

fn found(exchange: &mut Exchange<'_>, metadata: &Metadata, content: &Content) -> Found {
    let modified = metadata.mtime();
    let tag = format!("\"{modified:x}-{:x}\"", content.len());
    let content_type = exchange.content_type(exchange.location).to_owned();
    let mut reply = Reply { body: content.whole(), ..Reply::stream(200, content_type) };
    reply.last_modified = Some(modified);
    let tag = if exchange.location.core.etag { tag } else { String::new() };
    if !tag.is_empty() {
        reply.headers.push((Cow::Borrowed("ETag"), Cow::Owned(tag.clone().into_bytes())));
    }
    // The page of an error is always sent as a whole.
    if exchange.status_override.is_some_and(|status| status != 200) {
        return Found::Reply(reply);
    }
    if precondition_failed(exchange, Some((modified, tag.as_bytes()))) {
        return Found::Status(412);
    }
    if not_modified(exchange, modified, tag.as_bytes()) {
        exchange.status_override = None;
        return Found::Reply(Reply { status: 304, content_type: None, body: Body::Absent, ..reply });
    }
    let length = content.len();
    match range(exchange, modified, tag.as_bytes(), length) {
        Range::Whole => {
            reply.headers.push((Cow::Borrowed("Accept-Ranges"), Cow::Borrowed(b"bytes")));
        }
        Range::Part(first, last) => {
            // That of an `error_page` counts for files as they are.
            exchange.status_override = None;
            reply.status = 206;
            let told = format!("bytes {first}-{last}/{length}");
            reply.headers.push((Cow::Borrowed("Content-Range"), Cow::Owned(told.into_bytes())));
            reply.body = content.part(first, last);
        }
        Range::Unsatisfiable => {
            exchange.carried.push(("Content-Range", format!("bytes */{length}").into_bytes()));
            return Found::Status(416);
        }
    }
    Found::Reply(reply)
}

/// What part of a file is asked for.
#[derive(Debug, PartialEq, Eq)]
enum Range {
    Whole,
    /// First and last byte.
    Part(u64, u64),
    Unsatisfiable,
}

fn range(exchange: &Exchange<'_>, modified: i64, tag: &[u8], length: u64) -> Range {
    let Some(asked) = exchange.head.header("range") else { return Range::Whole };
    if let Some(condition) = exchange.head.header("if-range")
        && condition != tag
        && parse_http_date(condition) != Some(modified)
    {
        return Range::Whole;
    }
    parse_range(asked, length)
}

/// Reads `bytes=a-b`, `a-` or `-n`. Several ranges, or anything else, get the whole file.
fn parse_range(asked: &[u8], length: u64) -> Range {
    let Some((unit, ranges)) = asked.split_at_checked(6) else { return Range::Whole };
    if !unit.eq_ignore_ascii_case(b"bytes=") || ranges.contains(&b',') {
        return Range::Whole;
    }
    let parsed = std::str::from_utf8(ranges).ok().and_then(|range| {
        let (first, last) = range.trim().split_once('-')?;
        let number = |text: &str| -> Option<Option<u64>> {
            if text.is_empty() { Some(None) } else { text.parse().ok().map(Some) }
        };
        Some((number(first.trim())?, number(last.trim())?))
    });
    let (first, last) = match parsed {
        None | Some((None, None)) => return Range::Unsatisfiable,
        Some((None, Some(count))) => (length.saturating_sub(count), length),
        Some((Some(first), last)) => (first, last.unwrap_or(length)),
    };
    match length.checked_sub(1) {
        Some(end) if first <= end && first <= last => Range::Part(first, last.min(end)),
        _ => Range::Unsatisfiable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_range_is_understood() {
        for (asked, expected) in [
            ("bytes=0-3", Range::Part(0, 3)),
            ("bytes=4-", Range::Part(4, 9)),
            ("bytes=-3", Range::Part(7, 9)),
            ("bytes=5-99", Range::Part(5, 9)),
            ("bytes=10-", Range::Unsatisfiable),
            ("bytes=5-4", Range::Unsatisfiable),
            ("bytes=0-1,3-4", Range::Whole),
            ("lines=0-1", Range::Whole),
            ("bytes=x", Range::Unsatisfiable),
            ("bytes=-", Range::Unsatisfiable),
        ] {
            assert_eq!(parse_range(asked.as_bytes(), 10), expected, "{asked}");
        }
        assert_eq!(parse_range(b"bytes=-1", 0), Range::Unsatisfiable);
    }
}
