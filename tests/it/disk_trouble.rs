//! A server whose log has no disk: full, not there when it starts, gone while it serves, or in the hands of another process.
//! Serving goes on, it is told, and the log is whole again as soon as it can be.

use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::restart::{end, prefix, start, stored, succeed, usual};
use crate::support::{Client, Frame, PATIENCE, Prefix, Running, Socket, eventually, exchange, free_port};

/// A mount of its own on a directory, for as long as this lives.
struct Mount {
    holder: Running,
}

impl Mount {
    fn tmpfs(dir: &std::path::Path, size: &str) -> Self {
        std::fs::create_dir_all(dir).unwrap();
        let script =
            format!("mount -t tmpfs -o size={size} none '{}' && echo mounted && exec sleep 300", dir.display());
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", &script]).stdin(Stdio::null());
        let mut child = command.stdout(Stdio::piped()).spawn().expect("this test needs `unshare`");
        let mut line = String::new();
        let stdout = child.stdout.take().unwrap();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).unwrap();
        assert_eq!(line, "mounted\n", "this test needs a kernel that lets users mount a tmpfs of their own");
        Self { holder: Running(child) }
    }

    /// Starts the server of a prefix where the mount is seen.
    fn start(&self, prefix: &Prefix, words: &[&str]) -> Running {
        let mut command = Command::new("nsenter");
        let server = prefix.command(words);
        command.args(["--user", "--mount", "--preserve-credentials", "--target", &self.holder.0.id().to_string()]);
        command.arg(server.get_program()).args(server.get_args()).stdin(Stdio::null()).stdout(Stdio::null());
        let running = Running(command.spawn().expect("this test needs `nsenter`"));
        prefix.wait_until_serving();
        running
    }

    /// A file there, seen from here.
    fn path(&self, path: &std::path::Path) -> std::path::PathBuf {
        self.holder.proc("root").join(path.strip_prefix("/").unwrap())
    }
}

#[test]
fn a_full_disk_is_told_and_the_log_is_whole_when_there_is_room_again() {
    let prefix = usual();
    let dir = prefix.path("state");
    let mount = Mount::tmpfs(&dir, "26m");
    // Ten megabytes are left.
    std::fs::write(mount.path(&dir.join("filler")), vec![1; 16 << 20]).unwrap();
    let port = free_port();
    let server = mount.start(&prefix, &["--status", &format!("127.0.0.1:{port}")]);
    let health = || exchange(port, "GET", "/health", "").unwrap();
    assert!(health().ends_with("\r\n\r\nok\n"));
    let text = "x".repeat(100_000);
    for n in 0..120 {
        prefix.publish("a", &format!("{n} {text}"));
    }
    prefix.error_log_has("has a gap: it cannot be written: No space left on device");
    assert_eq!(prefix.read("logs/error.log").matches("has a gap").count(), 1);
    let said = health();
    assert!(said.starts_with("HTTP/1.1 200") && said.contains("ok\nthe log has a gap: it cannot be written"), "{said}");
    // It serves on.
    prefix.publish("b", "while the disk is full");
    assert_eq!(stored(&prefix, "b"), ["1 while the disk is full"]);
    std::fs::remove_file(mount.path(&dir.join("filler"))).unwrap();
    prefix.error_log_has("the log is whole again");
    let status = exchange(port, "GET", "/status", "").unwrap();
    let status: serde_json::Value = serde_json::from_str(status.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!((&status["log"]["gap"], &status["log"]["gaps"]), (&serde_json::Value::Null, &1.into()), "{status}");
    end(server, Signal::SIGKILL);
    let server = mount.start(&prefix, &[]);
    assert_eq!(stored(&prefix, "a").len(), 120);
    assert_eq!(stored(&prefix, "b").len(), 1);
    end(server, Signal::SIGTERM);
}

#[test]
fn a_disk_that_cannot_be_written_does_not_keep_anybody_from_starting() {
    let prefix = usual();
    std::fs::write(prefix.path("state"), "no directory").unwrap();
    let server = start(&prefix);
    prefix.publish("a", "one");
    assert_eq!(stored(&prefix, "a"), ["1 one"]);
    prefix.error_log_has("the log cannot be opened");
    assert!(prefix.read("logs/error.log").contains("[alert]"));
    // As soon as it can be, it is, and holds what was published before.
    std::fs::remove_file(prefix.path("state")).unwrap();
    prefix.error_log_has("the log is whole again");
    end(server, Signal::SIGKILL);
    let server = start(&prefix);
    assert_eq!(stored(&prefix, "a"), ["1 one"]);
    end(server, Signal::SIGTERM);
}

#[test]
fn what_a_directory_holds_that_comes_too_late_is_kept_and_not_mixed_in() {
    let prefix = usual();
    std::fs::create_dir(prefix.path("disk")).unwrap();
    symlink(prefix.path("disk"), prefix.path("state")).unwrap();
    let server = start(&prefix);
    for n in 0..3 {
        prefix.publish("a", &format!("old {n}"));
    }
    end(server, Signal::SIGTERM);
    let swap = |to: &str| {
        symlink(prefix.path(to), prefix.path("next")).unwrap();
        std::fs::rename(prefix.path("next"), prefix.path("state")).unwrap();
    };
    swap("nowhere");
    let port = free_port();
    let server = {
        let running = prefix.spawn(&["--status", &format!("127.0.0.1:{port}")]);
        prefix.wait_until_serving();
        running
    };
    prefix.publish("a", "new");
    let health = exchange(port, "GET", "/health", "").unwrap();
    assert!(health.contains("ok\nthe log has a gap: it cannot be opened: "), "{health}");
    swap("disk");
    prefix.error_log_has("the log is whole again");
    prefix.error_log_has("is kept in ");
    assert!(exchange(port, "GET", "/health", "").unwrap().ends_with("\r\n\r\nok\n"));
    assert!(prefix.path("disk/before/0000000000000001.log").exists());
    end(server, Signal::SIGKILL);
    let server = start(&prefix);
    assert_eq!(stored(&prefix, "a"), ["1 new"]);
    end(server, Signal::SIGTERM);
}

#[test]
fn a_directory_that_is_lost_is_written_anew_from_memory() {
    let prefix = usual();
    let server = start(&prefix);
    prefix.publish("a", "first");
    for round in 1..=2 {
        if round == 1 {
            std::fs::remove_dir_all(prefix.path("state")).unwrap();
        } else {
            // The lock is left.
            let files = std::fs::read_dir(prefix.path("state")).unwrap().map(|file| file.unwrap().path());
            files.filter(|file| file.extension().is_some()).for_each(|file| std::fs::remove_file(file).unwrap());
        }
        prefix.publish("a", &format!("after loss {round}"));
        let told = |line: &str| prefix.read("logs/error.log").matches(line).count();
        eventually("it is told and mended", || told("has a gap") == round && told("the log is whole again") == round);
    }
    end(server, Signal::SIGKILL);
    let server = start(&prefix);
    assert_eq!(stored(&prefix, "a"), ["1 first", "2 after loss 1", "3 after loss 2"]);
    end(server, Signal::SIGTERM);
}

#[test]
fn an_old_server_beside_its_successor_has_a_log_again_when_that_one_ends() {
    let prefix = usual();
    let old = start(&prefix);
    let old_pid = prefix.pid();
    prefix.publish("a", "to the old one");
    let new = succeed(&prefix, old.process());
    prefix.publish("a", "to the new one");
    old.signal(Signal::SIGHUP);
    prefix.error_log_has("the log is the new binary's");
    // Each message comes to one of the two, until each has some that the other lacks.
    let (mut before, mut turns) = (Vec::new(), 0);
    eventually("both serve", || {
        prefix.publish("a", &format!("beside {turns}"));
        let answer = stored(&prefix, "a");
        turns += u32::from(before.iter().any(|line| !answer.contains(line)));
        before = answer;
        turns >= 3
    });
    kill(Pid::from_raw(prefix.pid().unwrap()), Signal::SIGQUIT).unwrap();
    eventually("the old name", || prefix.pid() == old_pid);
    prefix.publish("a", "alone again");
    let served = stored(&prefix, "a");
    assert_eq!(served[..2], ["1 to the old one", "2 to the new one"]);
    assert!(served.last().unwrap().ends_with(" alone again"), "{served:?}");
    prefix.error_log_has("is kept in ");
    // What memory held beside the log is written anew, then what came last.
    std::thread::sleep(Duration::from_millis(500));
    end(old, Signal::SIGKILL);
    drop(new);
    let server = start(&prefix);
    let texts = |lines: Vec<String>| -> Vec<String> {
        lines.into_iter().map(|line| line.split_once(' ').unwrap().1.to_owned()).collect()
    };
    assert_eq!(texts(stored(&prefix, "a")), texts(served));
    end(server, Signal::SIGTERM);
}

#[test]
fn a_websocket_publish_is_on_the_disk_when_the_ping_behind_it_is_answered() {
    let prefix = prefix("push_stream_state state; push_stream_state_sync always;");
    let pong = || Frame { first: 0x8A, payload: b"?".to_vec() };
    for round in 1..=4 {
        let server = start(&prefix);
        let mut socket = Socket::open(Client::open(prefix.address(), PATIENCE), "/ws/a", b"");
        for text in ["x", "y"] {
            socket.send(0x81, text.as_bytes());
        }
        socket.send(0x89, b"?");
        let mut frames = vec![socket.frame()];
        while *frames.last().unwrap() != pong() {
            frames.push(socket.frame());
        }
        // Its own messages come by another way, which does not wait for the disk: before the answer, or just behind it.
        assert!(frames.len() <= 3, "{frames:?}");
        end(server, Signal::SIGKILL);
        let server = start(&prefix);
        assert_eq!(stored(&prefix, "a").len(), 2 * round);
        end(server, Signal::SIGKILL);
    }
}
