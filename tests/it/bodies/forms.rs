//! Every form a request's body may have: its framing, its bytes, and whether the connection survives it.
//!
//! Knows nothing of locations. What stands in a body looks like a request wherever there is room: one that deletes the
//! channel `victim` and marks the access log with `smuggled`, so that a byte of it taken for a request is seen.

/// The largest body the site takes.
pub(super) const LIMIT: usize = 200;

/// What must never be taken for a request.
pub(super) const HIDDEN: &str = "DELETE /admin?id=victim&smuggled HTTP/1.1\r\nHost: h\r\n\r\n";

/// A body as it stands behind a head.
#[derive(Clone)]
pub(super) struct Form {
    pub(super) name: &'static str,
    /// Whole lines of the head.
    pub(super) fields: &'static str,
    pub(super) body: Vec<u8>,
    pub(super) kind: Kind,
}

impl std::fmt::Debug for Form {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(self.name)
    }
}

/// What a server may do with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It has an end, behind which the next request comes, unless the answer ends the connection (it may be too large).
    Whole,
    /// It is broken: nothing behind its head may be taken for a request. How much of it has come when the request is
    /// answered decides what the answer is.
    Broken,
    /// The head alone is refused.
    Refused,
}

const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";

/// All forms.
pub(super) fn all() -> Vec<Form> {
    use Kind::{Broken, Refused, Whole};
    let chunk = |text: &str| format!("{:x}\r\n{text}\r\n0\r\n\r\n", text.len());
    let after_end = format!("0\r\n\r\n{HIDDEN}");
    let large = HIDDEN.repeat(LIMIT / HIDDEN.len() + 2);
    let forms: Vec<(&'static str, &'static str, String, Kind)> = vec![
        ("no body", "", String::new(), Whole),
        ("length 0", "Content-Length: 0\r\n", String::new(), Whole),
        ("length 5", "Content-Length: 5\r\n", "hello".into(), Whole),
        ("length of line ends", "Content-Length: 6\r\n", "\r\n\r\n\r\n".into(), Whole),
        ("length of a request", "Content-Length: 54\r\n", HIDDEN.into(), Whole),
        ("chunks, empty", CHUNKED, "0\r\n\r\n".into(), Whole),
        ("chunks, one", CHUNKED, chunk("hello"), Whole),
        ("chunks, many", CHUNKED, "1\r\na\r\n2\r\nbc\r\n1\r\nd\r\n0\r\n\r\n".into(), Whole),
        ("chunks, zeros and capitals", CHUNKED, "000A\r\n0123456789\r\n000\r\n\r\n".into(), Whole),
        ("chunks, extensions", CHUNKED, "5;a=b;c=\"d\"\r\nhello\r\n0;e\r\n\r\n".into(), Whole),
        ("chunks, trailers", CHUNKED, "5\r\nhello\r\n0\r\nX-A: b\r\nContent-Length: 9\r\n\r\n".into(), Whole),
        ("chunks, no data but trailers", CHUNKED, "0\r\nX-A: b\r\n\r\n".into(), Whole),
        ("chunks of a request", CHUNKED, chunk(HIDDEN), Whole),
        ("chunks of an end and a request", CHUNKED, chunk(&after_end), Whole),
        ("chunks of a line end, an end and a request", CHUNKED, chunk(&format!("\r\n{after_end}")), Whole),
        ("Expect and a length", "Expect: 100-continue\r\nContent-Length: 5\r\n", "hello".into(), Whole),
        ("Expect and chunks", "Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n", chunk("hello"), Whole),
        ("Expect and no body", "Expect: 100-continue\r\n", String::new(), Whole),
        ("length too large", "Content-Length: 270\r\n", large.clone(), Whole),
        ("chunks, too large", CHUNKED, chunk(&large), Whole),
        ("chunks, too large in small ones", CHUNKED, "a\r\n0123456789\r\n".repeat(30) + "0\r\n\r\n", Whole),
        ("chunks, size no number", CHUNKED, format!("xyz\r\nhello\r\n{after_end}"), Broken),
        ("chunks, size missing", CHUNKED, format!("\r\nhello\r\n{after_end}"), Broken),
        ("chunks, size beyond 64 bits", CHUNKED, format!("fffffffffffffffff\r\nhello\r\n{after_end}"), Broken),
        ("chunks, size negative", CHUNKED, format!("-5\r\nhello\r\n{after_end}"), Broken),
        ("chunks, data longer than its size", CHUNKED, format!("3\r\nhello\r\n{after_end}"), Broken),
        ("chunks, second size no number", CHUNKED, format!("5\r\nhello\r\nxyz\r\n{after_end}"), Broken),
        ("length and chunks", "Content-Length: 55\r\nTransfer-Encoding: chunked\r\n", after_end.clone(), Refused),
        ("two lengths", "Content-Length: 5\r\nContent-Length: 6\r\n", "hello!".into(), Refused),
        ("length no number", "Content-Length: five\r\n", "hello".into(), Refused),
        ("coding not known", "Transfer-Encoding: gzip, chunked\r\n", after_end, Refused),
    ];
    let forms =
        forms.into_iter().map(|(name, fields, body, kind)| Form { name, fields, body: body.into_bytes(), kind });
    forms.collect()
}

#[test]
fn a_length_that_is_said_is_the_length() {
    for form in all().iter().filter(|form| form.kind != Kind::Refused) {
        if let Some(length) = form.fields.split("Content-Length: ").nth(1) {
            assert_eq!(length.trim(), form.body.len().to_string(), "{}", form.name);
        }
    }
}
