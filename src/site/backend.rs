//! One question to an HTTP backend: address, request, head of the answer.
//!
//! Every question has a connection of its own and reads no body: `auth_request` wants a status and some fields. Invariant:
//! whatever the backend does, the answer is there within the location's timeouts and holds at most [`LONGEST_HEAD`] bytes.

use std::future::Future;
use std::time::Duration;

use smallvec::SmallVec;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::backend_answer::Answer;
use super::exchange::Exchange;
use super::log_context;
use super::rewrite::escape;
use crate::conf::settings::{Backend, Match, UpstreamServer};
use crate::conf::variable::Part;

/// Longest head of an answer, bytes.
const LONGEST_HEAD: usize = 64 * 1024;
/// Most fields of an answer.
const MOST_FIELDS: usize = 256;
/// Fields of the client's request that are between it and this server.
const NOT_PASSED: [&[u8]; 9] = [
    b"host",
    b"connection",
    b"keep-alive",
    b"te",
    b"expect",
    b"upgrade",
    b"transfer-encoding",
    b"content-length",
    b"proxy-connection",
];

/// What is encoded again where a path becomes part of a request.
const RESERVED: &[u8] = b"#%? ";

/// Why there is no answer.
#[derive(Debug, Error)]
enum Failure {
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("timed out")]
    TimedOut,
    #[error("upstream sent no valid header")]
    NotHttp,
    #[error("upstream sent too big header")]
    TooLong,
}

/// Where a backend is, taken apart from its URL.
struct Target {
    /// `HOST[:PORT]` or `unix:PATH`.
    authority: String,
    /// Path and arguments, if the URL has any.
    uri: Option<Vec<u8>>,
}

/// Asks the backend of the exchange's location; servers that cannot be asked are passed over.
pub(crate) async fn ask(exchange: &Exchange<'_>, backend: &Backend) -> Answer {
    let url = exchange.value(&backend.url).into_owned();
    let Some(target) = Target::parse(&url) else {
        log_context::error(exchange, format_args!("invalid URL prefix in \"{}\"", log_context::shown(exchange, &url)));
        return Answer { status: 500, ..Answer::default() };
    };
    let request = request(exchange, backend, &target);
    let mut status = 502;
    for address in addresses(exchange, &target) {
        match ask_server(&address, &request, backend).await {
            Ok(answer) => return answer,
            Err(failure) => {
                log_context::error(exchange, format_args!("{failure} while asking upstream \"{address}\""));
                status = if matches!(failure, Failure::TimedOut) { 504 } else { 502 };
            }
        }
    }
    Answer { status, ..Answer::default() }
}

impl Target {
    fn parse(url: &[u8]) -> Option<Self> {
        let rest = std::str::from_utf8(url).ok()?.strip_prefix("http://")?;
        if let Some(path) = rest.strip_prefix("unix:") {
            let (path, uri) = match path.split_once(':') {
                Some((path, uri)) => (path, Some(uri.as_bytes().to_vec())),
                None => (path, None),
            };
            return Some(Self { authority: format!("unix:{path}"), uri });
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, uri) = rest.split_at(end);
        let uri = match uri.as_bytes() {
            [] => None,
            [b'?', ..] => Some([b"/", uri.as_bytes()].concat()),
            uri => Some(uri.to_vec()),
        };
        (!authority.is_empty()).then(|| Self { authority: authority.to_owned(), uri })
    }

    /// `$proxy_host`
    fn host(&self) -> &str {
        if self.authority.starts_with("unix:") { "localhost" } else { &self.authority }
    }
}

/// The servers to be asked, in the order in which they are tried.
fn addresses(exchange: &Exchange<'_>, target: &Target) -> SmallVec<[String; 2]> {
    let Some(servers) = exchange.settings.upstreams.get(target.authority.as_str()) else {
        return std::iter::once(target.authority.clone()).collect();
    };
    let (backup, usual): (Vec<&UpstreamServer>, Vec<_>) = servers.iter().partition(|server| server.backup);
    // Requests are spread by their number, in proportion to the weights.
    let turns: Vec<usize> =
        usual.iter().enumerate().flat_map(|(index, server)| vec![index; server.weight.min(100) as usize]).collect();
    let number = exchange.peer.connection.wrapping_add(exchange.requests);
    let first = usize::try_from(number % turns.len().max(1) as u64).ok().and_then(|turn| turns.get(turn));
    let (before, after) = usual.split_at(first.copied().unwrap_or(0).min(usual.len()));
    after.iter().chain(before).chain(&backup).map(|server| server.address.to_string()).collect()
}

fn request(exchange: &Exchange<'_>, backend: &Backend, target: &Target) -> Vec<u8> {
    let mut out = match &backend.method {
        Some(method) => exchange.value(method).into_owned(),
        None => exchange.method().to_vec(),
    };
    out.push(b' ');
    write_uri(exchange, backend, target, &mut out);
    out.extend_from_slice(if backend.http_11 { b" HTTP/1.1\r\n" } else { b" HTTP/1.0\r\n" });
    let body = backend.body.as_ref().map(|body| exchange.value(body).into_owned());
    let is_set = |name: &[u8]| backend.headers.iter().any(|(set, _)| set.as_bytes().eq_ignore_ascii_case(name));
    if !is_set(b"host") {
        field(b"Host", target.host().as_bytes(), &mut out);
    }
    if !is_set(b"connection") {
        field(b"Connection", b"close", &mut out);
    }
    if let Some(body) = &body
        && !is_set(b"content-length")
    {
        field(b"Content-Length", body.len().to_string().as_bytes(), &mut out);
    }
    for (name, value) in &backend.headers {
        let value = exchange.value(value);
        // Without a body its length can only mislead: the backend would wait for it.
        let misleading = body.is_none() && name.eq_ignore_ascii_case("content-length");
        if !value.is_empty() && !misleading {
            field(name.as_bytes(), &value, &mut out);
        }
    }
    if backend.pass_request_headers {
        for (name, value) in exchange.head.headers() {
            if !is_set(name) && !NOT_PASSED.iter().any(|kept| name.eq_ignore_ascii_case(kept)) {
                field(name, value, &mut out);
            }
        }
    }
    out.extend_from_slice(b"\r\n");
    out.extend(body.unwrap_or_default());
    out
}

/// The URI of the question: that of `proxy_pass` in place of the location's prefix, or the one the location was chosen by.
fn write_uri(exchange: &Exchange<'_>, backend: &Backend, target: &Target, out: &mut Vec<u8>) {
    let is_literal = !backend.url.parts.iter().any(|part| matches!(part, Part::Variable(_)));
    let prefix = match &exchange.chosen.matched {
        Match::Exact(prefix) | Match::Prefix(prefix) | Match::StrongPrefix(prefix) => prefix.len(),
        Match::None | Match::Regex(_) => 0,
    };
    match &target.uri {
        Some(uri) if !is_literal => return out.extend_from_slice(uri),
        Some(uri) => {
            out.extend_from_slice(uri);
            escape(exchange.uri.get(prefix..).unwrap_or_default(), RESERVED, out);
        }
        None => escape(&exchange.uri, RESERVED, out),
    }
    if !exchange.args.is_empty() {
        out.push(b'?');
        out.extend_from_slice(&exchange.args);
    }
}

fn field(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend(value.iter().filter(|byte| !matches!(byte, b'\r' | b'\n' | 0)));
    out.extend_from_slice(b"\r\n");
}

async fn ask_server(address: &str, request: &[u8], backend: &Backend) -> Result<Answer, Failure> {
    if let Some(path) = address.strip_prefix("unix:") {
        let stream = within(backend.connect_timeout, UnixStream::connect(path)).await?;
        return talk(stream, request, backend).await;
    }
    let has_port = address.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let stream = if has_port {
        within(backend.connect_timeout, TcpStream::connect(address)).await?
    } else {
        within(backend.connect_timeout, TcpStream::connect((address.trim_matches(['[', ']']), 80))).await?
    };
    talk(stream, request, backend).await
}

async fn talk<S>(mut stream: S, request: &[u8], backend: &Backend) -> Result<Answer, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    within(backend.send_timeout, stream.write_all(request)).await?;
    let mut head = Vec::new();
    loop {
        match parse(&head)? {
            // 100 and 103 come before the answer.
            Some((answer, used)) if answer.status < 200 => drop(head.drain(..used)),
            Some((answer, _)) => return Ok(answer),
            None if head.len() > LONGEST_HEAD => return Err(Failure::TooLong),
            None => {
                if within(backend.read_timeout, stream.read_buf(&mut head)).await? == 0 {
                    return Err(Failure::NotHttp);
                }
            }
        }
    }
}

async fn within<T>(limit: u64, step: impl Future<Output = std::io::Result<T>>) -> Result<T, Failure> {
    match timeout(Duration::from_millis(limit), step).await {
        Ok(done) => Ok(done?),
        Err(_) => Err(Failure::TimedOut),
    }
}

/// Reads the head of an answer; `None` while it is incomplete. Also its length.
fn parse(bytes: &[u8]) -> Result<Option<(Answer, usize)>, Failure> {
    let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
    let mut read = httparse::Response::new(&mut fields);
    let used = match read.parse(bytes) {
        Ok(httparse::Status::Complete(used)) => used,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(Failure::TooLong),
        Err(_) => return Err(Failure::NotHttp),
    };
    let status = read.code.filter(|status| (100..=999).contains(status)).ok_or(Failure::NotHttp)?;
    let fields = read.headers.iter().map(|field| (field.name.as_bytes().into(), field.value.trim_ascii().into()));
    Ok(Some((Answer { status, fields: fields.collect() }, used)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_once_it_is_complete() {
        let text = b"HTTP/1.1 401 No\r\nX-User:  u \r\nWWW-Authenticate: Basic\r\nSet-Cookie: a=b; Path=/\r\n\r\nbody";
        for end in 0..text.len() - 4 {
            assert!(parse(&text[..end]).unwrap().is_none());
        }
        let (answer, length) = parse(text).unwrap().unwrap();
        assert_eq!((answer.status, length), (401, text.len() - 4));
        assert_eq!(answer.field(b"www-authenticate"), Some(&b"Basic"[..]));
        assert_eq!(answer.field_variable(b"x_user"), Some(&b"u"[..]));
        assert_eq!((answer.cookie(b"a"), answer.cookie(b"b")), (Some(&b"b"[..]), None));
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        for text in ["SSH-2.0\r\n\r\n", "HTTP/1.1 x\r\n\r\n", "HTTP/1.1 200 OK\r\nnothing\r\n\r\n"] {
            assert!(parse(text.as_bytes()).is_err(), "{text:?}");
        }
    }

    #[test]
    fn urls_name_a_server_and_perhaps_a_uri() {
        for (url, authority, uri) in [
            ("http://127.0.0.1:90", "127.0.0.1:90", None),
            ("http://name/", "name", Some("/")),
            ("http://name:1/a/b?c=d", "name:1", Some("/a/b?c=d")),
            ("http://name?c", "name", Some("/?c")),
            ("http://unix:/run/x.sock", "unix:/run/x.sock", None),
            ("http://unix:/run/x.sock:/uri", "unix:/run/x.sock", Some("/uri")),
        ] {
            let target = Target::parse(url.as_bytes()).unwrap();
            assert_eq!((target.authority.as_str(), target.uri.as_deref()), (authority, uri.map(str::as_bytes)));
        }
        assert!(Target::parse(b"https://name/").is_none() && Target::parse(b"http:///x").is_none());
    }

    proptest::proptest! {
        #[test]
        fn a_head_ends_with_a_line_and_is_the_same_whatever_follows(bytes: Vec<u8>, known: bool) {
            let begin: &[u8] = if known { b"HTTP/1.1 200 OK\r\n" } else { b"" };
            let text = [begin, bytes.as_slice(), b"\r\n\r\n"].concat();
            if let Ok(Some((answer, length))) = parse(&text) {
                proptest::prop_assert!(text[..length].ends_with(b"\n") && (100..=999).contains(&answer.status));
                let alone = parse(&text[..length]).unwrap().unwrap();
                proptest::prop_assert_eq!((alone.0.status, alone.1), (answer.status, length), "without what follows");
                proptest::prop_assert!(parse(&text[..length - 1]).unwrap().is_none(), "without its end");
            }
        }
    }
}
