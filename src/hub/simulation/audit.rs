//! Whether counters, budget and index of a hub agree with its channels.

use crate::hub::Hub;

pub(in crate::hub) fn audit(hub: &Hub) {
    let state = hub.state.lock();
    let (mut stored, mut kinds, mut messages) = (0, [0, 0], 0);
    for (key, channel) in state.registry.after(None) {
        assert_eq!(state.registry.find(&channel.id), state.registry.find_key(key));
        if !channel.for_events {
            stored += channel.backlog.len();
        }
        kinds[usize::from(channel.wildcard)] += 1;
        messages += channel.backlog.bytes();
    }
    stored += state.trash.deleted.iter().map(|deleted| deleted.stored).sum::<usize>();
    assert_eq!(state.counters.stored, stored as u64);
    assert_eq!([state.counters.channels, state.counters.wildcard_channels], kinds);
    assert!(state.budget.used() >= messages);
    let channels = state.registry.after(None).map(|(_, channel)| channel);
    state.due.audit(channels, |slot| state.registry.get(slot));
}
