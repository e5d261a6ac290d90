//! The channel path: `id[.bN]/id[.bN]/...` as it stands in `push_stream_channels_path` after expansion.

use super::ChannelId;

/// One channel of a path: its id and, where `.bN` was given, how many stored messages are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requested {
    /// The channel id.
    pub id: ChannelId,
    /// `N` of `.bN`; 0 where none was given, `u32::MAX` where the number is too large to be held.
    pub backtrack: u32,
}

/// Splits a decoded channel path. An empty path has no channels; every other path has at least one.
pub fn parse_channel_path(path: &[u8]) -> Vec<Requested> {
    let mut requested = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        let end = memchr::memchr(b'/', rest).unwrap_or(rest.len());
        let (id, backtrack) = split_backtrack(&rest[..end]);
        requested.push(Requested { id: ChannelId::new(id), backtrack });
        rest = rest.get(end + 1..).unwrap_or_default();
    }
    requested
}

/// Takes a trailing `.b` + digits off one path element.
fn split_backtrack(element: &[u8]) -> (&[u8], u32) {
    let digits = element.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let start = element.len() - digits;
    if digits == 0 || !element[..start].ends_with(b".b") {
        return (element, 0);
    }
    let count =
        element[start..].iter().fold(0u32, |sum, digit| sum.saturating_mul(10).saturating_add(u32::from(digit - b'0')));
    (&element[..start - 2], count)
}

/// Decodes `%HH` once, by the module's rules: `+` stays, a `%` that begins no escape is dropped, and decoding stops at the
/// first `?` (kept; what follows it is cut if anything was decoded before, else kept as it is).
pub fn percent_decode(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    let mut decoded = false;
    let mut rest = value;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte == b'?' {
            out.push(byte);
            if !decoded {
                out.extend_from_slice(rest);
            }
            return out;
        }
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        decoded = true;
        let Some((&first, tail)) = rest.split_first() else { break };
        rest = tail;
        let Some(high) = hex_digit(first) else {
            out.push(first);
            continue;
        };
        let Some((&second, tail)) = rest.split_first() else { break };
        rest = tail;
        if let Some(low) = hex_digit(second) {
            let byte = high << 4 | low;
            out.push(byte);
            if byte == b'?' {
                return out;
            }
        }
    }
    out
}

fn hex_digit(byte: u8) -> Option<u8> {
    (byte as char).to_digit(16).map(|digit| digit as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(path: &str) -> Vec<(String, u32)> {
        parse_channel_path(path.as_bytes())
            .into_iter()
            .map(|r| (String::from_utf8_lossy(r.id.as_bytes()).into_owned(), r.backtrack))
            .collect()
    }

    fn one(id: &str, backtrack: u32) -> (String, u32) {
        (id.to_owned(), backtrack)
    }

    #[test]
    fn a_path_is_split_at_slashes_and_backtracks() {
        assert_eq!(parsed(""), []);
        assert_eq!(parsed("a"), [one("a", 0)]);
        assert_eq!(parsed("a/"), [one("a", 0)]);
        assert_eq!(parsed("a.b3/c.b2/"), [one("a", 3), one("c", 2)]);
        assert_eq!(parsed("a.b3.b4"), [one("a.b3", 4)]);
        for id in ["a.b", "a.bx", "a.b3x", "a.B3"] {
            assert_eq!(parsed(id), [one(id, 0)]);
        }
        assert_eq!(parsed(".b3"), [one("", 3)]);
        assert_eq!(parsed("/a"), [one("", 0), one("a", 0)]);
        assert_eq!(parsed("a//b"), [one("a", 0), one("", 0), one("b", 0)]);
        assert_eq!(parsed("/"), [one("", 0)]);
        assert_eq!(parsed("a.b99999999999999999999"), [one("a", u32::MAX)]);
    }

    #[test]
    fn decoding_follows_the_module() {
        for (raw, decoded) in [
            ("a%20b", "a b"),
            ("a+b", "a+b"),
            ("a%zz", "azz"),
            ("a%4z", "a"),
            ("a%", "a"),
            ("a%4", "a"),
            ("x?y%20z", "x?y%20z"),
            ("a%20b?c", "a b?"),
            ("a%3Fb", "a?"),
        ] {
            assert_eq!(percent_decode(raw.as_bytes()), decoded.as_bytes(), "{raw}");
        }
    }
}
