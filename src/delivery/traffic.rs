//! Bytes that come and go, counted by thread, of which each worker has one: a socket does not know its worker.

use std::cell::RefCell;
use std::io;
use std::sync::Arc;

use crate::metrics::Counts;

thread_local! {
    static MINE: RefCell<Option<Arc<Counts>>> = const { RefCell::new(None) };
}

/// From now on what happens on this thread counts here.
pub(super) fn count_for(counts: &Arc<Counts>) {
    MINE.set(Some(Arc::clone(counts)));
}

/// Counts what was read.
pub(super) fn received(read: io::Result<usize>) -> io::Result<usize> {
    count(read, |counts, bytes| counts.received.add(bytes))
}

/// Counts what was written.
pub(super) fn sent(written: io::Result<usize>) -> io::Result<usize> {
    count(written, |counts, bytes| counts.sent.add(bytes))
}

fn count(moved: io::Result<usize>, add: impl FnOnce(&Counts, u64)) -> io::Result<usize> {
    if let Ok(bytes) = moved {
        // A thread that ends has let go of it already.
        let _ = MINE.try_with(|mine| mine.borrow().as_ref().map(|counts| add(counts, bytes as u64)));
    }
    moved
}
