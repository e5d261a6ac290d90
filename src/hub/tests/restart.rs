//! A hub that ends and one that begins from its log: nothing is missing, nothing comes back, nothing is given twice.

use proptest::prelude::*;

use super::*;
use crate::hub::simulation::audit;
use crate::log::{Entry, Memory, WalkPlace};
use crate::model::Message;

/// A hub with its log, kept as the entries themselves.
struct World {
    hub: Hub,
    settings: Zone,
    now: u64,
    log: Vec<Entry>,
    /// How many of the entries are written; the rest is lost in a crash.
    written: usize,
    /// Whether the log has yet to be told of what a crash has changed.
    walk_is_due: bool,
    /// The greatest id and stamp that anybody was given.
    ids: HashMap<ChannelId, i64>,
    told: Stamp,
}

impl World {
    fn new(settings: Zone) -> Self {
        let now = START * 1000;
        let hub = Hub::new(settings.clone(), Capabilities::default(), 1, Now(now), FLOOR);
        hub.keep_log();
        let (ids, told) = (HashMap::new(), Stamp::default());
        let mut world = Self { hub, settings, now, log: Vec::new(), written: 0, walk_is_due: false, ids, told };
        // As the writer does before anybody is served.
        world.take();
        world.written = 1;
        world
    }

    /// Takes what was queued.
    fn take(&mut self) {
        let taken = self.hub.take(&mut self.log);
        assert_eq!(taken.lost_from, None);
        self.log.push(Entry::Marks(crate::log::Marks { time: taken.marks.time + 5, ..taken.marks }));
    }

    fn publish(&mut self, channel: &str, store: bool, text: &str) {
        let before = self.stored(channel).last().map_or(0, |message| message.seq);
        let event =
            text.len().is_multiple_of(3).then(|| Arc::new(EventTags { id: Some(text.as_bytes().into()), kind: None }));
        let draft = Draft {
            text: text.as_bytes().into(),
            event,
            store,
            binary: text.len().is_multiple_of(2),
            ..Draft::default()
        };
        self.hub.publish(&[channel.into()], &draft, Now(self.now)).unwrap();
        let state = self.hub.state.lock();
        let slot = state.registry.find(&channel.into()).unwrap();
        let (id, stamp) = (state.registry.get(slot).unwrap().last_id() as i64, state.clock.last().stamp);
        drop(state);
        assert!(stamp > self.told, "{stamp:?} after {:?}", self.told);
        self.told = stamp;
        let known = self.ids.insert(channel.into(), id).unwrap_or(0);
        assert!(id > known, "id {id} of {channel} after {known}");
        if store {
            assert!(self.stored(channel).last().is_some_and(|message| message.seq > before));
        }
    }

    fn stored(&self, channel: &str) -> Vec<Arc<Message>> {
        let state = self.hub.state.lock();
        let Some(slot) = state.registry.find(&channel.into()) else { return Vec::new() };
        state.registry.get(slot).unwrap().backlog.starting_at(0).cloned().collect()
    }

    /// What a client is told that asks for nothing.
    fn ask(&mut self) {
        let stamp = self.hub.take_notes(0, &mut Vec::new(), Now(self.now));
        assert!(stamp >= self.told);
        self.told = stamp;
    }

    fn pass(&mut self, ms: i64) {
        self.now = self.now.saturating_add_signed(ms);
        while self.hub.sweep(Now(self.now)) {}
    }

    /// The process ends and another one begins, `away` milliseconds later by the wall clock.
    fn restart(&mut self, crash: bool, away: i64) {
        if !crash {
            self.walk_if_due();
            let taken = self.hub.take(&mut self.log);
            self.log.push(Entry::Marks(crate::log::Marks { clean: true, ..taken.marks }));
            self.written = self.log.len();
        }
        self.log.truncate(self.written);
        self.now = self.now.saturating_add_signed(away);
        self.hub = Hub::new(self.settings.clone(), Capabilities::default(), 1, Now(self.now), FLOOR);
        let time = |entry: &Entry| if let Entry::Marks(marks) = entry { Some(marks.time) } else { None };
        self.hub.restore_begins(self.log.iter().rev().find_map(time).unwrap_or(0));
        for entry in &self.log {
            self.hub.apply(entry.clone(), Now(self.now));
        }
        self.hub.restored(!crash, Now(self.now));
        self.hub.keep_log();
        self.take();
        self.written = self.log.len();
        self.walk_is_due = crash;
        audit(&self.hub);
    }

    fn walk_if_due(&mut self) {
        if std::mem::take(&mut self.walk_is_due) {
            self.walk(u64::MAX, |_, _| {});
        }
    }

    /// What anybody can see: channels in any order with their counts, messages with all they bear.
    fn seen(&self) -> Vec<String> {
        let state = self.hub.state.lock();
        let now = state.clock.present().secs();
        let mut seen: Vec<String> = Vec::new();
        for (_, channel) in state.registry.after(None) {
            let messages: Vec<_> = channel.backlog.starting_at(0).filter(|message| message.expires > now).collect();
            seen.push(format!("{:?} {} {} {messages:?}", channel.id, channel.published, channel.last_id()));
        }
        seen.sort();
        seen.push(format!("{} published", state.counters.published));
        seen
    }

    /// Renews the oldest part of the log, as the writer does with a segment.
    fn renew(&mut self, count: usize) {
        self.take();
        let old: Vec<Entry> = self.log.drain(..count.min(self.log.len())).collect();
        self.hub.keep(&old);
        self.take();
        self.written = self.log.len();
    }

    /// Loses entries that were queued, and closes the gap with a walk.
    fn lose_and_walk(&mut self, between: impl Fn(&mut Self, usize)) {
        let kept = self.log.len();
        self.take();
        let seq =
            |entry: &Entry| if let Entry::Publish(published) = entry { Some(published.message.seq) } else { None };
        let from = self.log[kept..].iter().find_map(seq).unwrap_or(u64::MAX);
        self.log.truncate(kept);
        self.walk_is_due = false;
        self.walk(from, between);
    }

    fn walk(&mut self, from: u64, between: impl Fn(&mut Self, usize)) {
        self.log.push(Entry::WalkBegan);
        let mut place = WalkPlace::default();
        for page in 0.. {
            let next = self.hub.walk(place, from);
            self.take();
            let Some(next) = next else { break };
            place = next;
            between(self, page);
        }
        self.log.push(Entry::WalkEnded);
        self.written = self.log.len();
    }
}

#[derive(Clone, Debug)]
enum Step {
    Publish(usize, bool),
    Delete(usize),
    Write,
    Ask,
    Pass(i64),
    Renew(usize),
    Lose,
    Restart { crash: bool, away: i64 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..4usize, prop::bool::weighted(0.8)).prop_map(|(channel, store)| Step::Publish(channel, store)),
        1 => (0..4usize).prop_map(Step::Delete),
        3 => Just(Step::Write),
        1 => Just(Step::Ask),
        2 => (-3000..9000i64).prop_map(Step::Pass),
        2 => (1..12usize).prop_map(Step::Renew),
        1 => Just(Step::Lose),
        1 => (any::<bool>(), -20_000..40_000i64).prop_map(|(crash, away)| Step::Restart { crash, away }),
    ]
}

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

fn run(settings: Zone, steps: Vec<Step>) {
    let mut world = World::new(settings);
    for (n, step) in steps.into_iter().enumerate() {
        match step {
            Step::Publish(channel, store) => world.publish(NAMES[channel], store, &format!("{n}{}", "x".repeat(n % 5))),
            Step::Delete(channel) => {
                world.hub.delete(&[NAMES[channel].into()], None, Now(world.now));
                // A channel that begins anew may count anew.
                world.ids.remove(&NAMES[channel].into());
            }
            Step::Write => {
                world.walk_if_due();
                world.take();
                world.written = world.log.len();
            }
            Step::Ask => world.ask(),
            Step::Pass(ms) => {
                world.pass(ms);
                // The writer does not sleep as long.
                world.take();
                world.written = world.log.len();
                let gone = |id: &ChannelId| world.hub.find(std::slice::from_ref(id)).is_empty();
                let gone: Vec<ChannelId> = world.ids.keys().filter(|id| gone(id)).cloned().collect();
                world.ids.retain(|id, _| !gone.contains(id));
            }
            Step::Renew(count) => world.renew(count),
            Step::Lose => world.lose_and_walk(|_, _| {}),
            Step::Restart { crash, away } => {
                let before = world.seen();
                world.restart(crash, away);
                if !crash && world.hub.state.lock().clock.present().secs() <= (world.now / 1000) as u32 {
                    // What expired meanwhile is the only thing that may be missing.
                    let now = world.hub.state.lock().clock.present().secs();
                    let after = world.seen();
                    if away <= 0 {
                        assert_eq!(before, after, "at {now}");
                    }
                }
            }
        }
        audit(&world.hub);
    }
    // In the end, in any case: what was is what comes back.
    let before = world.seen();
    world.restart(false, 0);
    assert_eq!(before, world.seen());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn whatever_happens_a_restart_finds_it(steps in prop::collection::vec(step(), 1..100)) {
        run(Zone { message_ttl: 20, inactivity: 15, ..zone() }, steps);
    }

    #[test]
    fn also_where_channels_are_capped_and_events_are_told(steps in prop::collection::vec(step(), 1..100)) {
        let settings = Zone { max_messages_per_channel: Some(3), message_ttl: 1000, ..zone() };
        run(Zone { events_channel_id: (*b"events").into(), ..settings }, steps);
    }
}

#[test]
fn a_gap_is_closed_while_publishers_go_on_whatever_page_they_meet() {
    let mut world = World::new(zone());
    for n in 0..700 {
        world.publish(&format!("c{}", n % 100), true, &format!("text {n}"));
        world.publish("long", true, &format!("long {n}"));
    }
    world.take();
    world.written = world.log.len();
    for n in 0..300 {
        world.publish("long", true, &format!("lost {n}"));
        world.publish(&format!("new{n}"), n % 2 == 0, "lost too");
    }
    world.hub.delete(&["c7".into()], None, Now(world.now));
    world.lose_and_walk(|world, page| {
        world.publish("long", true, &format!("meanwhile {page}"));
        world.publish("c8", true, &format!("meanwhile {page}"));
        world.hub.delete(&[ChannelId::from(format!("c{}", 20 + page).as_str())], None, Now(world.now));
        world.publish(&format!("fresh{page}"), true, "meanwhile");
    });
    let before = world.seen();
    assert!(before.len() > 300);
    world.restart(false, 0);
    assert_eq!(before, world.seen());
}

#[test]
fn messages_that_were_kept_late_stand_where_they_belong() {
    let mut world = World::new(zone());
    for n in 0..50 {
        world.publish("a", true, &format!("{n:03}"));
    }
    world.renew(20);
    for n in 50..60 {
        world.publish("a", true, &format!("{n:03}"));
    }
    world.renew(25);
    world.restart(false, 500);
    let texts: Vec<String> = world.stored("a").iter().map(|message| text(&message.text)).collect();
    assert_eq!(texts, (0..60).map(|n| format!("{n:03}")).collect::<Vec<_>>());
    let replay = Replay { event_id: Some((*b"030").into()), ..Replay::default() };
    let path = parse_channel_path(b"a");
    let ask = Ask::unrestricted(0, &path, &replay, AskKind::Poll);
    let mut history = world.hub.subscribe(&ask, Now(world.now)).unwrap().history;
    let missed: Vec<_> = world.hub.pages(&mut history).flatten().map(|missed| missed.message.id).collect();
    assert_eq!(missed, (32..=60).collect::<Vec<_>>());
}

#[test]
fn after_a_crash_ids_and_stamps_go_on_behind_what_was_lost() {
    let mut world = World::new(zone());
    world.publish("a", true, "kept");
    world.take();
    world.written = world.log.len();
    world.publish("a", true, "lost");
    world.publish("unknown", true, "lost with its channel");
    world.ask();
    // The clock has gone back by an hour as well; `publish` checks what it is given.
    world.restart(true, -3_600_000);
    world.publish("a", true, "after");
    world.publish("unknown", true, "after");
    assert_eq!(world.stored("a").last().unwrap().id, 10_003 - 1);
    let info = world.hub.find(&["a".into()]);
    assert_eq!((info[0].published, info[0].stored), (2, 2));
    // And a second one: ids move on again.
    world.take();
    world.written = world.log.len();
    world.publish("another", true, "lost");
    world.restart(true, 100);
    world.publish("another", true, "after");
}

#[test]
fn a_channel_without_messages_is_still_a_channel() {
    let mut world = World::new(Zone { message_ttl: 5, ..zone() });
    world.hub.admit_publish(&["empty".into()], Now(world.now)).unwrap();
    world.publish("counted", false, "not stored");
    world.publish("expired", true, "gone soon");
    world.pass(9_000);
    assert_eq!(world.hub.find(&["expired".into()])[0].stored, 0);
    world.renew(100);
    world.restart(false, 60_000);
    let infos = world.hub.find(&["empty".into(), "counted".into(), "expired".into()]);
    let counts: Vec<_> = infos.iter().map(|info| (info.published, info.stored)).collect();
    assert_eq!(counts, [(0, 0), (1, 0), (1, 0)]);
    // It has its whole time again, and goes then.
    world.pass(29_000);
    assert_eq!(world.hub.find(&["empty".into()]).len(), 1);
    world.pass(10_000);
    assert_eq!(world.hub.find(&["empty".into()]).len(), 0);
}

#[test]
fn what_was_deleted_or_had_expired_does_not_come_back() {
    let mut world = World::new(Zone { message_ttl: 10, ..zone() });
    world.publish("a", true, "deleted");
    world.publish("b", true, "expires while nobody serves");
    world.publish("c", true, "of the first life");
    world.hub.delete(&["a".into(), "c".into()], None, Now(world.now));
    world.ids.clear();
    world.publish("c", true, "of the second life");
    world.restart(false, 5_000);
    assert_eq!(world.hub.find(&["a".into()]).len(), 0);
    assert_eq!(world.stored("b").len(), 1);
    let texts: Vec<String> = world.stored("c").iter().map(|message| text(&message.text)).collect();
    assert_eq!(texts, ["of the second life"]);
    world.restart(false, 6_000);
    assert_eq!(world.stored("b").len() + world.stored("c").len(), 0);
    assert_eq!(world.hub.find(&["c".into()])[0].published, 1);
}

#[test]
fn less_memory_than_before_keeps_the_youngest() {
    let mut world = World::new(zone());
    for n in 0..100 {
        world.publish("a", true, &format!("{n:0200}"));
    }
    world.settings.memory = 10_000;
    world.restart(false, 0);
    let left = world.stored("a");
    assert!(!left.is_empty() && left.len() < 40, "{}", left.len());
    assert!(left.last().unwrap().text.ends_with(b"99"));
}

#[test]
fn a_message_known_only_from_a_walk_moves_the_order_on() {
    let mut world = World::new(zone());
    world.publish("a", true, "first");
    world.take();
    world.publish("a", true, "lost, and told by the walk");
    world.lose_and_walk(|_, _| {});
    world.log.retain(|entry| !matches!(entry, Entry::Marks(_)));
    world.written = world.log.len();
    world.restart(true, -3_600_000);
    assert_eq!(world.stored("a").len(), 2);
    world.publish("a", true, "after");
    let seqs: Vec<u64> = world.stored("a").iter().map(|message| message.seq).collect();
    assert_eq!(seqs, [1, 2, 3]);
}
