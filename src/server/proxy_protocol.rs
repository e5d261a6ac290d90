//! The PROXY protocol, versions 1 and 2: who the client is, told by the proxy in front of us.
//!
//! Reads bytes, no sockets. Invariant: a header is understood the same whether it comes at once or byte by byte, and nothing
//! behind it is taken.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use thiserror::Error;

const BEGIN_1: &[u8] = b"PROXY ";
const BEGIN_2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Longest header of version 1, with its line end.
const LONGEST_1: usize = 107;
/// Bytes of a header of version 2 before the addresses.
const FIXED_2: usize = 16;
/// Longest header of version 2 that is waited for; proxies send some hundred bytes at most.
const LONGEST_2: usize = 4096;

/// There is no header, or it is broken; the text is nginx's.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("broken header: \"{}\" while reading PROXY protocol", .0.escape_ascii())]
pub(super) struct Broken(Vec<u8>);

/// A complete header.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Its bytes.
    pub length: usize,
    /// The client; `None` where the proxy speaks for itself or of something that is no TCP client.
    pub client: Option<SocketAddr>,
}

/// How far a header that is sound up to here has come.
enum Reading {
    Incomplete,
    Complete(Header),
}

impl Reading {
    fn header(self) -> Option<Header> {
        match self {
            Self::Incomplete => None,
            Self::Complete(header) => Some(header),
        }
    }
}

/// Reads a header from the beginning of `bytes`; `None`: more bytes are needed.
pub(super) fn read(bytes: &[u8]) -> Result<Option<Header>, Broken> {
    let broken = || Broken(bytes.get(..bytes.len().min(LONGEST_1)).unwrap_or_default().to_vec());
    if begins(bytes, BEGIN_1) {
        return version_1(bytes).map(Reading::header).ok_or_else(broken);
    }
    if begins(bytes, BEGIN_2) {
        return version_2(bytes).map(Reading::header).ok_or_else(broken);
    }
    Err(broken())
}

/// Whether the bytes there are agree with `begin`.
fn begins(bytes: &[u8], begin: &[u8]) -> bool {
    bytes.iter().zip(begin).all(|(byte, expected)| byte == expected)
}

fn version_1(bytes: &[u8]) -> Option<Reading> {
    let window = bytes.get(..bytes.len().min(LONGEST_1))?;
    let Some(end) = memchr::memchr(b'\n', window) else {
        return if window.len() == LONGEST_1 { None } else { Some(Reading::Incomplete) };
    };
    let line = std::str::from_utf8(window.get(..end)?).ok()?.strip_suffix('\r')?;
    let mut words = line.split(' ').skip(1);
    let client = match words.next()? {
        "UNKNOWN" => None,
        family @ ("TCP4" | "TCP6") => {
            let ip: IpAddr = words.next()?.parse().ok()?;
            let _: IpAddr = words.next()?.parse().ok()?;
            let port = port(words.next()?)?;
            port_end(words.next()?, words.next())?;
            if ip.is_ipv4() != (family == "TCP4") {
                return None;
            }
            Some(SocketAddr::new(ip, port))
        }
        _ => return None,
    };
    Some(Reading::Complete(Header { length: end + 1, client }))
}

fn port(word: &str) -> Option<u16> {
    word.parse().ok().filter(|_| !word.starts_with('+'))
}

/// The port of our end is the last word.
fn port_end(word: &str, after: Option<&str>) -> Option<u16> {
    if after.is_some() { None } else { port(word) }
}

fn version_2(bytes: &[u8]) -> Option<Reading> {
    let Some(fixed) = bytes.get(..FIXED_2) else { return Some(Reading::Incomplete) };
    let &[command, family, high, low] = fixed.get(BEGIN_2.len()..)? else { return None };
    let length = FIXED_2 + usize::from(u16::from_be_bytes([high, low]));
    if command >> 4 != 2 || command & 0xf > 1 || length > LONGEST_2 {
        return None;
    }
    let Some(addresses) = bytes.get(FIXED_2..length) else { return Some(Reading::Incomplete) };
    let stream = family & 0xf == 1;
    // Command 0 is the proxy's own check of us.
    let client = match (command & 0xf, family >> 4) {
        (1, 1) if stream => {
            let [a, b, c, d, _, _, _, _, high, low, _, _, ..] = *addresses else { return None };
            Some(SocketAddr::new(Ipv4Addr::new(a, b, c, d).into(), u16::from_be_bytes([high, low])))
        }
        (1, 2) if stream => {
            let ip: [u8; 16] = addresses.get(..16)?.try_into().ok()?;
            let port = addresses.get(32..34)?.try_into().ok()?;
            addresses.get(34..36)?;
            Some(SocketAddr::new(Ipv6Addr::from(ip).into(), u16::from_be_bytes(port)))
        }
        _ => None,
    };
    Some(Reading::Complete(Header { length, client }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[expect(clippy::unnecessary_wraps, reason = "what is compared with it is wrapped")]
    fn header(length: usize, client: &str) -> Result<Option<Header>, Broken> {
        Ok(Some(Header { length, client: client.parse().ok() }))
    }

    fn second(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
        let length = (addresses.len() as u16).to_be_bytes();
        [BEGIN_2, &[command, family], &length, addresses].concat()
    }

    #[test]
    fn version_1_names_the_client() {
        let line = b"PROXY TCP4 192.0.2.1 192.0.2.2 4711 443\r\nGET / HTTP/1.1\r\n";
        assert_eq!(read(line), header(41, "192.0.2.1:4711"));
        assert_eq!(read(b"PROXY TCP6 2001:db8::1 ::1 1 2\r\n"), header(32, "[2001:db8::1]:1"));
        assert_eq!(read(b"PROXY UNKNOWN\r\n"), header(15, ""));
        assert_eq!(read(b"PROXY UNKNOWN ff ff 1 2\r\n"), header(25, ""));
    }

    #[test]
    fn version_2_names_the_client() {
        let four = [192, 0, 2, 1, 192, 0, 2, 2, 0x12, 0x67, 1, 0xbb];
        assert_eq!(read(&second(0x21, 0x11, &four)), header(28, "192.0.2.1:4711"));
        assert_eq!(read(&second(0x20, 0x11, &four)), header(28, ""), "a check of the proxy's own");
        let mut six = [0u8; 40];
        six[15] = 1;
        six[33] = 80;
        assert_eq!(read(&second(0x21, 0x21, &six)), header(56, "[::1]:80"), "with something appended");
        assert_eq!(read(&second(0x21, 0x31, &[0; 216])), header(232, ""), "unix");
    }

    #[test]
    fn what_is_no_header_is_broken() {
        for bytes in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"\x16\x03\x01",
            b"PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n",
            b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2 3\r\n",
            b"PROXY TCP4 1.2.3.4 5.6.7.8 1 99999\r\n",
            b"PROXY TCP4 ::1 ::1 1 2\r\n",
            b"PROXY TCP9 ::1 ::1 1 2\r\n",
            b"PROXY UNKNOWN\n",
            &[BEGIN_1, &[b'x'; 120]].concat(),
            &second(0x31, 0x11, &[0; 12]),
            &second(0x22, 0x11, &[0; 12]),
            &second(0x21, 0x11, &[0; 11]),
            &second(0x21, 0x21, &[0; 35]),
            &second(0x21, 0x11, &[0; 5000]),
        ] {
            assert!(read(bytes).is_err(), "{}", bytes.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn a_header_in_parts_is_the_same_header(cut in 0usize..41, version_1: bool) {
            let whole = if version_1 {
                b"PROXY TCP4 192.0.2.1 192.0.2.2 4711 443\r\n".to_vec()
            } else {
                second(0x21, 0x11, &[1; 20])
            };
            let part = &whole[..cut.min(whole.len() - 1)];
            prop_assert_eq!(read(part), Ok(None));
        }

        #[test]
        fn what_does_not_begin_as_a_header_is_none(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let may_become_one = [BEGIN_1, BEGIN_2].iter().any(|begin| begins(&bytes, begin));
            prop_assert_eq!(read(&bytes).is_ok(), may_become_one);
        }

        #[test]
        fn what_follows_a_header_does_not_change_it(
            bytes in proptest::collection::vec(any::<u8>(), 0..80), more in proptest::collection::vec(any::<u8>(), 1..9), first: bool,
        ) {
            let bytes = [if first { BEGIN_1 } else { BEGIN_2 }, &bytes].concat();
            let alone = read(&bytes);
            if alone != Ok(None) {
                prop_assert_eq!(read(&[bytes, more].concat()).ok(), alone.ok());
            }
        }
    }
}
