//! The same law with real threads: publishers, pollers and long-pollers of several channels at once.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use super::super::tests::zone;
use crate::hub::{Ask, AskKind, Hub, Note};
use crate::model::{Capabilities, ChannelId, Draft, Now, Replay, parse_channel_path};

const MESSAGES: u64 = 500;
const PATH: &[u8] = b"a/b/c/d/e/f/g";

fn now() -> Now {
    Now(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64)
}

/// Follows all channels from the beginning; the sequence numbers it sees until it has seen so many.
fn follow(hub: &Hub, worker: usize, kind: AskKind, published: &AtomicBool, total: u64) -> Vec<u64> {
    let path = parse_channel_path(PATH);
    let mut replay = Replay { time: Some(0), tag: None, event_id: None };
    let (mut seen, mut notes) = (Vec::new(), Vec::new());
    while (seen.len() as u64) < total {
        let over = published.load(Ordering::Acquire);
        let ask = Ask::unrestricted(worker, &path, &replay, kind);
        let mut answer = hub.subscribe(&ask, now()).unwrap();
        (replay.time, replay.tag) = (Some(answer.resume.time), answer.resume.tag);
        let before = seen.len();
        seen.extend(hub.pages(&mut answer.history).flatten().map(|missed| missed.message.seq));
        if let Some(registration) = answer.subscription {
            // One look at the notes: either a message answers, or the time is over.
            notes.clear();
            let mut resume = hub.take_notes(worker, &mut notes, now());
            for note in notes.drain(..) {
                let Note::Message(fanout) = note else { continue };
                if fanout.message.seq > registration.seq && registration.keys.contains(&fanout.channel) {
                    resume = fanout.seen;
                    seen.push(fanout.message.seq);
                    break;
                }
            }
            (replay.time, replay.tag) = (Some(resume.time.into()), Some(resume.tag.into()));
            hub.leave(worker, &registration.keys, now());
        }
        assert!(!over || seen.len() > before || seen.len() as u64 == total, "{} of {total} were seen", seen.len());
    }
    seen
}

#[test]
fn followers_on_other_threads_see_each_message_once_in_order() {
    let hub = Hub::new(zone(), Capabilities::default(), 3, now(), None);
    let published = AtomicBool::new(false);
    let running = AtomicU64::new(2);
    let total = 2 * MESSAGES;
    std::thread::scope(|scope| {
        for publisher in 0..2u64 {
            let (hub, published, running) = (&hub, &published, &running);
            scope.spawn(move || {
                for n in 0..MESSAGES {
                    let name = PATH[((n * 5 + publisher) % 7 * 2) as usize];
                    let draft = Draft { text: (*b"x").into(), store: true, ..Draft::default() };
                    hub.publish(&[ChannelId::new(&[name])], &draft, now()).unwrap();
                    if n % 16 == 0 {
                        std::thread::yield_now();
                    }
                }
                if running.fetch_sub(1, Ordering::AcqRel) == 1 {
                    published.store(true, Ordering::Release);
                }
            });
        }
        for (worker, kind) in [(0, AskKind::Poll), (1, AskKind::LongPoll), (2, AskKind::LongPoll)] {
            let (hub, published) = (&hub, &published);
            scope.spawn(move || {
                let seen = follow(hub, worker, kind, published, total);
                let sorted = seen.windows(2).all(|pair| pair[0] < pair[1]);
                assert!(sorted && seen.len() as u64 == total, "{} of {total} in order: {sorted}", seen.len());
            });
        }
    });
}
