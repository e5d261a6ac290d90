//! Refusals, caps, memory, and the ways workers and listings share the hub.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

#[test]
fn publishers_are_refused_in_the_order_of_the_path() {
    let settings = Zone {
        max_channel_id_length: Some(5),
        max_channels: Some(2),
        max_wildcard_channels: Some(1),
        wildcard_prefix: (*b"w_").into(),
        ..zone()
    };
    let common = "0.1 admit ALL => ReservedId
         0.1 admit a*b => ReservedId
         0.1 admit all =>
         0.1 admit 123456 => IdTooLarge
         0.1 may-ask 123456 => IdTooLarge
         0.1 may-delete a/ALL => ReservedId
         0.1 may-ask a/b =>
         0.1 admit 12345 =>
         0.1 admit three => TooManyChannels
         0.1 admit w_1 =>
         0.1 admit w_2 => TooManyChannels
         0.1 admit all/12345/w_1 =>
         0.1 delete all => 1";
    run(
        settings.clone(),
        strict(),
        &format!(
            "{common}
         0.1 admit b/c => TooManyChannels
         0.1 list * => 12345:0:0:0 w_1:0:0:0 b:0:0:0"
        ),
    );
    run(
        settings,
        Capabilities::default(),
        &format!(
            "{common}
         0.1 admit b/c => TooManyChannels
         0.1 list * => 12345:0:0:0 w_1:0:0:0
         0.1 admit b/b =>"
        ),
    );
}

#[test]
fn subscribers_are_refused_in_the_order_of_the_rules() {
    let mut script = Script::new(Zone { wildcard_prefix: (*b"w_").into(), ..zone() }, strict());
    script.authorized_only = true;
    script.run(
        "0.1 stream s a => NotAuthorized
         0.1 publish a x
         0.1 flash b x
         0.1 stream s a.b1 => a:1:x
         0.1 stream t a/b => NotAuthorized
         0.1 stream t b/ALL => NotAuthorized
         0.1 stream t ALL/b => ReservedId
         0.1 poll w_2 => at -/-
         0.1 stream t a/w_1 =>
         0.1 delete a => 1
         0.1 poll a => NotAuthorized",
    );
    script.authorized_only = false;
    script.wildcard_limit = Some(2);
    script.run(
        "0.2 poll w_1 => TooManyWildcards
         0.2 poll a/w_1 => at -/-
         0.2 poll w_1/w_2/a => at -/-
         0.2 poll a/w_1/w_2/w_3 => TooManyWildcards
         0.2 poll b => at -/-",
    );
}

#[test]
fn the_limit_of_subscribers_counts_subscriptions() {
    let settings = Zone { max_subscribers_per_channel: Some(2), ..zone() };
    run(
        settings.clone(),
        Capabilities::default(),
        "0.1 stream s a/a/a => SubscribersLimit
         0.1 info a =>
         0.1 stream s a =>
         0.1 stream t a/a => SubscribersLimit
         0.1 poll a/a/a => at -/-
         0.1 stream t a/b =>
         0.1 poll a => SubscribersLimit
         0.1 stream u b/a => SubscribersLimit
         0.1 leave t
         0.1 stream u b/a =>",
    );
    run(settings, strict(), "0.1 stream s a/a/a =>");
}

#[test]
fn the_cap_of_stored_messages_drops_the_oldest() {
    run(
        Zone { max_messages_per_channel: Some(2), ..zone() },
        Capabilities::default(),
        "0.1 publish a 0
         0.1 publish a 1
         0.1 publish a 2
         0.1 publish a 3
         0.1 publish b b
         0.1 poll a.b9/b.b9 => a:3:2 a:4:3 b:1:b at +0/5
         0.1 census => channels 2+0 published 5 stored 3 trash 2 deleted 0 gone 0 subscribers [0, 0]",
    );
}

#[test]
fn full_memory_refuses_as_the_modules_does_where_the_module_is_followed() {
    let mut script = Script::new(Zone { memory: 300 << 10, ..zone() }, strict());
    // 75 pages, four of them not for messages; one holds channels, one their ids, one what belongs to messages.
    let accepted = (0..200).take_while(|_| publish_bytes(&script.hub, "a", 20_000).is_ok()).count();
    assert_eq!(accepted, 13);
    assert_eq!(publish_bytes(&script.hub, "a/b", 20_000), Err(Refusal::MemoryFull));
    script.run(
        "0.1 poll nothing => at -/-
         0.1 info a/b/nothing => a:13:13:0 nothing:0:0:0
         0.1 delete a => 1",
    );
    // What was published holds memory until it leaves the trash.
    assert_eq!(publish_bytes(&script.hub, "c", 20_000), Err(Refusal::MemoryFull));
    script.run("15.9 info a => ");
    assert_eq!(publish_bytes(&script.hub, "c", 20_000), Err(Refusal::MemoryFull));
    script.run("16.1 info a => ");
    let accepted = (0..200).take_while(|_| flash_bytes(&script.hub, "c", 20_000).is_ok()).count();
    assert_eq!(accepted, 13);
    script.run("36.0 info a =>");
    let accepted = (0..200).take_while(|_| flash_bytes(&script.hub, "c", 20_000).is_ok()).count();
    assert_eq!(accepted, 13);
    let created = (0..10_000).take_while(|n| script.hub.admit_publish(&ids(&n.to_string()), Now(0)).is_ok()).count();
    assert!(created < 100, "{created}");
    assert_eq!(script.hub.admit_publish(&ids("more"), Now(0)), Err(Refusal::MemoryFull));
    assert_eq!(script.act("poll more"), "MemoryFull");
}

fn flash_bytes(hub: &Hub, id: &str, bytes: usize) -> Result<(), Refusal> {
    let draft = Draft { text: vec![b'm'; bytes].into(), store: false, ..Draft::default() };
    hub.publish(&ids(id), &draft, Now(0))
}

#[test]
fn full_memory_drops_the_oldest_messages_of_the_zone_otherwise() {
    let mut script = Script::new(Zone { memory: 100_000, ..zone() }, Capabilities::default());
    for _ in 0..2 {
        for id in ["a", "b", "c"] {
            publish_bytes(&script.hub, id, 20_000).unwrap();
        }
    }
    script.run(
        "0.1 info a/b/c => a:2:1:0 b:2:1:0 c:2:2:0
         0.1 census => channels 3+0 published 6 stored 4 trash 2 deleted 0 gone 0 subscribers [0, 0]",
    );
    publish_bytes(&script.hub, "b", 90_000).unwrap();
    assert_eq!(publish_bytes(&script.hub, "a", 100_000), Err(Refusal::MemoryFull));
    assert_eq!(publish_bytes(&script.hub, "a/b", 50_000), Err(Refusal::MemoryFull));
    script.run("0.1 info a/b/c => a:2:0:0 b:3:1:0 c:2:0:0");
    let used = script.hub.census(Now(START * 1000)).memory_used;
    assert!(used <= 100_000, "{used}");
}

#[test]
fn channels_push_messages_out_but_never_channels() {
    let script = Script::new(Zone { memory: 10_000, ..zone() }, Capabilities::default());
    publish_bytes(&script.hub, "a", 9_000).unwrap();
    let created = (0..1000).take_while(|n| script.hub.admit_publish(&ids(&n.to_string()), Now(0)).is_ok()).count();
    assert!((25..40).contains(&created), "{created}");
    assert_eq!(script.hub.find(&ids("a"))[0].stored, 0);
}

fn publish_bytes(hub: &Hub, id: &str, bytes: usize) -> Result<(), Refusal> {
    let draft = Draft { text: vec![b'm'; bytes].into(), event: None, store: true, ..Draft::default() };
    hub.publish(&ids(id), &draft, Now(START * 1000))
}

#[test]
fn a_worker_is_woken_when_its_first_note_comes() {
    let hub = Arc::new(Hub::new(zone(), Capabilities::default(), 2, Now(START * 1000), FLOOR));
    let calls: Arc<[AtomicUsize; 2]> = Arc::default();
    for worker in 0..2 {
        let calls = Arc::clone(&calls);
        let inside = Arc::downgrade(&hub);
        hub.set_waker(
            worker,
            Box::new(move || {
                calls[worker].fetch_add(1, Ordering::Relaxed);
                // The lock is free: this would not return otherwise.
                inside.upgrade().unwrap().census(Now(0));
            }),
        );
    }
    let path = parse_channel_path(b"a");
    let replay = Replay::default();
    let ask = Ask::unrestricted(1, &path, &replay, AskKind::Stream);
    hub.subscribe(&ask, Now(START * 1000)).unwrap();
    let woken = || [calls[0].load(Ordering::Relaxed), calls[1].load(Ordering::Relaxed)];
    publish_bytes(&hub, "a", 1).unwrap();
    publish_bytes(&hub, "a", 1).unwrap();
    assert_eq!(woken(), [0, 1]);
    let mut notes = Vec::new();
    hub.take_notes(1, &mut notes, Now(0));
    publish_bytes(&hub, "a", 1).unwrap();
    assert_eq!(woken(), [0, 2]);
    hub.take_notes(1, &mut notes, Now(0));
    assert_eq!(notes.len(), 3);
}

#[test]
fn a_listing_goes_on_after_a_key_even_if_its_channel_went() {
    let hub = Hub::new(zone(), Capabilities::default(), 1, Now(START * 1000), FLOOR);
    for n in 0..3000 {
        hub.admit_publish(&ids(&format!("{}{n}", if n % 1500 == 0 { "rare" } else { "x" })), Now(START * 1000))
            .unwrap();
    }
    assert_eq!(show(hub.list(b"rare", None, 9).into_iter().map(|(_, i)| i)), "rare0:0:0:0 rare1500:0:0:0");
    let first = hub.list(b"", None, 2);
    assert_eq!(hub.delete(&ids("x1"), None, Now(START * 1000)), 1);
    let rest = hub.list(b"", Some(first[1].0), 9999);
    assert_eq!((rest.len(), text(rest[0].1.id.as_bytes())), (2998, "x2".to_owned()));
    assert_eq!(hub.list(b"", None, 0), []);
}
