//! The real server for tests: started on a free port in a directory of its own, stopped and removed on drop.
//!
//! Knows how to start and watch a process; what is sent over its sockets is `wire`'s business. A configuration is text with
//! `@PORT@` and `@DIR@` in it.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own part")]

pub mod wire;

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use wire::Client;

/// How long something that must happen may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A running server.
pub struct Server {
    child: Child,
    port: u16,
    dir: PathBuf,
}

impl Server {
    /// Starts a server with this configuration.
    pub fn start(conf: &str) -> Self {
        Self::start_with(conf, &[])
    }

    /// Starts a server with this configuration and these switches.
    pub fn start_with(conf: &str, switches: &[&str]) -> Self {
        for _ in 0..5 {
            if let Some(server) = Self::try_start(conf, switches) {
                return server;
            }
        }
        panic!("the server does not start");
    }

    /// Starts a server whose configuration is made of the usual frame and these lines within `server`; the zone's lines
    /// come first.
    pub fn with_locations(workers: usize, zone: &str, locations: &str) -> Self {
        Self::start(&framed(workers, zone, locations))
    }

    fn try_start(conf: &str, switches: &[&str]) -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("server-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let port = free_port();
        let conf = conf.replace("@PORT@", &port.to_string()).replace("@DIR@", &dir.to_string_lossy());
        std::fs::write(dir.join("nginx.conf"), conf).unwrap();
        let stderr = std::fs::File::create(dir.join("stderr")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_pushstreamd"))
            .arg("-p")
            .arg(&dir)
            .args(["-c", "nginx.conf"])
            .args(switches)
            .stdin(Stdio::null())
            .stderr(stderr)
            .spawn()
            .unwrap();
        let mut server = Self { child, port, dir };
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if let Some(status) = server.child.try_wait().unwrap() {
                let said = server.stderr();
                assert!(said.contains("bind()"), "the server ended with {status}: {said}");
                return None;
            }
            if TcpStream::connect(server.address()).is_ok() {
                return Some(server);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        None
    }

    /// Where the server listens.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    /// The directory of configuration and logs.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A new connection.
    pub fn connect(&self) -> Client {
        Client::new(TcpStream::connect(self.address()).unwrap())
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.pid()).unwrap());
        nix::sys::signal::kill(pid, signal).unwrap();
    }

    /// Whether the process lives.
    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Open file descriptors of the process.
    pub fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().count()
    }

    /// Resident memory of the process in KiB.
    pub fn resident_kib(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// What the process has written to its standard error.
    pub fn stderr(&self) -> String {
        self.file("stderr")
    }

    /// A file in the server's directory.
    pub fn file(&self, name: &str) -> String {
        String::from_utf8_lossy(&std::fs::read(self.dir.join(name)).unwrap_or_default()).into_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("standard error of the server:\n{}\nerror log:\n{}", self.stderr(), self.file("error.log"));
        } else {
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }
}

/// A whole configuration: `zone` within `http`, `locations` within its one server.
pub fn framed(workers: usize, zone: &str, locations: &str) -> String {
    format!(
        "daemon off; worker_processes {workers}; pid @DIR@/pid; error_log @DIR@/error.log info;\n\
         events {{ worker_connections 4096; }}\n\
         http {{\n  access_log @DIR@/access.log;\n  push_stream_shared_memory_size 64m;\n  {zone}\n  \
         server {{\n    listen 127.0.0.1:@PORT@;\n    {locations}\n  }}\n}}\n"
    )
}

/// Waits until the condition holds.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < until, "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}
