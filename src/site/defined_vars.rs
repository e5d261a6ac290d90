//! Values of the variables a configuration defines: `set` and named groups, `map`, `geo`, `split_clients`.
//!
//! Computed when first asked for and remembered for the request, as nginx does. Invariant: variables that refer to one
//! another in a circle end in an empty value, not in an endless evaluation.

use std::cell::OnceCell;
use std::net::IpAddr;

use super::captures::{Captures, Computed};
use super::exchange::Exchange;
use super::server_name::matches_mask;
use crate::conf::variable::{Complex, Geo, Map, Part, Source, Split, Variable};

/// Deepest nesting of variables that refer to one another; a circle ends here, with an empty value.
const MAX_DEPTH: u8 = 32;

impl Exchange<'_> {
    /// The value of the defined variable `index`.
    pub(crate) fn defined(&self, index: usize) -> &[u8] {
        let Some(definition) = self.settings.variables.get(index) else { return b"" };
        let is_assigned = matches!(definition.source, Source::Assigned);
        // What a `map` has found for a named group came after what was assigned.
        if is_assigned && let Some(found) = self.computed(index) {
            return &found.value;
        }
        if let Some((_, value)) = self.assigned.iter().find(|(assigned, _)| *assigned == index) {
            return value;
        }
        if is_assigned {
            return b"";
        }
        let Some(slot) = self.slot(index) else { return b"" };
        if slot.get().is_none() {
            let Some(computed) = self.deeper(|| match &definition.source {
                Source::Assigned => Computed::default(),
                Source::Map(map) => self.mapped(map),
                Source::Geo(geo) => Computed { value: self.geo(geo).to_vec(), captures: None },
                Source::Split(split) => Computed { value: self.split(split).to_vec(), captures: None },
            }) else {
                return b"";
            };
            if computed.captures.is_some() {
                self.mapped_last.set(Some(index));
            }
            let _ = slot.set(computed);
        }
        slot.get().map_or(b"", |computed| &computed.value)
    }

    fn slot(&self, index: usize) -> Option<&OnceCell<Computed>> {
        let slots = self.computed.get_or_init(|| self.settings.variables.iter().map(|_| OnceCell::new()).collect());
        slots.get(index)
    }

    /// Evaluates what may refer to other variables; nothing where they go round in a circle.
    pub(crate) fn deeper<T>(&self, evaluate: impl FnOnce() -> T) -> Option<T> {
        let depth = self.evaluation_depth.get();
        if depth >= MAX_DEPTH {
            return None;
        }
        self.evaluation_depth.set(depth + 1);
        let value = evaluate();
        self.evaluation_depth.set(depth);
        Some(value)
    }

    fn mapped(&self, map: &Map) -> Computed {
        let of = |value: &Complex| Computed { value: self.value(value).into_owned(), captures: None };
        let key = self.value(&map.key);
        let lower = key.to_ascii_lowercase();
        if let Some(value) = map.exact.get(lower.as_slice()) {
            return of(value);
        }
        if let Ok(name) = std::str::from_utf8(&lower) {
            let name = name.strip_suffix('.').unwrap_or(name);
            if let Some((_, value)) = map.masks.iter().find(|(mask, _)| matches_mask(mask, name)) {
                return of(value);
            }
        }
        for (regex, value) in &map.regexes {
            if let Some(captures) = Captures::of(regex, &key) {
                for &(group, variable) in &regex.named {
                    let value = captures.group(group).to_vec();
                    if let Some(slot) = self.slot(variable) {
                        let _ = slot.set(Computed { value, captures: None });
                    }
                }
                let value = self.value_of_match(value, &captures);
                return Computed { value, captures: Some(Box::new(captures)) };
            }
        }
        of(&map.default)
    }

    /// Expands the value of a map entry; numbered groups are those of the entry's own regex.
    fn value_of_match(&self, value: &Complex, captures: &Captures) -> Vec<u8> {
        let mut out = Vec::new();
        for part in &value.parts {
            match part {
                Part::Text(text) => out.extend_from_slice(text),
                Part::Variable(Variable::Capture(number)) => out.extend_from_slice(captures.get(*number)),
                Part::Variable(variable) => out.extend_from_slice(&self.variable(variable)),
            }
        }
        out
    }

    fn geo<'g>(&self, geo: &'g Geo) -> &'g [u8] {
        let key = self.value(&geo.key);
        let address = std::str::from_utf8(&key).ok().and_then(|text| text.parse::<IpAddr>().ok());
        let network =
            address.and_then(|address| geo.networks.iter().find(|(net, _)| net.contains(&address.to_canonical())));
        network.map_or(&geo.default, |(_, value)| value)
    }

    fn split<'s>(&self, split: &'s Split) -> &'s [u8] {
        let hash = u64::from(murmur_hash2(&self.value(&split.key)));
        split.ranges.iter().find(|(bound, _)| hash < *bound).map_or(b"", |(_, value)| value)
    }
}

/// MurmurHash2, 32 bits, seed 0: what `split_clients` hashes with.
fn murmur_hash2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = data.len() as u32;
    let mut chunks = data.chunks_exact(4);
    for chunk in &mut chunks {
        let mut k = u32::from_le_bytes(chunk.try_into().unwrap_or_default()).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    let tail = chunks.remainder();
    if !tail.is_empty() {
        for (index, &byte) in tail.iter().enumerate() {
            hash ^= u32::from(byte) << (8 * index);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_split_by_murmur_hash() {
        assert_eq!(murmur_hash2(b""), 0);
        assert_eq!(murmur_hash2(b"a"), 0x9268_5f5e);
    }
}
