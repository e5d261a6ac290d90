//! A registration on its way from the hub to a connection: whatever happens between, it is not left behind.

use std::rc::Rc;

use super::worker::Worker;
use crate::hub::Registration;

/// A registration that no connection has taken over yet. Dropped, it is undone at the hub.
pub struct Admission {
    worker: Rc<Worker>,
    registration: Option<Registration>,
}

impl Admission {
    /// Answers for a registration that the hub has made for this worker.
    pub fn new(worker: &Rc<Worker>, registration: Registration) -> Self {
        Self { worker: Rc::clone(worker), registration: Some(registration) }
    }

    /// The registration, for the connection that answers for it from now on.
    pub(super) fn take(mut self) -> Option<Registration> {
        self.registration.take()
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        if let Some(registration) = self.registration.take() {
            self.worker.hub().leave(self.worker.index(), &registration.keys, self.worker.now());
        }
    }
}
