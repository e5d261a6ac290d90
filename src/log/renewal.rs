//! Keeping the log small: what still lives of the oldest segment is written once more, and the segment goes.
//!
//! It does not know which records live; memory does. Messages that come and go in order leave old segments with next to
//! nothing alive, so that this costs little. It is done a slice at a time, the faster the larger the log has become.

use super::entry::Entry;
use super::frame::{Found, Frames};
use super::header::{self, Header, Read};
use super::queue::Memory;
use super::segments::Segments;

/// A log of twice what lives, and this, is left alone.
const SPARE: u64 = 48 << 20;
/// From so many bytes above that on there are no pauses.
const HURRY: u64 = 24 << 20;
/// Segments beyond which small ones are put together.
const MANY: usize = 64;
/// Entries, and bytes of them, in one slice.
const SLICE: usize = 256;
const SLICE_BYTES: usize = 256 << 10;
/// Milliseconds between two slices.
const PAUSE: u64 = 10;

/// The state of it.
pub(super) struct Renewal {
    /// Up to this one segments are renewed whatever the size of the log.
    up_to: Option<u64>,
    under_way: Option<Segment>,
}

struct Segment {
    number: u64,
    bytes: Vec<u8>,
    at: usize,
    seed: u32,
    /// Everything of it that lives is queued; and whether that has been taken.
    done: Option<bool>,
}

/// What a step has come to.
#[derive(Default)]
pub(super) struct Step {
    /// Milliseconds until the next one; `None` if there is nothing to do.
    pub(super) pause: Option<u64>,
    /// What was found damaged.
    pub(super) damage: Option<String>,
}

impl Renewal {
    pub(super) fn new(up_to: Option<u64>) -> Self {
        Self { up_to, under_way: None }
    }

    /// Whether a segment can go as soon as what was written is synced.
    pub(super) fn waits_for_sync(&self) -> bool {
        self.under_way.as_ref().is_some_and(|segment| segment.done.is_some())
    }

    /// Forgets the segment under way: it stays, and is begun again.
    pub(super) fn interrupt(&mut self) {
        self.under_way = None;
    }

    /// Does a slice. Is called after what was queued has been written; `synced` says whether it is on the medium too.
    pub(super) fn step(&mut self, segments: &mut Segments, memory: &dyn Memory, synced: bool) -> Step {
        let wanted = 2 * memory.live_bytes() + SPARE;
        let mut step = Step { pause: Some(if segments.bytes() > wanted + HURRY { 0 } else { PAUSE }), damage: None };
        let segment = if let Some(segment) = &mut self.under_way {
            segment
        } else {
            let Some(oldest) = segments.oldest() else { return Step::default() };
            let told = self.up_to.is_some_and(|up_to| oldest <= up_to);
            if !told && segments.bytes() <= wanted && segments.count() <= MANY {
                return Step::default();
            }
            let (segment, damage) = begin(segments, oldest);
            step.damage = damage;
            self.under_way.insert(segment)
        };
        match segment.done {
            None => step.damage = slice(segment, memory).or(step.damage),
            // What was kept last was queued in the step before, and is written by now.
            Some(false) => segment.done = Some(true),
            Some(true) => {}
        }
        let number = segment.number;
        if segment.done == Some(true) && synced {
            self.under_way = None;
            // One that cannot be removed is begun again, and removed then.
            let _ = segments.remove_oldest();
        }
        step.damage = step.damage.and_then(|damage| self.tell(segments, number, &damage));
        step
    }

    /// The line about damage, and a copy of the file. What the start has told of is no news: what it cost is not in memory
    /// either.
    fn tell(&mut self, segments: &Segments, number: u64, damage: &str) -> Option<String> {
        if self.up_to.is_some_and(|up_to| number <= up_to) {
            return None;
        }
        self.up_to = Some(number);
        let aside = segments.disk().set_aside(number);
        let kept = aside.map_or_else(|_| String::new(), |path| format!(", a copy is kept as {}", path.display()));
        Some(format!("{}: {damage}{kept}", segments.path(number).display()))
    }
}

fn begin(segments: &Segments, number: u64) -> (Segment, Option<String>) {
    let nothing = Segment { number, bytes: Vec::new(), at: 0, seed: 0, done: Some(false) };
    match segments.read(number) {
        Err(error) => (nothing, Some(format!("cannot be read: {error}"))),
        Ok(bytes) => match Header::read(&bytes) {
            Read::Header(header, _) => {
                (Segment { number, bytes, at: header::LENGTH, seed: header.seed, done: None }, None)
            }
            Read::Unused => (nothing, None),
            Read::Newer(_) | Read::Damaged => (nothing, Some("its head at 0 cannot be read".to_owned())),
        },
    }
}

/// Has memory keep what lives of the next entries; what was damaged among them.
fn slice(segment: &mut Segment, memory: &dyn Memory) -> Option<String> {
    let mut frames = Frames::new(&segment.bytes, segment.at, segment.seed);
    let mut entries: Vec<Entry> = Vec::new();
    let mut damage = None;
    while entries.len() < SLICE && frames.at() < segment.at + SLICE_BYTES {
        match frames.next() {
            Found::Entry(entry) if entry.channel().is_some() => entries.push(entry),
            Found::Entry(_) => {}
            Found::Damage { from, to } => damage = Some(format!("unreadable from {from} to {to}")),
            Found::End { at, torn } => {
                if torn {
                    damage = Some(format!("unreadable from {at} to its end"));
                }
                segment.done = Some(false);
                break;
            }
        }
    }
    segment.at = frames.at();
    memory.keep(&entries);
    damage
}
