//! A running server, asked over connections of its own.
//!
//! Dropping a [`Server`] ends the process and judges what it leaves in its logs: no panic.

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::configuration::of_sections;
use super::{Client, LOCATIONS, PATIENCE, PROMPTLY, Prefix, Reply, Running, Socket, framed, within};

/// A running server. The process goes before its directory.
pub struct Server {
    process: Running,
    patience: Duration,
    prefix: Prefix,
}

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
        let mut started = Self::configured(&of_sections(http, server), args);
        started.patience = PROMPTLY;
        started
    }

    /// Starts so many workers with an access log: `zone` within `http`, `locations` within its one server.
    pub fn with_locations(workers: usize, zone: &str, locations: &str) -> Self {
        Self::configured(&framed(workers, zone, locations), &[])
    }

    /// Starts with a whole configuration and these arguments.
    pub fn configured(conf: &str, args: &[&str]) -> Self {
        // Somebody else may take the port meanwhile.
        (0..5).find_map(|_| Self::try_start(conf, args)).expect("the server starts")
    }

    fn try_start(conf: &str, args: &[&str]) -> Option<Self> {
        let prefix = Prefix::new("server");
        prefix.configure(conf);
        let mut server = Self { process: prefix.spawn(args), patience: PATIENCE, prefix };
        let until = Instant::now() + PROMPTLY;
        while TcpStream::connect(server.address()).is_err() {
            if let Some(status) = server.process.ended() {
                assert!(server.log().contains("bind()"), "the server ended with {status}:\n{}", server.log());
                return None;
            }
            assert!(Instant::now() < until, "it does not listen:\n{}", server.log());
            std::thread::sleep(Duration::from_millis(5));
        }
        // A port that somebody else has taken accepts as well.
        server.process.ended().is_none().then_some(server)
    }

    /// Where the server listens.
    pub fn address(&self) -> SocketAddr {
        self.prefix.address()
    }

    /// The directory of configuration and logs.
    pub fn dir(&self) -> &Path {
        &self.prefix.dir
    }

    /// A new connection.
    pub fn connect(&self) -> Client {
        Client::open(self.address(), self.patience)
    }

    /// One request on a connection of its own.
    pub fn ask(&self, line: &str, fields: &[&str], body: &[u8]) -> Reply {
        self.connect().ask(line, fields, body)
    }

    /// GET on a connection of its own.
    pub fn get(&self, target: &str) -> Reply {
        self.ask(&format!("GET {target}"), &[], b"")
    }

    /// Publishes at a target; it must be accepted.
    pub fn publish(&self, target: &str, text: impl AsRef<[u8]>) -> Reply {
        let reply = self.ask(&format!("POST {target}"), &[], text.as_ref());
        assert_eq!(reply.status, 200, "{target}: {}", reply.head);
        reply
    }

    /// A GET whose answer goes on: the head and what came with it stay in the connection.
    pub fn subscribe(&self, target: &str) -> Client {
        let mut client = self.connect();
        client.send_request(&format!("GET {target}"), &[], b"");
        client
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
        self.eventually(&format!("{member} = {expected}"), || self.count(member) == expected);
    }

    /// Waits until an answer holds a text.
    pub fn await_text(&self, target: &str, text: &str) {
        self.eventually(&format!("{text} at {target}"), || self.get(target).text().contains(text));
    }

    /// Waits until the condition holds.
    #[track_caller]
    pub fn eventually(&self, what: &str, condition: impl FnMut() -> bool) {
        within(self.patience, what, condition);
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Puts another configuration in place and reloads; returns once it is served.
    pub fn reload(&self, http: &str, server: &str) {
        static TURN: AtomicU32 = AtomicU32::new(0);
        let mark = format!("/reloaded-{}", TURN.fetch_add(1, Ordering::Relaxed));
        self.prefix.configure(&of_sections(http, &format!("{server}\nlocation = {mark} {{ return 204; }}")));
        self.signal(Signal::SIGHUP);
        // By every worker: each connection goes to any of them.
        self.eventually("the reload", || (0..16).all(|_| self.get(&mark).status == 204));
    }

    /// How it ended; waits for that.
    pub fn end(&mut self) -> ExitStatus {
        self.process.wait()
    }

    /// Whether the process lives.
    pub fn is_alive(&mut self) -> bool {
        self.process.ended().is_none()
    }

    /// Whether it still serves, in the same process.
    pub fn assert_alive(&mut self) {
        assert!(self.is_alive(), "it is gone:\n{}", self.log());
        assert_eq!(self.get("/stats").status, 200);
    }

    /// What it has written to its logs.
    pub fn log(&self) -> String {
        self.prefix.log()
    }

    /// What the process has written to its standard error.
    pub fn stderr(&self) -> String {
        self.file("stderr")
    }

    /// A file in the server's directory.
    pub fn file(&self, name: &str) -> String {
        self.prefix.read(name)
    }

    /// Its entry in /proc.
    pub fn proc(&self, entry: &str) -> PathBuf {
        self.process.proc(entry)
    }

    /// Open file descriptors of the process.
    pub fn open_files(&self) -> usize {
        std::fs::read_dir(self.proc("fd")).unwrap().count()
    }

    /// Resident memory of the process in KiB.
    pub fn resident_kib(&self) -> usize {
        self.process.resident_kib()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.0.kill();
        let _ = self.process.0.wait();
        if !std::thread::panicking() {
            assert!(!self.log().contains("panicked"), "{}", self.log());
        }
    }
}

/// Runs `-t` on directives of `http` and of a server.
pub fn test_configuration(args: &[&str], http: &str, server: &str) -> Output {
    test_whole(args, &of_sections(http, server))
}

/// Runs `-t` on a whole configuration.
pub fn test_whole(args: &[&str], conf: &str) -> Output {
    let prefix = Prefix::new("tested");
    prefix.configure(conf);
    prefix.run(&[args, &["-t"]].concat())
}
