//! Who waits, and what each of them is told.

use std::sync::mpsc::{Receiver, channel};

use super::*;

fn place() -> Waiting {
    let health = Arc::new(Health::new());
    health.linked("here");
    Waiting::new(health)
}

fn publish(waiting: &Waiting, ids: &[&str], text: usize) -> Receiver<Outcome> {
    let (sender, outcome) = channel();
    let draft = Draft { text: vec![b'x'; text].into(), store: true, ..Draft::default() };
    let terms = Terms { ttl: 10, most: None, inactivity: 5 };
    let ids = ids.iter().map(|id| ChannelId::new(id.as_bytes())).collect();
    waiting.publish(ids, draft, terms, Box::new(move |told| sender.send(told).unwrap()));
    outcome
}

#[test]
fn whoever_waits_is_told_when_all_of_its_channels_have_come_back() {
    let waiting = place();
    let (one, two) = (publish(&waiting, &["a"], 3), publish(&waiting, &["a", "b"], 3));
    let batch = waiting.batch("run");
    assert_eq!(batch.iter().map(|operation| operation.number).collect::<Vec<_>>(), [1, 2]);
    waiting.taken(&batch);
    assert!(waiting.batch("run").is_empty());
    waiting.came_back(1, true);
    assert_eq!(one.try_recv(), Ok(Ok(1)));
    waiting.came_back(2, true);
    assert!(two.try_recv().is_err());
    waiting.came_back(2, true);
    assert_eq!(two.try_recv(), Ok(Ok(2)));
    assert!(waiting.is_settled());
}

#[test]
fn what_was_never_sent_is_refused_and_what_may_have_been_is_unknown() {
    let waiting = place();
    let sent = publish(&waiting, &["a"], 3);
    waiting.batch("run");
    let unsent = publish(&waiting, &["a"], 3);
    waiting.expire(Instant::now() + PATIENCE);
    assert_eq!(sent.try_recv(), Ok(Err(Refusal::Unanswered)));
    assert_eq!(unsent.try_recv(), Ok(Err(Refusal::Away)));
    assert!(waiting.batch("run").is_empty(), "nobody wants them any more");
    let refused = publish(&waiting, &["a"], 3);
    let batch = waiting.batch("run");
    waiting.refused(&batch);
    assert_eq!(refused.try_recv(), Ok(Err(Refusal::Away)));
    let last = publish(&waiting, &["a"], 3);
    waiting.give_up();
    assert_eq!(last.try_recv(), Ok(Err(Refusal::Away)));
    assert_eq!(publish(&waiting, &["a"], 3).try_recv(), Ok(Err(Refusal::Leaving)));
}

#[test]
fn more_than_may_wait_is_refused_in_count_and_in_bytes() {
    let waiting = place();
    let outcomes: Vec<_> = (0..=MOST).map(|_| publish(&waiting, &["a"], 1)).collect();
    assert_eq!(outcomes.iter().filter(|outcome| outcome.try_recv() == Ok(Err(Refusal::Crowded))).count(), 1);
    assert!(waiting.is_full());
    let waiting = place();
    let one = publish(&waiting, &["a"], MOST_BYTES);
    assert!(one.try_recv().is_err(), "one larger than all waits alone");
    assert_eq!(publish(&waiting, &["a"], 1).try_recv(), Ok(Err(Refusal::Crowded)));
    waiting.came_back(1, true);
    assert!(publish(&waiting, &["a"], 1).try_recv().is_err());
}

#[test]
fn a_batch_is_bounded_and_begins_with_what_was_not_done() {
    let waiting = place();
    let _outcomes: Vec<_> = (0..BATCH + 10).map(|_| publish(&waiting, &["a"], 1)).collect();
    let batch = waiting.batch("run");
    assert_eq!(batch.len(), BATCH);
    assert_eq!(waiting.batch("run")[0].number, 1);
    waiting.taken(&batch);
    assert_eq!(waiting.batch("run").len(), 10);
    let waiting = place();
    let _outcomes: Vec<_> = (0..3).map(|_| publish(&waiting, &["a"], BATCH_BYTES)).collect();
    assert_eq!(waiting.batch("run").len(), 1);
}

#[test]
fn what_another_server_may_have_done_is_not_done_again() {
    let waiting = place();
    let (done, unknown) = (publish(&waiting, &["a"], 3), publish(&waiting, &["a"], 3));
    waiting.batch("run");
    let unsent = publish(&waiting, &["a"], 3);
    assert!(!waiting.has_sent_elsewhere("run") && waiting.has_sent_elsewhere("another"));
    waiting.goes_elsewhere("another", 1);
    assert_eq!(unknown.try_recv(), Ok(Err(Refusal::Unanswered)));
    let numbers: Vec<u64> = waiting.batch("another").iter().map(|operation| operation.number).collect();
    assert_eq!(numbers, [3]);
    waiting.came_back(1, true);
    waiting.came_back(3, true);
    assert_eq!((done.try_recv(), unsent.try_recv()), (Ok(Ok(1)), Ok(Ok(1))));
}

#[test]
fn what_a_server_has_answered_not_to_have_done_may_go_to_another_one() {
    let waiting = place();
    let _unknown = publish(&waiting, &["a"], 3);
    waiting.batch("run");
    let _known = publish(&waiting, &["a"], 3);
    waiting.not_done(&waiting.batch("run"));
    waiting.goes_elsewhere("another", 0);
    let numbers: Vec<u64> = waiting.batch("another").iter().map(|operation| operation.number).collect();
    assert_eq!(numbers, [2], "the first was sent before, and not answered");
}

#[test]
fn whoever_asks_is_told_when_the_node_has_come_to_where_the_zone_was() {
    let waiting = place();
    let ask = || {
        let (sender, outcome) = channel();
        waiting.catch_up(Box::new(move |told| sender.send(told).unwrap()));
        outcome
    };
    let first = ask();
    let asking = waiting.asking();
    let second = ask();
    waiting.wait_for(asking, StreamId(5, 1));
    waiting.has_come_to(StreamId(5, 0));
    assert!(first.try_recv().is_err());
    waiting.has_come_to(StreamId(6, 0));
    assert_eq!((first.try_recv(), second.try_recv().is_err()), (Ok(Ok(0)), true));
    waiting.expire(Instant::now() + CATCHES_UP);
    assert_eq!(second.try_recv(), Ok(Err(Refusal::Away)));
}

#[test]
fn while_the_server_is_away_nobody_waits() {
    let waiting = Waiting::new(Arc::new(Health::new()));
    assert_eq!(publish(&waiting, &["a"], 3).try_recv(), Ok(Err(Refusal::Away)));
}
