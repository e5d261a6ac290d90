//! Channel ids as text of each format: ordinary ids byte for byte, and no id breaks out of its place.
//!
//! An id is bytes, the formats are text: what is no UTF-8 is shown as U+FFFD where a format has no way to write a byte. It
//! does not know what stands around the id.

use std::io::Write;

use crate::model::write_json_text;

const UNKNOWN: char = '\u{fffd}';

/// The id within the quotes of a JSON string.
pub(super) fn json(id: &[u8], out: &mut Vec<u8>) {
    write_json_text(id, out);
}

/// The id as text of an XML element.
pub(super) fn xml(id: &[u8], out: &mut Vec<u8>) {
    for char in chars(id) {
        match char {
            '&' => out.extend_from_slice(b"&amp;"),
            '<' => out.extend_from_slice(b"&lt;"),
            '>' => out.extend_from_slice(b"&gt;"),
            // A parser would make a line feed of it.
            '\r' => out.extend_from_slice(b"&#13;"),
            '\t' | '\n' => push(char, out),
            // No XML document may hold these, in whatever spelling.
            '\0'..' ' | '\u{fffe}' | '\u{ffff}' => push(UNKNOWN, out),
            _ => push(char, out),
        }
    }
}

/// The id as a YAML scalar: plain where that can be read back, else quoted.
pub(super) fn yaml(id: &[u8], out: &mut Vec<u8>) {
    if is_plain_scalar(id) {
        return out.extend_from_slice(id);
    }
    out.push(b'"');
    for char in chars(id) {
        match char {
            '"' | '\\' => out.extend_from_slice(&[b'\\', char as u8]),
            _ if is_printable(char) => push(char, out),
            // Writing into a Vec cannot fail.
            _ => drop(write!(out, "\\u{:04x}", u32::from(char))),
        }
    }
    out.push(b'"');
}

/// The id as part of a line: bytes that are no printable text as `\xHH`.
pub(super) fn line(id: &[u8], out: &mut Vec<u8>) {
    for chunk in id.utf8_chunks() {
        for char in chunk.valid().chars() {
            if is_printable(char) {
                push(char, out);
            } else {
                let mut bytes = [0; 4];
                hex(char.encode_utf8(&mut bytes).as_bytes(), out);
            }
        }
        hex(chunk.invalid(), out);
    }
}

fn hex(bytes: &[u8], out: &mut Vec<u8>) {
    for byte in bytes {
        let _ = write!(out, "\\x{byte:02X}");
    }
}

fn is_plain_scalar(id: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(id) else { return false };
    let mut start = text.chars();
    let begins = match start.next() {
        None => return true,
        Some('-' | '?' | ':') => start.next().is_some_and(|next| next != ' '),
        Some(first) => !" ,[]{}#&*!|>'\"%@`".contains(first),
    };
    begins
        && !text.ends_with([':', ' '])
        && !text.contains(": ")
        && !text.contains(" #")
        && text.chars().all(is_printable)
}

/// What YAML lets stand in a scalar and what no terminal or line reader acts upon.
fn is_printable(char: char) -> bool {
    !char.is_control() && !matches!(char, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

fn chars(id: &[u8]) -> impl Iterator<Item = char> {
    id.utf8_chunks().flat_map(|chunk| chunk.valid().chars().chain((!chunk.invalid().is_empty()).then_some(UNKNOWN)))
}

fn push(char: char, out: &mut Vec<u8>) {
    out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: fn(&[u8], &mut Vec<u8>), id: &[u8]) -> String {
        let mut out = Vec::new();
        write(id, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn ordinary_ids_keep_their_bytes_in_every_format() {
        for id in ["a", "abc_1.2-3", "a b", "-x", ":x", "123", "\u{e9}", "a:b", "a#b", ""] {
            for write in [json, xml, yaml, line] {
                assert_eq!(written(write, id.as_bytes()), id);
            }
        }
    }

    #[test]
    fn what_a_format_cannot_hold_is_escaped() {
        assert_eq!(written(json, b"a\"\\\n\xff"), "a\\\"\\\\\\u000a\u{fffd}");
        assert_eq!(written(xml, b"<&>\r\x01\xff"), "&lt;&amp;&gt;&#13;\u{fffd}\u{fffd}");
        assert_eq!(written(yaml, b"a: b\r\nc"), "\"a: b\\u000d\\u000ac\"");
        assert_eq!(written(yaml, b"- x"), "\"- x\"");
        assert_eq!(written(yaml, b"\xff"), "\"\u{fffd}\"");
        assert_eq!(written(line, b"a\r\nb\xff\x1b"), "a\\x0D\\x0Ab\\xFF\\x1B");
    }
}
