//! The first bytes of a segment, written twice so that one damaged byte does not cost what follows.
//!
//! It does not know records. A format is believed only where its checksum is right: damage never looks like the future.

use super::codec::FORMAT;

/// Bytes before the first record.
pub(super) const LENGTH: usize = 2 * COPY;

const COPY: usize = 32;
const MAGIC: [u8; 8] = *b"pushlog\n";

/// What a segment says of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Header {
    /// Its place in the order of segments.
    pub(super) number: u64,
    /// The seed of its records' checksums.
    pub(super) seed: u32,
}

/// What the first bytes of a file are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Read {
    /// A header of this format, and whether both copies are whole.
    Header(Header, bool),
    /// A header of a later format.
    Newer(u32),
    /// Nothing was ever written.
    Unused,
    /// Neither copy can be read.
    Damaged,
}

impl Header {
    pub(super) fn encode(self) -> [u8; LENGTH] {
        let mut out = [0; LENGTH];
        for copy in out.chunks_exact_mut(COPY) {
            let fields = MAGIC
                .into_iter()
                .chain(FORMAT.to_le_bytes())
                .chain(self.number.to_le_bytes())
                .chain(self.seed.to_le_bytes());
            for (place, byte) in copy.iter_mut().zip(fields) {
                *place = byte;
            }
            if let Some((fields, rest)) = copy.split_at_mut_checked(24) {
                rest.copy_from_slice(&[crc32c::crc32c(fields).to_le_bytes(), [0; 4]].concat());
            }
        }
        out
    }

    pub(super) fn read(bytes: &[u8]) -> Read {
        let head = bytes.get(..LENGTH.min(bytes.len())).unwrap_or_default();
        if head.iter().all(|&byte| byte == 0) {
            return Read::Unused;
        }
        let mut copies = head.chunks_exact(COPY);
        let (first, second) = (copies.next().and_then(read_copy), copies.next().and_then(read_copy));
        let whole = first.is_some() && first == second;
        match first.or(second) {
            Some((FORMAT, header)) => Read::Header(header, whole),
            Some((format, _)) => Read::Newer(format),
            None => Read::Damaged,
        }
    }
}

/// Format and header of one copy.
fn read_copy(copy: &[u8]) -> Option<(u32, Header)> {
    let (fields, rest) = copy.split_at_checked(24)?;
    let (sum, _) = rest.split_first_chunk::<4>()?;
    if crc32c::crc32c(fields) != u32::from_le_bytes(*sum) {
        return None;
    }
    let (magic, fields) = fields.split_first_chunk::<8>()?;
    let (format, fields) = fields.split_first_chunk::<4>()?;
    let (number, fields) = fields.split_first_chunk::<8>()?;
    let (seed, _) = fields.split_first_chunk::<4>()?;
    let header = Header { number: u64::from_le_bytes(*number), seed: u32::from_le_bytes(*seed) };
    (*magic == MAGIC).then_some((u32::from_le_bytes(*format), header))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: Header = Header { number: 7, seed: 0xdead_beef };

    #[test]
    fn a_header_survives_any_one_damaged_byte() {
        assert_eq!(Header::read(&HEADER.encode()), Read::Header(HEADER, true));
        for at in 0..LENGTH {
            for mask in [1, 0x80, 0xff] {
                let mut bytes = HEADER.encode();
                bytes[at] ^= mask;
                let whole = matches!(at % COPY, 28..);
                assert_eq!(Header::read(&bytes), Read::Header(HEADER, whole), "{at}");
            }
        }
    }

    #[test]
    fn a_header_cut_short_is_damaged_or_read_from_its_first_copy() {
        for cut in 0..LENGTH {
            let expected = match cut {
                0 => Read::Unused,
                1..COPY => Read::Damaged,
                _ => Read::Header(HEADER, false),
            };
            assert_eq!(Header::read(&HEADER.encode()[..cut]), expected, "{cut}");
        }
        assert_eq!(Header::read(&[0; 100]), Read::Unused);
    }

    #[test]
    fn a_later_format_is_named() {
        let mut bytes = HEADER.encode();
        for copy in bytes.chunks_exact_mut(COPY) {
            copy[8] = 9;
            let sum = crc32c::crc32c(&copy[..24]);
            copy[24..28].copy_from_slice(&sum.to_le_bytes());
        }
        assert_eq!(Header::read(&bytes), Read::Newer(9));
    }
}
