//! What one act may take under the lock, and what the hub holds for others: no more than a batch, a page or a budget.

use super::*;
use crate::hub::sweep::BATCH;

fn draft(text: &str) -> Draft {
    Draft { text: text.as_bytes().into(), store: true, ..Draft::default() }
}

fn at(second: u64) -> Now {
    Now((START + second) * 1000)
}

/// Settles as `Hub::locked` does; how many holds of the lock it took.
fn settle(hub: &Hub) -> usize {
    let mut holds = 1;
    while hub.state.lock().settle(at(0)) {
        holds += 1;
    }
    holds
}

fn stored(hub: &Hub, id: &str) -> usize {
    hub.find(&ids(id)).first().map_or(0, |info| info.stored as usize)
}

#[test]
fn a_body_published_to_many_channels_is_held_once() {
    let hub = Hub::new(zone(), Capabilities::default(), 1, at(0), FLOOR);
    let names: Vec<ChannelId> = (0..500).map(|n| ChannelId::from(n.to_string().as_str())).collect();
    let draft = draft("shared");
    hub.publish(&names, &draft, at(0)).unwrap();
    // One for each channel, and the draft's own.
    assert_eq!(Arc::strong_count(&draft.text), 501);
}

#[test]
fn what_does_not_fit_on_all_channels_is_published_on_none() {
    for options in [Capabilities::default(), strict()] {
        let hub = Hub::new(Zone { memory: 100_000, ..zone() }, options, 1, at(0), FLOOR);
        let names: Vec<ChannelId> = (0..50).map(|n| ChannelId::from(n.to_string().as_str())).collect();
        hub.admit_publish(&names, at(0)).unwrap();
        assert_eq!(hub.publish(&names, &draft(&"x".repeat(3_000)), at(0)), Err(Refusal::MemoryFull));
        assert_eq!(hub.census(at(0)).published, 0);
        assert_eq!(hub.publish(&names, &draft(&"x".repeat(500)), at(0)), Ok(()));
        let used = hub.census(at(0)).memory_used;
        assert!((30_000..100_000).contains(&used), "nothing stays reserved: {used}");
    }
}

#[test]
fn a_big_message_pushes_small_ones_out_a_batch_at_a_time() {
    let hub = Hub::new(Zone { memory: 400_000, ..zone() }, Capabilities::default(), 1, at(0), FLOOR);
    for _ in 0..2_000 {
        hub.publish(&ids("small"), &draft("x"), at(0)).unwrap();
    }
    hub.admit_publish(&ids("big"), at(0)).unwrap();
    {
        let mut state = hub.state.lock();
        let slot = state.registry.find(&"big".into()).unwrap();
        state.append(slot, draft(&"x".repeat(300_000)), at(0));
    }
    let before = stored(&hub, "small");
    let holds = settle(&hub);
    let pushed_out = before - stored(&hub, "small");
    assert!(pushed_out > 2 * BATCH && holds >= pushed_out / BATCH, "{pushed_out} in {holds} holds");
    assert!(hub.census(at(0)).memory_used <= 400_000);
}

#[test]
fn a_much_smaller_cap_is_reached_a_batch_a_publish() {
    let hub = Hub::new(zone(), Capabilities::default(), 1, at(0), FLOOR);
    for _ in 0..1_000 {
        hub.publish(&ids("a"), &draft("x"), at(0)).unwrap();
    }
    hub.reconfigure(Zone { max_messages_per_channel: Some(10), ..zone() }, Capabilities::default(), at(0));
    hub.publish(&ids("a"), &draft("x"), at(0)).unwrap();
    assert_eq!(stored(&hub, "a"), 1_001 - BATCH);
    for _ in 0..4 {
        hub.publish(&ids("a"), &draft("x"), at(0)).unwrap();
    }
    assert_eq!(stored(&hub, "a"), 10);
}

#[test]
fn the_events_of_a_deletion_are_told_a_batch_at_a_time() {
    let settings = Zone { events_channel_id: (*b"EV").into(), ..zone() };
    let hub = Hub::new(settings, Capabilities::default(), 1, at(0), FLOOR);
    let path = parse_channel_path("a/".repeat(1_000).as_bytes());
    let replay = Replay::default();
    let ask = Ask::unrestricted(0, &path, &replay, AskKind::Stream);
    hub.subscribe(&ask, at(0)).unwrap();
    let before = stored(&hub, "EV");
    assert_eq!(hub.state.lock().delete(&ids("a"), None, at(0)), 1);
    assert_eq!(stored(&hub, "EV"), before);
    assert_eq!(settle(&hub), 1_000 / BATCH + 1);
    assert_eq!(stored(&hub, "EV"), before + 1_000);
}

#[test]
fn a_publisher_waits_for_workers_that_have_many_notes_or_big_ones() {
    for (messages, length) in [(5_000, 1), (20, 1 << 20)] {
        let hub = Hub::new(Zone { memory: 1 << 30, ..zone() }, Capabilities::default(), 1, at(0), FLOOR);
        let path = parse_channel_path(b"a");
        let replay = Replay::default();
        let ask = Ask::unrestricted(0, &path, &replay, AskKind::Stream);
        hub.subscribe(&ask, at(0)).unwrap();
        let draft = draft(&"x".repeat(length));
        assert!(!hub.is_congested());
        for _ in 0..messages {
            hub.publish(&ids("a"), &draft, at(0)).unwrap();
        }
        assert!(hub.is_congested());
        hub.take_notes(0, &mut Vec::new(), at(0));
        assert!(!hub.is_congested());
    }
}

#[test]
fn history_comes_in_pages_in_one_order_over_all_channels() {
    for (options, merged) in [(Capabilities::default(), true), (strict(), false)] {
        let hub = Hub::new(zone(), options, 1, at(0), FLOOR);
        for n in 0..40 {
            hub.publish(&ids(["a", "b", "c/d"][n % 3]), &draft(&n.to_string()), at(0)).unwrap();
        }
        let path = parse_channel_path(b"c/a/b/d");
        let replay = Replay { time: Some(0), ..Replay::default() };
        let ask = Ask::unrestricted(0, &path, &replay, AskKind::Poll);
        let mut history = hub.subscribe(&ask, at(0)).unwrap().history;
        let pages: Vec<Vec<Missed>> = hub.pages(&mut history).collect();
        assert!(pages.len() > 5 && history.is_empty());
        let seqs: Vec<u64> = pages.iter().flatten().map(|missed| missed.message.seq).collect();
        let mut order = seqs.clone();
        order.sort_unstable();
        assert_eq!((seqs == order, order), (merged, (1..=53).collect()));
    }
}

#[test]
fn what_is_dropped_before_a_slow_reader_gets_there_is_left_out() {
    let hub = Hub::new(zone(), Capabilities::default(), 1, at(0), FLOOR);
    for n in 0..30 {
        hub.publish(&ids(if n < 20 { "a" } else { "b" }), &draft(&n.to_string()), at(0)).unwrap();
    }
    let path = parse_channel_path(b"a/b");
    let replay = Replay { time: Some(0), ..Replay::default() };
    let ask = Ask::unrestricted(0, &path, &replay, AskKind::Poll);
    let mut history = hub.subscribe(&ask, at(0)).unwrap().history;
    let first = hub.history_page(&mut history).len();
    hub.delete(&ids("a"), None, at(0));
    // Its id lives on in another channel, whose messages nobody has missed.
    hub.publish(&ids("a"), &draft("new"), at(0)).unwrap();
    let rest: Vec<u64> = hub.pages(&mut history).flatten().map(|missed| missed.message.seq).collect();
    assert!(first < 20);
    assert_eq!(rest, (21..=30).collect::<Vec<u64>>());
}
