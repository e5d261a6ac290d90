//! The log of an application: what outlives its end, and what it is told when the disk fails.

use super::*;

/// A configuration whose log is in an empty directory of this test's own.
fn with_log(name: &str, sync: &str) -> (std::path::PathBuf, String) {
    let dir = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("embed-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    let own = format!("push_stream_state {}; push_stream_state_sync {sync};", dir.display());
    (dir, format!("events {{}} http {{ push_stream_shared_memory_size 8m; {own} server {{ listen 81; {SERVER} }} }}"))
}

#[test]
fn the_log_of_an_application_survives_its_end_however_it_comes() {
    let (dir, conf) = with_log("log", "1s");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let open = || PushStream::from_text(&conf).unwrap();
    let push = open();
    push.publish("a", "one").unwrap();
    let position = {
        let mut seen = push.subscribe("a", Start::Stored).unwrap();
        let first = runtime.block_on(seen.next()).unwrap();
        Start::After { time: first.time, tag: first.tag }
    };
    push.publish("a", "two").unwrap();
    let refused = PushStream::from_text(&conf).unwrap_err();
    assert!(matches!(refused, Error::State(_)));
    assert!(refused.to_string().ends_with(&format!("is in use by process {}", std::process::id())), "{refused}");
    // Dropped, the router last.
    let router = push.router();
    drop(push);
    drop(router);

    let push = open();
    push.publish("a", "three").unwrap();
    runtime.block_on(push.shutdown());
    assert!(matches!(push.publish("a", "late"), Err(Error::Refused(_))));
    // The handle is still there, and so are its subscribers; the directory is free.
    let next = open();
    let mut rest = next.subscribe("a", position).unwrap();
    for (id, text) in [(2, &b"two"[..]), (3, b"three")] {
        let message = runtime.block_on(rest.next()).unwrap();
        assert_eq!((message.id, &message.text[..]), (id, text));
    }
    runtime.block_on(next.shutdown());
    runtime.block_on(next.shutdown());
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn an_application_can_wait_for_the_disk_and_is_told_when_it_fails() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for sync in ["always", "1s", "off"] {
        let (dir, conf) = with_log("synced", sync);
        let push = PushStream::from_text(&conf).unwrap();
        for n in 0..3 {
            push.publish("a", format!("text {n}")).unwrap();
            assert!(runtime.block_on(push.synced()), "{sync}");
            let text = format!("text {n}");
            let files = std::fs::read_dir(&dir).unwrap().map(|file| std::fs::read(file.unwrap().path()).unwrap());
            let mut bytes = files.flat_map(|bytes| bytes.windows(6).map(<[u8]>::to_vec).collect::<Vec<_>>());
            assert!(bytes.any(|window| window == text.as_bytes()), "{sync}: {text}");
        }
        drop(push);
        std::fs::remove_dir_all(&dir).unwrap();
        // No directory can be made there.
        std::fs::write(&dir, "a file").unwrap();
        let push = PushStream::from_text(&conf).unwrap();
        push.publish("a", "kept in memory").unwrap();
        assert!(!runtime.block_on(push.synced()));
        std::fs::remove_file(&dir).unwrap();
        eventually("the log is written", || runtime.block_on(push.synced()));
        drop(push);
        let push = PushStream::from_text(&conf).unwrap();
        assert_eq!(push.channel("a").unwrap().stored_messages, 1);
        drop(push);
        std::fs::remove_dir_all(&dir).unwrap();
    }
    assert!(!runtime.block_on(PushStream::from_text(SERVER).unwrap().synced()));
}
