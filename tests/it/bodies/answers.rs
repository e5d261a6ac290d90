//! A connection's answers, cut apart by the rules of HTTP/1.1, and what of them is compared.
//!
//! Knows the methods that were sent, as HEAD has no body. What differs between two right answers to one request (dates,
//! numbers that count) is made equal here.

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// Whether it says that the connection ends.
    pub(super) closes: bool,
    /// Fields in order, without those that tell a moment.
    fields: Vec<String>,
    body: String,
}

/// All that came on one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answers {
    /// Final answers.
    pub(super) all: Vec<Answer>,
    /// How many `100 Continue` came.
    pub(super) continued: usize,
    /// What is no answer: frames behind a 101, or a mistake.
    pub(super) rest: Vec<u8>,
    /// Whether the server closed.
    pub(super) ended: bool,
}

impl Answers {
    /// What programs of two makers have in common: status and the fate of the connection.
    pub(super) fn statuses(&self) -> Vec<(u16, bool)> {
        self.all.iter().map(|answer| (answer.status, answer.closes)).collect()
    }

    pub(super) fn told(&self) -> String {
        let answers: Vec<String> = self.all.iter().map(|answer| format!("    {}", answer.told())).collect();
        let rest = String::from_utf8_lossy(&self.rest);
        let end = if self.ended { "closed" } else { "NOT CLOSED" };
        format!("{}\n    {} x 100 Continue, then {rest:?}, {end}", answers.join("\n"), self.continued)
    }

    /// Cuts the bytes of a connection apart.
    pub(super) fn cut(mut bytes: &[u8], ended: bool, methods: &[&str]) -> Self {
        let mut methods = methods.iter();
        let (mut all, mut continued) = (Vec::new(), 0);
        while let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            let Some(status) = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok()) else {
                break;
            };
            let behind = &bytes[end + 4..];
            if status == 100 {
                continued += 1;
                bytes = behind;
                continue;
            }
            let is_head = methods.next() == Some(&"HEAD");
            let Some((body, length)) = body(&head, behind, is_head || matches!(status, 101 | 204 | 304)) else { break };
            all.push(Answer::new(status, &head, &body));
            bytes = &behind[length..];
            if status == 101 {
                break;
            }
        }
        Self { all, continued, rest: bytes.to_vec(), ended }
    }
}

impl Answer {
    fn new(status: u16, head: &str, body: &[u8]) -> Self {
        let moments = ["date:", "last-modified:", "etag:", "server:"];
        let told = |line: &&str| !moments.iter().any(|name| line.to_ascii_lowercase().starts_with(name));
        let fields = head.split("\r\n").skip(1).filter(told);
        let mut fields: Vec<String> = fields.map(uncounted).collect();
        let body = uncounted(&String::from_utf8_lossy(body));
        if body.starts_with('{') {
            // The length of a statistic with a number of one digit or two.
            fields.retain(|field| !field.to_ascii_lowercase().starts_with("content-length:"));
        }
        Self { status, closes: head.contains("\r\nConnection: close"), fields, body }
    }

    /// One that came over HTTP/2.
    pub(super) fn of_http2(response: &http::Response<()>, body: &[u8]) -> Self {
        let fields = response.headers().iter().map(|(name, value)| format!("\r\n{name}: {}", value.to_str().unwrap()));
        Self::new(response.status().as_u16(), &fields.collect::<String>(), body)
    }

    fn told(&self) -> String {
        let kept = if self.closes { "closes" } else { "goes on" };
        format!("{} {kept} {:?} {:?}", self.status, self.fields, self.body)
    }
}

/// Numbers are `#`.
fn uncounted(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '0'..='9' if out.ends_with('#') => {}
            '0'..='9' => out.push('#'),
            other => out.push(other),
        }
    }
    out
}

/// The body and its length on the wire; `None` while it is not complete.
fn body(head: &str, bytes: &[u8], none: bool) -> Option<(Vec<u8>, usize)> {
    let field = |name: &str| head.split("\r\n").find_map(|line| line.strip_prefix(name));
    if none {
        return Some((Vec::new(), 0));
    }
    if let Some(length) = field("Content-Length: ") {
        let length: usize = length.parse().unwrap();
        return Some((bytes.get(..length)?.to_vec(), length));
    }
    if field("Transfer-Encoding: chunked").is_none() {
        return Some((bytes.to_vec(), bytes.len()));
    }
    let (mut body, mut at) = (Vec::new(), 0);
    loop {
        let line = bytes.get(at..)?.windows(2).position(|two| two == b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(&bytes[at..at + line]).ok()?, 16).ok()?;
        let start = at + line + 2;
        body.extend_from_slice(bytes.get(start..start + size)?);
        at = start + size + 2;
        if size == 0 {
            return (at <= bytes.len()).then_some((body, at));
        }
    }
}
