//! The state of the backplane, as its tasks note it and operators ask for it.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::stream::StreamId;

/// How long the server may be away before nobody waits for it.
const SHORTLY: Duration = Duration::from_secs(1);
/// How long a node may be behind the stream, or without it, before it says so.
const FOLLOWS: Duration = Duration::from_secs(5);
/// Milliseconds after its last sign of life at which a node is taken for dead.
const ALIVE: u64 = 3_000;

/// The state.
pub struct Health(Mutex<State>);

struct State {
    joined: bool,
    /// Why the server is away, and since when.
    away: Option<(String, Instant)>,
    /// What it refuses everything for.
    refuses: Option<String>,
    /// When the end of the stream was reached last.
    caught_up: Instant,
    server: String,
    epoch: u64,
    skipped: u64,
    losses: u64,
    passed_over: u64,
    applied: u64,
    position: StreamId,
    snapshots: u64,
    /// The last entry the server has told of, and when it was not yet here.
    target: Option<(StreamId, Instant)>,
    nodes: Vec<NodeView>,
    /// How many of them are not this one, and their subscribers.
    others: (usize, u64),
    /// Whether it was told that one of them has another configuration.
    differs: bool,
}

/// A node of the zone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeView {
    /// Its name: host and process.
    pub name: String,
    /// Its subscriber connections.
    pub subscribers: u64,
}

/// What can be asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HealthView {
    /// Whether it has what the others of its zone have.
    pub joined: bool,
    /// Why nothing can be published, if that is so.
    pub fault: Option<String>,
    /// The server that is spoken to.
    pub server: String,
    /// Counted up whenever another server process goes on.
    pub epoch: u64,
    /// How often entries that were applied were found to be lost.
    pub losses: u64,
    /// Messages that were not shown, since their place had been passed.
    pub passed_over: u64,
    /// Entries applied.
    pub applied: u64,
    /// The place of the last entry, in the stream of the server.
    pub position: String,
    /// How often the whole zone was read.
    pub snapshots: u64,
    /// The living nodes, this one among them.
    pub nodes: Vec<NodeView>,
}

impl HealthView {
    /// With that of another zone of the same process: what is wrong with either is wrong, and a node has the subscribers of both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let mut nodes = self.nodes;
        for node in other.nodes {
            match nodes.iter_mut().find(|known| known.name == node.name) {
                Some(known) => known.subscribers += node.subscribers,
                None => nodes.push(node),
            }
        }
        nodes.sort_by(|one, other| one.name.cmp(&other.name));
        Self {
            joined: self.joined && other.joined,
            fault: self.fault.or(other.fault),
            server: self.server,
            epoch: self.epoch.max(other.epoch),
            losses: self.losses + other.losses,
            passed_over: self.passed_over + other.passed_over,
            applied: self.applied + other.applied,
            position: self.position,
            snapshots: self.snapshots + other.snapshots,
            nodes,
        }
    }
}

impl Health {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self(Mutex::new(State {
            joined: false,
            away: now.checked_sub(SHORTLY).map(|since| ("it was not reached yet".to_owned(), since)),
            refuses: None,
            caught_up: now,
            server: String::new(),
            epoch: 0,
            skipped: 0,
            losses: 0,
            passed_over: 0,
            applied: 0,
            position: StreamId::default(),
            snapshots: 0,
            target: None,
            nodes: Vec::new(),
            others: (0, 0),
            differs: false,
        }))
    }

    /// All of it.
    pub fn view(&self) -> HealthView {
        let state = self.0.lock();
        HealthView {
            joined: state.joined,
            fault: state.away.as_ref().map(|(why, _)| why.clone()).or_else(|| state.refuses.clone()),
            server: state.server.clone(),
            epoch: state.epoch,
            losses: state.losses,
            passed_over: state.passed_over,
            applied: state.applied,
            position: state.position.to_string(),
            snapshots: state.snapshots,
            nodes: state.nodes.clone(),
        }
    }

    /// Why balancers should send nobody here, if that is so.
    pub fn unready(&self) -> Option<&'static str> {
        let state = self.0.lock();
        if !state.joined {
            return Some("joining");
        }
        (state.caught_up.elapsed() > FOLLOWS).then_some("cannot follow the backplane")
    }

    /// Whether it has had everything that the others have.
    pub(super) fn has_joined(&self) -> bool {
        self.0.lock().joined
    }

    /// Whether it is not worth waiting for the server.
    pub(super) fn is_away(&self) -> bool {
        self.0.lock().away.as_ref().is_some_and(|(_, since)| since.elapsed() >= SHORTLY)
    }

    /// The server answers.
    pub(super) fn linked(&self, server: &str) {
        let mut state = self.0.lock();
        state.away = None;
        // What another one has told of may have been lost with it.
        state.target = None;
        server.clone_into(&mut state.server);
    }

    /// The server does not answer; whether that is news.
    pub(super) fn lost(&self, why: &str) -> bool {
        let mut state = self.0.lock();
        let news = state.away.as_ref().is_none_or(|(before, _)| before != why);
        let since = state.away.as_ref().map_or_else(Instant::now, |(_, since)| *since);
        state.away = Some((why.to_owned(), since));
        news
    }

    /// What the server refuses everything for; whether that is news.
    pub(super) fn refuses(&self, why: Option<&str>) -> bool {
        let mut state = self.0.lock();
        let news = state.refuses.is_some() != why.is_some();
        state.refuses = why.map(str::to_owned);
        news
    }

    /// What a call has told: the last entry, what nodes say of themselves, the time.
    pub(super) fn told(&self, last: StreamId, skipped: u64) {
        let mut state = self.0.lock();
        state.skipped = state.skipped.max(skipped);
        let older = state.target.filter(|(target, _)| *target >= last);
        state.target = Some(older.unwrap_or((last, Instant::now())));
    }

    /// How many other nodes there are.
    pub(super) fn others(&self) -> usize {
        self.0.lock().others.0
    }

    /// Subscriber connections of other nodes, by what each said last.
    pub(super) fn subscribers_elsewhere(&self) -> u64 {
        self.0.lock().others.1
    }

    /// The nodes, by what each said (subscribers, terms, name) and when. Returns one that keeps messages on other terms than this one, if that
    /// is news.
    pub(super) fn nodes_are(&self, nodes: &[(String, String)], own: &str, now: u64) -> Option<String> {
        let alive = |text: &str| {
            let mut words = text.splitn(4, ' ');
            let at: u64 = words.next()?.parse().ok()?;
            let subscribers = words.next()?.parse().ok()?;
            let terms = words.next()?.to_owned();
            let name = words.next()?.to_owned();
            // One that spoke later than now spoke before the clock was set back.
            (at.abs_diff(now) < ALIVE).then_some((terms, NodeView { name, subscribers }))
        };
        let alive: Vec<(bool, String, NodeView)> = nodes
            .iter()
            .filter_map(|(node, text)| alive(text).map(|(terms, view)| (node == own, terms, view)))
            .collect();
        let here = alive.iter().find(|(own, ..)| *own).map(|(_, terms, _)| terms.clone());
        let other = here.and_then(|here| alive.iter().find(|(_, terms, _)| *terms != here));
        let other = other.map(|(_, _, node)| node.name.clone());
        let alive: Vec<(bool, NodeView)> = alive.into_iter().map(|(own, _, view)| (own, view)).collect();
        let others = alive.iter().filter(|(own, _)| !own);
        let others = others.fold((0, 0), |(count, sum), (_, node)| (count + 1, sum + node.subscribers));
        let mut nodes: Vec<NodeView> = alive.into_iter().map(|(_, node)| node).collect();
        nodes.sort_by(|one, other| one.name.cmp(&other.name));
        let mut state = self.0.lock();
        state.nodes = nodes;
        state.others = others;
        let news = other.filter(|_| !state.differs);
        state.differs |= news.is_some();
        news
    }

    /// What ids are known to be skipped.
    pub(super) fn skipped(&self) -> u64 {
        self.0.lock().skipped
    }

    /// Another server process goes on.
    pub(super) fn epoch_is(&self, epoch: u64, skipped: u64) {
        let mut state = self.0.lock();
        state.epoch = epoch;
        state.skipped = state.skipped.max(skipped);
    }

    /// Entries that were applied are gone.
    pub(super) fn lost_entries(&self) {
        self.0.lock().losses += 1;
    }

    /// A message was not shown; whether it is the first one.
    pub(super) fn passed_over(&self) -> bool {
        let mut state = self.0.lock();
        state.passed_over += 1;
        state.passed_over == 1
    }

    /// The whole zone was read.
    pub(super) fn zone_was_read(&self) {
        self.0.lock().snapshots += 1;
    }

    /// It has what the others have.
    pub(super) fn joined(&self) {
        let mut state = self.0.lock();
        state.joined = true;
        state.caught_up = Instant::now();
    }

    /// Entries were applied up to here; whether the end was reached. Returns whether an entry that the server has told of should have come
    /// long ago.
    pub(super) fn applied(&self, count: u64, position: StreamId, at_end: bool) -> bool {
        let mut state = self.0.lock();
        state.applied += count;
        state.position = position;
        state.target.take_if(|(target, _)| *target <= position);
        let late = state.target.is_some_and(|(_, since)| since.elapsed() > FOLLOWS / 2);
        if at_end && state.target.is_none() {
            state.caught_up = Instant::now();
        }
        at_end && late
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn said(text: &str) -> (String, String) {
        let (node, text) = text.split_once('=').unwrap();
        (node.to_owned(), text.to_owned())
    }

    #[test]
    fn nodes_live_for_a_while_by_the_clock_of_the_server_even_if_that_is_set_back() {
        let health = Health::new();
        let nodes =
            ["a=10000 3 t one", "b=9000 5 t two", "c=1 7 t long gone", "d=900000 9 t before the step", "e=x"].map(said);
        assert_eq!(health.nodes_are(&nodes, "a", 10_500), None);
        let names: Vec<String> = health.view().nodes.into_iter().map(|node| node.name).collect();
        assert_eq!(names, ["one", "two"]);
        assert_eq!((health.others(), health.subscribers_elsewhere()), (1, 5));
    }

    #[test]
    fn a_node_with_other_terms_is_told_once() {
        let health = Health::new();
        let nodes = ["a=10000 3 10/- one", "b=10000 5 20/- two"].map(said);
        assert_eq!(health.nodes_are(&nodes, "a", 10_000).as_deref(), Some("two"));
        assert_eq!(health.nodes_are(&nodes, "a", 10_000), None);
    }

    proptest! {
        #[test]
        fn whatever_nodes_say_is_survived(texts in prop::collection::vec("[0-9a-z ]{0,30}", 0..5), now in any::<u64>()) {
            let nodes: Vec<_> = texts.into_iter().map(|text| ("n".to_owned(), text)).collect();
            let _ = Health::new().nodes_are(&nodes, "n", now);
        }
    }
}
