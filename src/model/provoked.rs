//! Panics that tests provoke, to show that what stands above the place is fenced. In test builds only.

use std::cell::Cell;

thread_local! {
    static PLACE: Cell<Option<&'static str>> = const { Cell::new(None) };
}

/// Lets the next step of this thread through a place panic.
pub(crate) fn arm(place: &'static str) {
    PLACE.set(Some(place));
}

/// Whether the panic armed last is still to come.
pub(crate) fn is_armed() -> bool {
    PLACE.get().is_some()
}

/// Panics if the place has been armed.
pub(crate) fn reach(place: &str) {
    if PLACE.get() == Some(place) {
        PLACE.set(None);
        panic!("provoked: {place}");
    }
}
