//! permessage-deflate (RFC 7692): the negotiation, and messages compressed each for itself.
//!
//! Both sides work without context takeover: a prepared frame can be shared by every connection that speaks the extension,
//! and an idle connection holds no window. What inflates beyond its bound is given up at once, and a stream that ends before
//! its end is no message. Invariant: a compressor is used again only after it has given everything away.

use std::cell::Cell;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::websocket_frame;

/// Smaller payloads are sent as they are.
const WORTHWHILE: usize = 64;

/// What a sender strips from the end of a compressed message.
const TAIL: [u8; 4] = [0x00, 0x00, 0xFF, 0xFF];
/// A last block without a byte in it. Behind a whole message it ends the stream; within anything else it does not.
const LAST_BLOCK: [u8; 5] = [0x01, 0x00, 0x00, 0xFF, 0xFF];
/// Room beyond the payload's length in which even what cannot be compressed fits, headers of its blocks and all.
const SPARE: usize = 64;

/// Value of `Sec-WebSocket-Extensions` when the extension is agreed on.
pub const ACCEPTED: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

/// Why a compressed message could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InflateError {
    /// Not a deflate stream.
    #[error("the compressed data is broken")]
    Broken,
    /// A deflate stream without its end.
    #[error("the compressed data ends too early")]
    Incomplete,
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
        let bits = value.and_then(window_bits);
        let fine = match name {
            "server_no_context_takeover" | "client_no_context_takeover" => value.is_none(),
            "client_max_window_bits" => value.is_none() || bits.is_some(),
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

/// A window size as RFC 7692 writes it: 8 to 15, without leading zeros.
fn window_bits(value: &str) -> Option<u8> {
    let bits: u8 = value.parse().ok().filter(|bits| (8..=15).contains(bits))?;
    (value == bits.to_string()).then_some(bits)
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
        static COMPRESS: Cell<Option<Compress>> = const { Cell::new(None) };
    }
    if payload.len() < WORTHWHILE {
        return None;
    }
    // Taken out while it works: one that fails on the way is not met again.
    let mut compress = COMPRESS.take().unwrap_or_else(|| Compress::new(Compression::new(6), false));
    compress.reset();
    let mut out = Vec::with_capacity(payload.len() + payload.len() / 1024 + SPARE);
    drain(&mut compress, payload, &mut out)?;
    COMPRESS.set(Some(compress));
    if !out.ends_with(&TAIL) || out.len() - TAIL.len() >= payload.len() {
        return None;
    }
    out.truncate(out.len() - TAIL.len());
    Some(out)
}

/// Compresses the payload up to a sync flush, until the compressor holds nothing back. `None`: it does not do what it should.
fn drain(compress: &mut Compress, payload: &[u8], out: &mut Vec<u8>) -> Option<()> {
    loop {
        let rest = payload.get(compress.total_in() as usize..)?;
        let status = compress.compress_vec(rest, out, FlushCompress::Sync).ok()?;
        if out.len() < out.capacity() {
            // Room was left: everything is out. A buffer error only says that there was nothing to do any more.
            let whole = compress.total_in() == payload.len() as u64 && status != Status::StreamEnd;
            return whole.then_some(());
        }
        out.reserve(SPARE + out.len());
    }
}

/// The message behind a compressed payload, at most `largest` bytes.
pub(super) fn inflate(payload: &[u8], largest: usize) -> Result<Vec<u8>, InflateError> {
    thread_local! {
        static DECOMPRESS: Cell<Option<Decompress>> = const { Cell::new(None) };
    }
    let mut decompress = DECOMPRESS.take().unwrap_or_else(|| Decompress::new(false));
    let inflated = inflate_all(&mut decompress, payload, largest);
    DECOMPRESS.set(Some(decompress));
    inflated
}

fn inflate_all(decompress: &mut Decompress, payload: &[u8], largest: usize) -> Result<Vec<u8>, InflateError> {
    let mut out = Vec::new();
    let mut rest = payload;
    if rest.is_empty() {
        return Ok(out);
    }
    // A sender may end a stream within its message and begin another (RFC 7692, 7.2.3.4).
    loop {
        decompress.reset(false);
        let (status, behind) = inflate_part(decompress, rest, &mut out, largest)?;
        rest = behind;
        if status != Status::StreamEnd {
            break;
        }
        if rest.is_empty() {
            return Ok(out);
        }
    }
    let end = [&TAIL[..], &LAST_BLOCK].concat();
    let whole = out.len();
    match inflate_part(decompress, &end, &mut out, usize::MAX) {
        Ok((Status::StreamEnd, [])) if out.len() == whole => Ok(out),
        _ => Err(InflateError::Incomplete),
    }
}

/// Inflates a part of a stream, up to its end or that of the stream; what is behind that is returned.
fn inflate_part<'a>(
    decompress: &mut Decompress,
    part: &'a [u8],
    out: &mut Vec<u8>,
    largest: usize,
) -> Result<(Status, &'a [u8]), InflateError> {
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
            return Ok((status, rest));
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
            ("permessage-deflate; client_max_window_bits=8", true),
            ("permessage-deflate; client_max_window_bits=08", false),
            ("permessage-deflate; client_max_window_bits=+9", false),
            ("permessage-deflate; client_max_window_bits=\"\"", false),
            ("permessage-deflate; server_max_window_bits=015", false),
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

    #[test]
    fn a_stream_may_end_within_a_message_but_not_leave_its_rest_unread() {
        let part = [0xF3, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00];
        assert_eq!(inflate(&part, 100).unwrap(), b"Hello");
        assert_eq!(inflate(&[part, part].concat(), 100).unwrap(), b"HelloHello");
        assert_eq!(inflate(&[&part[..], &[0xF2, 0x48]].concat(), 100), Err(InflateError::Incomplete));
        assert_eq!(inflate(&[part, part].concat(), 9), Err(InflateError::TooLarge(9)));
    }

    /// A text whose entropy is that of `letters` letters drawn at random.
    fn drawn(seed: u64, length: usize, letters: u16) -> Vec<u8> {
        let mut state = seed | 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u16
        };
        (0..length).map(|_| (next() % letters) as u8).collect()
    }

    #[test]
    fn a_run_of_messages_that_cannot_be_compressed_leaves_the_compressor_as_it_was() {
        for seed in 0..2_000 {
            let payload = drawn(seed, 256, 256);
            if let Some(compressed) = deflate(&payload) {
                assert_eq!(inflate(&compressed, payload.len()).unwrap(), payload, "message {seed}");
            }
        }
        assert_eq!(inflate(&deflate(&[b'x'; 5_000]).unwrap(), 5_000).unwrap(), [b'x'; 5_000]);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn any_sequence_of_messages_arrives_in_both_directions(
            messages in prop::collection::vec((any::<u64>(), 0usize..200_000, 1u16..=256), 1..12),
            broken in prop::collection::vec(any::<u8>(), 0..100),
        ) {
            for (seed, length, letters) in messages {
                let payload = drawn(seed, length, letters);
                if let Some(compressed) = deflate(&payload) {
                    prop_assert!(compressed.len() < payload.len());
                    prop_assert_eq!(inflate(&compressed, payload.len()).unwrap(), payload);
                }
                // Whatever a client sends in between.
                let _ = inflate(&broken, 1000);
            }
        }

        #[test]
        fn a_message_that_ends_early_is_no_message(seed: u64, length in 64usize..3_000, letters in 2u16..40, cut: prop::sample::Index) {
            let payload = drawn(seed, length, letters);
            if let Some(compressed) = deflate(&payload) {
                // The last byte may hold nothing but the bits of an empty block, which the tail brings once more.
                let cut = &compressed[..cut.index(compressed.len() - 1)];
                let inflated = inflate(cut, payload.len());
                prop_assert!(inflated.is_err() || cut.is_empty(), "{:?}", inflated);
            }
        }
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
