//! The well-behaved: clients of all modes that follow numbered messages by the rules of their protocol, and their publisher.
//!
//! Every message of a channel reaches every client of the channel once, in order; a client that is cut off, refused or kept
//! waiting is harmed. A message is `#NUMBER@MICROSECONDS!` and some padding: what no framing holds.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::town::Town;
use crate::answer::Answer;
use crate::http2::{self, Arrived};
use crate::proc::waited;
use crate::requests::{self, Transport};
use crate::swarm::Swarm;
use crate::tls;

/// Clients of one channel.
const SHARE: usize = 10;
/// How long a message may take on a machine that is busy with the siege.
const LATE: Duration = Duration::from_secs(10);
/// Time between two polls of those who poll.
const POLL: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Pushed(Transport),
    Poll,
}

/// Where a client comes in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Door {
    Plain,
    Tls,
    /// HTTP/2 within TLS, as browsers have it.
    Http2,
}

const WAYS: [(&str, Mode, Door); 9] = [
    ("streaming", Mode::Pushed(Transport::Streaming), Door::Plain),
    ("EventSource", Mode::Pushed(Transport::EventSource), Door::Plain),
    ("long-polling", Mode::Pushed(Transport::LongPoll), Door::Plain),
    ("websocket", Mode::Pushed(Transport::WebSocket), Door::Plain),
    ("polling", Mode::Poll, Door::Plain),
    ("streaming over TLS", Mode::Pushed(Transport::Streaming), Door::Tls),
    ("long-polling over TLS", Mode::Pushed(Transport::LongPoll), Door::Tls),
    ("websocket over TLS", Mode::Pushed(Transport::WebSocket), Door::Tls),
    ("EventSource over HTTP/2 and TLS", Mode::Pushed(Transport::EventSource), Door::Http2),
];

/// Publishers come in here; a channel has one of them, as two know no order.
const PUBLISHERS: [Door; 2] = [Door::Plain, Door::Tls];

/// A connection of one's own at a door.
fn enter(swarm: &mut Swarm, town: &Town, door: Door) -> Result<usize> {
    match door {
        Door::Plain => swarm.connect(town.plain),
        Door::Tls => swarm.connect_tls(town.tls),
        Door::Http2 => swarm.connect_within(town.tls, tls::http2_session()?),
    }
}

struct Citizen {
    way: usize,
    mode: Mode,
    door: Door,
    channel: usize,
    connection: usize,
    /// What has come and was not read yet; frames of HTTP/2 before they are bodies.
    input: Vec<u8>,
    frames: Vec<u8>,
    seen: u64,
    validators: (Vec<u8>, Vec<u8>),
    polled: Instant,
    asks: bool,
    is_cut: bool,
}

/// What they suffered.
#[derive(Default)]
pub(crate) struct Harm {
    pub(crate) published: u64,
    pub(crate) received: u64,
    pub(crate) lost: u64,
    pub(crate) repeated: u64,
    pub(crate) cut: u64,
    /// Microseconds, by way.
    delays: [Vec<u32>; WAYS.len()],
    /// From a publish to its answer, microseconds.
    answers: Vec<u32>,
    /// Longest time in which the siege itself looked at no connection, and how much of it it waited for a cpu; microseconds.
    pub(crate) pause: (u64, u64),
    /// The first few, in words.
    told: Vec<String>,
}

impl Harm {
    pub(crate) fn complaints(&self) -> Vec<String> {
        let mut all = self.told.clone();
        let late = self.delays.iter().flatten().filter(|delay| u128::from(**delay) > LATE.as_micros()).count();
        let counts =
            [("messages lost", self.lost), ("repeated", self.repeated), ("cut off", self.cut), ("late", late as u64)];
        all.extend(counts.iter().filter(|(_, count)| *count > 0).map(|(what, count)| format!("{count} {what}")));
        if self.received == 0 {
            all.push("nothing was received".to_owned());
        }
        all
    }

    /// How long messages took, of all ways and of each.
    pub(crate) fn delays(&self) -> Vec<(&'static str, String)> {
        let each = WAYS.iter().zip(&self.delays).filter(|(_, delays)| !delays.is_empty());
        let each = each.map(|((name, ..), delays)| (*name, spread(delays.clone())));
        std::iter::once(("all", spread(self.delays.concat()))).chain(each).collect()
    }

    /// How long publishers waited for their answers.
    pub(crate) fn answers(&self) -> String {
        spread(self.answers.clone())
    }

    fn tell(&mut self, what: String) {
        if self.told.len() < 10 {
            self.told.push(what);
        }
    }
}

/// `half / all but one in 1,000 / longest`
fn spread(mut micros: Vec<u32>) -> String {
    micros.sort_unstable();
    let at = |part: usize| micros.get((micros.len() * part / 1000).min(micros.len().saturating_sub(1)));
    let shown =
        |delay: Option<&u32>| delay.map_or("-".to_owned(), |micros| format!("{:.1} ms", f64::from(*micros) / 1e3));
    [500, 999, 1000].map(|part| shown(at(part))).join(" / ")
}

/// Publishes without waiting for answers, which it reads as they come.
#[derive(Default)]
struct Publisher {
    input: Vec<u8>,
    /// When what is not answered yet was published.
    unanswered: VecDeque<u64>,
}

/// All of them.
pub(crate) struct Citizens {
    swarm: Swarm,
    all: Vec<Citizen>,
    /// Those of the connections that come first.
    publishers: [Publisher; PUBLISHERS.len()],
    channels: usize,
    /// When connections were looked at last, and how long this thread had waited for a cpu until then, nanoseconds.
    looked: (Instant, u64),
    /// By channel.
    sent: Vec<u64>,
    began: Instant,
    rate: u64,
    harm: Harm,
}

impl Citizens {
    /// Lets them settle; all are subscribed.
    pub(crate) fn settle(town: &Town, clients: usize, rate: u64) -> Result<Self> {
        let mut swarm = Swarm::new()?;
        let channels = (clients / SHARE).max(1);
        for door in PUBLISHERS {
            enter(&mut swarm, town, door)?;
        }
        let mut all = Vec::new();
        for number in 0..clients {
            let way = number % WAYS.len();
            let (_, mode, door) = *WAYS.get(way).context("a way")?;
            let connection = enter(&mut swarm, town, door)?;
            all.push(Citizen {
                way,
                mode,
                door,
                // All ways share each channel.
                channel: number / WAYS.len() % channels,
                connection,
                input: Vec::new(),
                frames: Vec::new(),
                seen: 0,
                validators: (b"Thu, 01 Jan 1970 00:00:00 GMT".to_vec(), b"0".to_vec()),
                polled: Instant::now(),
                asks: false,
                is_cut: false,
            });
        }
        let mut citizens = Self {
            swarm,
            all,
            publishers: Default::default(),
            channels,
            looked: (Instant::now(), waited()),
            sent: vec![0; channels],
            began: Instant::now(),
            rate,
            harm: Harm::default(),
        };
        citizens.subscribe(town)?;
        citizens.began = Instant::now();
        citizens.looked = (Instant::now(), waited());
        citizens.harm.pause = (0, 0);
        Ok(citizens)
    }

    fn subscribe(&mut self, town: &Town) -> Result<()> {
        let mut waiting = 0;
        for citizen in &mut self.all {
            if let Mode::Pushed(transport) = citizen.mode {
                waiting += 1;
                let channel = channel(citizen.channel);
                let request = match citizen.door {
                    Door::Http2 => [http2::opening(), http2::get(1, &format!("/ev/{channel}"))].concat(),
                    Door::Plain | Door::Tls => transport.request(&channel),
                };
                self.swarm.send(citizen.connection, &request)?;
            }
        }
        let until = Instant::now() + Duration::from_secs(30);
        while town.number("subscribers")? < waiting {
            if Instant::now() > until {
                bail!("the citizens cannot settle");
            }
            self.read(Duration::from_millis(20))?;
        }
        Ok(())
    }

    /// Goes on for this long.
    pub(crate) fn live(&mut self, time: Duration) -> Result<()> {
        let until = Instant::now() + time;
        while Instant::now() < until {
            self.publish_due()?;
            self.poll_due();
            self.read(Duration::from_millis(10))?;
        }
        Ok(())
    }

    /// The end: whatever is on its way arrives, and what does not is lost.
    pub(crate) fn finish(mut self, rest: Duration) -> Result<Harm> {
        let until = Instant::now() + rest;
        while Instant::now() < until && (self.unanswered() > 0 || !self.is_complete()) {
            self.poll_due();
            self.read(Duration::from_millis(20))?;
        }
        for citizen in self.all.iter().filter(|citizen| !citizen.is_cut) {
            let missing = self.sent.get(citizen.channel).map_or(0, |sent| sent.saturating_sub(citizen.seen));
            self.harm.lost += missing;
        }
        if self.unanswered() > 0 {
            self.harm.tell(format!("{} publishes were not answered", self.unanswered()));
        }
        Ok(self.harm)
    }

    fn unanswered(&self) -> usize {
        self.publishers.iter().map(|publisher| publisher.unanswered.len()).sum()
    }

    fn is_complete(&self) -> bool {
        self.all.iter().all(|citizen| citizen.is_cut || self.sent.get(citizen.channel) == Some(&citizen.seen))
    }

    fn publish_due(&mut self) -> Result<()> {
        let due = self.began.elapsed().as_millis() as u64 * self.rate / 1000;
        while self.harm.published < due {
            let number = self.harm.published as usize;
            let place = number % self.channels;
            let Some(sent) = self.sent.get_mut(place) else { return Ok(()) };
            *sent += 1;
            let at = self.began.elapsed().as_micros() as u64;
            let mut text = format!("#{sent}@{at}!").into_bytes();
            text.resize(text.len() + number * 37 % 400, b'm');
            let publisher = place % PUBLISHERS.len();
            self.swarm.send(publisher, &requests::publish("pub", &channel(place), &text)).context("a publisher")?;
            self.harm.published += 1;
            self.publishers.get_mut(publisher).context("a publisher")?.unanswered.push_back(at);
        }
        Ok(())
    }

    fn poll_due(&mut self) {
        for citizen in &mut self.all {
            if citizen.mode != Mode::Poll || citizen.is_cut || citizen.asks || citizen.polled.elapsed() < POLL {
                continue;
            }
            let poll = next("poll", citizen);
            if self.swarm.send(citizen.connection, &poll).is_ok() {
                citizen.asks = true;
                citizen.polled = Instant::now();
            }
        }
    }

    fn read(&mut self, pause: Duration) -> Result<()> {
        let ready = self.swarm.ready(pause)?;
        let (before, now) = (self.looked, (Instant::now(), waited()));
        let pause = (now.0.duration_since(before.0).as_micros() as u64, (now.1 - before.1) / 1000);
        self.harm.pause = self.harm.pause.max(pause);
        self.looked = now;
        for number in ready {
            match number.checked_sub(PUBLISHERS.len()) {
                None => self.read_publisher(number)?,
                Some(citizen) => self.read_citizen(citizen)?,
            }
        }
        Ok(())
    }

    fn read_publisher(&mut self, number: usize) -> Result<()> {
        let now = self.began.elapsed().as_micros() as u64;
        let Some(publisher) = self.publishers.get_mut(number) else { return Ok(()) };
        if !self.swarm.drain(number, &mut publisher.input)? {
            bail!("a publisher was cut off");
        }
        while let Some((answer, used)) = Answer::read(&publisher.input) {
            if answer.status != 200 {
                bail!("a publish was answered by {}", answer.status);
            }
            publisher.input.drain(..used);
            let at = publisher.unanswered.pop_front().context("an answer to nothing")?;
            self.harm.answers.push(now.saturating_sub(at) as u32);
        }
        Ok(())
    }

    fn read_citizen(&mut self, number: usize) -> Result<()> {
        let now = self.began.elapsed().as_micros() as u64;
        let Some(citizen) = self.all.get_mut(number) else { return Ok(()) };
        let into = if citizen.door == Door::Http2 { &mut citizen.frames } else { &mut citizen.input };
        let mut alive = self.swarm.drain(citizen.connection, into)?;
        if citizen.door == Door::Http2 {
            let arrived = Arrived::take(&mut citizen.frames);
            alive &= arrived.ended + arrived.refused == 0;
            citizen.input.extend_from_slice(&arrived.body);
        }
        let way = citizen.way;
        match citizen.mode {
            Mode::Pushed(Transport::LongPoll) | Mode::Poll => {
                while let Some((answer, used)) = Answer::read(&citizen.input) {
                    if !matches!(answer.status, 200 | 304) {
                        self.harm.tell(format!("a poll was answered by {}", answer.status));
                    }
                    let own = |value: Option<&[u8]>| value.map(<[u8]>::to_vec);
                    let fresh = own(answer.field("last-modified")).zip(own(answer.field("etag")));
                    let body = answer.body;
                    citizen.input.drain(..used);
                    citizen.validators = fresh.unwrap_or_else(|| citizen.validators.clone());
                    citizen.asks = false;
                    // Who asks every two seconds hears late.
                    let now = (citizen.mode != Mode::Poll).then_some(now);
                    take(&body, &mut citizen.seen, now.map(|now| (way, now)), &mut self.harm);
                    if citizen.mode != Mode::Poll {
                        let poll = next("lp", citizen);
                        let _ = self.swarm.send(citizen.connection, &poll);
                    }
                }
            }
            Mode::Pushed(_) => {
                let used = take(&citizen.input, &mut citizen.seen, Some((way, now)), &mut self.harm);
                citizen.input.drain(..used);
            }
        }
        if !alive && !citizen.is_cut {
            citizen.is_cut = true;
            self.harm.cut += 1;
            let last = String::from_utf8_lossy(citizen.input.get(..citizen.input.len().min(80)).unwrap_or_default());
            let name = WAYS.get(way).map_or("", |(name, ..)| name);
            let told = format!("a client of {name} was cut off behind {last:?}");
            self.harm.tell(told);
        }
        Ok(())
    }
}

fn channel(number: usize) -> String {
    format!("citizens{number}")
}

fn next(place: &str, citizen: &Citizen) -> Vec<u8> {
    let (modified, tag) = &citizen.validators;
    let mut request =
        format!("GET /{place}/{} HTTP/1.1\r\nHost: t\r\nIf-Modified-Since: ", channel(citizen.channel)).into_bytes();
    for part in [modified, &b"\r\nIf-None-Match: "[..], tag, b"\r\n\r\n"] {
        request.extend_from_slice(part);
    }
    request
}

/// Takes the messages out of bytes in any framing, that came by a way at a time; how many bytes are done with.
fn take(bytes: &[u8], seen: &mut u64, came: Option<(usize, u64)>, harm: &mut Harm) -> usize {
    let mut done = 0;
    while let Some(start) = memchr::memchr(b'#', bytes.get(done..).unwrap_or_default()).map(|at| done + at) {
        let rest = bytes.get(start + 1..).unwrap_or_default();
        let plain = rest.iter().position(|byte| !byte.is_ascii_digit() && *byte != b'@');
        let Some(end) = plain else { return start };
        done = start + 1;
        let token =
            rest.get(..end).and_then(|token| std::str::from_utf8(token).ok()).and_then(|token| token.split_once('@'));
        let (Some(b'!'), Some((number, at))) = (rest.get(end), token) else { continue };
        let (Ok(number), Ok(at)) = (number.parse::<u64>(), at.parse::<u64>()) else { continue };
        harm.received += 1;
        if let Some((way, now)) = came
            && let Some(delays) = harm.delays.get_mut(way)
        {
            delays.push(now.saturating_sub(at) as u32);
        }
        if number <= *seen {
            harm.repeated += 1;
        } else {
            harm.lost += number - *seen - 1;
            *seen = number;
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_found_whole_in_any_pieces() {
        let bytes = b"HTTP/1.1 200 OK\r\n\r\n8\r\n#1@5!mmm\r\n\x81##2@6!m#4@7!";
        for cut in 0..bytes.len() {
            let (mut harm, mut seen) = (Harm::default(), 0);
            let used = take(&bytes[..cut], &mut seen, Some((0, 10)), &mut harm);
            take(&bytes[used..], &mut seen, Some((0, 10)), &mut harm);
            assert_eq!((harm.received, harm.lost, harm.repeated, seen), (3, 1, 0, 4), "cut at {cut}");
        }
        let (mut harm, mut seen) = (Harm::default(), 4);
        take(bytes, &mut seen, Some((0, 10)), &mut harm);
        assert_eq!((harm.repeated, seen), (3, 4));
    }
}
