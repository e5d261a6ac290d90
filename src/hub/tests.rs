//! Scripts against a hub: each line is a time in seconds, something done, and what must come of it.
//!
//! The janitor is called four times a second between the lines, as the server does.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::model::{EventTags, Replay, Requested, parse_channel_path};

/// The second at which scripts begin.
pub(super) const START: u64 = 1_000_000;

/// A zone with the module's defaults and plenty of memory.
pub(super) fn zone() -> Zone {
    Zone {
        memory: 32 << 20,
        deleted_text: (*b"Channel deleted").into(),
        inactivity: 30,
        ping_text: (*b" ").into(),
        timeout_with_body: false,
        message_ttl: 1800,
        max_subscribers_per_channel: None,
        max_messages_per_channel: None,
        max_channel_id_length: None,
        max_channels: None,
        max_wildcard_channels: None,
        wildcard_prefix: Box::default(),
        events_channel_id: Box::default(),
    }
}

pub(super) fn strict() -> HubOptions {
    HubOptions { first_tag: 1, refuse_when_full: true, merge_replay: false, exact_admission: false }
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
    options: HubOptions,
    now: u64,
    connections: HashMap<String, (usize, Registration)>,
    authorized_only: bool,
    wildcard_limit: Option<u32>,
    events_allowed: bool,
}

impl Script {
    fn new(settings: Zone, options: HubOptions) -> Self {
        let now = START * 1000;
        Self {
            hub: Hub::new(settings.clone(), options.clone(), 2, Now(now)),
            settings,
            options,
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
                let draft = Draft { text: body.as_bytes().into(), event: None, store: true };
                refused(self.hub.publish_to(&keys, draft, now))
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
                self.hub.reconfigure(self.settings.clone(), self.options.clone(), now);
                String::new()
            }
            _ => panic!("what is {act:?}?"),
        }
    }

    fn publish(&mut self, path: &str, body: &str, event: Option<&str>, store: bool) -> String {
        let event = event.map(|id| Box::new(EventTags { id: Some(id.as_bytes().into()), kind: None }));
        let draft = Draft { text: body.as_bytes().into(), event, store };
        let admitted = self.hub.admit_publish(&ids(path), Now(self.now));
        refused(admitted.and_then(|()| self.hub.publish(&ids(path), draft, Now(self.now))))
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
        let answer = match self.hub.subscribe(&ask, Now(self.now)) {
            Ok(answer) => answer,
            Err(refusal) => return format!("{refusal:?}"),
        };
        let mut out: Vec<String> = answer
            .missed
            .iter()
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
        self.hub.take_notes(worker, &mut notes);
        notes.iter().map(show_note).collect::<Vec<_>>().join(" ")
    }

    /// What the connection gets of the notes for its worker, which are thereby taken.
    fn news(&mut self, name: &str) -> String {
        let (worker, registration) = &self.connections[name];
        let mut notes = Vec::new();
        self.hub.take_notes(*worker, &mut notes);
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

fn run(settings: Zone, options: HubOptions, lines: &str) {
    Script::new(settings, options).run(lines);
}

#[test]
fn the_timeline_of_the_janitor_is_the_modules() {
    run(
        Zone { inactivity: 4, ..zone() },
        strict(),
        "0.4 publish gone one
         0.4 publish gone two
         0.4 publish kept x
         0.4 flash idle x
         0.4 delete gone => 1
         0.7 census => channels 2+0 published 4 stored 3 trash 1 deleted 1 gone 0 subscribers [0, 0]
         4.0 census => channels 2+0 published 4 stored 1 trash 3 deleted 0 gone 1 subscribers [0, 0]
         8.3 census => channels 1+0 published 4 stored 1 trash 3 deleted 0 gone 2 subscribers [0, 0]
         12.2 census => channels 1+0 published 4 stored 1 trash 2 deleted 0 gone 2 subscribers [0, 0]
         16.1 census => channels 1+0 published 4 stored 1 trash 0 deleted 0 gone 1 subscribers [0, 0]
         20.0 census => channels 1+0 published 4 stored 1 trash 0 deleted 0 gone 0 subscribers [0, 0]",
    );
}

#[test]
fn messages_expire_at_a_pass_after_their_ttl() {
    run(
        Zone { message_ttl: 1, ..zone() },
        strict(),
        "0.3 publish a x
         0.4 poll a.b1 => a:1:x at +0/1
         3.9 poll a.b1 => a:1:x at +0/1
         7.8 poll a.b1 => at -/-
         7.8 census => channels 1+0 published 1 stored 0 trash 1 deleted 0 gone 0 subscribers [0, 0]",
    );
    run(
        Zone { message_ttl: 2, ..zone() },
        strict(),
        "0.3 publish a old
         8.5 publish a new
         8.5 poll a.b9 => a:2:new at +8/1
         8.5 info a => a:2:1:0",
    );
}

#[test]
fn messages_are_also_looked_at_every_five_seconds_after_the_first_publish() {
    // First publish at 4.5: passes at 8, 12 and, for messages only, at 9.5.
    run(
        Zone { message_ttl: 4, inactivity: 5, ..zone() },
        strict(),
        "4.5 publish a x
         5.5 publish b x
         8.2 info a/b => a:1:0:0 b:1:1:0
         9.8 info a/b => a:1:0:0 b:1:0:0
         12.1 census => channels 0+0 published 2 stored 0 trash 2 deleted 0 gone 2 subscribers [0, 0]",
    );
}

#[test]
fn idle_channels_go_and_used_ones_stay() {
    run(
        Zone { inactivity: 1, ..zone() },
        strict(),
        "0.3 poll a => at -/-
         0.3 publish m x
         0.3 stream s b =>
         0.3 info a/m/b => a:0:0:0 m:1:1:0 b:0:0:1
         7.8 info a/m/b => m:1:1:0 b:0:0:1
         7.8 leave s
         8.3 info b =>
         8.3 census => channels 1+0 published 1 stored 1 trash 0 deleted 0 gone 2 subscribers [0, 0]
         8.3 poll a => at -/-
         8.3 info a => a:0:0:0",
    );
}

#[test]
fn publishing_and_subscribing_prolong_a_channel_and_polling_does_not() {
    run(
        Zone { inactivity: 5, ..zone() },
        strict(),
        "0.1 poll a/b/c => at -/-
         4.5 poll a => at -/-
         4.5 flash b x
         4.5 wait w c => at -/- waits
         4.5 leave w
         8.1 info a/b/c => b:1:0:0 c:0:0:0
         12.1 info a/b/c =>",
    );
}

#[test]
fn a_recreated_channel_starts_again() {
    run(
        zone(),
        strict(),
        "0.1 publish a 1
         0.1 publish a 2
         0.2 delete a/a/ghost => 1
         0.2 info a =>
         0.2 publish a 3
         0.2 info a => a:1:1:0
         0.2 poll a.b9 => a:1:3 at +0/3",
    );
}

#[test]
fn tags_run_over_all_channels_within_a_second() {
    run(
        zone(),
        HubOptions::default(),
        "0.1 publish a a1
         0.1 publish b/a x
         0.2 poll a.b1 => a:2:x at +0/3
         0.2 poll b.b1 => b:1:x at +0/2
         1.0 publish a a3
         1.0 poll a.b1 => a:3:a3 at +1/1",
    );
    run(
        zone(),
        HubOptions { first_tag: 0, ..HubOptions::default() },
        "0.1 publish a x
         0.1 poll a.b1 => a:1:x at +0/0",
    );
}

#[test]
fn followers_of_the_headers_see_each_message_once() {
    run(
        zone(),
        HubOptions::default(),
        "0.1 publish a a1
         0.1 publish b b1
         0.1 publish a a2
         0.1 poll a/b time=-1 => a:1:a1 b:1:b1 a:2:a2 at +0/3
         0.1 poll a/b time=+0 tag=3 => at +0/3
         0.1 publish b b2
         0.1 poll a/b time=+0 tag=3 => b:2:b2 at +0/4
         1.1 publish a a3
         1.1 poll a/b time=+0 tag=4 => a:3:a3 at +1/1",
    );
}

#[test]
fn replay_of_several_channels_is_channel_after_channel_where_the_module_is_followed() {
    run(
        zone(),
        strict(),
        "0.1 publish a a1
         0.1 publish b b1
         0.1 publish a a2
         0.1 poll a/b time=-1 => a:1:a1 a:2:a2 b:1:b1 at +0/3
         0.1 stream s b.b1/a => b:1:b1
         0.1 stream t b/a.b9 time=-1 => b:1:b1 a:1:a1 a:2:a2",
    );
}

#[test]
fn the_position_of_a_poll_is_echoed_or_moves_to_the_last_message_of_the_channels_read() {
    run(
        zone(),
        strict(),
        "0.1 poll a tag=5 => at -/5
         0.1 poll a time=-100 tag=27 => at -100/27
         0.1 poll a time=-100 => at -100/-
         0.1 publish a x
         0.1 flash a y
         0.1 publish b z
         0.1 poll a.b1/b => a:1:x at +0/2
         0.1 poll a.b1 time=+60 => a:1:x at +60/-
         0.1 poll a tag=1 => at -/1",
    );
}

#[test]
fn event_ids_resume() {
    run(
        zone(),
        strict(),
        "0.1 publish a one one
         0.1 publish a two two
         0.1 poll a event=one => a:2:two at +0/2
         0.1 poll a event=two => at -/-
         0.1 stream s a event=nobody =>",
    );
}

#[test]
fn a_long_poll_waits_only_if_nothing_was_missed() {
    run(
        zone(),
        HubOptions::default(),
        "0.1 wait w a/b worker=1 => at -/- waits
         0.1 census => channels 2+0 published 0 stored 0 trash 0 deleted 0 gone 0 subscribers [0, 1]
         0.1 publish b/a x
         0.1 notes 0 =>
         0.1 news w => b:1:x a:1:x
         0.1 leave w
         0.1 wait w a/b time=+0 tag=1 => a:1:x at +0/2
         0.1 census => channels 2+0 published 2 stored 2 trash 0 deleted 0 gone 0 subscribers [0, 0]
         0.1 publish a y
         0.1 notes 1 =>",
    );
}

#[test]
fn replay_and_live_neither_overlap_nor_leave_a_gap() {
    run(
        zone(),
        HubOptions::default(),
        "0.1 stream s a =>
         0.1 publish a 1
         0.1 stream t a.b9 => a:1:1
         0.1 publish a 2
         0.1 news t => a:2:2",
    );
}

#[test]
fn the_same_channel_twice_is_two_subscriptions() {
    run(
        zone(),
        HubOptions::default(),
        "0.1 stream s a/a/b =>
         0.1 info a/b/a => a:0:0:2 b:0:0:1 a:0:0:2
         0.1 census => channels 2+0 published 0 stored 0 trash 0 deleted 0 gone 0 subscribers [1, 0]
         0.1 says s x
         0.1 info a/b => a:2:2:2 b:1:1:1
         0.1 notes 0 => a:1:x a:2:x b:1:x
         0.1 leave s
         0.1 info a/b => a:2:2:0 b:1:1:0",
    );
}

#[test]
fn a_delete_tells_each_worker_once_and_ends_the_subscriptions() {
    run(
        zone(),
        HubOptions::default(),
        "0.1 stream s a/b =>
         0.1 stream t a worker=1 =>
         0.1 stream u a worker=1 =>
         0.1 delete a => 1
         0.1 notes 0 => a:-2:Channel deleted
         0.1 notes 1 => a:-2:Channel deleted
         0.1 leave t
         0.1 census => channels 1+0 published 0 stored 0 trash 0 deleted 1 gone 0 subscribers [1, 1]
         0.1 publish a x
         0.1 says s y
         0.1 notes 0 => b:1:y
         0.1 info a/b => a:1:1:0 b:1:1:1
         0.1 delete b bye => 1
         0.1 notes 0 => b:-2:bye",
    );
}

fn with_events() -> Zone {
    Zone { events_channel_id: (*b"EV").into(), inactivity: 1, ..zone() }
}

#[test]
fn the_events_channel_tells_what_happens_in_order() {
    run(
        with_events(),
        HubOptions::default(),
        "0.1 stream e EV =>
         0.1 publish a/b x
         0.1 publish a y
         0.1 notes 0 => channel_created:a channel_created:b
         0.2 wait w c worker=1 => at -/- waits
         0.2 notes 0 => channel_created:c client_subscribed:c
         0.2 leave w
         0.2 stream s a/d/a worker=1 =>
         0.2 notes 0 => client_unsubscribed:c channel_created:d client_subscribed:a client_subscribed:d client_subscribed:a
         0.3 delete a => 1
         0.3 notes 0 => client_unsubscribed:a client_unsubscribed:a
         4.1 notes 0 => channel_destroyed:a channel_destroyed:c
         4.1 leave s
         4.1 notes 0 => client_unsubscribed:d
         4.1 stream f EV worker=1 =>
         4.1 leave f
         4.1 notes 0 =>
         4.1 poll new => at -/-
         4.1 notes 0 => channel_created:new",
    );
}

#[test]
fn the_events_channel_is_counted_apart_and_never_goes() {
    run(
        with_events(),
        HubOptions::default(),
        "0.1 publish a x
         0.1 census => channels 2+0 published 1 stored 1 trash 0 deleted 0 gone 0 subscribers [0, 0]
         0.1 list * => EV:1:1:0 a:1:1:0
         0.1 list E* => EV:1:1:0
         0.1 admit EV => EventsChannelReadOnly
         0.1 may-delete a/EV => EventsChannelReadOnly
         0.1 may-ask EV =>
         0.1 delete EV => 0
         0.1 poll EV.b1 => EV:1:{\"type\": \"channel_created\", \"channel\": \"a\"} at +0/1
         0.1 stream s EV/a =>
         0.1 says s x
         0.1 info EV/a => EV:2:2:1 a:2:2:1
         9.9 info EV => EV:2:2:1",
    );
    let mut script = Script::new(with_events(), HubOptions::default());
    script.events_allowed = false;
    script.run(
        "0.1 stream s a/EV => EventsChannelForbidden
         0.1 info a =>",
    );
}

#[test]
fn the_place_of_the_events_channel_in_the_path_decides_whether_a_subscription_is_news() {
    run(
        with_events(),
        HubOptions::default(),
        "0.1 stream s EV/a =>
         0.1 news s => client_subscribed:a
         0.2 stream t b/EV =>
         0.2 news t =>",
    );
}

#[test]
fn an_events_channel_can_come_and_go_with_a_reload() {
    let mut script = Script::new(Zone { inactivity: 1, ..zone() }, HubOptions::default());
    script.run(
        "0.1 publish EV mine
         0.1 publish a x
         0.1 census => channels 2+0 published 2 stored 2 trash 0 deleted 0 gone 0 subscribers [0, 0]",
    );
    script.settings = with_events();
    script.run(
        "0.2 reload
         0.2 publish b x
         0.2 census => channels 3+0 published 3 stored 2 trash 0 deleted 0 gone 0 subscribers [0, 0]
         0.2 info EV => EV:2:2:0",
    );
    script.settings.events_channel_id = (*b"OTHER").into();
    script.run(
        "0.3 reload
         0.3 census => channels 4+0 published 3 stored 4 trash 0 deleted 0 gone 0 subscribers [0, 0]
         0.3 delete EV => 1
         0.3 publish c x
         0.3 info OTHER => OTHER:1:1:0",
    );
}

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
        HubOptions::default(),
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
        HubOptions::default(),
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
        HubOptions::default(),
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
fn a_shorter_ttl_takes_effect_for_new_messages_though_older_ones_live_on() {
    let mut script = Script::new(zone(), HubOptions::default());
    script.run("0.1 publish a long");
    script.settings.message_ttl = 2;
    script.run(
        "0.1 reload
         0.1 publish a short
         0.1 publish b short
         4.1 poll a.b9/b.b9 => a:1:long at +0/2
         4.1 publish a newer
         4.1 poll a.b9 => a:1:long a:3:newer at +4/1",
    );
}

fn publish_bytes(hub: &Hub, id: &str, bytes: usize) -> Result<(), Refusal> {
    let draft = Draft { text: vec![b'm'; bytes].into(), event: None, store: true };
    hub.publish(&ids(id), draft, Now(START * 1000))
}

#[test]
fn full_memory_refuses_messages_but_not_channels_where_it_refuses() {
    let mut script = Script::new(Zone { memory: 300 << 10, ..zone() }, strict());
    let accepted = (0..200).take_while(|_| publish_bytes(&script.hub, "a", 20_000).is_ok()).count();
    assert_eq!(accepted, 14);
    assert_eq!(publish_bytes(&script.hub, "a/b", 20_000), Err(Refusal::MemoryFull));
    script.run(
        "0.1 poll nothing => at -/-
         0.1 info a/b/nothing => a:14:14:0 nothing:0:0:0
         0.1 delete a => 1
         0.1 publish a x",
    );
    let created = (0..10_000).take_while(|n| script.hub.admit_publish(&ids(&n.to_string()), Now(0)).is_ok()).count();
    assert!((900..1100).contains(&created), "{created}");
    assert_eq!(script.hub.admit_publish(&ids("more"), Now(0)), Err(Refusal::MemoryFull));
    assert_eq!(script.act("poll more"), "MemoryFull");
}

#[test]
fn full_memory_drops_the_oldest_messages_of_the_zone_otherwise() {
    let mut script = Script::new(Zone { memory: 100_000, ..zone() }, HubOptions::default());
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
    let script = Script::new(Zone { memory: 10_000, ..zone() }, HubOptions::default());
    publish_bytes(&script.hub, "a", 9_000).unwrap();
    let created = (0..1000).take_while(|n| script.hub.admit_publish(&ids(&n.to_string()), Now(0)).is_ok()).count();
    assert!((25..40).contains(&created), "{created}");
    assert_eq!(script.hub.find(&ids("a"))[0].stored, 0);
}

#[test]
fn a_worker_is_woken_when_its_first_note_comes() {
    let hub = Arc::new(Hub::new(zone(), HubOptions::default(), 2, Now(START * 1000)));
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
    let ask = Ask {
        worker: 1,
        path: &path,
        replay: &Replay::default(),
        kind: AskKind::Stream,
        authorized_only: false,
        wildcard_limit: None,
        events_allowed: false,
    };
    hub.subscribe(&ask, Now(START * 1000)).unwrap();
    let woken = || [calls[0].load(Ordering::Relaxed), calls[1].load(Ordering::Relaxed)];
    publish_bytes(&hub, "a", 1).unwrap();
    publish_bytes(&hub, "a", 1).unwrap();
    assert_eq!(woken(), [0, 1]);
    let mut notes = Vec::new();
    hub.take_notes(1, &mut notes);
    publish_bytes(&hub, "a", 1).unwrap();
    assert_eq!(woken(), [0, 2]);
    hub.take_notes(1, &mut notes);
    assert_eq!(notes.len(), 3);
}

#[test]
fn a_listing_goes_on_after_a_key_even_if_its_channel_went() {
    let hub = Hub::new(zone(), HubOptions::default(), 1, Now(START * 1000));
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

#[test]
fn the_janitor_works_in_batches() {
    let hub = Hub::new(Zone { inactivity: 0, ..zone() }, HubOptions::default(), 1, Now(START * 1000));
    for n in 0..2000 {
        hub.admit_publish(&ids(&n.to_string()), Now(START * 1000)).unwrap();
    }
    assert!(!hub.sweep(Now(START * 1000 + 3999)));
    let mut batches = 1;
    while hub.sweep(Now(START * 1000 + 4000)) {
        batches += 1;
    }
    assert_eq!(batches, 2000 / 256 + 1);
    let census = hub.census(Now(START * 1000 + 4000));
    assert_eq!((census.channels, census.channels_in_trash, census.memory_used, census.uptime), (0, 2000, 0, 4));
}
