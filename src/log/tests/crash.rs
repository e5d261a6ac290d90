//! What a crash, a cut or a flipped byte leaves: everything that can be read, in order, and a line about the rest.

use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::log::header;
use crate::log::segments::SEGMENT;
use crate::log::writer::Writer;

fn open(dir: &Path) -> (Model, Restored, OpenLog) {
    let mut log = OpenLog::open(dir).unwrap();
    let mut model = Model::default();
    let restored = log.restore_after(0, &mut |entry| model.apply(&entry)).unwrap();
    (model, restored, log)
}

/// The writer of an opened log, to be driven step by step.
pub(super) fn writer(log: OpenLog, serving: &Arc<Serving>) -> Writer {
    let memory: Arc<dyn Memory> = Arc::clone(serving) as Arc<dyn Memory>;
    Writer::new(log.segments, memory, log.health, Durability::Second, &log.restored)
}

fn file(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:016}.log"))
}

/// A directory with a small log; the models after each of its batches, and the file's length then.
fn small_log(name: &str) -> (PathBuf, Vec<u8>, Vec<Model>) {
    let dir = temporary(name);
    let serving = Serving::new(Model::default(), 1 << 20);
    serving.set_time(1000);
    let mut writer = writer(OpenLog::open(&dir).unwrap(), &serving);
    let mut models = vec![serving.model()];
    let mut step = |act: &dyn Fn()| {
        act();
        writer.step(0);
        models.push(serving.model());
    };
    step(&|| {
        serving.publish("a", true, b"first");
    });
    step(&|| {
        serving.publish("b", true, b"a longer text, with some words in it");
    });
    step(&|| {
        serving.publish("a", false, b"not stored");
    });
    step(&|| serving.delete("b"));
    for text in ["1", "2", "3", "4", "5"] {
        step(&|| {
            serving.publish("a", true, text.as_bytes());
        });
    }
    step(&|| {
        serving.publish("b", true, b"again");
    });
    drop(writer);
    let mut bytes = fs::read(file(&dir, 1)).unwrap();
    assert_eq!(bytes.len() as u64, SEGMENT);
    let used = bytes.iter().rposition(|&byte| byte != 0).unwrap() + 1;
    bytes.truncate(used);
    (dir, bytes, models)
}

/// The model without what is not a matter of messages.
fn messages(model: &Model) -> BTreeMap<Vec<u8>, ModelChannel> {
    model.channels.clone()
}

#[test]
fn a_log_cut_at_any_byte_gives_what_was_there_at_some_moment() {
    let (dir, bytes, models) = small_log("cut");
    let mut seen = 0;
    for cut in 0..=bytes.len() {
        fs::write(file(&dir, 1), &bytes[..cut]).unwrap();
        let (model, restored, log) = open(&dir);
        let found = models.iter().skip(seen).position(|at| messages(at) == messages(&model));
        seen += found.unwrap_or_else(|| panic!("cut at {cut}: {model:?} was never there, or earlier"));
        assert!(restored.damaged.is_empty() && restored.cut.len() <= 1, "{restored:?}");
        drop(log);
        // The line comes once: the next start finds a log that ends well.
        let (again, restored, _log) = open(&dir);
        assert_eq!((again, restored.cut.len()), (model, 0), "cut at {cut}");
    }
    assert_eq!(seen, models.len() - 1);
}

#[test]
fn a_flipped_byte_costs_its_record_and_is_told_with_file_and_offset() {
    let (dir, bytes, models) = small_log("flip");
    let whole = models.last().unwrap().seq;
    let name = file(&dir, 1);
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        flipped.resize(bytes.len() + 512, 0);
        fs::write(&name, &flipped).unwrap();
        let _ = fs::remove_dir_all(dir.join("damaged"));
        let (model, restored, _log) = open(&dir);
        assert!(model.seq + 1 >= whole, "{at}");
        let told = restored.damaged.first().or(restored.cut.first());
        if at % 32 < 28 || at >= header::LENGTH {
            let line = told.unwrap_or_else(|| panic!("nothing is told of byte {at}"));
            assert!(line.contains(name.to_str().unwrap()), "{line}");
            let offset = line.split(|c: char| !c.is_ascii_digit()).rev().find_map(|word| word.parse::<usize>().ok());
            assert!(offset.is_some(), "{line}");
        }
        if !restored.damaged.is_empty() {
            assert_eq!(fs::read(dir.join("damaged").join(name.file_name().unwrap())).unwrap(), flipped);
        }
    }
}

#[test]
fn what_a_damaged_file_still_holds_is_written_anew_and_the_file_goes() {
    let (dir, bytes, _) = small_log("renew");
    let mut flipped = bytes.clone();
    flipped[header::LENGTH + 40] ^= 4;
    fs::write(file(&dir, 1), &flipped).unwrap();
    let (model, restored, log) = open(&dir);
    assert_eq!(restored.damaged.len(), 2, "{restored:?}");
    let serving = Serving::new(model.clone(), 1 << 20);
    let mut writer = writer(log, &serving);
    for step in 0..20 {
        writer.step(step * 1000);
    }
    assert!(!file(&dir, 1).exists());
    drop(writer);
    let (again, restored, _log) = open(&dir);
    assert_eq!(messages(&again), messages(&model));
    assert_eq!((restored.damaged.len(), restored.cut.len()), (0, 0));
}

#[test]
fn a_head_that_cannot_be_read_is_told_and_the_next_files_are_read() {
    let (dir, bytes, models) = small_log("head");
    fs::write(file(&dir, 2), [vec![7; 100], bytes.clone()].concat()).unwrap();
    fs::write(file(&dir, 3), vec![0; 4096]).unwrap();
    let (model, restored, _log) = open(&dir);
    assert_eq!(messages(&model), messages(models.last().unwrap()));
    assert!(restored.damaged[0].contains("its head at 0 cannot be read"), "{restored:?}");
}

#[test]
fn a_later_format_is_refused_and_left_as_it_is() {
    let (dir, bytes, _) = small_log("newer");
    let mut newer = bytes.clone();
    for copy in newer[..header::LENGTH].chunks_exact_mut(32) {
        copy[8] = 2;
        let sum = crc32c::crc32c(&copy[..24]);
        copy[24..28].copy_from_slice(&sum.to_le_bytes());
    }
    fs::write(file(&dir, 2), &newer).unwrap();
    let error = OpenLog::open(&dir).unwrap().restore_after(0, &mut |_| {}).unwrap_err().to_string();
    let expected = format!(
        "{} was written in format 2 by a newer version; this one reads formats up to 1",
        file(&dir, 2).display()
    );
    assert_eq!(error, expected);
    assert_eq!(fs::read(file(&dir, 2)).unwrap(), newer);
}

#[test]
fn a_process_that_ends_by_its_own_will_says_so() {
    let dir = temporary("clean");
    let serving = Serving::new(Model::default(), 1 << 20);
    let log = OpenLog::open(&dir).unwrap().start(Arc::clone(&serving) as Arc<dyn Memory>, Durability::Second).unwrap();
    serving.publish("a", true, b"text");
    log.close();
    let (model, restored, log) = open(&dir);
    assert!(restored.clean);
    assert_eq!(messages(&model), messages(&serving.model()));
    drop(log);
    // Without a word of its own the next one ends otherwise.
    let serving = Serving::new(model, 1 << 20);
    let (_, _, log) = open(&dir);
    let mut writer = writer(log, &serving);
    serving.publish("a", true, b"text");
    writer.step(0);
    drop(writer);
    assert!(!open(&dir).1.clean);
}

#[test]
fn after_a_crash_all_counts_are_told_again_and_nobody_is_alarmed() {
    let (dir, _, models) = small_log("told");
    let (model, restored, log) = open(&dir);
    assert!(!restored.is_clean());
    let health = log.health.clone();
    let serving = Serving::new(model, 1 << 20);
    let mut writer = writer(log, &serving);
    for step in 0..10 {
        writer.step(step);
        assert_eq!((health.view().gap, health.view().gaps), (None, 0), "{step}");
    }
    writer.finish(10).unwrap();
    drop(writer);
    // The second file alone tells which channels there are and what they count.
    fs::remove_file(file(&dir, 1)).unwrap();
    let (told, restored, _log) = open(&dir);
    assert!(restored.is_clean());
    let counts = |model: &Model| model.channels.values().map(|channel| channel.published).collect::<Vec<_>>();
    assert_eq!(counts(&told), counts(models.last().unwrap()));
}

#[test]
fn whoever_waits_for_a_sync_is_told_when_it_is_done() {
    let dir = temporary("always");
    let serving = Serving::new(Model::default(), 1 << 20);
    let log = OpenLog::open(&dir).unwrap().start(Arc::clone(&serving) as Arc<dyn Memory>, Durability::Always).unwrap();
    for round in 0..20 {
        let (sender, receiver) = std::sync::mpsc::channel();
        let position = serving.publish("a", true, b"text");
        log.when_synced(position, move |fine| sender.send(fine).unwrap());
        assert!(receiver.recv().unwrap(), "{round}");
        let bytes = fs::read(file(&dir, 1)).unwrap();
        let synced = memchr::memmem::find_iter(&bytes, b"text").count();
        assert_eq!(synced, round + 1);
    }
    assert!(log.health().view().syncs >= 20);
}

#[test]
fn marks_are_ahead_of_every_time_that_was_handed_out() {
    let dir = temporary("ahead");
    let serving = Serving::new(Model::default(), 1 << 20);
    let mut writer = writer(OpenLog::open(&dir).unwrap(), &serving);
    for second in 0..60 {
        serving.set_time(1000 + second);
        writer.step(u64::from(second) * 1000);
        let bytes = fs::read(file(&dir, 1)).unwrap();
        let mut marked = 0;
        let mut frames = frame::Frames::new(&bytes, header::LENGTH, seed(&bytes));
        while let frame::Found::Entry(entry) = frames.next() {
            if let Entry::Marks(marks) = entry {
                marked = marks.time;
            }
        }
        assert!((1002 + second..=1005 + second).contains(&marked), "{second}: {marked}");
    }
    // Not one with each step: an idle server writes little.
    assert!(writer.entries_written() <= 25);
}

fn seed(bytes: &[u8]) -> u32 {
    match header::Header::read(bytes) {
        header::Read::Header(header, true) => header.seed,
        other => panic!("{other:?}"),
    }
}
