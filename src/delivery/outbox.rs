//! Bytes on their way to one client: a queue of shared pieces and of sources, empty (and without memory) when nothing waits.
//!
//! The pieces are the very bytes every other subscriber of the view gets; only the position within the first one is the
//! connection's own. The queue does not bound itself: whoever adds asks how much there is first. Invariant: bytes leave in
//! the order in which they, or what makes them, came in.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use bytes::{Buf, Bytes};

use super::ledger::{Charge, hold};
use super::source::{PAGE, Source};

/// Most pieces that go into one vectored write.
const PIECES: usize = 64;

/// The queue of unsent bytes of a connection. The first piece stands in the queue itself: most of the time it is the only
/// one, and costs no allocation.
#[derive(Default)]
pub(super) struct Outbox {
    first: Bytes,
    more: Option<Box<Queue>>,
    /// Bytes of all pieces, and those that sources hold.
    len: usize,
    /// Bytes of the first piece that have been sent: it is held whole until its end.
    begun: usize,
}

/// What stands behind the first piece.
#[derive(Default)]
struct Queue {
    entries: VecDeque<Entry>,
    sources: usize,
    /// What the making of all sources takes.
    state: usize,
    /// For the places.
    charge: Charge,
}

impl Queue {
    fn push(&mut self, entry: Entry) {
        self.entries.push_back(entry);
        self.charge.set(self.places());
    }

    fn places(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>()
    }
}

enum Entry {
    Piece(Bytes),
    /// With what its making took when it came.
    Source(Box<dyn Source>, u32),
}

impl Outbox {
    /// Bytes that wait; a source counts as the page it will make.
    pub(super) fn waiting(&self) -> usize {
        self.len + self.sources() * PAGE
    }

    /// What is held behind the piece that is being sent, the places in the queue with it. A source holds next to nothing.
    pub(super) fn backlog(&self) -> usize {
        self.len - self.first.len() + self.more.as_ref().map_or(0, |more| more.places())
    }

    /// What is held: the places in the queue with it, and what sources take to make theirs.
    pub(super) fn held(&self) -> usize {
        self.len + self.begun + self.more.as_ref().map_or(0, |more| more.places() + more.state)
    }

    /// Whether there are sources that have not come to their end.
    pub(super) fn has_sources(&self) -> bool {
        self.sources() > 0
    }

    fn sources(&self) -> usize {
        self.more.as_ref().map_or(0, |more| more.sources)
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.first.is_empty() && self.more.is_none()
    }

    /// Adds a piece behind all others. An empty piece is nothing.
    pub(super) fn push(&mut self, piece: Bytes) {
        if piece.is_empty() {
            return;
        }
        self.len += piece.len();
        if self.is_empty() {
            self.first = piece;
        } else {
            self.more.get_or_insert_default().push(Entry::Piece(piece));
        }
    }

    /// Adds a source behind everything else.
    pub(super) fn push_source(&mut self, source: Box<dyn Source>) {
        self.len += source.held();
        let more = self.more.get_or_insert_default();
        let state = source.state() as u32;
        more.sources += 1;
        more.state += state as usize;
        more.push(Entry::Source(source, state));
    }

    /// Brings the next bytes to the front and returns them; empty if nothing waits any more.
    pub(super) fn front(&mut self) -> io::Result<&Bytes> {
        while self.first.is_empty() {
            let Some(more) = &mut self.more else { break };
            match more.entries.pop_front() {
                Some(Entry::Piece(piece)) => self.first = piece,
                Some(Entry::Source(mut source, state)) => {
                    self.len -= source.held();
                    if let Some(bytes) = source.next(PAGE)? {
                        self.len += source.held() + bytes.len();
                        self.first = hold(bytes);
                        more.entries.push_front(Entry::Source(source, state));
                    } else {
                        more.sources -= 1;
                        more.state -= state as usize;
                    }
                }
                None => self.more = None,
            }
        }
        if self.more.as_ref().is_some_and(|more| more.entries.is_empty()) {
            self.more = None;
        }
        Ok(&self.first)
    }

    /// Hands the pieces at the front, up to the next source, to a vectored write.
    pub(super) fn write<T>(&self, write: impl FnOnce(&[IoSlice<'_>]) -> T) -> T {
        let Some(more) = &self.more else { return write(&[IoSlice::new(&self.first)]) };
        let mut slices = [IoSlice::new(&[]); PIECES];
        let mut count = 0;
        let pieces = more.entries.iter().map_while(|entry| match entry {
            Entry::Piece(piece) => Some(piece),
            Entry::Source(..) => None,
        });
        for (slot, piece) in slices.iter_mut().zip(std::iter::once(&self.first).chain(pieces)) {
            *slot = IoSlice::new(piece);
            count += 1;
        }
        write(slices.get(..count).unwrap_or_default())
    }

    /// Takes `sent` bytes, which have been at the front, off; gives the memory back when nothing is left.
    pub(super) fn advance(&mut self, mut sent: usize) {
        self.len -= sent;
        while sent >= self.first.len() {
            sent -= self.first.len();
            self.first = Bytes::new();
            self.begun = 0;
            let Some(more) = &mut self.more else { return };
            match more.entries.front() {
                Some(Entry::Piece(_)) => {}
                Some(Entry::Source(..)) => return,
                None => {
                    self.more = None;
                    return;
                }
            }
            if let Some(Entry::Piece(piece)) = more.entries.pop_front() {
                self.first = piece;
            }
        }
        self.first.advance(sent);
        self.begun += sent;
    }

    /// Drops everything that waits.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::delivery::Connection;
    use crate::delivery::stream::Stream;

    /// Makes its pieces one by one, whatever room there is.
    struct Pieces(VecDeque<Vec<u8>>);

    impl Source for Pieces {
        fn next(&mut self, _room: usize) -> io::Result<Option<Bytes>> {
            Ok(self.0.pop_front().map(Bytes::from))
        }

        fn held(&self) -> usize {
            self.0.iter().map(Vec::len).sum()
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Push(Vec<u8>),
        PushSource(Vec<Vec<u8>>),
        Send(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        let bytes = || prop::collection::vec(any::<u8>(), 0..5);
        prop_oneof![
            bytes().prop_map(Step::Push),
            prop::collection::vec(bytes(), 0..4).prop_map(Step::PushSource),
            (0usize..12).prop_map(Step::Send),
        ]
    }

    proptest! {
        #[test]
        fn bytes_leave_in_order_whoever_made_them_and_however_they_are_sent(
            steps in prop::collection::vec(step(), 0..60),
        ) {
            let mut outbox = Outbox::default();
            let mut expected = VecDeque::new();
            for step in steps.into_iter().chain(std::iter::repeat_n(Step::Send(12), 300)) {
                match step {
                    Step::Push(piece) => {
                        expected.extend(piece.iter().copied());
                        outbox.push(piece.into());
                    }
                    Step::PushSource(pieces) => {
                        expected.extend(pieces.iter().flatten().copied());
                        outbox.push_source(Box::new(Pieces(pieces.into())));
                    }
                    Step::Send(most) => {
                        prop_assert_eq!(outbox.front().unwrap().is_empty(), expected.is_empty());
                        prop_assert_eq!(outbox.is_empty(), expected.is_empty());
                        if !outbox.is_empty() {
                            let bytes = outbox.write(|slices| slices.iter().flat_map(|slice| slice.to_vec()).collect::<Vec<_>>());
                            let sent = most.min(bytes.len());
                            for byte in &bytes[..sent] {
                                prop_assert_eq!(Some(*byte), expected.pop_front());
                            }
                            outbox.advance(sent);
                        }
                    }
                }
                prop_assert_eq!(outbox.len, expected.len());
                prop_assert_eq!(outbox.waiting() - outbox.len, outbox.sources() * PAGE);
            }
            prop_assert!(expected.is_empty());
            prop_assert!(outbox.more.is_none());
        }
    }

    #[test]
    fn a_place_in_the_queue_costs_no_more_than_a_piece() {
        assert_eq!(size_of::<Entry>(), size_of::<Bytes>());
        assert_eq!(size_of::<Outbox>(), 56);
        let size = size_of::<Connection>();
        // With the counts of an `Rc` it fills a size class of the allocator, 320.
        assert!(size <= 304, "every idle subscriber has one: {size}");
    }

    #[test]
    fn what_was_sent_of_a_connection_that_is_given_up_meanwhile_is_taken_off_nothing() {
        let connection = Connection::new(Stream::Body);
        connection.push(Bytes::from_static(b"half of it"));
        let front = connection.front();
        connection.give_up();
        connection.sent(front.len());
        assert_eq!((connection.waiting(), connection.held()), (0, 0));
    }

    #[test]
    fn a_piece_is_held_whole_until_its_end() {
        let mut outbox = Outbox::default();
        outbox.push(Bytes::from(vec![0; 1000]));
        outbox.advance(900);
        assert_eq!((outbox.waiting(), outbox.held(), outbox.backlog()), (100, 1000, 0));
        outbox.advance(100);
        assert_eq!(outbox.held(), 0);
    }

    #[test]
    fn the_backlog_counts_the_places_in_the_queue_and_not_the_piece_that_is_being_sent() {
        let mut outbox = Outbox::default();
        outbox.push(Bytes::from(vec![0; 1_000_000]));
        assert_eq!(outbox.backlog(), 0);
        for _ in 0..1000 {
            outbox.push(Bytes::from_static(b"x"));
        }
        assert!((33_000..=1024 * 33 + 1000).contains(&outbox.backlog()), "{}", outbox.backlog());
        outbox.advance(1_001_000);
        assert_eq!(outbox.backlog(), 0);
        assert!(outbox.is_empty() && outbox.more.is_none());
    }
}
