//! All live channels: where each is stored, and how it is found by id, by key and in creation order.
//!
//! It does not know limits, counters or expiry. The table of ids is cut into shards and keeps the hash of each id, so that
//! growing one of them moves a few thousand small entries and never touches a channel: no insert is slow.

use std::collections::BTreeMap;
use std::ops::Bound;

use ahash::RandomState;
use hashbrown::HashTable;

use super::channel::Channel;
pub use super::channel::ChannelKey;
use super::slab::{Slab, Slot};
use crate::model::ChannelId;

const SHARDS: usize = 64;

/// The live channels.
pub(super) struct Registry {
    channels: Slab<Channel>,
    by_id: Box<[HashTable<Place>]>,
    by_key: BTreeMap<ChannelKey, Slot>,
    hasher: RandomState,
    next_key: u64,
}

/// An entry of the table of ids.
struct Place {
    hash: u32,
    slot: Slot,
}

/// Spreads the kept half of a hash over all the bits the table looks at.
fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

impl Registry {
    pub(super) fn new() -> Self {
        Self {
            channels: Slab::new(),
            by_id: (0..SHARDS).map(|_| HashTable::new()).collect(),
            by_key: BTreeMap::new(),
            hasher: RandomState::new(),
            next_key: 1,
        }
    }

    /// Shard number and kept hash of an id.
    fn hash(&self, id: &ChannelId) -> (usize, u32) {
        let hash = self.hasher.hash_one(id.as_bytes());
        (hash as usize % SHARDS, (hash >> 32) as u32)
    }

    pub(super) fn find(&self, id: &ChannelId) -> Option<Slot> {
        let (shard, hash) = self.hash(id);
        let same = |place: &Place| place.hash == hash && self.get(place.slot).is_some_and(|channel| channel.id == *id);
        self.by_id.get(shard)?.find(spread(hash), same).map(|place| place.slot)
    }

    pub(super) fn find_key(&self, key: ChannelKey) -> Option<Slot> {
        self.by_key.get(&key).copied()
    }

    pub(super) fn get(&self, slot: Slot) -> Option<&Channel> {
        self.channels.get(slot)
    }

    pub(super) fn get_mut(&mut self, slot: Slot) -> Option<&mut Channel> {
        self.channels.get_mut(slot)
    }

    /// The channels created after `key`, in order of creation.
    pub(super) fn after(&self, key: Option<ChannelKey>) -> impl Iterator<Item = (ChannelKey, &Channel)> {
        let start = key.map_or(Bound::Unbounded, Bound::Excluded);
        self.by_key
            .range((start, Bound::Unbounded))
            .filter_map(|(&key, &slot)| self.get(slot).map(|channel| (key, channel)))
    }

    /// The key the next inserted channel must carry.
    pub(super) fn next_key(&mut self) -> ChannelKey {
        let key = ChannelKey::from(self.next_key);
        self.next_key += 1;
        key
    }

    /// Takes in a channel whose id is not there yet.
    pub(super) fn insert(&mut self, channel: Channel) -> Slot {
        let (shard, hash) = self.hash(&channel.id);
        let key = channel.key;
        let slot = self.channels.insert(channel);
        if let Some(table) = self.by_id.get_mut(shard) {
            table.insert_unique(spread(hash), Place { hash, slot }, |place| spread(place.hash));
        }
        self.by_key.insert(key, slot);
        slot
    }

    pub(super) fn remove(&mut self, slot: Slot) -> Option<Channel> {
        let channel = self.channels.remove(slot)?;
        let (shard, hash) = self.hash(&channel.id);
        if let Some(table) = self.by_id.get_mut(shard)
            && let Ok(entry) = table.find_entry(spread(hash), |place| place.slot == slot)
        {
            entry.remove();
        }
        self.by_key.remove(&channel.key);
        Some(channel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(registry: &mut Registry, id: &str) -> Slot {
        let key = registry.next_key();
        registry.insert(Channel::new(id.into(), key, false, 0))
    }

    fn ids(registry: &Registry, after: Option<ChannelKey>) -> Vec<String> {
        registry.after(after).map(|(_, channel)| String::from_utf8_lossy(channel.id.as_bytes()).into_owned()).collect()
    }

    #[test]
    fn a_channel_is_found_by_id_and_key_until_removed() {
        let mut registry = Registry::new();
        let slots: Vec<Slot> = (0..5000).map(|n| add(&mut registry, &n.to_string())).collect();
        for (n, &slot) in slots.iter().enumerate() {
            assert_eq!(registry.find(&n.to_string().as_str().into()), Some(slot));
            let key = registry.get(slot).unwrap().key;
            assert_eq!(registry.find_key(key), Some(slot));
        }
        let gone = registry.remove(slots[42]).unwrap();
        assert_eq!(registry.find(&gone.id), None);
        assert_eq!(registry.find_key(gone.key), None);
    }

    #[test]
    fn channels_are_walked_in_order_of_creation_whatever_slots_they_have() {
        let mut registry = Registry::new();
        let b = add(&mut registry, "b");
        add(&mut registry, "a");
        let b_key = registry.remove(b).unwrap().key;
        add(&mut registry, "c");
        add(&mut registry, "b");
        assert_eq!(ids(&registry, None), ["a", "c", "b"]);
        assert_eq!(ids(&registry, Some(b_key)), ["a", "c", "b"]);
        let c = registry.get(registry.find(&"c".into()).unwrap()).unwrap().key;
        assert_eq!(ids(&registry, Some(c)), ["b"]);
    }
}
