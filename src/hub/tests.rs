//! Scripts against a hub: each line is a time in seconds, something done, and what must come of it.
//!
//! The janitor is called four times a second between the lines, as the server does.

mod bounds;
mod events;
mod grace;
mod limits;
mod replay;
mod restart;
mod upkeep;

use std::collections::HashMap;
use std::fmt::Write;

use super::subscriber::Resume;
use super::*;
use crate::model::{EventTags, Replay, Requested, parse_channel_path};

/// The second at which scripts begin.
pub(super) const START: u64 = 1_000_000;

/// No process before had a hub.
pub(super) const FLOOR: Option<Stamp> = Some(Stamp { time: 0, tag: 0 });

/// A zone with the module's defaults and plenty of memory.
pub(super) fn zone() -> Zone {
    Zone { deleted_text: (*b"Channel deleted").into(), ping_text: (*b" ").into(), ..Zone::bare(32 << 20, 30, 1800) }
}

pub(super) fn strict() -> Capabilities {
    Capabilities { refuse_when_full: true, merge_replay: false, exact_admission: false, ..Capabilities::default() }
}

fn ids(path: &str) -> Vec<ChannelId> {
    parse_channel_path(path.as_bytes()).into_iter().map(|requested| requested.id).collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

struct Script {
    hub: Hub,
    settings: Zone,
    capabilities: Capabilities,
    now: u64,
    connections: HashMap<String, (usize, Registration)>,
    authorized_only: bool,
    wildcard_limit: Option<u32>,
    events_allowed: bool,
}

impl Script {
    fn new(settings: Zone, capabilities: Capabilities) -> Self {
        let now = START * 1000;
        Self {
            hub: Hub::new(settings.clone(), capabilities, 2, Now(now), FLOOR),
            settings,
            capabilities,
            now,
            connections: HashMap::new(),
            authorized_only: false,
            wildcard_limit: None,
            events_allowed: true,
        }
    }

    /// Runs lines of `SECONDS VERB ARGUMENTS => OUTCOME`.
    fn run(&mut self, lines: &str) {
        for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (act, expected) = line.split_once(" =>").unwrap_or((line, ""));
            let (seconds, act) = act.split_once(' ').unwrap();
            self.pass_time(START * 1000 + (seconds.parse::<f64>().unwrap() * 1000.0) as u64);
            let outcome = self.act(act);
            assert_eq!(outcome, expected.trim(), "{line}");
            simulation::audit(&self.hub);
        }
    }

    fn pass_time(&mut self, until: u64) {
        while self.now / 250 < until / 250 {
            self.now = (self.now / 250 + 1) * 250;
            while self.hub.sweep(Now(self.now)) {}
        }
        self.now = until;
    }

    fn act(&mut self, act: &str) -> String {
        let now = Now(self.now);
        let words: Vec<&str> = act.split(' ').collect();
        match words[..] {
            ["publish", path, body] => self.publish(path, body, None, true),
            ["publish", path, body, event] => self.publish(path, body, Some(event), true),
            ["flash", path, body] => self.publish(path, body, None, false),
            ["admit", path] => refused(self.hub.admit_publish(&ids(path), now)),
            ["may-delete", path] => refused(self.hub.admit_delete(&ids(path))),
            ["may-ask", path] => refused(self.hub.admit_info(&ids(path))),
            ["delete", path] => self.hub.delete(&ids(path), None, now).to_string(),
            ["delete", path, body] => self.hub.delete(&ids(path), Some(body.as_bytes()), now).to_string(),
            ["poll", path, ..] => self.ask("", AskKind::Poll, path, &words[2..]),
            ["wait", name, path, ..] => self.ask(name, AskKind::LongPoll, path, &words[3..]),
            ["stream", name, path, ..] => self.ask(name, AskKind::Stream, path, &words[3..]),
            ["says", name, body] => {
                let keys = self.connections[name].1.keys.clone();
                let draft = Draft { text: body.as_bytes().into(), event: None, store: true, ..Draft::default() };
                refused(self.hub.publish_to(&keys, &draft, now))
            }
            ["leave", name] => {
                let (worker, registration) = self.connections.remove(name).unwrap();
                self.hub.leave(worker, &registration.keys, now);
                String::new()
            }
            ["notes", worker] => self.notes(worker.parse().unwrap()),
            ["news", name] => self.news(name),
            ["census"] => self.census(),
            ["info", path] => show(self.hub.find(&ids(path))),
            ["list", prefix] => {
                show(self.hub.list(prefix.trim_end_matches('*').as_bytes(), None, 99).into_iter().map(|(_, i)| i))
            }
            ["reload"] => {
                self.hub.reconfigure(self.settings.clone(), self.capabilities, now);
                String::new()
            }
            _ => panic!("what is {act:?}?"),
        }
    }

    fn publish(&mut self, path: &str, body: &str, event: Option<&str>, store: bool) -> String {
        let event = event.map(|id| Arc::new(EventTags { id: Some(id.as_bytes().into()), kind: None }));
        let draft = Draft { text: body.as_bytes().into(), event, store, ..Draft::default() };
        let admitted = self.hub.admit_publish(&ids(path), Now(self.now));
        refused(admitted.and_then(|()| self.hub.publish(&ids(path), &draft, Now(self.now))))
    }

    /// Arguments: `time=+SECONDS`, `tag=N`, `event=ID`, and `worker=N`.
    fn ask(&mut self, name: &str, kind: AskKind, path: &str, arguments: &[&str]) -> String {
        let path: Vec<Requested> = parse_channel_path(path.as_bytes());
        let mut replay = Replay::default();
        let mut worker = 0;
        for argument in arguments {
            match argument.split_once('=').unwrap() {
                ("time", offset) => replay.time = Some(START as i64 + offset.parse::<i64>().unwrap()),
                ("tag", tag) => replay.tag = Some(tag.parse().unwrap()),
                ("event", id) => replay.event_id = Some(id.as_bytes().into()),
                ("worker", number) => worker = number.parse().unwrap(),
                _ => panic!("{argument}"),
            }
        }
        let ask = Ask {
            worker,
            path: &path,
            replay: &replay,
            kind,
            authorized_only: self.authorized_only,
            wildcard_limit: self.wildcard_limit,
            events_allowed: self.events_allowed,
        };
        let mut answer = match self.hub.subscribe(&ask, Now(self.now)) {
            Ok(answer) => answer,
            Err(refusal) => return format!("{refusal:?}"),
        };
        let missed = self.hub.pages(&mut answer.history).flatten();
        let mut out: Vec<String> = missed
            .map(|m| format!("{}:{}:{}", text(m.channel.as_bytes()), m.message.id, text(&m.message.text)))
            .collect();
        if kind != AskKind::Stream {
            let Resume { time, tag } = answer.resume;
            let time = if time == 0 { "-".to_owned() } else { format!("{:+}", time - START as i64) };
            out.push(format!("at {time}/{}", tag.map_or("-".to_owned(), |tag| tag.to_string())));
        }
        if let Some(registration) = answer.subscription {
            if kind == AskKind::LongPoll {
                out.push("waits".to_owned());
            }
            self.connections.insert(name.to_owned(), (worker, registration));
        }
        out.join(" ")
    }

    fn notes(&mut self, worker: usize) -> String {
        let mut notes = Vec::new();
        self.hub.take_notes(worker, &mut notes, Now(self.now));
        notes.iter().map(show_note).collect::<Vec<_>>().join(" ")
    }

    /// What the connection gets of the notes for its worker, which are thereby taken.
    fn news(&mut self, name: &str) -> String {
        let (worker, registration) = &self.connections[name];
        let mut notes = Vec::new();
        self.hub.take_notes(*worker, &mut notes, Now(self.now));
        let mine = |note: &&Note| match note {
            Note::Message(f) => registration.keys.contains(&f.channel) && f.message.seq > registration.seq,
            Note::Deleted(f) => registration.keys.contains(&f.channel),
        };
        notes.iter().filter(mine).map(show_note).collect::<Vec<_>>().join(" ")
    }

    fn census(&self) -> String {
        let c = self.hub.census(Now(self.now));
        let mut out = format!("channels {}+{}", c.channels, c.wildcard_channels);
        write!(out, " published {} stored {} trash {}", c.published, c.stored, c.messages_in_trash).unwrap();
        write!(out, " deleted {} gone {}", c.channels_in_delete, c.channels_in_trash).unwrap();
        write!(out, " subscribers {:?}", c.by_worker).unwrap();
        assert_eq!(c.subscribers, c.by_worker.iter().sum::<u64>());
        out
    }
}

fn refused(outcome: Result<(), Refusal>) -> String {
    outcome.err().map_or(String::new(), |refusal| format!("{refusal:?}"))
}

fn show(infos: impl IntoIterator<Item = ChannelInfo>) -> String {
    let one = |i: ChannelInfo| format!("{}:{}:{}:{}", text(i.id.as_bytes()), i.published, i.stored, i.subscribers);
    infos.into_iter().map(one).collect::<Vec<_>>().join(" ")
}

fn show_note(note: &Note) -> String {
    let (Note::Message(fanout) | Note::Deleted(fanout)) = note;
    let id = text(fanout.id.as_bytes());
    match fanout.message.event_type() {
        Some(_) => text(&fanout.message.text)
            .replace("{\"type\": \"", "")
            .replace("\", \"channel\": \"", ":")
            .replace("\"}", ""),
        None => format!("{id}:{}:{}", fanout.message.id, text(&fanout.message.text)),
    }
}

fn run(settings: Zone, capabilities: Capabilities, lines: &str) {
    Script::new(settings, capabilities).run(lines);
}
