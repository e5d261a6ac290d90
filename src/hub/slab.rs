//! A growing store of values addressed by small numbers, in chunks of fixed size.
//!
//! It does not know what it stores. Growth allocates one chunk and moves nothing, so that no insert is slow however many
//! values there are; a chunk whose last value went is given back unless it is the only one with room.

/// Values per chunk; a place within a chunk fits a byte.
const CHUNK: usize = 256;

/// The address of a value; given again to another value after removal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Slot(u32);

impl Slot {
    fn new(chunk: usize, place: u8) -> Self {
        Self((chunk * CHUNK) as u32 + u32::from(place))
    }

    fn chunk(self) -> usize {
        self.0 as usize / CHUNK
    }

    fn place(self) -> u8 {
        (self.0 as usize % CHUNK) as u8
    }
}

/// The store.
pub(super) struct Slab<T> {
    chunks: Vec<Chunk<T>>,
    /// Chunks that hold storage and have a vacant place.
    open: Vec<u32>,
    /// Chunks whose storage was given back.
    released: Vec<u32>,
}

struct Chunk<T> {
    values: Box<[Option<T>]>,
    vacant: Vec<u8>,
}

impl<T> Chunk<T> {
    fn new() -> Self {
        Self { values: (0..CHUNK).map(|_| None).collect(), vacant: (0..=u8::MAX).rev().collect() }
    }

    fn released() -> Self {
        Self { values: Box::default(), vacant: Vec::new() }
    }
}

impl<T> Slab<T> {
    pub(super) fn new() -> Self {
        Self { chunks: Vec::new(), open: Vec::new(), released: Vec::new() }
    }

    /// Stores the value made for the slot it will have.
    pub(super) fn insert(&mut self, value: T) -> Slot {
        let index = self.open_chunk();
        let place = self.chunks.get_mut(index).map_or(0, |chunk| {
            let place = chunk.vacant.pop().unwrap_or(0);
            if let Some(vacancy) = chunk.values.get_mut(usize::from(place)) {
                *vacancy = Some(value);
            }
            place
        });
        if self.chunks.get(index).is_none_or(|chunk| chunk.vacant.is_empty()) {
            self.open.pop();
        }
        Slot::new(index, place)
    }

    /// The chunk on top of `open`, which is made if there is none.
    fn open_chunk(&mut self) -> usize {
        if let Some(&index) = self.open.last() {
            return index as usize;
        }
        let index = self.released.pop().unwrap_or(self.chunks.len() as u32);
        match self.chunks.get_mut(index as usize) {
            Some(released) => *released = Chunk::new(),
            None => self.chunks.push(Chunk::new()),
        }
        self.open.push(index);
        index as usize
    }

    pub(super) fn get(&self, slot: Slot) -> Option<&T> {
        self.chunks.get(slot.chunk())?.values.get(usize::from(slot.place()))?.as_ref()
    }

    pub(super) fn get_mut(&mut self, slot: Slot) -> Option<&mut T> {
        self.chunks.get_mut(slot.chunk())?.values.get_mut(usize::from(slot.place()))?.as_mut()
    }

    /// Takes the value out; its slot may be given to the next one.
    pub(super) fn remove(&mut self, slot: Slot) -> Option<T> {
        let chunk = self.chunks.get_mut(slot.chunk())?;
        let value = chunk.values.get_mut(usize::from(slot.place()))?.take()?;
        chunk.vacant.push(slot.place());
        match chunk.vacant.len() {
            1 => self.open.push(slot.chunk() as u32),
            CHUNK if self.open.len() > 1 => self.release(slot.chunk()),
            _ => {}
        }
        Some(value)
    }

    fn release(&mut self, index: usize) {
        self.open.retain(|&open| open as usize != index);
        if let Some(chunk) = self.chunks.get_mut(index) {
            *chunk = Chunk::released();
            self.released.push(index as u32);
        }
    }

    #[cfg(test)]
    fn chunks_held(&self) -> usize {
        self.chunks.iter().filter(|chunk| !chunk.values.is_empty()).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_at_their_slots_until_removed() {
        let mut slab = Slab::new();
        let slots: Vec<Slot> = (0..1000).map(|n| slab.insert(n)).collect();
        for (n, &slot) in slots.iter().enumerate() {
            assert_eq!(slab.get(slot), Some(&n));
        }
        assert_eq!(slab.remove(slots[300]), Some(300));
        assert_eq!(slab.get(slots[300]), None);
        assert_eq!(slab.remove(slots[300]), None);
        assert_eq!(slab.insert(7), slots[300]);
    }

    #[test]
    fn emptied_chunks_are_given_back_and_taken_again() {
        let mut slab = Slab::new();
        let slots: Vec<Slot> = (0..2560).map(|n| slab.insert(n)).collect();
        assert_eq!(slab.chunks_held(), 10);
        for &slot in &slots {
            slab.remove(slot);
        }
        assert_eq!(slab.chunks_held(), 1);
        let again: Vec<Slot> = (0..2560).map(|n| slab.insert(n)).collect();
        assert_eq!(slab.chunks_held(), 10);
        for (n, &slot) in again.iter().enumerate() {
            assert_eq!(slab.get(slot), Some(&n));
        }
    }
}
