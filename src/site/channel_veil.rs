//! Channel ids in lines that others than the channel's own people read: their first characters and an ellipsis.
//!
//! Whoever knows the id of a channel may subscribe to it. Knows no log. Invariant: what comes out holds no more than so many
//! characters of an id, however the id was spelled in the request. Where no id is known the request may have come to the wrong
//! place: what looks like one is taken for one.

use crate::model::{ChannelId, percent_decode};

/// Characters of an id that may be seen.
const SEEN: usize = 8;
/// Ids that one line tells of.
const TOLD: usize = 4;
/// A part of a path that may be an id has at least so many characters, and so many digits among them.
const LIKELY: (usize, usize) = (16, 4);

/// The ids, whole or shortened; of many the first few, and how many more there are.
pub(crate) fn list(ids: &[ChannelId], whole: bool) -> String {
    let told: Vec<String> = ids
        .iter()
        .take(TOLD)
        .map(|id| if whole { String::from_utf8_lossy(id.as_bytes()).into_owned() } else { shortened(id.as_bytes()) })
        .collect();
    let more = ids.len().saturating_sub(TOLD);
    told.join("/") + &if more > 0 { format!("/... and {more} more") } else { String::new() }
}

/// Where in a request line or URL a word stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Path,
    Name,
    Value,
}

/// Text of a client (a request line, a URL, a host, a path) in which these ids are shortened; without any, each word that may be one.
pub(crate) fn veil(text: &[u8], ids: &[ChannelId]) -> String {
    let secrets: Vec<&[u8]> =
        ids.iter().flat_map(|id| id.as_bytes().split(|byte| *byte == b'/')).filter(|part| part.len() > SEEN).collect();
    let hides = |word: &[u8], part: Part| {
        if ids.is_empty() { may_be_one(word, part) } else { is_secret(word, &secrets) }
    };
    let mut out = String::with_capacity(text.len());
    let (mut rest, mut part) = (text, Part::Path);
    while !rest.is_empty() {
        let ends = |byte: &u8| match (byte, part) {
            (b'/' | b' ', _) => true,
            (b'?', part) => part == Part::Path,
            (b'&', part) => part != Part::Path,
            (b'=', part) => part == Part::Name,
            _ => false,
        };
        let end = rest.iter().position(ends).unwrap_or(rest.len());
        let (word, tail) = rest.split_at(end);
        let shown = if hides(word, part) { shortened(word).into() } else { String::from_utf8_lossy(word) };
        out.push_str(&shown);
        let Some((&delimiter, tail)) = tail.split_first() else { break };
        part = match delimiter {
            b' ' => Part::Path,
            b'?' | b'&' => Part::Name,
            b'=' => Part::Value,
            _ => part,
        };
        out.push(char::from(delimiter));
        rest = tail;
    }
    out
}

/// Whether a word is (a part of) one of these, or holds one, by any of its spellings.
fn is_secret(word: &[u8], secrets: &[&[u8]]) -> bool {
    if word.len() <= SEEN || secrets.is_empty() {
        return false;
    }
    // A path is decoded by the site, and its channels once more where the configuration says so.
    let once = percent_decode(word);
    let twice = percent_decode(&once);
    let holds = |long: &[u8], short: &[u8]| short.len() > SEEN && memchr::memmem::find(long, short).is_some();
    [word, &once, &twice]
        .iter()
        .any(|spelled| secrets.iter().any(|secret| holds(spelled, secret) || holds(secret, spelled)))
}

/// Whether a word of a request that names no channel may be the id of one: any value of an argument, and what looks like made by a
/// machine.
fn may_be_one(word: &[u8], part: Part) -> bool {
    let digits = || word.iter().filter(|byte| byte.is_ascii_digit()).count();
    word.len() > SEEN && (part == Part::Value || word.len() >= LIKELY.0 && digits() >= LIKELY.1)
}

fn shortened(word: &[u8]) -> String {
    let word = String::from_utf8_lossy(word);
    let mut seen: String = word.chars().take(SEEN).collect();
    if seen.len() < word.len() {
        seen.push('\u{2026}');
    }
    seen
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn veiled(text: &str, ids: &[&str]) -> String {
        veil(text.as_bytes(), &ids.iter().map(|id| ChannelId::from(*id)).collect::<Vec<_>>())
    }

    #[test]
    fn ids_are_shortened_and_nothing_else() {
        let id = "0123456789abcdef";
        for (sent, shown) in [
            ("GET /sub/0123456789abcdef HTTP/1.1", "GET /sub/01234567\u{2026} HTTP/1.1"),
            ("GET /sub/0123456789abcdef.b5/?tag=x HTTP/1.1", "GET /sub/01234567\u{2026}/?tag=x HTTP/1.1"),
            (
                "GET /bitrix/sub/?CHANNEL_ID=short/0123456789abcdef&format=json HTTP/1.1",
                "GET /bitrix/sub/?CHANNEL_ID=short/01234567\u{2026}&format=json HTTP/1.1",
            ),
            ("GET /sub/%30123456789abcdef HTTP/1.1", "GET /sub/%3012345\u{2026} HTTP/1.1"),
            ("GET /sub/%2530123456789abcdef HTTP/1.1", "GET /sub/%2530123\u{2026} HTTP/1.1"),
            ("POST /pub/ch_0123456789abcdef HTTP/1.1", "POST /pub/ch_01234\u{2026} HTTP/1.1"),
            ("GET /subscribers/a HTTP/1.1", "GET /subscribers/a HTTP/1.1"),
        ] {
            assert_eq!(veiled(sent, &[id, "short", "a"]), shown);
        }
        // An id the configuration puts together.
        assert_eq!(
            veiled("GET /s?u=0123456789abcdef HTTP/1.1", &["user_0123456789abcdef"]),
            "GET /s?u=01234567\u{2026} HTTP/1.1"
        );
        let ids: Vec<ChannelId> = ["a", "0123456789", "b", "c", "d", "e"].map(ChannelId::from).into();
        assert_eq!(
            (list(&ids, false), list(&ids[..1], true)),
            ("a/01234567\u{2026}/b/c/... and 2 more".into(), "a".into())
        );
    }

    #[test]
    fn where_no_channel_is_known_what_may_be_one_is_shortened() {
        for (sent, shown) in [
            (
                "GET /bitrix/sub/?CHANEL_ID=0123456789abcdef&tag=1 HTTP/1.1",
                "GET /bitrix/sub/?CHANEL_ID=01234567\u{2026}&tag=1 HTTP/1.1",
            ),
            ("GET /sbu/0123456789abcdef/x HTTP/1.1", "GET /sbu/01234567\u{2026}/x HTTP/1.1"),
            ("GET /sbu/%300123456789abcde HTTP/1.1", "GET /sbu/%3001234\u{2026} HTTP/1.1"),
            ("/usr/share/html/nope/0123456789abcdef", "/usr/share/html/nope/01234567\u{2026}"),
            ("GET /documentation/getting-started.html HTTP/1.1", "GET /documentation/getting-started.html HTTP/1.1"),
            ("https://push.example.com/pages/contact", "https://push.example.com/pages/contact"),
        ] {
            assert_eq!(veiled(sent, &[]), shown);
        }
    }

    /// A byte as a client may spell it.
    fn spelled(byte: u8, how: u8) -> String {
        match how {
            0 => format!("%{byte:02x}"),
            1 => format!("%25{byte:02X}"),
            _ if byte.is_ascii_alphanumeric() || b"._~-".contains(&byte) => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        }
    }

    proptest! {
        #[test]
        fn no_spelling_of_an_id_shows_more_of_it(
            id in proptest::collection::vec((any::<u8>(), 0u8..6), 17..60),
            before in "(/sub/|/s\\?id=|/s\\?a=b&id=x/|/p/q_)",
            after in "(|/|\\.b3|/y\\.b1|&z=1)",
        ) {
            // Neither ends an id nor begins another; `?` ends what is decoded.
            let id: Vec<(u8, u8)> = id.into_iter().filter(|(byte, _)| !matches!(byte, b'/' | b'?' | b'%')).collect();
            prop_assume!(id.len() > 16);
            let bytes: Vec<u8> = id.iter().map(|(byte, _)| *byte).collect();
            // One layer of spelling or two, not both: what is decoded twice is decoded twice throughout.
            let sent: String = id.iter().map(|(byte, how)| spelled(*byte, *how)).collect();
            let line = format!("GET {before}{sent}{after} HTTP/1.1");
            let shown = veil(line.as_bytes(), &[ChannelId::new(&bytes)]);
            let tail: String = sent.chars().rev().take(9).collect::<Vec<_>>().into_iter().rev().collect();
            prop_assert!(!shown.contains(&tail), "{shown}");
            prop_assert!(shown.chars().count() < line.chars().count(), "{shown}");
        }
    }
}
