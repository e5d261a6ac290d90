//! Records within a run of bytes: length, checksum, entry; and the way to the next readable one behind damage.
//!
//! It does not know files. The checksum covers the length and is seeded: without the seed nobody can write a text that
//! would be taken for a record when the bytes before it are damaged.

use super::codec;
use super::entry::Entry;

/// Bytes before each entry.
pub(super) const HEAD: usize = 8;
/// The longest entry a record may hold.
pub(super) const LONGEST: usize = 1 << 30;
/// How many times the length of a run may be checked in search of a readable record, before the rest counts as damage.
const SEARCH: usize = 32;

/// Appends a record; false, and nothing appended, if the entry is longer than a record may be.
pub(super) fn write(entry: &Entry, seed: u32, out: &mut Vec<u8>) -> bool {
    let start = out.len();
    out.extend_from_slice(&[0; HEAD]);
    codec::encode(entry, out);
    let length = out.len() - start - HEAD;
    if length > LONGEST {
        out.truncate(start);
        return false;
    }
    let length = (length as u32).to_le_bytes();
    let sum = out.get(start + HEAD..).map_or(0, |entry| checksum(seed, length, entry));
    if let Some(head) = out.get_mut(start..start + HEAD) {
        let (first, second) = head.split_at_mut(4);
        first.copy_from_slice(&length);
        second.copy_from_slice(&sum.to_le_bytes());
    }
    true
}

fn checksum(seed: u32, length: [u8; 4], entry: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(seed, &length), entry)
}

/// What comes next in a run.
#[derive(Debug)]
pub(super) enum Found {
    /// A record: its entry.
    Entry(Entry),
    /// Bytes that are no record, and where the next record begins.
    Damage {
        /// Offset of the first of them.
        from: usize,
        /// Offset of the record behind them.
        to: usize,
    },
    /// Nothing more: the run is read whole, or what is left holds no record.
    End {
        /// Offset behind the last record.
        at: usize,
        /// Whether anything but unused space is left.
        torn: bool,
    },
}

/// Reads records one after the other.
pub(super) struct Frames<'a> {
    bytes: &'a [u8],
    seed: u32,
    at: usize,
    search: usize,
}

impl<'a> Frames<'a> {
    /// The records of `bytes` from the offset `at` on.
    pub(super) fn new(bytes: &'a [u8], at: usize, seed: u32) -> Self {
        Self { bytes, seed, at, search: bytes.len().saturating_mul(SEARCH) }
    }

    /// Offset of what comes next.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// The next thing; after the end, the end again.
    pub(super) fn next(&mut self) -> Found {
        if let Some((entry, length)) = self.record(self.at, false) {
            self.at += length;
            return Found::Entry(entry);
        }
        let from = self.at;
        let rest = self.bytes.get(from..).unwrap_or_default();
        let Some(last) = rest.iter().rposition(|&byte| byte != 0) else {
            return Found::End { at: from, torn: false };
        };
        for to in from + 1..=from + last {
            if self.record(to, true).is_some() {
                self.at = to;
                return Found::Damage { from, to };
            }
            if self.search == 0 {
                break;
            }
        }
        Found::End { at: from, torn: true }
    }

    /// The record at an offset and its length.
    fn record(&mut self, at: usize, searching: bool) -> Option<(Entry, usize)> {
        let (length, rest) = self.bytes.get(at..)?.split_first_chunk::<4>()?;
        let (sum, rest) = rest.split_first_chunk::<4>()?;
        let entry = rest.get(..u32::from_le_bytes(*length) as usize)?;
        if !codec::may_begin(entry) {
            return None;
        }
        if searching {
            self.search = self.search.saturating_sub(entry.len());
        }
        if checksum(self.seed, *length, entry) != u32::from_le_bytes(*sum) {
            return None;
        }
        Some((codec::decode(entry).ok()?, HEAD + entry.len()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::any_entry;
    use super::*;

    const SEED: u32 = 77;

    fn run(entries: &[Entry]) -> (Vec<u8>, Vec<usize>) {
        let (mut bytes, mut starts) = (Vec::new(), Vec::new());
        for entry in entries {
            starts.push(bytes.len());
            assert!(write(entry, SEED, &mut bytes));
        }
        (bytes, starts)
    }

    /// What is read of a run: entries, damage, and how it ends.
    type Run = (Vec<String>, Vec<(usize, usize)>, (usize, bool));

    fn read(bytes: &[u8], seed: u32) -> Run {
        let mut frames = Frames::new(bytes, 0, seed);
        let (mut entries, mut damage) = (Vec::new(), Vec::new());
        loop {
            match frames.next() {
                Found::Entry(entry) => entries.push(format!("{entry:?}")),
                Found::Damage { from, to } => damage.push((from, to)),
                Found::End { at, torn } => return (entries, damage, (at, torn)),
            }
        }
    }

    fn shown(entries: &[Entry]) -> Vec<String> {
        entries.iter().map(|entry| format!("{entry:?}")).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_run_cut_at_any_byte_keeps_all_records_before_the_cut(entries in prop::collection::vec(any_entry(), 0..5)) {
            let (bytes, starts) = run(&entries);
            for cut in 0..=bytes.len() {
                let whole = starts.iter().skip(1).chain([&bytes.len()]).filter(|&&end| end <= cut).count();
                let end = starts.get(whole).copied().unwrap_or(bytes.len());
                let (read, damage, at) = read(&bytes[..cut], SEED);
                prop_assert_eq!(&read[..], &shown(&entries)[..whole.min(entries.len())]);
                prop_assert_eq!(damage, []);
                // What is cut down to zeros cannot be told from unused space, and need not be.
                let torn = bytes[end.min(cut)..cut].iter().any(|&byte| byte != 0);
                prop_assert_eq!(at, (end.min(cut), torn));
            }
        }

        #[test]
        fn a_flipped_byte_costs_its_record_alone(
            entries in prop::collection::vec(any_entry(), 1..5),
            unused in 0..20usize,
            mask in 1..=255u8,
        ) {
            let (mut bytes, starts) = run(&entries);
            let used = bytes.len();
            bytes.resize(used + unused, 0);
            for at in 0..used {
                let mut flipped = bytes.clone();
                flipped[at] ^= mask;
                let hit = starts.iter().rposition(|&start| start <= at).unwrap();
                let mut left = shown(&entries);
                left.remove(hit);
                let (read, damage, (_, torn)) = read(&flipped, SEED);
                prop_assert_eq!(read, left);
                let last = hit + 1 == entries.len();
                prop_assert_eq!(torn, last);
                let next = starts.get(hit + 1).copied().unwrap_or_default();
                prop_assert_eq!(damage, if last { vec![] } else { vec![(starts[hit], next)] });
            }
        }

        #[test]
        fn any_bytes_are_read_to_an_end(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            read(&bytes, SEED);
        }
    }

    #[test]
    fn a_text_that_looks_like_a_record_is_none_without_the_seed() {
        let (forged, _) = run(&[Entry::WalkBegan]);
        let mut bytes = vec![9; 5];
        bytes.extend_from_slice(&forged);
        assert_eq!(read(&bytes, SEED).0.len(), 1);
        assert_eq!(read(&bytes, SEED + 1).0.len(), 0);
    }

    #[test]
    fn a_search_ends_even_in_bytes_made_to_prolong_it() {
        // Each offset claims to begin a long entry.
        let mut bytes = Vec::new();
        while bytes.len() < 200_000 {
            bytes.extend_from_slice(&[0xff, 0xff, 1, 0, 0, 0, 0, 0, 1, 6]);
        }
        let mut frames = Frames::new(&bytes, 0, SEED);
        assert!(matches!(frames.next(), Found::End { at: 0, torn: true }));
        assert_eq!(frames.search, 0);
    }
}
