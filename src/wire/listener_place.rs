//! A listening socket as its connections see it: where it stands in the settings in force.

use std::cell::Cell;

use crate::conf::settings::ListenAddress;

/// The address of a listener, and its index into the listeners of the settings, which a reload may change.
pub struct ListenerPlace {
    address: ListenAddress,
    index: Cell<usize>,
}

impl ListenerPlace {
    /// A listener at this index.
    pub fn new(address: ListenAddress, index: usize) -> Self {
        Self { address, index: Cell::new(index) }
    }

    /// Its address.
    pub fn address(&self) -> &ListenAddress {
        &self.address
    }

    /// Its index into the listeners of the settings in force.
    pub fn index(&self) -> usize {
        self.index.get()
    }

    /// Tells the index under new settings.
    pub fn set_index(&self, index: usize) {
        self.index.set(index);
    }
}
