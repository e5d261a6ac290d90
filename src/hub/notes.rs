//! The queues of notes, one per worker, and which workers must be woken once the lock is released.
//!
//! It does not know how a worker is woken. A worker is woken when its queue goes from empty to non-empty, so it must
//! take all notes each time.

use smallvec::SmallVec;

use super::fanout::Note;

/// Notes of one worker beyond which publishers are asked to wait.
const MANY: usize = 4096;
/// Bytes of messages in the notes of one worker beyond which they are asked to, as well.
const MUCH: usize = 16 << 20;

/// Workers to wake after the lock is released.
pub(super) type Woken = SmallVec<[usize; 8]>;

/// The queues.
pub(super) struct Notes {
    queues: Box<[Queue]>,
    woken: Woken,
}

/// What one worker has yet to take.
#[derive(Default)]
struct Queue {
    notes: Vec<Note>,
    /// Bytes of their messages; one that many notes share counts with each.
    bytes: usize,
}

impl Notes {
    pub(super) fn new(workers: usize) -> Self {
        Self { queues: (0..workers).map(|_| Queue::default()).collect(), woken: Woken::new() }
    }

    pub(super) fn post(&mut self, worker: usize, note: Note) {
        let Some(queue) = self.queues.get_mut(worker) else { return };
        if queue.notes.is_empty() {
            self.woken.push(worker);
        }
        let (Note::Message(fanout) | Note::Deleted(fanout)) = &note;
        queue.bytes = queue.bytes.saturating_add(fanout.message.text.len());
        queue.notes.push(note);
    }

    /// Moves all notes of the worker behind those in `into`.
    pub(super) fn take(&mut self, worker: usize, into: &mut Vec<Note>) {
        let Some(queue) = self.queues.get_mut(worker) else { return };
        queue.bytes = 0;
        if into.is_empty() {
            std::mem::swap(&mut queue.notes, into);
        } else {
            into.append(&mut queue.notes);
        }
    }

    /// Whether a worker is so far behind that publishers had better wait for it.
    pub(super) fn are_many(&self) -> bool {
        self.queues.iter().any(|queue| queue.notes.len() > MANY || queue.bytes > MUCH)
    }

    pub(super) fn take_woken(&mut self) -> Woken {
        std::mem::take(&mut self.woken)
    }
}
