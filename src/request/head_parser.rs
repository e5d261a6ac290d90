//! The grammar of a head that comes as text: request line and header fields, as nginx reads them.
//!
//! Invariant: [`parse`] looks at each byte a bounded number of times and copies the head once; a head is the same whether its
//! bytes came at once or one by one.

use memchr::{memchr, memchr3, memrchr};

use super::head::{BadHead, Field, HeadLimits, RequestHead, Span, Version};

/// Reads a head from the beginning of `buf`: the head and how many bytes it took, or `None` when more bytes are needed.
pub fn parse(buf: &[u8], limits: &HeadLimits) -> Result<Option<(RequestHead, usize)>, BadHead> {
    // Spans are 32 bits wide; a head is far smaller, and what follows it does not matter here.
    let buf = buf.get(..u32::MAX as usize).unwrap_or(buf);
    let Some(start) = buf.iter().position(|byte| !matches!(byte, b'\r' | b'\n')) else {
        return if buf.len() > limits.line { Err(BadHead::BadRequest) } else { Ok(None) };
    };
    let rest = buf.get(start..).unwrap_or_default();
    let Some(length) = memchr(b'\n', rest) else {
        check_unfinished_line(rest)?;
        return if rest.len() >= limits.line { Err(BadHead::UriTooLarge) } else { Ok(None) };
    };
    if length >= limits.line {
        check_unfinished_line(rest)?;
        return Err(BadHead::UriTooLarge);
    }
    let line = rest.get(..length).unwrap_or_default();
    let mut head = parse_line(line.strip_suffix(b"\r").unwrap_or(line), limits.spaces_in_target)?;
    let mut at = length + 1;
    if head.version == Version::V09 {
        head.buffer = line.into();
        return if head.method() == b"GET" { Ok(Some((head, start + at))) } else { Err(BadHead::BadRequest) };
    }
    loop {
        match parse_field(rest, at, limits)? {
            Line::Incomplete => {
                let waiting = rest.len() - at;
                let too_much = waiting >= limits.field || rest.len() >= limits.total;
                return if too_much { Err(BadHead::HeaderTooLarge) } else { Ok(None) };
            }
            Line::End(next) => {
                at = next;
                break;
            }
            Line::Ignored(next) => at = next,
            Line::Field(field, next) => {
                head.note(rest, field)?;
                head.fields.push(field);
                at = next;
            }
        }
        if at > limits.total {
            return Err(BadHead::HeaderTooLarge);
        }
    }
    if head.known.host.is_none() && head.version >= Version::V11 {
        return Err(BadHead::BadRequest);
    }
    head.buffer = rest.get(..at).unwrap_or_default().into();
    Ok(Some((head, start + at)))
}

/// Bytes that can never become a request line are refused before its end has come.
fn check_unfinished_line(rest: &[u8]) -> Result<(), BadHead> {
    let method = rest.split(|&byte| byte == b' ').next().unwrap_or_default();
    if method.iter().all(|&byte| is_method_byte(byte)) { Ok(()) } else { Err(BadHead::BadRequest) }
}

pub(super) fn is_method_byte(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte == b'_' || byte == b'-'
}

/// Reads a request line (without its line end), with which the buffer of the head will begin.
fn parse_line(line: &[u8], spaces_in_target: bool) -> Result<RequestHead, BadHead> {
    let space = memchr(b' ', line).ok_or(BadHead::BadRequest)?;
    let (method, rest) = line.split_at(space);
    if method.is_empty() || !method.iter().all(|&byte| is_method_byte(byte)) {
        return Err(BadHead::BadRequest);
    }
    let rest = trim_spaces(rest);
    let (target, version) = match memrchr(b' ', rest) {
        None => (rest, Ok(Version::V09)),
        Some(last) => {
            let (before, after) = rest.split_at(last);
            match after.strip_prefix(b" HTTP/") {
                Some(number) => (trim_spaces(before), parse_version(number)),
                // Without a version there is nothing that ends a target with spaces in it.
                None => return Err(BadHead::BadRequest),
            }
        }
    };
    if target.iter().any(|&byte| byte < 0x20 || byte == 0x7f || byte == b' ' && !spaces_in_target) {
        return Err(BadHead::BadRequest);
    }
    let (authority, target) = split_authority(target)?;
    let span = |part| span_within(line, part);
    Ok(RequestHead {
        // What stands first is judged first.
        version: version?,
        method: span(method),
        target: span(target),
        authority: authority.map(span),
        line: span(line),
        ..RequestHead::blank()
    })
}

/// Where a part of a text stands in it.
fn span_within(text: &[u8], part: &[u8]) -> Span {
    let start = (part.as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
    (start as u32, (start + part.len()) as u32)
}

/// Reads `1.0` and its like. Digit after digit, as nginx does: a major number beyond 1 is enough to know that this is not spoken.
fn parse_version(number: &[u8]) -> Result<Version, BadHead> {
    let minor = match number {
        [b'2'..=b'9', ..] | [b'1', b'0'..=b'9', ..] => return Err(BadHead::Version),
        [b'1', b'.', minor @ ..] => minor,
        _ => return Err(BadHead::BadRequest),
    };
    if minor.is_empty() || minor.len() > 3 || !minor.iter().all(u8::is_ascii_digit) {
        return Err(BadHead::BadRequest);
    }
    Ok(if minor.iter().all(|&digit| digit == b'0') { Version::V10 } else { Version::V11 })
}

/// Takes `scheme://host[:port]` off an absolute-form target. What remains begins with `/` or `?`, or is empty.
pub(super) fn split_authority(target: &[u8]) -> Result<(Option<&[u8]>, &[u8]), BadHead> {
    if target.starts_with(b"/") {
        return Ok((None, target));
    }
    let colon = memchr(b':', target).ok_or(BadHead::BadRequest)?;
    let (scheme, rest) = target.split_at(colon);
    let is_scheme = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    if !scheme.first().is_some_and(u8::is_ascii_alphabetic) || !scheme.iter().all(is_scheme) {
        return Err(BadHead::BadRequest);
    }
    let rest = rest.strip_prefix(b"://").ok_or(BadHead::BadRequest)?;
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    if is_authority(authority) { Ok((Some(authority), path)) } else { Err(BadHead::BadRequest) }
}

/// A name or an address, and a port or none.
fn is_authority(text: &[u8]) -> bool {
    let is_literal = |byte: &u8| byte.is_ascii_alphanumeric() || b".-_~!$&'()*+,;=:".contains(byte);
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    let (host, port) = if let Some(rest) = text.strip_prefix(b"[") {
        let Some(end) = memchr(b']', rest) else { return false };
        let (literal, port) = rest.split_at(end);
        (literal.iter().all(is_literal), port.get(1..).unwrap_or_default())
    } else {
        let (name, port) = text.split_at(memchr(b':', text).unwrap_or(text.len()));
        (name.iter().all(is_name), port)
    };
    host && (port.is_empty() || port.strip_prefix(b":").is_some_and(|port| port.iter().all(u8::is_ascii_digit)))
}

pub(super) fn trim_spaces(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|&byte| byte != b' ').unwrap_or(text.len());
    let end = text.iter().rposition(|&byte| byte != b' ').map_or(start, |last| last + 1);
    text.get(start..end).unwrap_or_default()
}

/// What one line of the header block is. The number is where the next line begins.
enum Line {
    Incomplete,
    End(usize),
    Ignored(usize),
    Field(Field, usize),
}

/// Reads the line at `at`.
fn parse_field(buf: &[u8], at: usize, limits: &HeadLimits) -> Result<Line, BadHead> {
    let rest = buf.get(at..).unwrap_or_default();
    match rest {
        [b'\n', ..] => return Ok(Line::End(at + 1)),
        [b'\r', b'\n', ..] => return Ok(Line::End(at + 2)),
        [] | [b'\r'] => return Ok(Line::Incomplete),
        [b'\r' | b':', ..] => return Err(BadHead::BadRequest),
        _ => {}
    }
    // A name without a colon is a field with an empty value.
    let Some(name_end) = memchr3(b':', b'\r', b'\n', rest) else {
        return judge_name(rest, limits).map(|_| Line::Incomplete);
    };
    let odd = matches!(judge_name(rest.get(..name_end).unwrap_or_default(), limits)?, Name::Odd);
    let value_start = name_end + usize::from(rest.get(name_end) == Some(&b':'));
    let tail = rest.get(value_start..).unwrap_or_default();
    let Some(length) = memchr3(b'\n', b'\r', b'\0', tail) else { return Ok(Line::Incomplete) };
    let line_end = match end_of_line(tail.get(length..).unwrap_or_default())? {
        Some(width) => value_start + length + width,
        None => return Ok(Line::Incomplete),
    };
    if line_end > limits.field {
        return Err(BadHead::HeaderTooLarge);
    }
    if odd && limits.ignore_invalid {
        return Ok(Line::Ignored(at + line_end));
    }
    let value = tail.get(..length).unwrap_or_default();
    let leading = value.iter().position(|&byte| byte != b' ').unwrap_or(length);
    let start = at + value_start + leading;
    let end = start + trim_spaces(value).len();
    let field = Field { name: (at as u32, (at + name_end) as u32), value: (start as u32, end as u32) };
    Ok(Line::Field(field, at + line_end))
}

/// What a field name is.
pub(super) enum Name {
    /// Letters, digits, hyphens, and what the limits allow.
    Fine,
    /// Something else that can stand in a line.
    Odd,
}

pub(super) fn judge_name(name: &[u8], limits: &HeadLimits) -> Result<Name, BadHead> {
    let mut judged = Name::Fine;
    for &byte in name {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' => {}
            b'_' if limits.underscores => {}
            0..=b' ' | 0x7f => return Err(BadHead::BadRequest),
            _ => judged = Name::Odd,
        }
    }
    Ok(judged)
}

/// Width of the line end that `tail` begins with: LF, or CR (repeated) LF. `None`: more bytes are needed.
fn end_of_line(tail: &[u8]) -> Result<Option<usize>, BadHead> {
    let returns = tail.iter().take_while(|&&byte| byte == b'\r').count();
    match tail.get(returns) {
        Some(b'\n') => Ok(Some(returns + 1)),
        Some(_) => Err(BadHead::BadRequest),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::super::head::{BodyLength, body_length};
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Result<Option<(RequestHead, usize)>, BadHead> {
        parse(text.as_bytes(), &HeadLimits::DEFAULT)
    }

    fn refused(text: &str) -> BadHead {
        read(text).expect_err(text)
    }

    #[test]
    fn an_ordinary_head_is_read() {
        let text = "\r\nPOST /pub?id=a HTTP/1.1\r\nHost: Some.Host:8080\r\nX-One:  two words  \r\nno-colon\r\n\r\nbody";
        let (head, used) = read(text).unwrap().unwrap();
        assert_eq!(head.method(), b"POST");
        assert_eq!(head.target(), b"/pub?id=a");
        assert_eq!(head.version, Version::V11);
        assert_eq!(head.line(), b"POST /pub?id=a HTTP/1.1");
        assert_eq!(head.host(), Some(&b"Some.Host:8080"[..]));
        assert_eq!(head.header("x-one"), Some(&b"two words"[..]));
        assert_eq!(head.header("NO-COLON"), Some(&b""[..]));
        assert_eq!(head.header("absent"), None);
        assert_eq!(&text[used..], "body");
    }

    #[test]
    fn bare_line_feeds_end_lines() {
        let (head, used) = read("GET / HTTP/1.0\nA: b\n\n").unwrap().unwrap();
        assert_eq!((head.version, head.header("a"), used), (Version::V10, Some(&b"b"[..]), 21));
    }

    #[test]
    fn version_0_9_has_no_header_block() {
        let (head, used) = read("GET /x\r\nHost: ignored\r\n").unwrap().unwrap();
        assert_eq!((head.version, head.target(), used), (Version::V09, &b"/x"[..], 8));
        assert_eq!(refused("POST /x\r\n"), BadHead::BadRequest);
    }

    #[test]
    fn the_absolute_form_is_split() {
        let (head, _) = read("GET http://Example.org:81/a?b HTTP/1.0\r\n\r\n").unwrap().unwrap();
        assert_eq!((head.authority(), head.target()), (Some(&b"Example.org:81"[..]), &b"/a?b"[..]));
        let (head, _) = read("GET http://example.org HTTP/1.0\r\n\r\n").unwrap().unwrap();
        assert_eq!((head.authority(), head.target()), (Some(&b"example.org"[..]), &b""[..]));
    }

    #[test]
    fn raw_spaces_belong_to_the_target_unless_strict() {
        let text = "GET /ws?time=Sun, 22 Nov 2026 18:43:51 GMT&tag=1 HTTP/1.0\r\n\r\n";
        let (head, _) = read(text).unwrap().unwrap();
        assert_eq!(head.target(), b"/ws?time=Sun, 22 Nov 2026 18:43:51 GMT&tag=1");
        let strict = HeadLimits { spaces_in_target: false, ..HeadLimits::DEFAULT };
        assert_eq!(parse(text.as_bytes(), &strict).unwrap_err(), BadHead::BadRequest);
    }

    #[test]
    fn what_nginx_refuses_is_refused() {
        for text in [
            "HELLO THERE\r\n\r\n",
            "get / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET * HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/x.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nthis line has no colon\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n folded\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nA: b\0c\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nA: b\rc\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
            "GET /a b\r\n",
            "GET / HTTP/1.1 x\r\nHost: a\r\n\r\n",
            "GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n",
            "\x16\x03\x01",
        ] {
            assert_eq!(refused(text), BadHead::BadRequest, "{text:?}");
        }
        for version in ["2.0", "11", "3", "2=0", "999.1"] {
            assert_eq!(refused(&format!("GET / HTTP/{version}\r\nHost: a\r\n\r\n")), BadHead::Version);
            assert_eq!(refused(&format!("GET h:80 HTTP/{version}\r\nHost: a\r\n\r\n")), BadHead::BadRequest);
        }
    }

    #[test]
    fn an_absolute_target_names_a_host_as_nginx_reads_it() {
        for authority in ["h", "h:", "h:80", "a-b.c:1", "[::1]", "[::1]:80", "[v1.a_b~]"] {
            assert!(is_authority(authority.as_bytes()), "{authority}");
        }
        for authority in ["h_x", "h%41", "u@h", "h:x", "[::1", "[::1]x", "[::1]:x", "h:80:80"] {
            assert!(!is_authority(authority.as_bytes()), "{authority}");
        }
    }

    #[test]
    fn oversized_heads_are_refused_as_nginx_does() {
        let line = format!("GET /pub?id={} HTTP/1.1\r\nHost: a\r\n\r\n", "u".repeat(9000));
        assert_eq!(refused(&line), BadHead::UriTooLarge);
        let field = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "b".repeat(40000));
        assert_eq!(refused(&field), BadHead::HeaderTooLarge);
        let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}", "X: yyyyyyyyyyyyyyyy\r\n".repeat(2000));
        assert_eq!(refused(&many), BadHead::HeaderTooLarge);
    }

    #[test]
    fn odd_names_are_left_out() {
        let (head, _) = read("GET / HTTP/1.0\r\na_b: 1\r\nc!: 2\r\nd: 3\r\n\r\n").unwrap().unwrap();
        assert_eq!(head.headers().collect::<Vec<_>>(), [(&b"d"[..], &b"3"[..])]);
        let lenient = HeadLimits { underscores: true, ..HeadLimits::DEFAULT };
        let (head, _) = parse(b"GET / HTTP/1.0\r\na_b: 1\r\n\r\n", &lenient).unwrap().unwrap();
        assert_eq!(head.header("a_b"), Some(&b"1"[..]));
    }

    #[test]
    fn bodies_are_framed_in_one_way_only() {
        let framed = |fields: &str| {
            let text = format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
            parse(text.as_bytes(), &HeadLimits::DEFAULT).and_then(|read| body_length(&read.unwrap().0))
        };
        assert_eq!(framed(""), Ok(BodyLength::None));
        assert_eq!(framed("Content-Length: 12\r\n"), Ok(BodyLength::Exact(12)));
        assert_eq!(framed("Transfer-Encoding: Chunked\r\n"), Ok(BodyLength::Chunked));
        for fields in ["Content-Length: abc", "Content-Length: -1", "Content-Length:", "Content-Length: 1 2"] {
            assert_eq!(framed(&format!("{fields}\r\n")), Err(BadHead::BadRequest), "{fields}");
        }
        for fields in
            ["Content-Length: 1\r\nContent-Length: 1\r\n", "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n"]
        {
            assert_eq!(framed(fields), Err(BadHead::BadRequest), "{fields}");
        }
        assert_eq!(framed("Content-Length: 99999999999999999999\r\n"), Err(BadHead::BadRequest));
        for length in ["", "Content-Length: 1\r\n"] {
            assert_eq!(framed(&format!("Transfer-Encoding: gzip\r\n{length}")), Err(BadHead::TransferEncoding));
        }
        assert_eq!(framed("Transfer-Encoding: gzip\r\nContent-Length: x\r\n"), Err(BadHead::BadRequest));
    }

    /// What came out of a head, comparable.
    fn told(read: Result<Option<(RequestHead, usize)>, BadHead>) -> Result<Option<(Vec<u8>, usize, usize)>, BadHead> {
        read.map(|some| some.map(|(head, used)| (head.line().to_vec(), head.fields.len(), used)))
    }

    proptest! {
        #[test]
        fn a_head_ends_with_a_line_and_is_the_same_whatever_follows(
            bytes in proptest::collection::vec(any::<u8>(), 0..300), known: bool,
        ) {
            let begin: &[u8] = if known { b"GET / HTTP/1.1\r\nHost: a\r\n" } else { b"" };
            let text = [begin, &bytes, b"\r\n\r\n"].concat();
            let read = told(parse(&text, &HeadLimits::DEFAULT));
            if let Ok(Some((_, _, used))) = read {
                prop_assert!(text[..used].ends_with(b"\n"));
                prop_assert_eq!(told(parse(&text[..used], &HeadLimits::DEFAULT)), read.clone(), "without what follows");
                prop_assert_eq!(told(parse(&text[..used - 1], &HeadLimits::DEFAULT)), Ok(None), "without its end");
            }
        }

        #[test]
        fn the_split_does_not_matter(
            fields in proptest::collection::vec("[A-Za-z_:\r\n -]{0,12}\r?\n", 0..5),
            line in "(GET|POST|G!T) /[a-z? ]{0,10}( HTTP/[012].[019])?\r?\n",
        ) {
            let text = format!("{line}Host: a\r\n{}\r\n", fields.concat());
            let whole = told(parse(text.as_bytes(), &HeadLimits::DEFAULT));
            for end in 0..=text.len() {
                match told(parse(&text.as_bytes()[..end], &HeadLimits::DEFAULT)) {
                    Ok(None) => {}
                    early => { prop_assert_eq!(early, whole); break; }
                }
            }
        }
    }
}
