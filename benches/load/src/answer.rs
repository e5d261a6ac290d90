//! HTTP/1.1 answers, as far as a client that knows its server has to read them.

use memchr::memmem;

/// An answer that has arrived whole.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    head: &'a [u8],
    pub(crate) body: Vec<u8>,
}

impl<'a> Answer<'a> {
    /// Reads the answer that `bytes` begins with, and its length; `None` if it is not complete.
    pub(crate) fn read(bytes: &'a [u8]) -> Option<(Self, usize)> {
        let end = memmem::find(bytes, b"\r\n\r\n")? + 4;
        let head = bytes.get(..end)?;
        let status = std::str::from_utf8(head.get(9..12)?).ok()?.parse().ok()?;
        let mut answer = Self { status, head, body: Vec::new() };
        let rest = bytes.get(end..)?;
        let taken = if let Some(length) = answer.field("content-length") {
            let length: usize = std::str::from_utf8(length).ok()?.parse().ok()?;
            answer.body.extend_from_slice(rest.get(..length)?);
            length
        } else if answer.field("transfer-encoding").is_some() {
            read_chunks(rest, &mut answer.body)?
        } else {
            0
        };
        Some((answer, end + taken))
    }

    /// The value of a field of the head.
    pub(crate) fn field(&self, name: &str) -> Option<&'a [u8]> {
        self.head.split(|&byte| byte == b'\n').find_map(|line| {
            let (own, value) = line.split_at_checked(name.len())?;
            let value = value.strip_prefix(b":")?;
            own.eq_ignore_ascii_case(name.as_bytes()).then(|| value.trim_ascii())
        })
    }
}

/// Appends the content of a chunked body; its length on the wire.
fn read_chunks(bytes: &[u8], body: &mut Vec<u8>) -> Option<usize> {
    let mut at = 0;
    loop {
        let rest = bytes.get(at..)?;
        let line = memmem::find(rest, b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(rest.get(..line)?).ok()?.trim(), 16).ok()?;
        let data = rest.get(line + 2..line + 2 + size)?;
        rest.get(line + 2 + size..line + 4 + size)?;
        at += line + 4 + size;
        if size == 0 {
            return Some(at);
        }
        body.extend_from_slice(data);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_one_after_the_other() {
        let bytes = b"HTTP/1.1 200 OK\r\nEtag: 7\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n\
            HTTP/1.1 304 Not Modified\r\nContent-Length: 0\r\n\r\n";
        let (first, used) = Answer::read(bytes).unwrap();
        assert_eq!((first.status, &*first.body, first.field("ETAG")), (200, &b"abcd"[..], Some(&b"7"[..])));
        let (second, rest) = Answer::read(&bytes[used..]).unwrap();
        assert_eq!((second.status, used + rest), (304, bytes.len()));
    }

    #[test]
    fn a_part_of_an_answer_is_none() {
        let bytes = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
        assert!((0..bytes.len()).all(|end| Answer::read(&bytes[..end]).is_none()));
    }
}
