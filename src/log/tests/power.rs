//! The power goes: whatever was not synced is lost, in part or whole, sector by sector and in any order. What comes back is never
//! torn, never reordered, and lacks at most what came within the sync interval.
//!
//! The disk keeps its word as [`super::super::disk`] states it and not a bit more: names are there when the call that makes or
//! removes them has returned, bytes when a sync has; of everything else any part may be on the medium.

use std::io;

use super::*;
use crate::log::disk::{Disk, Growing};
use crate::log::health::Health;
use crate::log::restore;
use crate::log::segments::Segments;
use crate::log::writer::{Next, Writer};

/// What a disk writes as a whole.
const SECTOR: usize = 512;

/// A disk with a cache that a power cut empties.
#[derive(Clone, Default)]
struct Cached(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    files: BTreeMap<u64, Cache>,
    /// Whether files have their room at once, as zeros, or grow as they are written.
    grows: bool,
    syncs: u64,
}

#[derive(Clone, Default)]
struct Cache {
    /// On the medium.
    safe: Vec<u8>,
    /// Written since the last sync, oldest first.
    waiting: Vec<(usize, Vec<u8>)>,
    /// Where the next bytes go.
    end: usize,
}

impl Cache {
    fn length(&self) -> usize {
        self.safe.len().max(self.end)
    }

    /// As it is seen by whoever reads while there is power.
    fn seen(&self) -> Vec<u8> {
        let mut seen = self.safe.clone();
        self.waiting.iter().for_each(|(at, bytes)| put(&mut seen, *at, bytes));
        seen
    }

    /// As a power cut leaves it: each sector as it was after any of the writes that touched it.
    fn cut(&mut self, chance: &mut Chance) {
        let waiting = std::mem::take(&mut self.waiting);
        let Some((first, _)) = waiting.first() else { return };
        let sectors = first / SECTOR..self.end.div_ceil(SECTOR);
        // A disk may have written nothing, a beginning, or whatever it liked.
        let manner = chance.below(4);
        let border = sectors.start + chance.below(sectors.len() as u64 + 1) as usize;
        for sector in sectors {
            let count = match manner {
                1 if sector < border => waiting.len(),
                0 | 1 => 0,
                _ => chance.below(waiting.len() as u64 + 1) as usize,
            };
            let (start, end) = (sector * SECTOR, (sector + 1) * SECTOR);
            for (at, bytes) in &waiting[..count] {
                let (from, to) = (start.max(*at), end.min(at + bytes.len()));
                if from < to {
                    put(&mut self.safe, from, &bytes[from - at..to - at]);
                }
            }
        }
        self.end = 0;
    }
}

fn put(file: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    file.resize(file.len().max(at + bytes.len()), 0);
    file[at..at + bytes.len()].copy_from_slice(bytes);
}

/// Numbers by chance, from a seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }
}

impl Cached {
    /// The same with nothing but what is on the medium.
    fn safe(&self) -> Self {
        let state = self.0.lock();
        let safe = |file: &Cache| Cache { safe: file.safe.clone(), ..Cache::default() };
        let files = state.files.iter().map(|(number, file)| (*number, safe(file))).collect();
        Self(Arc::new(Mutex::new(State { files, ..State::default() })))
    }
}

impl Disk for Cached {
    fn list(&self) -> io::Result<Vec<(u64, u64)>> {
        Ok(self.0.lock().files.iter().map(|(number, file)| (*number, file.length() as u64)).collect())
    }

    fn hold(&mut self) -> io::Result<bool> {
        Ok(false)
    }

    fn claim(&self) {}

    fn read(&self, number: u64) -> io::Result<Vec<u8>> {
        self.0.lock().files.get(&number).map(Cache::seen).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn create(&self, number: u64, room: u64) -> io::Result<Box<dyn Growing>> {
        let mut state = self.0.lock();
        // Some zeros behind the records are as good as many.
        let room = if state.grows { 0 } else { room.min(1 << 16) as usize };
        let file = Cache { safe: vec![0; room], ..Cache::default() };
        assert!(state.files.insert(number, file).is_none());
        Ok(Box::new(File(self.clone(), number)))
    }

    fn cut(&self, number: u64, length: u64) -> io::Result<()> {
        let mut state = self.0.lock();
        let file = state.files.get_mut(&number).unwrap();
        let mut safe = file.seen();
        safe.truncate(length as usize);
        *file = Cache { safe, ..Cache::default() };
        Ok(())
    }

    fn remove(&self, number: u64) -> io::Result<()> {
        self.0.lock().files.remove(&number);
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

struct File(Cached, u64);

impl Growing for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.0.0.lock();
        let file = state.files.get_mut(&self.1).unwrap();
        file.waiting.push((file.end, bytes.to_vec()));
        file.end += bytes.len();
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.0.0.lock();
        state.syncs += 1;
        let file = state.files.get_mut(&self.1).unwrap();
        for (at, bytes) in std::mem::take(&mut file.waiting) {
            put(&mut file.safe, at, &bytes);
        }
        Ok(())
    }
}

/// A process on such a disk, and everything it has ever published.
struct World {
    disk: Cached,
    serving: Arc<Serving>,
    writer: Writer,
    health: Health,
    now: u64,
    /// When the writer comes next, and whether an entry calls it before.
    due: u64,
    sleeps: bool,
    steps: u64,
    /// By their texts, which name them.
    published: BTreeMap<Vec<u8>, (u64, String)>,
    /// The state after changes, with the position in the queue and the time.
    past: Vec<(u64, u64, Model)>,
    /// Of how many changes one is remembered.
    every: u64,
    changes: u64,
    /// The sequence number it began with.
    began: u64,
    lives: u64,
}

impl World {
    fn new(grows: bool, sync: Durability) -> Self {
        let disk = Cached::default();
        disk.0.lock().grows = grows;
        Self::live(disk, Model::default(), &Restored::default(), sync, 0)
    }

    fn live(disk: Cached, model: Model, restored: &Restored, sync: Durability, lives: u64) -> Self {
        let (serving, began) = (Serving::new(model.clone(), 64 << 20), model.seq);
        serving.set_time(1000);
        let health = Health::default();
        let segments = Segments::new(Box::new(disk.clone()), 7 + lives as u32).unwrap();
        let mut writer = Writer::new(segments, Arc::clone(&serving) as Arc<dyn Memory>, health.clone(), sync, restored);
        writer.step(0);
        Self {
            disk,
            serving,
            writer,
            health,
            now: 0,
            due: 0,
            sleeps: false,
            steps: 0,
            published: BTreeMap::new(),
            past: vec![(0, 0, model)],
            every: 1,
            changes: 0,
            began,
            lives,
        }
    }

    fn publish(&mut self, channel: &str, stored: bool, size: usize) {
        let number = self.published.len();
        let text = format!("{} {number} {}", self.lives, "x".repeat(size)).into_bytes();
        let position = self.serving.publish(channel, stored, &text);
        // Sequence numbers are those of the publishes.
        self.published.insert(text, (self.began + number as u64 + 1, channel.to_owned()));
        self.remember(position);
    }

    fn remember(&mut self, position: u64) {
        self.changes += 1;
        if std::mem::take(&mut self.sleeps) {
            self.due = self.now;
        }
        if self.changes.is_multiple_of(self.every) {
            self.past.push((position, self.now, self.serving.model()));
        }
    }

    fn delete(&mut self, channel: &str) {
        self.serving.delete(channel);
        self.remember(self.changes + 1);
    }

    /// Lets time go on, with the writer as it comes.
    fn wait(&mut self, milliseconds: u64) {
        let until = self.now + milliseconds;
        while self.due <= until {
            self.now = self.now.max(self.due);
            let next = self.writer.step(self.now);
            self.steps += 1;
            self.sleeps = matches!(next, Next::WithEntries(_));
            let (Next::In(pause) | Next::WithEntries(pause)) = next;
            self.due = self.now + pause.max(1);
        }
        self.now = until;
    }

    /// The power goes and comes back; what is found must be what was promised. Returns the next life.
    fn cut(self, chance: &mut Chance, sync: Durability, because: &str) -> Self {
        let Self { disk, serving, health, now, published, past, lives, .. } = self;
        let synced = health.view().synced;
        for file in disk.0.lock().files.values_mut() {
            file.cut(chance);
        }
        let mut segments = Segments::new(Box::new(disk.clone()), 1).unwrap();
        let (mut model, mut order) = (Model::default(), Vec::new());
        let restored = restore::restore(&mut segments, 0, &mut |entry| {
            if let Entry::Publish(it) = &entry {
                order.push(it.message.seq);
            }
            model.apply(&entry);
        })
        .unwrap();
        // In the order they were published in.
        assert!(order.is_sorted(), "{because}: {order:?}");
        // The last moment whose changes have to be there; without syncs none but the first.
        let synced = if sync == Durability::Off { 0 } else { synced };
        let safe = past.iter().rposition(|(position, ..)| *position <= synced).unwrap();
        let (_, _, at_safe) = &past[safe];
        if sync == Durability::Second {
            let missing = past.get(safe + 1).map_or(0, |(_, at, _)| now - at);
            assert!(missing <= 1000, "{because}: what is {missing} ms old was not synced");
        }
        let memory = serving.model();
        let texts = |model: &Model, seq: u64| -> BTreeMap<u64, Vec<u8>> {
            let channels = model.channels.values();
            channels.flat_map(|channel| channel.messages.clone()).filter(|(at, _)| *at <= seq).collect()
        };
        let (was, is, found) = (texts(at_safe, at_safe.seq), texts(&memory, at_safe.seq), texts(&model, at_safe.seq));
        for (seq, text) in &is {
            assert!(found.get(seq) == Some(text), "{because}: {seq} was synced and lives");
        }
        for (seq, text) in &found {
            assert!(was.get(seq) == Some(text), "{because}: {seq} was gone when that was synced");
        }
        // What is younger may be there or not; if it is, it is whole and where it belongs.
        for (id, channel) in &model.channels {
            for (seq, text) in channel.messages.range(at_safe.seq + 1..) {
                let whole =
                    published.get(text).is_some_and(|known| known == &(*seq, String::from_utf8_lossy(id).into()));
                assert!(whole, "{because}: {seq} was never published so");
            }
        }
        // Counts do not fall behind what was synced, but of a channel that was deleted since.
        for (id, channel) in &at_safe.channels {
            if past[safe..].iter().all(|(.., model)| model.channels.contains_key(id)) {
                let count = model.channels.get(id).map(|channel| channel.published);
                assert!(count >= Some(channel.published), "{because}: {count:?} of {}", channel.published);
            }
        }
        assert!(model.seq >= at_safe.seq, "{because}");
        drop(segments);
        Self::live(disk, model, &restored, sync, lives + 1)
    }
}

#[test]
fn a_power_cut_at_any_moment_costs_at_most_the_sync_interval() {
    for seed in 0..200 {
        let mut chance = Chance(seed * 2 + 1);
        let sync = [Durability::Second, Durability::Always, Durability::Off][chance.below(3) as usize];
        let mut world = World::new(chance.below(3) == 0, sync);
        for life in 0..=chance.below(6) {
            for _ in 0..chance.below(60) {
                let channel = ["a", "b", "c", "d"][chance.below(4) as usize];
                match chance.below(12) {
                    0..=6 => {
                        let size = [3, 100, 600, 3000][chance.below(4) as usize];
                        world.publish(channel, chance.below(6) > 0, size);
                    }
                    7 => world.delete(channel),
                    8 | 9 => world.wait(chance.below(300)),
                    10 => world.wait(chance.below(20)),
                    // The writer falls asleep.
                    _ => world.wait(1000 + chance.below(3000)),
                }
            }
            world = world.cut(&mut chance, sync, &format!("seed {seed}, life {life}"));
        }
    }
}

#[test]
fn a_power_cut_while_old_files_are_renewed_brings_nothing_back_and_loses_nothing() {
    for seed in 0..2 {
        let mut chance = Chance(seed * 7 + 3);
        let mut world = World::new(false, Durability::Second);
        world.every = 10;
        world.publish("deleted", true, 1000);
        world.delete("deleted");
        // Hundred megabytes and more come, most go, so that files are renewed; the power goes at some moment of it.
        for n in 0..500 + chance.below(400) {
            let stays = format!("stays {}", chance.below(30));
            let channel = ["a", "b", "c", &stays][(n % 4) as usize];
            world.publish(channel, true, 200_000);
            world.wait(chance.below(40));
        }
        let files = world.health.view().files;
        world = world.cut(&mut chance, Durability::Second, &format!("seed {seed}, {files} files"));
        world.publish("a", true, 10);
        world.wait(2_000);
        world.cut(&mut chance, Durability::Second, &format!("seed {seed}, once more"));
    }
}

#[test]
fn while_nothing_comes_the_writer_sleeps_and_marks_on_the_medium_stay_ahead_of_the_time() {
    // Hubs look at the clock twice a second.
    const STALE: u64 = 500;
    for phase in (0..1000).step_by(90) {
        let mut world = World::new(false, Durability::Second);
        for tenth in 0..600_u64 {
            let passed = |late: u64| 1000 + ((tenth * 100 + phase).saturating_sub(late) / 1000) as u32;
            world.serving.set_time(passed(STALE));
            world.wait(100);
            let safe = world.disk.safe();
            let marked = restore::last_time(&Segments::new(Box::new(safe), 1).unwrap());
            assert!(tenth < 10 || marked >= passed(0), "phase {phase}, {tenth}: {marked}");
        }
        assert!(world.steps < 60 * 2 + 20, "phase {phase}: {} steps in a minute", world.steps);
    }
}

#[test]
fn an_entry_wakes_the_writer_and_is_written_at_once() {
    let mut world = World::new(false, Durability::Second);
    world.wait(5000);
    let (steps, written) = (world.steps, world.health.view().entries);
    world.publish("a", true, 10);
    world.wait(1);
    assert_eq!((world.steps, world.health.view().entries), (steps + 1, written + 1));
}

#[test]
fn the_disk_of_these_tests_loses_what_was_not_synced() {
    let lost = (0..50).filter(|seed| {
        let mut file = Cache { safe: vec![0; 4096], ..Cache::default() };
        file.waiting = vec![(100, vec![1; 900]), (1000, vec![2; 900])];
        file.end = 1900;
        let seen = file.seen();
        file.cut(&mut Chance(*seed));
        file.safe != seen
    });
    assert!(lost.count() > 20);
}
