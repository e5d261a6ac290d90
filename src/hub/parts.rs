//! Requests that name very many channels: done part by part, with the lock released in between.
//!
//! It does not know rules of its own: each part is what a smaller request does at once. What such a request sees is a snapshot
//! all the same, because it subscribes everywhere first and then takes one moment up to which all is history.

use super::Hub;
use super::clock::Moment;
use super::publisher::Created;
use super::registry::ChannelKey;
use super::subscriber::{Answer, Ask, AskKind, Checked, Entry, Registration};
use crate::model::{ChannelId, Now, Refusal, Requested};

/// Channels looked at in one part; few in tests, that their requests have several.
pub(super) const CHANNELS: usize = if cfg!(test) { 4 } else { 256 };

pub(super) fn admit_publish(hub: &Hub, ids: &[ChannelId], wall: Now) -> Result<(), Refusal> {
    let mut created = Created::new();
    let admit = |part: &[ChannelId], created: &mut Created| {
        hub.locked(wall, |state, now| state.admit_publish(part, created, now))
    };
    let outcome = ids.chunks(CHANNELS).try_for_each(|part| admit(part, &mut created));
    conclude(hub, &created, outcome.is_err(), wall);
    outcome
}

pub(super) fn subscribe(hub: &Hub, ask: &Ask<'_>, wall: Now) -> Result<Answer, Refusal> {
    check(hub, ask)?;
    open(hub, ask, wall)?;
    if ask.kind != AskKind::Stream {
        let now = hub.state.lock().clock.last();
        let answer = read(hub, ask, now);
        if ask.kind == AskKind::Poll || !answer.history.is_empty() {
            return Ok(answer);
        }
    }
    let (registration, moment) = register(hub, ask, wall);
    let mut answer = read(hub, ask, moment);
    if ask.kind == AskKind::LongPoll && !answer.history.is_empty() {
        // Something came while it registered.
        hub.leave(ask.worker, &registration.keys, wall);
    } else {
        answer.subscription = Some(registration);
    }
    Ok(answer)
}

fn check(hub: &Hub, ask: &Ask<'_>) -> Result<(), Refusal> {
    let mut checked = Checked::default();
    let mut check = |part: &[Requested]| hub.state.lock().check_subscriber(ask, part, &mut checked);
    ask.path.chunks(CHANNELS).try_for_each(&mut check)?;
    hub.state.lock().check_wildcards(ask, &checked)
}

fn open(hub: &Hub, ask: &Ask<'_>, wall: Now) -> Result<(), Refusal> {
    let mut created = Created::new();
    let open = |part: &[Requested], created: &mut Created| {
        hub.locked(wall, |state, now| state.open_requested(part, created, now)).map(drop)
    };
    let outcome = ask.path.chunks(CHANNELS).try_for_each(|part| open(part, &mut created));
    conclude(hub, &created, outcome.is_err(), wall);
    outcome
}

fn conclude(hub: &Hub, created: &[(ChannelKey, ChannelId)], refused: bool, wall: Now) {
    for part in created.chunks(CHANNELS) {
        hub.locked(wall, |state, now| state.conclude(part, refused, now));
    }
}

/// Subscribes to all channels, even to one that went since it was opened; up to the moment returned all is history.
fn register(hub: &Hub, ask: &Ask<'_>, wall: Now) -> (Registration, Moment) {
    let mut entry = Entry::default();
    for part in ask.path.chunks(CHANNELS) {
        hub.locked(wall, |state, now| {
            for requested in part {
                let slot = state.find_or_create(&requested.id, now);
                state.register(slot, ask.worker, &mut entry, now);
            }
        });
    }
    hub.locked(wall, |state, _| {
        let moment = state.clock.last();
        let registration = state.enter(ask.worker, entry);
        (Registration { seq: moment.seq, ..registration }, moment)
    })
}

/// What was missed up to a moment, of which the first page is read.
fn read(hub: &Hub, ask: &Ask<'_>, until: Moment) -> Answer {
    let mut answer = Answer::new(ask, hub.state.lock().capabilities.merge_replay);
    for (part, requested) in ask.path.chunks(CHANNELS).enumerate() {
        let state = hub.state.lock();
        for (place, requested) in requested.iter().enumerate() {
            let Some(slot) = state.registry.find(&requested.id) else { continue };
            state.collect_missed(slot, (part * CHANNELS + place, requested), ask.replay, until, &mut answer);
        }
    }
    hub.state.lock().read_page(&mut answer.history);
    answer
}
