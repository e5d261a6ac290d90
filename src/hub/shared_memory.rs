//! The module's shared memory, counted as nginx's slab allocator counts it: where the module is followed to the letter, a full
//! zone refuses at the same message.
//!
//! It knows sizes, not messages or channels, and holds nothing itself. Small things take chunks of a size class, which share
//! pages; big ones take whole pages. What the module keeps for itself was found by filling zones of known size.

use crate::model::{EventTags, Message};

const PAGE: u64 = 4096;
/// What nginx keeps for each page in the zone.
const PAGE_ENTRY: u64 = 24;
/// What nginx keeps at the beginning of the zone.
const POOL: u64 = 656;
/// Pages of the module's own tables.
const TABLES: u64 = 3;
/// A message of the module without its texts.
const MESSAGE: usize = 256;
/// A channel of the module without its id.
const CHANNEL: usize = 512;
/// A text with its length beside it, without its bytes.
const TEXT: usize = 16;
/// The place of one rendered text in the list of them.
const RENDERED: usize = 16;

/// Chunks of a page by size class, from 8 bytes on: the small classes keep their map in the page.
const PER_PAGE: [u64; 9] = [504, 254, 127, 64, 32, 16, 8, 4, 2];

/// Chunks and pages that something takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Taken {
    chunks: [u64; PER_PAGE.len()],
    pages: u64,
}

/// A zone and what is taken of it.
pub(super) struct SharedMemory {
    pages: u64,
    taken: Taken,
    /// Bytes that each message template adds to a text.
    templates: Box<[usize]>,
}

impl Taken {
    fn add_bytes(&mut self, bytes: usize) {
        let class = bytes.max(8).next_power_of_two().trailing_zeros() as usize - 3;
        match self.chunks.get_mut(class) {
            Some(chunks) => *chunks += 1,
            None => self.pages += (bytes as u64).div_ceil(PAGE),
        }
    }

    fn add(&mut self, other: &Self) {
        self.pages += other.pages;
        self.chunks.iter_mut().zip(other.chunks).for_each(|(own, other)| *own += other);
    }

    fn remove(&mut self, other: &Self) {
        self.pages = self.pages.saturating_sub(other.pages);
        self.chunks.iter_mut().zip(other.chunks).for_each(|(own, other)| *own = own.saturating_sub(other));
    }

    fn times(mut self, count: u64) -> Self {
        self.pages *= count;
        self.chunks.iter_mut().for_each(|chunks| *chunks *= count);
        self
    }

    fn pages(&self) -> u64 {
        self.pages + self.chunks.iter().zip(PER_PAGE).map(|(chunks, per_page)| chunks.div_ceil(per_page)).sum::<u64>()
    }
}

impl SharedMemory {
    pub(super) fn new(size: u64) -> Self {
        let size = size.div_ceil(PAGE) * PAGE;
        let pages = (size.saturating_sub(POOL) / (PAGE + PAGE_ENTRY)).saturating_sub(TABLES);
        Self { pages, taken: Taken::default(), templates: Box::default() }
    }

    /// Tells what each message template adds to a text.
    pub(super) fn count_rendered(&mut self, added: Box<[usize]>) {
        self.templates = added;
    }

    /// What a message takes: its text as it came, and as each template renders it.
    pub(super) fn message(&self, text: usize, event: Option<&EventTags>) -> Taken {
        let mut taken = Taken::default();
        taken.add_bytes(MESSAGE);
        taken.add_bytes(text + 1);
        let names = event.into_iter().flat_map(|event| [&event.id, &event.kind]).flatten();
        for name in names {
            taken.add_bytes(TEXT + name.len() + 1);
        }
        if !self.templates.is_empty() {
            taken.add_bytes(RENDERED * self.templates.len());
        }
        for template in &self.templates {
            taken.add_bytes(text + template + 1);
        }
        taken
    }

    /// What a message takes, where memory is counted so.
    pub(super) fn held_by(shared: Option<&Self>, message: &Message) -> Taken {
        shared.map_or(Taken::default(), |shared| shared.message(message.text.len(), message.event.as_deref()))
    }

    /// What a channel takes.
    pub(super) fn channel(id: usize) -> Taken {
        let mut taken = Taken::default();
        taken.add_bytes(CHANNEL);
        taken.add_bytes(id + 1);
        taken
    }

    /// Whether so many of these fit in.
    pub(super) fn fits(&self, taken: Taken, count: usize) -> bool {
        let mut then = self.taken;
        then.add(&taken.times(count as u64));
        then.pages() <= self.pages
    }

    pub(super) fn take(&mut self, taken: Taken, count: usize) {
        self.taken.add(&taken.times(count as u64));
    }

    pub(super) fn give_back(&mut self, taken: Taken, count: usize) {
        self.taken.remove(&taken.times(count as u64));
    }
}

impl std::ops::AddAssign for Taken {
    fn add_assign(&mut self, other: Self) {
        self.add(&other);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_take_the_classes_and_pages_of_nginx() {
        let of = |bytes| {
            let mut taken = Taken::default();
            taken.add_bytes(bytes);
            (taken.chunks.iter().position(|&chunks| chunks == 1), taken.pages)
        };
        assert_eq!([1, 8, 9, 16].map(of), [(Some(0), 0), (Some(0), 0), (Some(1), 0), (Some(1), 0)]);
        assert_eq!(
            [2048, 2049, 4096, 4097, 20_001].map(of),
            [(Some(8), 0), (None, 1), (None, 1), (None, 2), (None, 5)]
        );
    }

    #[test]
    fn a_zone_of_129k_takes_254_messages_of_the_suite() {
        // `message to create a channel` in `{"channel":"~channel~", "id":"~id~", "message":"~text~"}`.
        for id in [1, 9, 23] {
            let mut zone = SharedMemory::new(129 << 10);
            zone.count_rendered([73].into());
            zone.take(SharedMemory::channel(id), 1);
            let message = zone.message(27, None);
            let mut count = 0;
            while zone.fits(message, 1) {
                zone.take(message, 1);
                count += 1;
            }
            assert_eq!(count, 254);
            assert!(!zone.fits(message, 1));
            zone.give_back(message, 2);
            assert!(zone.fits(message, 2) && !zone.fits(message, 3));
        }
    }
}
