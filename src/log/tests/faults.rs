//! A disk that fails, fills or stands still: serving goes on, the gap is told, and it closes when the disk is back.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::log::disk::{Disk, Growing};
use crate::log::health::Health;
use crate::log::restore;
use crate::log::segments::Segments;
use crate::log::writer::Writer;

/// Files in memory that outlive the process that wrote them, and the faults of the disk they are on.
#[derive(Clone, Default)]
pub(super) struct Faulty(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    files: BTreeMap<u64, Vec<u8>>,
    room: BTreeMap<u64, u64>,
    /// Bytes the disk holds; 0 = without end.
    capacity: u64,
    calls: u64,
    /// The calls that fail, by their number.
    failing: std::ops::Range<u64>,
    /// How much of a failing write gets through.
    torn: usize,
}

impl Faulty {
    pub(super) fn calls(&self) -> u64 {
        self.0.lock().calls
    }

    pub(super) fn fail(&self, calls: std::ops::Range<u64>, torn: usize) {
        let mut state = self.0.lock();
        state.failing = calls;
        state.torn = torn;
    }

    pub(super) fn set_capacity(&self, bytes: u64) {
        self.0.lock().capacity = bytes;
    }

    pub(super) fn bytes(&self) -> u64 {
        self.0.lock().bytes()
    }

    pub(super) fn restored(&self) -> (Model, Restored) {
        let mut model = Model::default();
        let mut segments = Segments::new(Box::new(self.clone()), 1).unwrap();
        let restored = restore::restore(&mut segments, 0, &mut |entry| model.apply(&entry)).unwrap();
        (model, restored)
    }

    pub(super) fn writer(&self, serving: &Arc<Serving>) -> (Writer, Health) {
        let health = Health::default();
        let segments = Segments::new(Box::new(self.clone()), 7).unwrap();
        let memory = Arc::clone(serving) as Arc<dyn Memory>;
        (Writer::new(segments, memory, health.clone(), Durability::Second, &Restored::default()), health)
    }
}

impl State {
    fn bytes(&self) -> u64 {
        self.files.iter().map(|(number, file)| self.room.get(number).copied().unwrap_or(0).max(file.len() as u64)).sum()
    }

    /// One call of the disk; whether it fails.
    fn call(&mut self) -> io::Result<()> {
        self.calls += 1;
        if self.failing.contains(&self.calls) { Err(io::Error::other("fault")) } else { Ok(()) }
    }
}

impl Disk for Faulty {
    fn list(&self) -> io::Result<Vec<(u64, u64)>> {
        let state = self.0.lock();
        Ok(state.files.keys().map(|&number| (number, state.files[&number].len() as u64)).collect())
    }

    fn hold(&mut self) -> io::Result<bool> {
        Ok(false)
    }

    fn claim(&self) {}

    fn read(&self, number: u64) -> io::Result<Vec<u8>> {
        let mut state = self.0.lock();
        state.call()?;
        state.files.get(&number).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn create(&self, number: u64, room: u64) -> io::Result<Box<dyn Growing>> {
        let mut state = self.0.lock();
        state.call()?;
        if state.capacity > 0 && state.bytes() + room > state.capacity {
            return Err(io::ErrorKind::StorageFull.into());
        }
        assert!(state.files.insert(number, Vec::new()).is_none());
        state.room.insert(number, room);
        Ok(Box::new(File(self.clone(), number)))
    }

    fn cut(&self, number: u64, length: u64) -> io::Result<()> {
        let mut state = self.0.lock();
        state.call()?;
        state.room.remove(&number);
        state.files.get_mut(&number).unwrap().truncate(length as usize);
        Ok(())
    }

    fn remove(&self, number: u64) -> io::Result<()> {
        let mut state = self.0.lock();
        state.call()?;
        state.room.remove(&number);
        state.files.remove(&number);
        Ok(())
    }

    fn set_aside(&self, _: u64) -> io::Result<PathBuf> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn put_aside(&self, _: &[u64]) -> io::Result<PathBuf> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn path(&self, number: u64) -> PathBuf {
        PathBuf::from(format!("disk/{number}"))
    }
}

struct File(Faulty, u64);

impl Growing for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.0.0.lock();
        let outcome = state.call();
        let through = if outcome.is_ok() { bytes.len() } else { state.torn.min(bytes.len()) };
        state.files.get_mut(&self.1).unwrap().extend_from_slice(&bytes[..through]);
        outcome
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.0.lock().call()
    }
}

/// Some traffic in three channels, with a step of the writer between.
fn traffic(serving: &Serving, writer: &mut Writer, from: u64, steps: u64) {
    for step in from..from + steps {
        let channel = ["a", "b", "c"][(step % 3) as usize];
        serving.publish(channel, step % 5 != 0, format!("text {step}").as_bytes());
        if step % 7 == 0 {
            serving.delete(["a", "b", "c"][(step / 7 % 3) as usize]);
        }
        writer.step(step * 400);
    }
}

/// Steps until the log is whole and all of it written, or for ten minutes.
fn settle(writer: &mut Writer, health: &Health, mut now: u64) {
    for _ in 0..600 {
        writer.step(now);
        now += 1000;
    }
    assert_eq!(health.view().gap, None);
}

#[test]
fn a_disk_that_fails_at_any_call_costs_nothing_once_it_is_back() {
    let calls = {
        let disk = Faulty::default();
        let serving = Serving::new(Model::default(), 1 << 20);
        let (mut writer, _) = disk.writer(&serving);
        traffic(&serving, &mut writer, 0, 30);
        disk.calls()
    };
    assert!(calls > 30);
    for first in 1..=calls {
        for (count, torn) in [(1, 0), (1, 9), (4, 30), (12, 1)] {
            let disk = Faulty::default();
            disk.fail(first..first + count, torn);
            let serving = Serving::new(Model::default(), 1 << 20);
            let (mut writer, health) = disk.writer(&serving);
            traffic(&serving, &mut writer, 0, 30);
            settle(&mut writer, &health, 20_000);
            let (model, _) = disk.restored();
            assert_eq!(model.channels, serving.model().channels, "call {first}, {count} times, torn at {torn}");
            assert!(health.view().gaps <= 1);
        }
    }
}

#[test]
fn a_crash_while_a_gap_is_open_or_being_closed_leaves_what_was_written() {
    for crash in 0..60 {
        let disk = Faulty::default();
        let serving = Serving::new(Model::default(), 1 << 20);
        let (mut writer, health) = disk.writer(&serving);
        traffic(&serving, &mut writer, 0, 12);
        let before = disk.restored().0;
        let next = disk.calls() + 1;
        disk.fail(next..next + 3, 5);
        traffic(&serving, &mut writer, 12, 8);
        let mut now = 8_000;
        for _ in 0..crash {
            writer.step(now);
            now += 100;
        }
        // Whatever had been written before the gap is there, or went for a reason.
        let after = disk.restored().0;
        assert!(after.seq >= before.seq, "crash after {crash} steps");
        if health.view().gap.is_none() {
            assert_eq!(after.channels, serving.model().channels, "crash after {crash} steps");
        }
    }
}

#[test]
fn a_full_disk_is_told_once_and_the_log_is_whole_when_there_is_room_again() {
    let disk = Faulty::default();
    disk.set_capacity(10 << 20);
    let serving = Serving::new(Model::default(), 4 << 20);
    let (mut writer, health) = disk.writer(&serving);
    let text = vec![b'x'; 100_000];
    let mut now = 0;
    for n in 0..200 {
        serving.publish(["a", "b", "c"][n % 3], true, &text);
        writer.step(now);
        now += 50;
    }
    let view = health.view();
    assert!(view.gap.as_deref().is_some_and(|why| why.starts_with("it cannot be written: ")), "{view:?}");
    assert_eq!(view.gaps, 1);
    assert!(disk.bytes() <= 10 << 20);
    disk.set_capacity(40 << 20);
    settle(&mut writer, &health, now);
    let (model, restored) = disk.restored();
    assert_eq!(model.channels, serving.model().channels);
    assert_eq!(restored.damaged, [] as [String; 0]);
}

#[test]
fn a_disk_that_stands_still_costs_a_bounded_queue_and_a_gap_that_closes() {
    let disk = Faulty::default();
    let serving = Serving::new(Model::default(), 10_000);
    let (mut writer, health) = disk.writer(&serving);
    traffic(&serving, &mut writer, 0, 6);
    // The writer hangs in the disk: nobody takes what is queued.
    for n in 0..500 {
        serving.publish(["a", "b"][n % 2], true, b"while it stands still");
        if n % 100 == 0 {
            serving.delete("c");
        }
    }
    writer.step(3_000);
    assert_eq!(health.view().gap.as_deref(), Some("the disk is slower than the publishers"));
    settle(&mut writer, &health, 4_000);
    assert_eq!(disk.restored().0.channels, serving.model().channels);
}

#[test]
fn nobody_waits_for_a_sync_that_does_not_come() {
    let disk = Faulty::default();
    let serving = Serving::new(Model::default(), 1 << 20);
    let (mut writer, health) = disk.writer(&serving);
    writer.step(0);
    disk.fail(disk.calls() + 1..u64::MAX, 0);
    let position = serving.publish("a", true, b"text");
    let told = Arc::new(AtomicU64::new(0));
    let wait = |health: &Health| {
        let told = Arc::clone(&told);
        health.when_synced(
            position,
            Box::new(move |fine| {
                told.fetch_add(if fine { 100 } else { 1 }, Ordering::Relaxed);
            }),
        );
    };
    wait(&health);
    writer.step(100);
    wait(&health);
    assert_eq!(told.load(Ordering::Relaxed), 2);
}

#[test]
fn an_end_closes_a_gap_if_the_disk_lets_it() {
    let disk = Faulty::default();
    let serving = Serving::new(Model::default(), 1 << 20);
    let (mut writer, health) = disk.writer(&serving);
    traffic(&serving, &mut writer, 0, 9);
    disk.fail(disk.calls() + 1..disk.calls() + 2, 3);
    serving.publish("a", true, b"lost at first");
    writer.step(9_000);
    assert!(health.view().gap.is_some());
    writer.finish(9_001).unwrap();
    let (model, restored) = disk.restored();
    assert!(restored.clean);
    assert_eq!(model.channels, serving.model().channels);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Publishers, deletes, faults, a queue that overflows, crashes and starts in any order: once the disk has been well for
    /// a while, it holds what memory holds; and a start never brings back what was gone before the last whole state.
    #[test]
    fn whatever_happens_the_log_becomes_what_memory_is(steps in prop::collection::vec(0..16u8, 1..120), seed in any::<u32>()) {
        let disk = Faulty::default();
        let mut serving = Serving::new(Model::default(), 3_000);
        let (mut writer, mut health) = disk.writer(&serving);
        let (mut now, mut faults) = (0, 0);
        for (n, step) in steps.into_iter().enumerate() {
            let channel = ["a", "b", "c", "d"][(seed as usize + n * 7) % 4];
            match step {
                0..=5 => {
                    serving.publish(channel, step > 0, format!("{n} {}", "x".repeat(n * 5)).as_bytes());
                }
                6 => serving.delete(channel),
                7 => {
                    faults += 1;
                    disk.fail(disk.calls() + 1..disk.calls() + 1 + u64::from(seed % 5), n);
                }
                8 => {
                    // A crash and a start.
                    drop(writer);
                    disk.fail(0..0, 0);
                    let (model, restored) = disk.restored();
                    // An end that could not be cut off after a fault is told; nothing else is.
                    prop_assert!(restored.damaged.len() <= 2 * faults, "{:?}", restored);
                    if health.view().gap.is_none() && health.view().synced > 0 {
                        prop_assert!(model.seq <= serving.model().seq);
                    }
                    serving = Serving::new(model, 3_000);
                    (writer, health) = disk.writer(&serving);
                }
                _ => {
                    now += 300;
                    writer.step(now);
                }
            }
        }
        disk.fail(0..0, 0);
        settle(&mut writer, &health, now + 2_000);
        prop_assert_eq!(disk.restored().0.channels, serving.model().channels);
    }
}
