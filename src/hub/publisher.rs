//! The publisher's side: who may publish, delete and ask, and what happens then.
//!
//! It does not know methods, bodies or formats. Ids are looked at in the order of the path and the first that does not
//! pass decides the refusal.

use smallvec::SmallVec;

use super::events::EventKind;
use super::registry::ChannelKey;
use super::slab::Slot;
use super::zone::ZoneState;
use crate::model::{ChannelId, Draft, Now, Refusal};

/// The channels of one request.
pub(super) type Slots = SmallVec<[Slot; 4]>;

/// The channels that were created for one request.
pub(super) type Created = SmallVec<[(ChannelKey, ChannelId); 1]>;

impl ZoneState {
    /// The checks of an id that need no channel.
    pub(super) fn check_id(&self, id: &ChannelId) -> Result<(), Refusal> {
        if id.is_reserved() {
            return Err(Refusal::ReservedId);
        }
        let length = id.as_bytes().len();
        if self.settings.max_channel_id_length.is_some_and(|most| length > most) {
            return Err(Refusal::IdTooLarge);
        }
        Ok(())
    }

    pub(super) fn check_ids(&self, ids: &[ChannelId]) -> Result<(), Refusal> {
        ids.iter().try_for_each(|id| self.check_id(id))
    }

    /// Whether what is published now can be kept.
    pub(super) fn check_open(&self) -> Result<(), Refusal> {
        if self.closed {
            return Err(Refusal::Leaving);
        }
        self.check_joined()
    }

    /// Whether it has what the others of its zone have.
    pub(super) fn check_joined(&self) -> Result<(), Refusal> {
        if self.joining { Err(Refusal::Joining) } else { Ok(()) }
    }

    pub(super) fn check_delete(&self, ids: &[ChannelId]) -> Result<(), Refusal> {
        self.check_open()?;
        ids.iter().try_for_each(|id| {
            self.check_id(id)?;
            self.check_not_events_channel(id)
        })
    }

    fn check_not_events_channel(&self, id: &ChannelId) -> Result<(), Refusal> {
        if self.is_events_channel(id) { Err(Refusal::EventsChannelReadOnly) } else { Ok(()) }
    }

    pub(super) fn is_events_channel(&self, id: &ChannelId) -> bool {
        self.events.is_some() && *id.as_bytes() == *self.settings.events_channel_id
    }

    /// Checks ids of a publish and creates the channels that are missing.
    pub(super) fn admit_publish(&mut self, ids: &[ChannelId], created: &mut Created, now: Now) -> Result<(), Refusal> {
        self.check_open()?;
        ids.iter().try_for_each(|id| {
            self.check_id(id)?;
            self.open_channel(id, created, now)?;
            self.check_not_events_channel(id)
        })
    }

    /// The channel with this id, created if it is missing.
    pub(super) fn open_channel(&mut self, id: &ChannelId, created: &mut Created, now: Now) -> Result<Slot, Refusal> {
        if let Some(slot) = self.registry.find(id) {
            return Ok(slot);
        }
        let slot = self.admit_channel(id, now)?;
        if let Some(channel) = self.registry.get(slot) {
            created.push((channel.key, id.clone()));
        }
        Ok(slot)
    }

    /// Tells of the channels created for a request, or, where it was refused, undoes their creation unless the capabilities ask for
    /// the module's way.
    pub(super) fn conclude(&mut self, created: &[(ChannelKey, ChannelId)], refused: bool, now: Now) {
        for (key, id) in created {
            if !(refused && self.capabilities.exact_admission) {
                self.emit(EventKind::ChannelCreated, id, now);
            } else if let Some(slot) = self.registry.find_key(*key) {
                self.undo_create(slot);
            }
        }
    }

    /// One message per id, in this order; memory has been asked.
    pub(super) fn publish(&mut self, ids: &[ChannelId], draft: &Draft, now: Now) {
        for id in ids {
            let slot = self.find_or_create(id, now);
            if Some(slot) != self.events {
                self.append(slot, draft.clone(), now);
            }
        }
    }

    /// The channel with this id, whatever the limits say: it was admitted a moment ago.
    pub(super) fn find_or_create(&mut self, id: &ChannelId, now: Now) -> Slot {
        self.registry.find(id).unwrap_or_else(|| {
            let slot = self.create(id, now);
            self.emit(EventKind::ChannelCreated, id, now);
            slot
        })
    }

    /// One message per channel that still exists; none for the events channel.
    pub(super) fn publish_to(&mut self, keys: &[ChannelKey], draft: &Draft, now: Now) {
        for &key in keys {
            match self.registry.find_key(key) {
                Some(slot) if Some(slot) != self.events => self.append(slot, draft.clone(), now),
                _ => {}
            }
        }
    }

    /// Deletes the channels that exist; returns how many.
    pub(super) fn delete(&mut self, ids: &[ChannelId], text: Option<&[u8]>, now: Now) -> usize {
        let configured = self.settings.deleted_text.clone();
        let text = text.unwrap_or(&configured);
        let mut deleted = 0;
        for id in ids {
            if let Some(slot) = self.registry.find(id).filter(|&slot| Some(slot) != self.events) {
                self.delete_channel(slot, text, now);
                deleted += 1;
            }
        }
        deleted
    }
}
