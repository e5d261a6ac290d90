//! A pushstreamd of its own for each test: the real binary, on ports that were free, in a directory of its own.
//!
//! Dropping a [`Server`] ends the process and judges what it leaves in its log: no panic. Bytes go over bare sockets
//! ([`Wire`]), so that nothing an HTTP library hides stays hidden.

#![allow(dead_code, unreachable_pub, reason = "each test target uses its part")]

mod websocket;
mod wire;

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

pub use websocket::{Frame, Socket, frame};
pub use wire::{Answer, Wire};

/// How long something may take that is expected to happen.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// A running server.
pub struct Server {
    child: Child,
    port: u16,
    dir: PathBuf,
}

/// The locations most tests need; `/pub` and `/stats` take the id as an argument, the others have the path in the URI.
pub const LOCATIONS: &str = r#"
    location /pub { push_stream_publisher admin; push_stream_channels_path $arg_id; push_stream_store_messages on; }
    location /drop { push_stream_publisher admin; push_stream_channels_path $arg_id; }
    location /stats { push_stream_channels_statistics; push_stream_channels_path $arg_id; }
    location ~ ^/sub/(.*) { push_stream_subscriber; push_stream_channels_path $1; push_stream_message_template "<~text~>"; }
    location ~ ^/poll/(.*) { push_stream_subscriber polling; push_stream_channels_path $1; push_stream_message_template "<~text~>"; }
    location ~ ^/lp/(.*) {
        push_stream_subscriber long-polling; push_stream_channels_path $1; push_stream_message_template "<~text~>";
        push_stream_longpolling_connection_ttl 700ms;
    }
    location ~ ^/ev/(.*) { push_stream_subscriber eventsource; push_stream_channels_path $1; }
    location ~ ^/ws/(.*) {
        push_stream_subscriber websocket; push_stream_channels_path $1; push_stream_websocket_allow_publish on;
        push_stream_message_template "<~text~>";
    }
"#;

impl Server {
    /// Starts on the usual locations.
    pub fn usual() -> Self {
        Self::start("", LOCATIONS)
    }

    /// Starts with directives of `http` and of the one server.
    pub fn start(http: &str, server: &str) -> Self {
        Self::with_args(&[], http, server)
    }

    /// The same with arguments.
    pub fn with_args(args: &[&str], http: &str, server: &str) -> Self {
        let (dir, port) = (scratch(), free_port());
        let file = dir.join("nginx.conf");
        std::fs::write(&file, configuration(port, http, server)).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_pushstreamd"))
            .args(args)
            .args(["-c".as_ref(), file.as_os_str(), "-p".as_ref(), dir.as_os_str()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(dir.join("stderr.log")).unwrap())
            .spawn()
            .unwrap();
        let mut started = Self { child, port, dir };
        let end = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(started.child.try_wait().unwrap().is_none(), "it does not start:\n{}", started.log());
            assert!(Instant::now() < end, "it does not listen:\n{}", started.log());
            std::thread::sleep(Duration::from_millis(5));
        }
        started
    }

    /// A new connection.
    pub fn connect(&self) -> Wire {
        Wire::open(self.port)
    }

    /// One request on a connection of its own.
    pub fn ask(&self, line: &str, fields: &[&str], body: &[u8]) -> Answer {
        self.connect().ask(line, fields, body)
    }

    /// GET on a connection of its own.
    pub fn get(&self, target: &str) -> Answer {
        self.ask(&format!("GET {target}"), &[], b"")
    }

    /// Publishes at a target; it must be accepted.
    pub fn publish(&self, target: &str, text: impl AsRef<[u8]>) -> Answer {
        let answer = self.ask(&format!("POST {target}"), &[], text.as_ref());
        assert_eq!(answer.status, 200, "{target}: {}", answer.head);
        answer
    }

    /// A GET whose answer goes on: the head and what came with it stay in the connection.
    pub fn subscribe(&self, target: &str) -> Wire {
        let mut wire = self.connect();
        wire.send_request(&format!("GET {target}"), &[], b"");
        wire
    }

    /// An open websocket.
    pub fn websocket(&self, target: &str) -> Socket {
        Socket::open(self.connect(), target, b"")
    }

    /// A number of the statistics' summary.
    pub fn count(&self, member: &str) -> u64 {
        let text = self.get("/stats").text();
        let summary: serde_json::Value = serde_json::from_str(&text).unwrap();
        summary[member].as_u64().unwrap_or_else(|| panic!("no {member} in {text}"))
    }

    /// Waits until a number of the summary is this.
    pub fn await_count(&self, member: &str, expected: u64) {
        eventually(&format!("{member} = {expected}"), || self.count(member) == expected);
    }

    /// Waits until an answer holds a text.
    pub fn await_text(&self, target: &str, text: &str) {
        eventually(&format!("{text} at {target}"), || self.get(target).text().contains(text));
    }

    /// Sends a signal (`HUP`, `TERM`, ...).
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Puts another configuration in place and reloads; returns once it is served.
    pub fn reload(&self, http: &str, server: &str) {
        static TURN: AtomicU32 = AtomicU32::new(0);
        let mark = format!("/reloaded-{}", TURN.fetch_add(1, Ordering::Relaxed));
        let server = format!("{server}\nlocation = {mark} {{ return 204; }}");
        std::fs::write(self.dir.join("nginx.conf"), configuration(self.port, http, &server)).unwrap();
        self.signal("HUP");
        eventually("the reload", || self.get(&mark).status == 204);
    }

    /// How it ended; waits for that.
    pub fn end(&mut self) -> ExitStatus {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < end, "it does not end:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Whether it still serves, in the same process.
    pub fn assert_alive(&mut self) {
        assert!(self.child.try_wait().unwrap().is_none(), "it is gone:\n{}", self.log());
        assert_eq!(self.get("/stats").status, 200);
    }

    /// What it has written to its logs.
    pub fn log(&self) -> String {
        ["error.log", "stderr.log"].map(|name| read(&self.dir.join(name))).concat()
    }

    /// The directory of the run.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Its entry in /proc.
    pub fn proc(&self, entry: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{entry}", self.child.id()))
    }

    /// Its resident memory, KiB.
    pub fn memory(&self) -> u64 {
        let status = read(&self.proc("status"));
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let log = self.log();
        let _ = std::fs::remove_dir_all(&self.dir);
        if !std::thread::panicking() {
            assert!(!log.contains("panicked"), "{log}");
        }
    }
}

/// Runs `-t` on directives of `http` and of a server.
pub fn test_configuration(args: &[&str], http: &str, server: &str) -> Output {
    test_whole(args, &configuration(free_port(), http, server))
}

/// Runs `-t` on a whole configuration.
pub fn test_whole(args: &[&str], text: &str) -> Output {
    let dir = scratch();
    let file = dir.join("nginx.conf");
    std::fs::write(&file, text).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_pushstreamd"))
        .args(args)
        .args(["-t".as_ref(), "-c".as_ref(), file.as_os_str(), "-p".as_ref(), dir.as_os_str()])
        .output()
        .unwrap();
    let _ = std::fs::remove_dir_all(&dir);
    output
}

/// Waits until something is true.
pub fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < end, "{what} did not come");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn configuration(port: u16, http: &str, server: &str) -> String {
    let memory =
        if http.contains("push_stream_shared_memory_size") { "" } else { "push_stream_shared_memory_size 32m;" };
    format!(
        "daemon off; worker_processes 2; pid server.pid; error_log error.log info; events {{ worker_connections 1024; }}
http {{ access_log off; default_type text/plain; {memory} {http}
    server {{ listen 127.0.0.1:{port}; {server}
    }}
}}\n"
    )
}

fn scratch() -> PathBuf {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("run-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

/// A port nobody listens on; the system does not give it out again soon.
fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
}
