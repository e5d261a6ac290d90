//! permessage-deflate (RFC 7692): the negotiation, and messages compressed each for itself.
//!
//! Both sides work without context takeover: a prepared frame can be shared by every connection that speaks the extension,
//! and an idle connection holds no window. What inflates beyond its bound is given up at once.

use std::cell::RefCell;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::websocket_frame;

/// Smaller payloads are sent as they are.
const WORTHWHILE: usize = 64;

/// What a sender strips from the end of a compressed message.
const TAIL: [u8; 4] = [0x00, 0x00, 0xFF, 0xFF];

/// Value of `Sec-WebSocket-Extensions` when the extension is agreed on.
pub const ACCEPTED: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

/// Why a compressed message could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InflateError {
    /// Not a deflate stream.
    #[error("the compressed data is broken")]
    Broken,
    /// More than the bound.
    #[error("the inflated message is larger than {0} bytes")]
    TooLarge(usize),
}

/// Whether one of the offers of a `Sec-WebSocket-Extensions` value can be met, to be answered by [`ACCEPTED`].
pub fn acceptable(offers: &str) -> bool {
    offers.split(',').any(|offer| {
        let mut parameters = offer.split(';').map(str::trim);
        parameters.next() == Some("permessage-deflate") && known_parameters(parameters)
    })
}

/// An offer is declined when a parameter is unknown, repeated or malformed, or asks for a window smaller than ours.
fn known_parameters<'a>(parameters: impl Iterator<Item = &'a str>) -> bool {
    let mut seen = Vec::new();
    for parameter in parameters {
        let (name, value) = match parameter.split_once('=') {
            Some((name, value)) => (name.trim(), Some(value.trim().trim_matches('"'))),
            None => (parameter, None),
        };
        let bits = value.and_then(|value| value.parse::<u8>().ok());
        let fine = match name {
            "server_no_context_takeover" | "client_no_context_takeover" => value.is_none(),
            "client_max_window_bits" => value.is_none() || bits.is_some_and(|bits| (8..=15).contains(&bits)),
            "server_max_window_bits" => bits == Some(15),
            _ => false,
        };
        if !fine || seen.contains(&name) {
            return false;
        }
        seen.push(name);
    }
    true
}

/// Appends a text frame, compressed if that makes it smaller.
pub(super) fn write_text(payload: &[u8], out: &mut Vec<u8>) {
    match deflate(payload) {
        Some(compressed) => websocket_frame::write_compressed_text(&compressed, out),
        None => websocket_frame::write_text(payload, out),
    }
}

/// The compressed payload, or `None` where compression does not pay.
fn deflate(payload: &[u8]) -> Option<Vec<u8>> {
    thread_local! {
        static COMPRESS: RefCell<Compress> = RefCell::new(Compress::new(Compression::new(6), false));
    }
    if payload.len() < WORTHWHILE {
        return None;
    }
    COMPRESS.with_borrow_mut(|compress| {
        compress.reset();
        let mut out = Vec::with_capacity(payload.len());
        let status = compress.compress_vec(payload, &mut out, FlushCompress::Sync).ok()?;
        // A buffer that was filled up could not be a gain, nor hold the whole message.
        let whole = status == Status::Ok && compress.total_in() == payload.len() as u64 && out.len() < payload.len();
        if !whole || !out.ends_with(&TAIL) {
            return None;
        }
        out.truncate(out.len() - TAIL.len());
        Some(out)
    })
}

/// The message behind a compressed payload, at most `largest` bytes.
pub(super) fn inflate(payload: &[u8], largest: usize) -> Result<Vec<u8>, InflateError> {
    thread_local! {
        static DECOMPRESS: RefCell<Decompress> = RefCell::new(Decompress::new(false));
    }
    DECOMPRESS.with_borrow_mut(|decompress| {
        decompress.reset(false);
        let mut out = Vec::new();
        for part in [payload, &TAIL] {
            if inflate_part(decompress, part, &mut out, largest)? == Status::StreamEnd {
                break;
            }
        }
        Ok(out)
    })
}

fn inflate_part(
    decompress: &mut Decompress,
    part: &[u8],
    out: &mut Vec<u8>,
    largest: usize,
) -> Result<Status, InflateError> {
    let mut buffer = [0; 4096];
    let mut rest = part;
    loop {
        let (consumed, produced) = (decompress.total_in(), decompress.total_out());
        let status =
            decompress.decompress(rest, &mut buffer, FlushDecompress::Sync).map_err(|_| InflateError::Broken)?;
        rest = rest.get((decompress.total_in() - consumed) as usize..).unwrap_or_default();
        let fresh = buffer.get(..(decompress.total_out() - produced) as usize).unwrap_or_default();
        if out.len() + fresh.len() > largest {
            return Err(InflateError::TooLarge(largest));
        }
        out.extend_from_slice(fresh);
        // A buffer that was not filled up means that all output has been taken.
        if status == Status::StreamEnd || (rest.is_empty() && fresh.len() < buffer.len()) {
            return Ok(status);
        }
        if status == Status::BufError && fresh.is_empty() {
            return Err(InflateError::Broken);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn offers_that_can_be_met_are_accepted() {
        for (offers, expected) in [
            ("permessage-deflate", true),
            ("permessage-deflate; client_max_window_bits", true),
            ("permessage-deflate;client_max_window_bits=10; server_no_context_takeover", true),
            ("permessage-deflate; server_max_window_bits=15", true),
            ("permessage-deflate; server_max_window_bits=\"15\"", true),
            ("permessage-deflate; server_max_window_bits=10", false),
            ("permessage-deflate; server_max_window_bits=10, permessage-deflate", true),
            ("permessage-deflate; server_max_window_bits", false),
            ("permessage-deflate; client_max_window_bits=7", false),
            ("permessage-deflate; server_no_context_takeover=1", false),
            ("permessage-deflate; server_no_context_takeover; server_no_context_takeover", false),
            ("permessage-deflate; other", false),
            ("x-webkit-deflate-frame", false),
            ("", false),
        ] {
            assert_eq!(acceptable(offers), expected, "{offers}");
        }
    }

    #[test]
    fn a_message_inflates_within_its_bound_only() {
        let payload = vec![b'x'; 1_000_000];
        let compressed = deflate(&payload).unwrap();
        assert!(compressed.len() < 2000);
        assert_eq!(inflate(&compressed, payload.len()).unwrap(), payload);
        assert_eq!(inflate(&compressed, 999_999), Err(InflateError::TooLarge(999_999)));
    }

    #[test]
    fn the_examples_of_the_rfc_inflate() {
        let hello = b"Hello".to_vec();
        for compressed in [
            &[0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00][..],
            &[0xF3, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00, 0x00],
            &[0x00, 0x05, 0x00, 0xFA, 0xFF, 0x48, 0x65, 0x6C, 0x6C, 0x6F, 0x00],
            &[0xF2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xFF, 0xFF, 0xCA, 0xC9, 0xC9, 0x07, 0x00],
        ] {
            assert_eq!(inflate(compressed, 100).as_ref(), Ok(&hello), "{compressed:x?}");
        }
        assert_eq!(inflate(&[0x00], 100), Ok(Vec::new()));
    }

    proptest! {
        #[test]
        fn what_was_deflated_inflates_to_the_same(payload in prop::collection::vec(0u8..6, 0..20_000)) {
            if let Some(compressed) = deflate(&payload) {
                prop_assert_eq!(inflate(&compressed, payload.len()).unwrap(), payload);
            }
        }

        #[test]
        fn no_bytes_panic_or_outgrow_the_bound(payload in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(out) = inflate(&payload, 1000) {
                prop_assert!(out.len() <= 1000);
            }
        }
    }
}
