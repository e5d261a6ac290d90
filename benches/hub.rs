//! Figures of the hub: what a call costs, alone and contended, what a channel and a message occupy, and the longest call
//! while a million channels are loaded, listed and let go.
//!
//! `cargo bench --bench hub`. Memory is read from /proc, so that what the allocator adds is counted too.

#![allow(clippy::unwrap_used, missing_docs, reason = "a measurement, not the product")]

use std::hint::black_box;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use pushstreamd::internals::hub::{Ask, AskKind, Hub};
use pushstreamd::internals::model::{Capabilities, ChannelId, Draft, Now, Replay, Stamp, Zone, parse_channel_path};

const START: Now = Now(1_700_000_000_000);
const MILLION: usize = 1_000_000;

fn zone() -> Zone {
    Zone { memory: 8 << 30, inactivity: 30, message_ttl: 60, max_messages_per_channel: Some(100), ..Zone::default() }
}

fn hub() -> Hub {
    Hub::new(zone(), Capabilities::default(), 2, START, Some(Stamp::default()))
}

fn draft(store: bool) -> Draft {
    Draft { text: vec![b'x'; 200].into(), event: None, store, ..Draft::default() }
}

/// An id of 32 bytes, as Bitrix uses them.
fn id(n: usize) -> ChannelId {
    format!("{n:032x}").as_str().into()
}

fn subscribe(hub: &Hub, path: &str, worker: usize, kind: AskKind) -> pushstreamd::internals::hub::Answer {
    let replay = Replay::default();
    let path = parse_channel_path(path.as_bytes());
    let ask = Ask::unrestricted(worker, &path, &replay, kind);
    hub.subscribe(&ask, START).unwrap()
}

fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

fn each(name: &str, count: usize, mut act: impl FnMut(usize)) {
    let start = Instant::now();
    for n in 0..count {
        act(n);
    }
    println!("{name:<58} {:>8.0} ns", start.elapsed().as_nanos() as f64 / count as f64);
}

/// Runs all calls and shows the mean and the longest.
fn longest(name: &str, count: usize, mut act: impl FnMut(usize) -> bool) {
    let mut most = Duration::ZERO;
    let mut slow = 0;
    let mut calls = 0_u32;
    let start = Instant::now();
    for n in 0..count {
        let call = Instant::now();
        let more = act(n);
        let took = call.elapsed();
        most = most.max(took);
        slow += usize::from(took > Duration::from_millis(1));
        calls += 1;
        if !more {
            break;
        }
    }
    let mean = start.elapsed() / calls;
    println!("{name:<44} {calls:>8} calls, mean {mean:>9.2?}, longest {most:>9.2?}, over 1 ms: {slow}");
}

fn costs() {
    let ids: Vec<[ChannelId; 1]> = (0..1000).map(|n| [id(n)]).collect();
    let hub = hub();
    let publish = |n: usize, store| hub.publish(&ids[n % 1000], &draft(store), START).unwrap();
    each("a draft of 200 B by itself", 300_000, |_| drop(black_box(draft(true))));
    each("publish, not stored, 1000 channels", 300_000, |n| publish(n, false));
    each("publish, stored, cap of 100 reached", 300_000, |n| publish(n, true));
    subscribe(&hub, "hot", 0, AskKind::Stream);
    subscribe(&hub, "hot", 1, AskKind::Stream);
    let hot = [ChannelId::from("hot")];
    let mut notes = Vec::new();
    each("publish, not stored, two workers, notes taken", 300_000, |_| {
        hub.publish(&hot, &draft(false), START).unwrap();
        for worker in 0..2 {
            hub.take_notes(worker, &mut notes, START);
            notes.clear();
        }
    });
    each("long-poll: subscribe and leave", 300_000, |_| {
        let keys = subscribe(&hub, "lp", 0, AskKind::LongPoll).subscription.unwrap().keys;
        hub.leave(0, &keys, START);
    });
    each("poll with 100 messages missed", 30_000, |_| {
        let mut history = subscribe(&hub, "00000000000000000000000000000001.b100", 0, AskKind::Poll).history;
        black_box(hub.history_page(&mut history));
    });
}

fn contended() {
    for threads in [1, 2, 4] {
        let hub = Arc::new(hub());
        let start = Instant::now();
        let each = 300_000;
        let workers: Vec<_> = (0..threads)
            .map(|thread| {
                let hub = Arc::clone(&hub);
                thread::spawn(move || {
                    let ids: Vec<[ChannelId; 1]> = (0..1000).map(|n| [id(thread * 1000 + n)]).collect();
                    for n in 0..each {
                        hub.publish(&ids[n % 1000], &draft(true), START).unwrap();
                    }
                })
            })
            .collect();
        for worker in workers {
            worker.join().unwrap();
        }
        let all = start.elapsed();
        let rate = (each * threads) as f64 / all.as_secs_f64() / 1e6;
        println!("{threads} threads publish stored messages at once: {rate:.2} million a second in all");
    }
}

fn footprint() {
    let hub = hub();
    let before = resident();
    for n in 0..200_000 {
        hub.admit_publish(&[id(n)], START).unwrap();
    }
    let channels = resident();
    for n in 0..200_000 {
        subscribe(&hub, &format!("{n:032x}"), n % 2, AskKind::Stream);
    }
    let subscribed = resident();
    println!(
        "channel, id of 32 B: {} B; with a subscriber: {} B",
        (channels - before) / 200_000,
        (subscribed - before) / 200_000
    );
    // Kept, so that the memory below is new.
    std::mem::forget(hub);
    let hub = self::hub();
    (0..4000).for_each(|n| hub.admit_publish(&[id(n)], START).unwrap());
    let before = resident();
    for n in 0..400_000 {
        hub.publish(&[id(n % 4000)], &draft(true), START).unwrap();
    }
    println!("stored message of 200 B: {} B", (resident() - before) / 400_000);
}

fn million() {
    let hub = hub();
    let before = resident();
    longest("publish to a new channel", MILLION, |n| {
        hub.publish(&[id(n)], &draft(true), START).unwrap();
        true
    });
    println!("channel with one message of 200 B: {} B", (resident() - before) / MILLION as u64);
    let mut after = None;
    let mut listed = 0;
    longest("list, 1000 at a time", usize::MAX, |_| {
        let page = hub.list(b"", after, 1000);
        listed += page.len();
        after = page.last().map(|(key, _)| *key);
        page.len() == 1000
    });
    assert_eq!(listed, MILLION);
    let later = Now(START.0 + 100_000);
    longest("sweep: messages expire, channels go", usize::MAX, |_| hub.sweep(later));
    assert_eq!(hub.census(later).channels, 0);
    println!("left after that: {} MiB resident (the allocator keeps what is free)", (resident() - before) >> 20);
    for n in 0..MILLION {
        hub.publish(&[id(n)], &draft(true), later).unwrap();
    }
    let ids: Vec<ChannelId> = (0..MILLION).map(id).collect();
    longest("delete", MILLION, |n| hub.delete(std::slice::from_ref(&ids[n]), None, later) == 1);
}

/// A million messages on one channel, and on a thousand: asking for all of them, page by page.
fn full_history() {
    for channels in [1, 200, 1000] {
        let hub = Hub::new(
            Zone { max_messages_per_channel: None, ..zone() },
            Capabilities::default(),
            2,
            START,
            Some(Stamp::default()),
        );
        let ids: Vec<ChannelId> = (0..channels).map(id).collect();
        for n in 0..MILLION {
            hub.publish(&ids[n % channels..][..1], &draft(true), START).unwrap();
        }
        let path: Vec<String> = (0..channels).map(|n| format!("{n:032x}.b1000000")).collect();
        let mut history = None;
        longest(&format!("ask for a million messages on {channels} channels"), 20, |_| {
            history = Some(subscribe(&hub, &path.join("/"), 0, AskKind::Poll).history);
            true
        });
        let mut history = history.unwrap();
        let mut seen = 0;
        longest("a page of them", usize::MAX, |_| {
            let page = hub.history_page(&mut history).len();
            seen += page;
            page > 0
        });
        assert_eq!(seen, MILLION);
    }
}

fn main() {
    // A short run only shows that it works (`cargo test --benches`).
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    footprint();
    costs();
    contended();
    full_history();
    million();
}
