//! Whether there is room in memory: asked before anything is stored or created, by the rule of the zone.
//!
//! Two rules: by default a budget of bytes, in which stored messages make room for new ones; where full memory refuses, the
//! module's own count of its shared memory, in which all that was published stays until it leaves the trash.

use super::backlog::message_cost;
use super::shared_memory::{SharedMemory, Taken};
use super::zone::ZoneState;
use crate::model::{ChannelId, Draft, Message, Refusal};

impl ZoneState {
    /// Whether that many messages of a draft may be published.
    pub(super) fn admit_copies(&self, draft: &Draft, copies: usize) -> Result<(), Refusal> {
        let fits = match (&self.shared, copies_cost(draft, copies)) {
            (Some(shared), _) => shared.fits(shared.message(draft.text.len(), draft.event.as_deref()), copies),
            (None, 0) => true,
            (None, bytes) => return self.budget.admit_messages(bytes),
        };
        if fits { Ok(()) } else { Err(Refusal::MemoryFull) }
    }

    /// Keeps memory for that many messages that were admitted and come later.
    pub(super) fn reserve_copies(&mut self, draft: &Draft, copies: usize) {
        self.budget.add_messages(copies_cost(draft, copies));
        if let Some(shared) = &mut self.shared {
            shared.take(shared.message(draft.text.len(), draft.event.as_deref()), copies);
        }
    }

    /// Gives back what was kept for messages that come now.
    pub(super) fn unreserve_copies(&mut self, draft: &Draft, copies: usize) {
        self.budget.remove_messages(copies_cost(draft, copies));
        if let Some(shared) = &mut self.shared {
            shared.give_back(shared.message(draft.text.len(), draft.event.as_deref()), copies);
        }
    }

    /// Whether a channel may be created.
    pub(super) fn admit_channel_memory(&self, id: &ChannelId) -> Result<(), Refusal> {
        let length = id.as_bytes().len();
        match &self.shared {
            Some(shared) if shared.fits(SharedMemory::channel(length), 1) => Ok(()),
            Some(_) => Err(Refusal::MemoryFull),
            None => self.budget.admit_channel(length),
        }
    }

    /// What a message is taken to hold of the module's memory; nothing where that does not count.
    pub(super) fn held_by(&self, message: &Message) -> Taken {
        SharedMemory::held_by(self.shared.as_ref(), message)
    }

    /// What a channel is taken to hold of it.
    pub(super) fn held_by_channel(&self, id: &ChannelId) -> Taken {
        self.shared.as_ref().map_or(Taken::default(), |_| SharedMemory::channel(id.as_bytes().len()))
    }

    /// Takes a channel's part of it.
    pub(super) fn hold_channel(&mut self, id: &ChannelId) {
        self.hold(self.held_by_channel(id));
    }

    /// Takes a part of it.
    pub(super) fn hold(&mut self, held: Taken) {
        if let Some(shared) = &mut self.shared {
            shared.take(held, 1);
        }
    }

    /// Gives a part of it back.
    pub(super) fn let_go(&mut self, held: Taken) {
        if let Some(shared) = &mut self.shared {
            shared.give_back(held, 1);
        }
    }
}

/// What storing that many messages of a draft takes; nothing if they are not to be stored.
fn copies_cost(draft: &Draft, copies: usize) -> u64 {
    let one = if draft.store { message_cost(draft.text.len(), draft.event.as_deref()) } else { 0 };
    one.saturating_mul(copies as u64)
}
