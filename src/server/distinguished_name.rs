//! The subject of a certificate as text (`$ssl_client_s_dn`, RFC 2253).
//!
//! Reads just enough DER to find it. Invariant: no certificate, however odd, does more than give no name.

use std::fmt::Write as _;

pub(super) const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT_IDENTIFIER: u8 = 0x06;
pub(super) const VERSION: u8 = 0xa0;
const BMP_STRING: u8 = 0x1e;

/// Attribute types with a name, by the content of their object identifier.
const NAMES: [(&[u8], &str); 12] = [
    (&[0x55, 4, 3], "CN"),
    (&[0x55, 4, 4], "SN"),
    (&[0x55, 4, 5], "serialNumber"),
    (&[0x55, 4, 6], "C"),
    (&[0x55, 4, 7], "L"),
    (&[0x55, 4, 8], "ST"),
    (&[0x55, 4, 9], "street"),
    (&[0x55, 4, 10], "O"),
    (&[0x55, 4, 11], "OU"),
    (&[0x55, 4, 12], "title"),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1], "emailAddress"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25], "DC"),
];

/// The subject of a DER certificate, last component first.
pub(super) fn subject(certificate: &[u8]) -> Option<String> {
    let (certificate, _) = element(certificate, SEQUENCE)?;
    let (mut fields, _) = element(certificate, SEQUENCE)?;
    if let Some((_, rest)) = element(fields, VERSION) {
        fields = rest;
    }
    // Serial number, signature, issuer, validity.
    for _ in 0..4 {
        fields = any_element(fields)?.2;
    }
    let (mut name, _) = element(fields, SEQUENCE)?;
    let mut components = Vec::new();
    while !name.is_empty() {
        let (set, rest) = element(name, SET)?;
        components.push(component(set)?);
        name = rest;
    }
    components.reverse();
    Some(components.join(","))
}

/// One component: usually one attribute, else several joined by `+`.
fn component(mut set: &[u8]) -> Option<String> {
    let mut text = String::new();
    while !set.is_empty() {
        let (pair, rest) = element(set, SEQUENCE)?;
        let (kind, value) = element(pair, OBJECT_IDENTIFIER)?;
        let (tag, value, _) = any_element(value)?;
        if !text.is_empty() {
            text.push('+');
        }
        match NAMES.iter().find(|(content, _)| *content == kind) {
            Some((_, name)) => text.push_str(name),
            None => text.push_str(&dotted(kind)),
        }
        text.push('=');
        escape(&decoded(tag, value), &mut text);
        set = rest;
    }
    Some(text)
}

fn decoded(tag: u8, value: &[u8]) -> String {
    if tag == BMP_STRING {
        let units = value.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
        return char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
    }
    String::from_utf8_lossy(value).into_owned()
}

/// Escapes a value as RFC 2253 wants it, control characters and what is not ASCII in hex, as OpenSSL does.
fn escape(value: &str, out: &mut String) {
    let last = value.chars().count().saturating_sub(1);
    for (index, char) in value.chars().enumerate() {
        match char {
            ',' | '+' | '"' | '\\' | '<' | '>' | ';' => out.extend(['\\', char]),
            '#' if index == 0 => out.push_str("\\#"),
            ' ' if index == 0 || index == last => out.push_str("\\ "),
            ' '..='~' => out.push(char),
            _ => {
                for byte in char.encode_utf8(&mut [0; 4]).bytes() {
                    // Writing to a String cannot fail.
                    let _ = write!(out, "\\{byte:02X}");
                }
            }
        }
    }
}

fn dotted(content: &[u8]) -> String {
    let mut text = String::new();
    let mut number: u64 = 0;
    for &byte in content {
        number = number.wrapping_shl(7) | u64::from(byte & 0x7f);
        if byte & 0x80 != 0 {
            continue;
        }
        let _ = if text.is_empty() {
            let first = (number / 40).min(2);
            write!(text, "{first}.{}", number - first * 40)
        } else {
            write!(text, ".{number}")
        };
        number = 0;
    }
    text
}

/// The content of an element with this tag, and what follows it.
pub(super) fn element(der: &[u8], wanted: u8) -> Option<(&[u8], &[u8])> {
    let (tag, content, rest) = any_element(der)?;
    (tag == wanted).then_some((content, rest))
}

/// Tag and content of the first element, and what follows it.
pub(super) fn any_element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, mut rest) = rest.split_first()?;
    let mut length = usize::from(first);
    if first & 0x80 != 0 {
        let digits = usize::from(first & 0x7f);
        if digits == 0 || digits > 4 {
            return None;
        }
        let (number, after) = rest.split_at_checked(digits)?;
        length = number.iter().fold(0, |length, &byte| length << 8 | usize::from(byte));
        rest = after;
    }
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn der(tag: u8, content: &[u8]) -> Vec<u8> {
        let mut der = vec![tag];
        match content.len() {
            length @ 0..0x80 => der.push(length as u8),
            length => der.extend([0x82, (length >> 8) as u8, length as u8]),
        }
        der.extend(content);
        der
    }

    fn attribute(kind: &[u8], value: &str) -> Vec<u8> {
        der(SET, &der(SEQUENCE, &[der(OBJECT_IDENTIFIER, kind), der(0x0c, value.as_bytes())].concat()))
    }

    #[test]
    fn a_subject_is_written_last_component_first() {
        let name = [
            attribute(&[0x55, 4, 6], "DE"),
            attribute(&[0x55, 4, 10], "A, B + C"),
            attribute(&[0x2a, 3, 4], " x"),
            attribute(&[0x55, 4, 3], "\u{e4}"),
        ];
        let fields = [
            der(VERSION, &der(2, &[2])),
            der(2, &[1]),
            der(SEQUENCE, b""),
            der(SEQUENCE, b""),
            der(SEQUENCE, b""),
            der(SEQUENCE, &name.concat()),
        ];
        let certificate = der(SEQUENCE, &der(SEQUENCE, &fields.concat()));
        assert_eq!(subject(&certificate).as_deref(), Some("CN=\\C3\\A4,1.2.3.4=\\ x,O=A\\, B \\+ C,C=DE"));
    }

    proptest! {
        #[test]
        fn a_certificate_that_is_cut_has_no_subject(cut in any::<prop::sample::Index>(), more in proptest::collection::vec(any::<u8>(), 0..9)) {
            let name = der(SEQUENCE, &attribute(&[0x55, 4, 3], "a name"));
            let fields = [der(2, &[1]), der(SEQUENCE, b""), der(SEQUENCE, b""), der(SEQUENCE, b""), name];
            let certificate = der(SEQUENCE, &der(SEQUENCE, &fields.concat()));
            prop_assert_eq!(subject(&certificate[..cut.index(certificate.len())]), None);
            let followed = subject(&[certificate, more].concat());
            prop_assert_eq!(followed.as_deref(), Some("CN=a name"), "whatever follows it");
        }
    }
}
