//! A hub that is led: nothing changes before the entry comes, and all that a publish does then happens.

use parking_lot::Mutex;

use super::*;
use crate::hub::tests::{START, zone};
use crate::hub::{Ask, AskKind, Note};
use crate::log::{ChannelMark, Entry, Marks, Published};
use crate::model::{Capabilities, Message, Now, Replay, Zone, parse_channel_path};

/// Keeps what is handed in.
#[derive(Default)]
struct Kept(Mutex<Vec<(Vec<ChannelId>, Draft, Terms)>>);

impl Order for Kept {
    fn publish(&self, ids: Vec<ChannelId>, draft: Draft, terms: Terms, told: Told) {
        self.0.lock().push((ids, draft, terms));
        told(Ok(1));
    }

    fn delete(&self, _: Vec<ChannelId>, _: Option<Box<[u8]>>, told: Told) {
        told(Ok(1));
    }

    fn catch_up(&self, told: Told) {
        told(Ok(0));
    }

    fn is_full(&self) -> bool {
        false
    }

    fn is_idle(&self) -> bool {
        true
    }

    fn others(&self) -> (usize, u64) {
        (0, 0)
    }

    fn ask(&self, _: &[ChannelId], found: Found) {
        found(Vec::new());
    }
}

const NOW: Now = Now(START * 1000);

fn led(settings: Zone) -> (Hub, Arc<Kept>) {
    let hub = Hub::new(settings, Capabilities::default(), 1, NOW, None);
    let order = Arc::new(Kept::default());
    hub.follow(Arc::clone(&order) as _);
    (hub, order)
}

fn published(channel: &str, stamp: Stamp, id: i64, stored: bool) -> Entry {
    let seq = (u64::from(stamp.time) << 32) | u64::from(stamp.tag);
    let expires = stamp.time + 10;
    let message = Message { id, seq, stamp, expires, binary: false, text: (*b"text").into(), event: None };
    Entry::Publish(Published { channel: channel.into(), count: id as u64, stored, message: Arc::new(message) })
}

fn subscribe(hub: &Hub, path: &str, kind: AskKind) -> Result<(Vec<i64>, bool), Refusal> {
    let path = parse_channel_path(path.as_bytes());
    let replay = Replay { time: Some(0), tag: None, event_id: None };
    let ask = Ask::unrestricted(0, &path, &replay, kind);
    let mut answer = hub.subscribe(&ask, NOW)?;
    let seen = hub.pages(&mut answer.history).flatten().map(|missed| missed.message.id).collect();
    Ok((seen, answer.subscription.is_some()))
}

#[test]
fn before_it_has_joined_it_serves_nobody() {
    let (hub, _) = led(zone());
    assert_eq!(hub.admit_publish(&["a".into()], NOW), Err(Refusal::Joining));
    assert_eq!(hub.admit_delete(&["a".into()]), Err(Refusal::Joining));
    assert_eq!(subscribe(&hub, "a", AskKind::Poll), Err(Refusal::Joining));
    hub.join();
    assert_eq!(hub.admit_publish(&["a".into()], NOW), Ok(()));
    assert_eq!(subscribe(&hub, "a", AskKind::Poll), Ok((Vec::new(), false)));
}

#[test]
fn what_is_handed_in_changes_nothing_and_the_entry_everything() {
    let (hub, order) = led(Zone { max_messages_per_channel: Some(2), message_ttl: 9, ..zone() });
    hub.join();
    subscribe(&hub, "a", AskKind::Stream).unwrap();
    let draft = Draft { text: (*b"text").into(), store: true, ..Draft::default() };
    hub.hand_in(vec!["a".into()], draft, Box::new(|told| assert_eq!(told, Ok(1))));
    let terms = order.0.lock()[0].2;
    assert_eq!((terms.ttl, terms.most, terms.inactivity), (9, Some(2), 30));
    let mut notes = Vec::new();
    hub.take_notes(0, &mut notes, NOW);
    assert!(notes.is_empty());
    for (tag, stored) in [(1, true), (2, false), (3, true), (4, true)] {
        hub.apply(published("a", Stamp { time: 50, tag }, i64::from(tag), stored), NOW);
        // Again: the second time it is no news.
        hub.apply(published("a", Stamp { time: 50, tag }, i64::from(tag), stored), NOW);
    }
    let seen = hub.take_notes(0, &mut notes, NOW);
    assert_eq!((notes.len(), seen), (4, Stamp { time: 50, tag: 4 }));
    assert!(matches!(&notes[1], Note::Message(fanout) if fanout.message.id == 2));
    assert_eq!(subscribe(&hub, "a", AskKind::Poll).unwrap().0, [3, 4]);
    let info = &hub.find(&["a".into()])[0];
    assert_eq!((info.published, info.stored, info.subscribers), (4, 2, 1));
    assert_eq!(hub.census(NOW).published, 4);
    crate::hub::simulation::audit(&hub);
    notes.clear();
    assert!(hub.apply(Entry::Deleted { channel: "a".into(), text: None }, NOW));
    assert!(!hub.apply(Entry::Deleted { channel: "a".into(), text: None }, NOW));
    hub.take_notes(0, &mut notes, NOW);
    assert!(matches!(&notes[..], [Note::Deleted(_)]));
    crate::hub::simulation::audit(&hub);
}

#[test]
fn time_passes_with_entries_and_with_nothing_else() {
    let (hub, _) = led(zone());
    hub.join();
    hub.apply(published("a", Stamp { time: 50, tag: 1 }, 1, true), NOW);
    let later = Now(NOW.0 + 3_600_000);
    while hub.sweep(later) {}
    assert_eq!(hub.census(later).stored, 1);
    assert_eq!(hub.take_notes(0, &mut Vec::new(), later).time, 50);
    let last = Stamp { time: 70, tag: 0 };
    hub.apply(Entry::Marks(Marks { time: 70, last, seq: 70 << 32, published: 9, ..Marks::default() }), later);
    while hub.sweep(later) {}
    let census = hub.census(later);
    assert_eq!((census.stored, census.published, census.time), (0, 9, 70));
    assert_eq!(hub.take_notes(0, &mut Vec::new(), later), last);
}

#[test]
fn an_order_that_has_lost_its_end_has_nobody_told_twice_what_is_still_here() {
    let (hub, _) = led(zone());
    hub.join();
    let [kept, lost] = [1, 2].map(|tag| Stamp { time: START as u32, tag });
    assert!(hub.apply(published("a", kept, 1, true), NOW));
    assert!(hub.apply(published("a", lost, 2, true), NOW));
    let first_seq = (u64::from(kept.time) << 32) | u64::from(kept.tag);
    let expires = kept.time + 10;
    let mark = ChannelMark { channel: "a".into(), published: 1, last_id: 1, last: kept, expires, first_seq };
    hub.apply(Entry::Channel(mark), NOW);
    let path = parse_channel_path(b"a");
    let replay = Replay { time: Some(0), tag: None, event_id: None };
    let answer = hub.subscribe(&Ask::unrestricted(0, &path, &replay, AskKind::Poll), NOW).unwrap();
    assert!(!answer.history.is_empty());
    assert_eq!((answer.resume.time, answer.resume.tag), (i64::from(lost.time), Some(i64::from(lost.tag))));
}
