//! The grace after a start (`push_stream_unknown_channel_grace`): channels that nobody knows may be those of the process before.
//!
//! It does not know who asks. Where clients may only subscribe to channels that hold messages, a start that lost the messages
//! would refuse all clients at once, and all would run to whoever gives out channels. A channel for which nothing comes goes as any other.

use super::zone::ZoneState;
use crate::model::ChannelId;

/// The shortest id that is taken for one that was given out, and not guessed or typed.
const SHORTEST: usize = 8;

impl ZoneState {
    /// Whether a channel without messages may be one that had some before the start.
    pub(super) fn may_be_forgotten(&self, id: &ChannelId) -> bool {
        let grace = self.settings.unknown_grace;
        let over = self.started.secs().saturating_add(grace);
        let wanted = grace > 0 && !self.journal.complete && self.clock.present().secs() < over;
        wanted && is_plausible(id) && self.has_room_to_guess()
    }

    /// Half of the channels are left to publishers, whatever subscribers ask for.
    fn has_room_to_guess(&self) -> bool {
        self.settings.max_channels.is_none_or(|most| self.counters.channels < most / 2)
    }
}

/// Whether an id has the form of those that applications give out: letters, digits and `.:_-`.
fn is_plausible(id: &ChannelId) -> bool {
    let bytes = id.as_bytes();
    bytes.len() >= SHORTEST && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b".:_-".contains(byte))
}
