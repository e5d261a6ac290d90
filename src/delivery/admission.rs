//! A registration on its way from the hub to a connection: whatever happens between, it is not left behind.

use std::rc::Rc;

use super::local_zone::LocalZone;
use crate::hub::Registration;

/// A registration that no connection has taken over yet. Dropped, it is undone at the hub.
pub struct Admission {
    zone: Rc<LocalZone>,
    registration: Option<Registration>,
}

impl Admission {
    /// Answers for a registration that the hub of this zone has made for its worker.
    pub fn new(zone: &Rc<LocalZone>, registration: Registration) -> Self {
        Self { zone: Rc::clone(zone), registration: Some(registration) }
    }

    /// The registration, for the connection that answers for it from now on, and its zone.
    pub(super) fn take(mut self) -> Option<(Registration, Rc<LocalZone>)> {
        Some((self.registration.take()?, Rc::clone(&self.zone)))
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        if let Some(registration) = self.registration.take() {
            self.zone.hub().leave(self.zone.worker(), &registration.keys, self.zone.now());
        }
    }
}
