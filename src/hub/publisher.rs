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

/// The messages of one publish, one per channel.
pub(super) type Drafts = SmallVec<[Draft; 1]>;

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
        if ids.is_empty() {
            return Err(Refusal::NoChannelId);
        }
        ids.iter().try_for_each(|id| self.check_id(id))
    }

    pub(super) fn check_delete(&self, ids: &[ChannelId]) -> Result<(), Refusal> {
        if ids.is_empty() {
            return Err(Refusal::NoChannelId);
        }
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

    /// Checks the ids of a publish and creates the channels that are missing.
    pub(super) fn admit_publish(&mut self, ids: &[ChannelId], now: Now) -> Result<(), Refusal> {
        if ids.is_empty() {
            return Err(Refusal::NoChannelId);
        }
        let admit = |zone: &mut Self, id: &ChannelId| {
            zone.check_id(id)?;
            let opened = zone.open_channel(id, now)?;
            zone.check_not_events_channel(id)?;
            Ok(opened)
        };
        self.open_channels(ids.iter(), now, admit).map(drop)
    }

    /// The channel with this id, created if it is missing, and whether it was.
    pub(super) fn open_channel(&mut self, id: &ChannelId, now: Now) -> Result<(Slot, bool), Refusal> {
        match self.registry.find(id) {
            Some(slot) => Ok((slot, false)),
            None => Ok((self.admit_channel(id, now)?, true)),
        }
    }

    /// Opens channel after channel until one is refused. A refusal undoes what was created for the request, unless the
    /// options ask for the module's way.
    pub(super) fn open_channels<'a>(
        &mut self,
        ids: impl Iterator<Item = &'a ChannelId>,
        now: Now,
        open: impl Fn(&mut Self, &ChannelId) -> Result<(Slot, bool), Refusal>,
    ) -> Result<Slots, Refusal> {
        let mut slots = Slots::new();
        let mut created: SmallVec<[(Slot, ChannelId); 1]> = SmallVec::new();
        let mut outcome = Ok(());
        for id in ids {
            match open(self, id) {
                Ok((slot, new)) => {
                    slots.push(slot);
                    if new {
                        created.push((slot, id.clone()));
                    }
                }
                Err(refusal) => {
                    outcome = Err(refusal);
                    break;
                }
            }
        }
        let undo = outcome.is_err() && self.options.exact_admission;
        for (slot, id) in created {
            if undo {
                self.undo_create(slot);
            } else {
                self.emit(EventKind::ChannelCreated, &id, now);
            }
        }
        outcome.map(|()| slots)
    }

    /// One message per id, in this order.
    pub(super) fn publish(&mut self, ids: &[ChannelId], drafts: Drafts, now: Now) -> Result<(), Refusal> {
        self.admit_drafts(&drafts)?;
        for (id, draft) in ids.iter().zip(drafts) {
            let slot = self.registry.find(id).unwrap_or_else(|| {
                let slot = self.create(id, now);
                self.emit(EventKind::ChannelCreated, id, now);
                slot
            });
            if Some(slot) != self.events {
                self.append(slot, draft, now);
            }
        }
        Ok(())
    }

    /// One message per channel that still exists; none for the events channel.
    pub(super) fn publish_to(&mut self, keys: &[ChannelKey], drafts: Drafts, now: Now) -> Result<(), Refusal> {
        self.admit_drafts(&drafts)?;
        for (&key, draft) in keys.iter().zip(drafts) {
            match self.registry.find_key(key) {
                Some(slot) if Some(slot) != self.events => self.append(slot, draft, now),
                _ => {}
            }
        }
        Ok(())
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
