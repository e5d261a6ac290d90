//! A client that comes back, from where it was, until it has seen the last message: in every mode, by any of several ways.
//!
//! The server's template is [`TEMPLATE`]; texts are numbers. When it is told that a channel was deleted it comes back for those
//! that are published to it later. It notes what it has seen and what no client may see (the same place again,
//! one before it, a torn message); what must have been seen the test knows.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, UNIX_EPOCH};

use super::{Door, percent_encoded};

/// What a message looks like. No length of a websocket frame looks like its brackets.
pub const TEMPLATE: &str = "{~text~|~time~|~tag~}";

/// The texts of last messages are this number and those above it, one for each channel.
pub const LAST: u64 = u64::MAX - 15;

/// Where every history begins.
const BEGINNING: &str = "Thu, 01 Jan 1970 00:00:00 GMT";

/// What is told of a channel that is deleted.
const DELETED: &str = "Channel deleted|";

/// What a ping says.
const PING: &str = " |";

/// How long nothing may come before it is looked whether the time is over.
const LOOK: Duration = Duration::from_millis(200);

/// How it follows.
#[derive(Clone, Copy)]
pub struct Follower<'a> {
    pub host: &'a str,
    /// The location.
    pub mode: &'a str,
    pub channels: &'a str,
    /// Whether it goes on by the event id, which is the number, as a browser does; else by time and tag.
    pub by_event_id: bool,
    /// When it leaves a connection that goes on, to come back.
    pub stays: Duration,
}

/// What it has seen, and what was wrong.
#[derive(Default)]
pub struct Seen {
    /// The numbers as they came.
    pub numbers: Vec<u64>,
    /// How many last messages came.
    pub lasts: usize,
    pub wrong: Vec<String>,
    pub connections: u32,
    /// Where it went on by an event id: how many numbers it had then.
    pub resumed: Vec<usize>,
    place: (u64, u32),
    position: Option<(String, String)>,
    /// A channel was deleted: what is published to it from now on goes to whoever comes anew.
    again: bool,
}

impl Follower<'_> {
    /// Follows until all last messages were seen or it is given up; `next` says by which way to ask.
    pub fn follow(&self, mut next: impl FnMut() -> Door, give_up: &AtomicBool) -> Seen {
        let mut seen = Seen { position: Some((BEGINNING.into(), "0".into())), ..Seen::default() };
        while !self.is_over(&seen) && !give_up.load(Ordering::Relaxed) {
            let before = seen.numbers.len();
            // Whatever ends a connection, it goes on with another one.
            let _ = self.connect(&next(), &mut seen, give_up);
            if seen.numbers.len() == before {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        seen
    }

    fn is_over(&self, seen: &Seen) -> bool {
        seen.lasts == self.channels.split('/').count()
    }

    fn request(&self, seen: &mut Seen) -> String {
        let Self { host, mode, channels, .. } = self;
        let (mut target, mut fields) = (format!("/{mode}/{channels}"), String::new());
        if let (true, Some(number)) = (self.by_event_id, seen.numbers.last()) {
            fields = format!("Last-Event-ID: {number}\r\n");
            seen.resumed.push(seen.numbers.len());
        } else {
            let (time, tag) = seen.position.clone().unwrap();
            target = format!("{target}?time={}&tag={tag}", percent_encoded(time.as_bytes()));
        }
        if *mode == "websocket" {
            format!(
                "GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            )
        } else {
            // Without chunks and keep-alive: what comes is head and messages, to the end.
            format!("GET {target} HTTP/1.0\r\nHost: {host}\r\n{fields}\r\n")
        }
    }

    fn connect(&self, door: &Door, seen: &mut Seen, give_up: &AtomicBool) -> std::io::Result<()> {
        let mut stream = door.open(LOOK)?;
        let began = Instant::now();
        seen.again = false;
        stream.write_all(self.request(seen).as_bytes())?;
        seen.connections += 1;
        let (mut head, mut bytes, mut buffer) = (None, Vec::new(), [0; 16384]);
        while !(self.is_over(seen) || seen.again || give_up.load(Ordering::Relaxed)) && began.elapsed() < self.stays {
            match stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => bytes.extend_from_slice(&buffer[..count]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
                Err(error) => return Err(error),
            }
            if head.is_none() {
                let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
                head = Some(String::from_utf8_lossy(&bytes[..end]).into_owned());
                bytes.drain(..end + 4);
            }
            if head.as_ref().is_some_and(|head| matches!(status(head), 101 | 200)) {
                seen.take(&mut bytes);
            }
        }
        if self.mode.ends_with("polling")
            && let Some(head) = head
        {
            seen.told(&head);
        }
        Ok(())
    }
}

impl Seen {
    /// Takes the whole messages out of what was read, whatever frames them.
    fn take(&mut self, bytes: &mut Vec<u8>) {
        loop {
            let Some(from) = bytes.iter().position(|&byte| byte == b'{') else {
                bytes.clear();
                return;
            };
            let Some(length) = bytes[from..].iter().position(|&byte| byte == b'}') else { return };
            let text = String::from_utf8_lossy(&bytes[from + 1..from + length]).into_owned();
            bytes.drain(..=from + length);
            if text.starts_with('"') || text.starts_with(PING) {
                // Why a websocket is closed; nothing.
                continue;
            }
            if text.starts_with(DELETED) {
                self.again = true;
                continue;
            }
            let Some((number, time, tag)) = parsed(&text) else {
                self.wrong.push(format!("torn: {text:?}"));
                continue;
            };
            let place = place(&time, &tag);
            if place <= self.place {
                self.wrong.push(format!("{text:?} after {:?}, resumed at {:?}", self.place, self.position));
            }
            self.place = place;
            self.position = Some((time, tag));
            if number >= LAST {
                self.lasts += 1;
            } else {
                self.numbers.push(number);
            }
        }
    }

    /// A poll without messages is answered with where the next one goes on. (That of an answer with messages counts only with all of them, and a
    /// server that is killed may have sent some: there the last one says it.)
    fn told(&mut self, head: &str) {
        let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
        let told = field("Last-Modified: ").zip(field("Etag: ").map(|tag| tag.trim_start_matches("W/").to_owned()));
        let Some((time, tag)) = told.filter(|_| status(head) == 304) else { return };
        let next = place(&time, &tag);
        if next < self.place {
            self.wrong.push(format!("goes on at {next:?} after {:?}: {head}", self.place));
        }
        self.place = next;
        self.position = Some((time, tag));
    }
}

fn status(head: &str) -> u16 {
    head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
}

fn place(time: &str, tag: &str) -> (u64, u32) {
    let time = httpdate::parse_http_date(time).unwrap().duration_since(UNIX_EPOCH).unwrap().as_secs();
    (time, tag.parse().unwrap())
}

fn parsed(text: &str) -> Option<(u64, String, String)> {
    let mut parts = text.split('|');
    let parts = (parts.next()?.parse().ok()?, parts.next()?.to_owned(), parts.next()?.to_owned());
    (httpdate::parse_http_date(&parts.1).is_ok() && parts.2.parse::<u32>().is_ok()).then_some(parts)
}
