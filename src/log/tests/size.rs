//! A log stays small: never more than twice what lives, and 128 MB.

use super::faults::Faulty;
use super::*;
use crate::log::writer::{BATCH, Next};

/// The bound of the promise.
fn bound(serving: &Serving) -> u64 {
    2 * serving.live_bytes() + (128 << 20)
}

#[test]
fn a_day_of_messages_that_come_and_go_stays_within_the_bound() {
    let disk = Faulty::default();
    let serving = Serving::new(Model::default(), 64 << 20);
    let (mut writer, health) = disk.writer(&serving);
    let text = vec![b'x'; 20_000];
    let mut largest = 0;
    // One message in five seconds, most in ten channels that keep four each, some in channels that stay.
    for step in 0..(86_400 / 5) {
        let channel = if step % 100 == 0 { format!("stays {}", step % 1000) } else { format!("busy {}", step % 10) };
        serving.set_time(step * 5);
        serving.publish(&channel, true, &text);
        writer.step(u64::from(step) * 5000);
        writer.step(u64::from(step) * 5000 + 2500);
        largest = largest.max(disk.bytes());
        assert!(disk.bytes() <= bound(&serving), "{} bytes at step {step}", disk.bytes());
    }
    let view = health.view();
    assert_eq!((view.gaps, view.damaged), (0, 0));
    // It was renewed for real, and what was written is mostly what was published.
    assert!(view.written > 300 << 20, "{view:?}");
    assert!(largest < 100 << 20, "{largest}");
    assert_eq!(disk.restored().0.channels, serving.model().channels);
}

#[test]
fn what_lives_long_is_carried_along() {
    let disk = Faulty::default();
    let serving = Serving::new(Model::default(), 256 << 20);
    let (mut writer, health) = disk.writer(&serving);
    let text = vec![b'x'; 50_000];
    let mut now = 0;
    // 40 MB that stay, then 400 MB through one channel, as fast as they come.
    for n in 0..200 {
        for _ in 0..CAP {
            serving.publish(&format!("stays {n}"), true, &text);
        }
    }
    for _ in 0..8000 {
        serving.publish("busy", true, &text);
        now += if let Next::In(pause) = writer.step(now) { pause.min(BATCH) } else { BATCH };
        assert!(disk.bytes() <= bound(&serving), "{} bytes", disk.bytes());
    }
    assert_eq!((health.view().gaps, health.view().damaged), (0, 0));
    let (model, _) = disk.restored();
    for n in 0..200 {
        assert_eq!(model.channels[format!("stays {n}").as_bytes()].messages.len(), CAP);
    }
}

#[test]
fn many_starts_leave_few_files() {
    let disk = Faulty::default();
    let mut model = Model::default();
    for n in 0..200u32 {
        let serving = Serving::new(model, 1 << 20);
        serving.set_time(n);
        let (mut writer, health) = disk.writer(&serving);
        serving.publish("a", true, format!("{n}").as_bytes());
        for step in 0..8 {
            writer.step(step * 1000);
        }
        writer.finish(9_000).unwrap();
        assert!(health.view().files <= 70, "{:?}", health.view());
        model = disk.restored().0;
    }
    assert_eq!(model.channels[&b"a"[..]].messages.len(), CAP);
}
