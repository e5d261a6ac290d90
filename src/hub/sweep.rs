//! The janitor: passes that drop expired messages, let idle channels go and empty the trash, a bounded batch at a time.
//!
//! It does not know what calls it. A pass starts every 4 s since the hub was made, and every 5 s since the first publish
//! one that looks only at messages; operators see these periods in the statistics. Nothing here walks all channels.

use super::due::DueIndex;
use super::zone::ZoneState;
use crate::model::Now;

/// Milliseconds between two passes.
const PASS: u64 = 4000;
/// Milliseconds between two passes over the messages alone.
const MESSAGE_PASS: u64 = 5000;
/// Messages and channels looked at in one batch: well under a millisecond under the lock.
pub(super) const BATCH: usize = 256;

/// When passes start and how far the present one is.
pub(super) struct Janitor {
    next_pass: Timer,
    next_message_pass: Option<Timer>,
    pass: Option<Pass>,
}

/// The pass under way.
#[derive(Clone, Copy)]
struct Pass {
    stage: Stage,
    /// Whether only messages are looked at.
    messages_only: bool,
}

#[derive(Clone, Copy)]
enum Stage {
    Deleted,
    Messages,
    IdleChannels,
    Trash,
}

/// A point in time that comes again with a fixed period.
struct Timer {
    at: u64,
    period: u64,
}

impl Timer {
    fn new(now: Now, period: u64) -> Self {
        Self { at: now.0.saturating_add(period), period }
    }

    /// Whether the time has come; points missed since count as one.
    fn comes(&mut self, now: Now) -> bool {
        let due = now.0 >= self.at;
        if due {
            let periods = (now.0 - self.at) / self.period + 1;
            self.at = self.at.saturating_add(periods.saturating_mul(self.period));
        }
        due
    }
}

impl Janitor {
    pub(super) fn new(now: Now) -> Self {
        Self { next_pass: Timer::new(now, PASS), next_message_pass: None, pass: None }
    }

    /// Starts the clock of the passes over the messages with the first publish.
    pub(super) fn message_published(&mut self, now: Now) {
        self.next_message_pass.get_or_insert_with(|| Timer::new(now, MESSAGE_PASS));
    }

    /// The pass under way, or the one whose time has come.
    fn present_pass(&mut self, now: Now) -> Option<Pass> {
        let whole = self.next_pass.comes(now);
        let messages_only = self.next_message_pass.as_mut().is_some_and(|timer| timer.comes(now));
        if whole {
            self.pass = Some(Pass { stage: Stage::Deleted, messages_only: false });
        } else if messages_only && self.pass.is_none() {
            self.pass = Some(Pass { stage: Stage::Messages, messages_only: true });
        }
        self.pass
    }
}

impl ZoneState {
    /// Does one batch of the janitor's work; whether more is due at once.
    pub(super) fn sweep(&mut self, now: Now) -> bool {
        let Some(mut pass) = self.janitor.present_pass(now) else { return false };
        let mut left = BATCH;
        loop {
            let next = match pass.stage {
                Stage::Deleted if self.bury_deleted(&mut left, now) => Some(Stage::Messages),
                Stage::Messages if self.drop_expired(&mut left, now) => {
                    (!pass.messages_only).then_some(Stage::IdleChannels)
                }
                Stage::IdleChannels if self.destroy_idle(&mut left, now) => Some(Stage::Trash),
                Stage::Trash => {
                    let mut freed = self.trash.messages.free(now);
                    freed += self.trash.channels.free(now);
                    self.let_go(freed);
                    None
                }
                _ => {
                    self.janitor.pass = Some(pass);
                    return true;
                }
            };
            let Some(stage) = next else {
                self.janitor.pass = None;
                return false;
            };
            pass.stage = stage;
        }
    }

    /// Moves deleted channels and their messages to the trash. Like the next two, returns whether all of it is done.
    fn bury_deleted(&mut self, left: &mut usize, now: Now) -> bool {
        while take_one(left) {
            let kept = self.trash.deleted.first_mut().and_then(|deleted| deleted.kept.pop_oldest());
            if let Some(message) = kept {
                let held = self.held_by(&message);
                self.trash.messages.add(0, held, now);
                self.garbage.add(message);
                continue;
            }
            let Some(deleted) = self.trash.deleted.pop() else { return true };
            self.forget_stored(deleted.stored, now);
            let held = self.held_by_channel(&deleted.id);
            self.trash.channels.add(1, held, now);
            self.emit_destroyed(&deleted.id, deleted.announced, now);
        }
        false
    }

    fn drop_expired(&mut self, left: &mut usize, now: Now) -> bool {
        while take_one(left) {
            match self.due.first_expiring() {
                Some((expires, slot)) if expires <= now.secs() => self.drop_earliest(slot, now),
                _ => return true,
            }
        }
        false
    }

    fn destroy_idle(&mut self, left: &mut usize, now: Now) -> bool {
        while take_one(left) {
            let Some(slot) = self.due.pop_idle(now.secs()) else { return true };
            let Some(channel) = self.registry.get_mut(slot) else { continue };
            DueIndex::unmark_idle(channel);
            if channel.is_idle() && channel.expires < now.secs() {
                self.destroy(slot, now);
            } else {
                self.due.file(slot, channel);
            }
        }
        false
    }
}

/// Takes one of what is left; false if nothing is.
pub(super) fn take_one(left: &mut usize) -> bool {
    let some = *left > 0;
    *left = left.saturating_sub(1);
    some
}
