//! The index of due times: which channel has the message that expires next, and which idle channel goes next.
//!
//! It does not know what happens to what is due. Each channel is at most once in either list. A channel is moved in the
//! list of messages as soon as its first message changes (the list also answers which message of the zone goes first when
//! memory is full); in the list of idle channels it stays where it is when its time moves on, and is looked at again then.

use std::collections::BTreeMap;

use super::channel::{Channel, ChannelKey, Filed};
use super::slab::Slot;

/// The two ordered lists.
#[derive(Default)]
pub(super) struct DueIndex {
    expiring: BTreeMap<(u32, u64), Slot>,
    idle: BTreeMap<(u32, ChannelKey), Slot>,
}

impl DueIndex {
    /// Brings the index up to date with the channel.
    pub(super) fn file(&mut self, slot: Slot, channel: &mut Channel) {
        let filed = channel.filed;
        let earliest = channel.backlog.earliest();
        if earliest != (filed.seq > 0).then_some((filed.expires, filed.seq)) {
            if filed.seq > 0 {
                self.expiring.remove(&(filed.expires, filed.seq));
            }
            let (expires, seq) = earliest.unwrap_or_default();
            if seq > 0 {
                self.expiring.insert((expires, seq), slot);
            }
            channel.filed = Filed { seq, expires, ..filed };
        }
        let idle_at = channel.expires.saturating_add(1);
        // A later time is found out when the earlier one comes; an earlier one (a reload) is not.
        let must_move = channel.filed.idle_at == 0 || channel.filed.idle_at > idle_at;
        if must_move && channel.is_idle() {
            self.idle.remove(&(channel.filed.idle_at, channel.key));
            self.idle.insert((idle_at, channel.key), slot);
            channel.filed.idle_at = idle_at;
        }
    }

    /// Forgets a channel that was taken out of the registry.
    pub(super) fn forget(&mut self, channel: &Channel) {
        let filed = channel.filed;
        if filed.seq > 0 {
            self.expiring.remove(&(filed.expires, filed.seq));
        }
        if filed.idle_at > 0 {
            self.idle.remove(&(filed.idle_at, channel.key));
        }
    }

    /// The channel with the message that expires first, and when it does.
    pub(super) fn first_expiring(&self) -> Option<(u32, Slot)> {
        self.expiring.first_key_value().map(|(&(expires, _), &slot)| (expires, slot))
    }

    /// Takes out the next channel whose time in the list of idle channels has come. The caller clears its mark with
    /// [`DueIndex::unmark_idle`] and files it again if it stays.
    pub(super) fn pop_idle(&mut self, now: u32) -> Option<Slot> {
        let entry = self.idle.first_entry()?;
        (entry.key().0 <= now).then(|| entry.remove())
    }

    /// Notes in the channel that it is no longer in the list of idle channels.
    pub(super) fn unmark_idle(channel: &mut Channel) {
        channel.filed.idle_at = 0;
    }
}

#[cfg(test)]
impl DueIndex {
    /// Checks that exactly the channels that must be in the lists are, and that the lists lead to them.
    pub(super) fn audit<'a>(
        &self,
        channels: impl Iterator<Item = &'a Channel>,
        get: impl Fn(Slot) -> Option<&'a Channel>,
    ) {
        let (mut expiring, mut idle) = (0, 0);
        for channel in channels {
            let filed = channel.filed;
            assert_eq!(channel.backlog.earliest(), (filed.seq > 0).then_some((filed.expires, filed.seq)));
            assert!(filed.idle_at > 0 || !channel.is_idle(), "an idle channel is filed");
            assert!(filed.idle_at <= channel.expires.saturating_add(1) || !channel.is_idle());
            expiring += usize::from(filed.seq > 0);
            idle += usize::from(filed.idle_at > 0);
        }
        assert_eq!((self.expiring.len(), self.idle.len()), (expiring, idle));
        for (key, &slot) in &self.expiring {
            assert_eq!(get(slot).and_then(|channel| channel.backlog.earliest()), Some(*key));
        }
        for ((at, key), &slot) in &self.idle {
            assert_eq!(get(slot).map(|channel| (channel.filed.idle_at, channel.key)), Some((*at, *key)));
        }
    }
}
