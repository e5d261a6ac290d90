//! The clients of the simulation: what each has yet to see by the model, and what it does with answers and notes.

use std::collections::{HashSet, VecDeque};

use super::{NAMES, WORKERS, World};
use crate::hub::{Ask, AskKind, History, Note, Registration};
use crate::model::{Now, Replay, Requested, Stamp};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Poller,
    LongPoller,
    Stream,
}

/// A message that a client has yet to see.
struct Pending {
    seq: u64,
    channel: usize,
    stored: bool,
    /// It was subscribed at the publish: the message comes whatever becomes of it.
    sure: bool,
}

/// A client and, by the model, what it has yet to see.
pub(super) struct Client {
    kind: Kind,
    worker: usize,
    pub(super) path: Vec<usize>,
    replay: Replay,
    registration: Option<Registration>,
    /// What a stream or a poll has yet to take of what it missed.
    history: History,
    /// News of a stream that is still taking what it missed.
    later: Vec<(u64, Stamp)>,
    pending: VecDeque<Pending>,
    seen: HashSet<u64>,
    /// Messages that a cap had pushed out, and a restart with another cap has brought back: they may come, once.
    back: HashSet<u64>,
}

impl Client {
    pub(super) fn new(kind: Kind, worker: usize, path: Vec<usize>) -> Self {
        Self {
            kind,
            worker,
            path,
            replay: Replay { time: Some(0), tag: None, event_id: None },
            registration: None,
            history: History::default(),
            later: Vec::new(),
            pending: VecDeque::new(),
            seen: HashSet::new(),
            back: HashSet::new(),
        }
    }

    pub(super) fn is_published(&mut self, seq: u64, channel: usize, stored: bool) {
        let sure = self.registration.is_some();
        if stored || sure {
            let times = self.path.iter().filter(|&&own| own == channel).count();
            assert_eq!(times, 1);
            self.pending.push_back(Pending { seq, channel, stored, sure });
        }
    }

    pub(super) fn is_dropped(&mut self, seq: u64) {
        self.pending.retain(|pending| pending.seq != seq || pending.sure);
    }

    pub(super) fn process_ended(&mut self) {
        self.registration = None;
        self.history = History::default();
        self.later.clear();
        self.pending.clear();
        self.seen.clear();
        self.back.clear();
    }

    /// A message went with the process: another one may get its number.
    pub(super) fn is_lost(&mut self, seq: u64) {
        self.is_dropped(seq);
        self.seen.remove(&seq);
    }

    pub(super) fn is_back(&mut self, seq: u64) {
        self.back.insert(seq);
    }

    /// The client receives a message: the next it has to, of this channel or (if history is in order of publish) of all. What
    /// the hub has dropped by now need not come.
    fn sees(&mut self, seq: u64, merged: bool, there: &HashSet<u64>) {
        self.pending.retain(|pending| pending.sure || pending.seq == seq || there.contains(&pending.seq));
        assert!(self.seen.insert(seq), "{:?} of {:?} sees {seq} twice", self.kind, self.path);
        let place = self.pending.iter().position(|pending| pending.seq == seq);
        if place.is_none() && self.back.contains(&seq) {
            return;
        }
        let place = place.unwrap_or_else(|| panic!("{:?} of {:?} sees {seq} again", self.kind, self.path));
        let channel = self.pending[place].channel;
        let passed: Vec<u64> =
            self.pending.iter().take(place).filter(|p| merged || p.channel == channel).map(|p| p.seq).collect();
        assert!(passed.is_empty(), "{:?} of {:?} sees {seq} and not {passed:?}", self.kind, self.path);
        self.pending.remove(place);
    }

    fn goes_on_from(&mut self, time: i64, tag: Option<i64>) {
        let before = (self.replay.time, self.replay.tag);
        assert!((Some(time), tag) >= before, "an answer says {time}/{tag:?} after {before:?}");
        (self.replay.time, self.replay.tag) = (Some(time), tag);
    }

    fn goes_on_from_stamp(&mut self, stamp: Stamp) {
        self.goes_on_from(stamp.time.into(), Some(stamp.tag.into()));
    }
}

impl World {
    /// A client does the next thing it would do.
    pub(super) fn act(&mut self, at: usize) {
        let client = &self.clients[at];
        if !client.history.is_empty() {
            self.read_on(at);
        } else if client.registration.is_some() {
            self.deliver(client.worker);
        } else {
            self.ask(at);
        }
    }

    fn ask(&mut self, at: usize) {
        let client = &self.clients[at];
        let path: Vec<Requested> =
            client.path.iter().map(|&channel| Requested { id: NAMES[channel].into(), backtrack: 0 }).collect();
        let kind = match client.kind {
            Kind::Poller => AskKind::Poll,
            Kind::LongPoller => AskKind::LongPoll,
            Kind::Stream => AskKind::Stream,
        };
        let ask = Ask::unrestricted(client.worker, &path, &client.replay, kind);
        let answer = self.hub.subscribe(&ask, Now(self.wall)).unwrap();
        let nothing = answer.history.is_empty();
        assert_eq!(answer.subscription.is_some(), kind == AskKind::Stream || kind == AskKind::LongPoll && nothing);
        let client = &mut self.clients[at];
        client.registration = answer.subscription;
        client.history = answer.history;
        if kind != AskKind::Stream {
            // A poll's answer is complete: whatever the client has been slow to take counts as of now.
            client.goes_on_from(answer.resume.time, answer.resume.tag);
            self.read_all(at);
        } else if !client.history.is_empty() {
            // The first page is the client's whatever becomes of its messages.
            self.read_on(at);
        }
        if self.clients[at].history.is_empty() {
            self.has_read_all(at);
        }
    }

    /// Takes a page of what was missed.
    fn read_on(&mut self, at: usize) {
        let merged = self.capabilities.merge_replay;
        let mut history = std::mem::take(&mut self.clients[at].history);
        let page = self.hub.history_page(&mut history);
        let mut there = self.seqs_in_the_hub();
        there.extend(page.iter().map(|missed| missed.message.seq));
        let client = &mut self.clients[at];
        client.history = history;
        for missed in page {
            client.sees(missed.message.seq, merged, &there);
            let stamp = missed.message.stamp;
            let place = (Some(i64::from(stamp.time)), Some(i64::from(stamp.tag)));
            if client.kind == Kind::Stream && (merged || place > (client.replay.time, client.replay.tag)) {
                client.goes_on_from_stamp(stamp);
            }
        }
        if client.history.is_empty() {
            self.has_read_all(at);
        }
    }

    /// Of history nothing may be left out; what came live meanwhile follows.
    fn has_read_all(&mut self, at: usize) {
        self.look_at_the_hub();
        let client = &mut self.clients[at];
        let left: Vec<u64> = client.pending.iter().filter(|pending| !pending.sure).map(|pending| pending.seq).collect();
        assert!(left.is_empty(), "{:?} of {:?} was not shown {left:?}", client.kind, client.path);
        for (seq, stamp) in std::mem::take(&mut client.later) {
            client.sees(seq, true, &HashSet::new());
            client.goes_on_from_stamp(stamp);
        }
    }

    fn seqs_in_the_hub(&self) -> HashSet<u64> {
        let state = self.hub.state.lock();
        state.registry.after(None).flat_map(|(_, channel)| channel.backlog.starting_at(0)).map(|m| m.seq).collect()
    }

    /// A worker takes its notes, and its clients read what comes of them.
    pub(super) fn deliver(&mut self, worker: usize) {
        let mut notes = Vec::new();
        let seen = self.hub.take_notes(worker, &mut notes, Now(self.wall));
        for note in notes {
            for at in 0..self.clients.len() {
                if self.clients[at].worker == worker {
                    self.receive(at, &note);
                }
            }
        }
        assert!(seen >= self.seen[worker]);
        self.seen[worker] = seen;
    }

    fn receive(&mut self, at: usize, note: &Note) {
        let client = &mut self.clients[at];
        let Some(registration) = &client.registration else { return };
        match note {
            Note::Message(fanout) => {
                if !registration.keys.contains(&fanout.channel) || fanout.message.seq <= registration.seq {
                    return;
                }
                let (seq, stamp) = (fanout.message.seq, fanout.seen);
                assert_eq!(stamp, fanout.message.stamp);
                if !client.history.is_empty() {
                    client.later.push((seq, stamp));
                    return;
                }
                client.sees(seq, true, &HashSet::new());
                client.goes_on_from_stamp(stamp);
            }
            Note::Deleted(fanout) => {
                if !registration.keys.contains(&fanout.channel) {
                    return;
                }
                if client.kind == Kind::LongPoller {
                    client.goes_on_from_stamp(fanout.seen);
                }
            }
        }
        // A long-poll has its answer; the streams of the simulation reconnect when a channel goes.
        if client.kind == Kind::LongPoller || matches!(note, Note::Deleted(_)) {
            self.read_all(at);
            self.leave_now(at);
        }
    }

    /// A long-poll has waited long enough.
    pub(super) fn time_out(&mut self, at: usize) {
        let worker = self.clients[at].worker;
        if self.clients[at].kind == Kind::LongPoller && self.clients[at].registration.is_some() {
            self.deliver(worker);
            if self.clients[at].registration.is_some() {
                self.clients[at].goes_on_from_stamp(self.seen[worker]);
                self.leave_now(at);
            }
        }
    }

    /// The connection of a client breaks. (Where history comes channel after channel, not in the middle of it: from there
    /// nobody can go on.)
    pub(super) fn leave(&mut self, at: usize) {
        if !self.capabilities.merge_replay {
            self.read_all(at);
        }
        if self.clients[at].registration.is_some() {
            self.leave_now(at);
        }
    }

    /// The process at the other end goes.
    pub(super) fn break_off(&mut self, at: usize) {
        if !self.capabilities.merge_replay {
            self.read_all(at);
        }
        self.leave_now(at);
    }

    fn read_all(&mut self, at: usize) {
        while !self.clients[at].history.is_empty() {
            self.read_on(at);
        }
    }

    fn leave_now(&mut self, at: usize) {
        let client = &mut self.clients[at];
        if let Some(registration) = client.registration.take() {
            self.hub.leave(client.worker, &registration.keys, Now(self.wall));
        }
        client.history = super::History::default();
        client.later.clear();
        // What was not stored is lost for who is not there, and what was dropped meanwhile too.
        let stored = &self.stored;
        client.pending.retain(|pending| pending.stored && stored[pending.channel].contains(&pending.seq));
        client.pending.iter_mut().for_each(|pending| pending.sure = false);
    }

    /// All clients see what they have yet to see and leave; then nothing but what never goes is left.
    pub(super) fn end(&mut self) {
        for at in 0..self.clients.len() {
            self.read_all(at);
            self.leave(at);
        }
        for at in (0..self.clients.len()).filter(|at| at % 2 == 0) {
            self.ask(at);
            self.read_all(at);
            self.leave(at);
        }
        for worker in 0..WORKERS {
            self.deliver(worker);
        }
        let far = 10_000_000;
        for _ in 0..8 {
            self.wall += far;
            while self.hub.sweep(Now(self.wall)) {}
        }
        super::audit(&self.hub);
        let census = self.hub.census(Now(self.wall));
        assert_eq!(census.subscribers, 0);
        assert_eq!(census.channels, u32::from(!self.settings.events_channel_id.is_empty()));
        assert_eq!((census.stored, census.channels_in_delete, census.channels_in_trash), (0, 0, 0));
    }
}
