//! Bytes as text within the quotes of a JSON string.
//!
//! Ordinary text keeps its bytes; only what JSON cannot hold is written otherwise. Bytes that are no UTF-8 become U+FFFD.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Appends the text, so that any JSON parser reads it back.
pub fn write_json_text(text: &[u8], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    for chunk in text.utf8_chunks() {
        for &byte in chunk.valid().as_bytes() {
            match byte {
                b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
                0..0x20 => {
                    let digit = HEX.get(usize::from(byte & 15)).copied().unwrap_or(b'0');
                    out.extend_from_slice(if byte < 16 { b"\\u000" } else { b"\\u001" });
                    out.push(digit);
                }
                _ => out.push(byte),
            }
        }
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}

/// JSON that is to be a line of a log: characters that terminals act upon, or that some take for the end of a line, are escaped.
pub fn harmless_json(json: &str) -> Cow<'_, str> {
    let harms = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    if !json.contains(harms) {
        return json.into();
    }
    let mut out = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if harms(c) {
            // They are all of two bytes of UTF-16 at most.
            let _ = write!(out, "\\u{:04x}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    out.into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn quoted(text: &[u8]) -> String {
        let mut out = vec![b'"'];
        write_json_text(text, &mut out);
        out.push(b'"');
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn only_what_json_cannot_hold_is_escaped() {
        assert_eq!(quoted("a b/\u{e9}\u{7f}".as_bytes()), "\"a b/\u{e9}\u{7f}\"");
        assert_eq!(quoted(b"\"\\\n\x1f\xff"), "\"\\\"\\\\\\u000a\\u001f\u{fffd}\"");
    }

    proptest! {
        #[test]
        fn a_parser_reads_any_bytes_back(text in prop::collection::vec(any::<u8>(), 0..60)) {
            let read: String = serde_json::from_str(&quoted(&text)).unwrap();
            prop_assert_eq!(read, String::from_utf8_lossy(&text));
        }
    }
}
