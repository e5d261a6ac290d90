//! A prefix directory with a configuration, and the real binary run in it: what the tests of the process share.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests; each uses its part"
)]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long anything may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A directory with `nginx.conf`, logs and a pid file, removed when dropped, and a free port.
pub struct Prefix {
    pub dir: PathBuf,
    pub port: u16,
}

impl Prefix {
    pub fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("pushstreamd-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(dir.join("logs")).unwrap();
        Self { dir, port: free_port() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Writes the configuration every test begins with; `main` and `http` are more directives of those contexts.
    pub fn write_conf(&self, main: &str, http: &str) {
        let port = self.port;
        self.write(
            "nginx.conf",
            &format!(
                "pid logs/nginx.pid;
                error_log logs/error.log info;
                {main}
                events {{ worker_connections 20000; }}
                http {{
                    access_log logs/access.log;
                    push_stream_shared_memory_size 64m;
                    {http}
                    server {{
                        listen 127.0.0.1:{port} backlog=4096;
                        location /pub {{ push_stream_publisher admin; push_stream_channels_path $arg_id; }}
                        location ~ ^/sub/(.*) {{
                            push_stream_subscriber;
                            push_stream_channels_path $1;
                            push_stream_message_template \"~text~\\n\";
                        }}
                    }}
                }}"
            ),
        );
    }

    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// The command, with this prefix and `words`.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pushstreamd"));
        command.args(["-p", self.dir.to_str().unwrap(), "-c", "nginx.conf"]).args(words).stdin(Stdio::null());
        command
    }

    /// Runs the command to its end.
    pub fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    /// Starts a server in the foreground and waits until it serves.
    pub fn start(&self, words: &[&str]) -> Running {
        let mut all = vec!["-g", "daemon off;"];
        all.extend(words);
        let child = self.command(&all).stderr(fs::File::create(self.path("stderr")).unwrap()).spawn().unwrap();
        let running = Running(child);
        self.wait_until_serving();
        running
    }

    pub fn wait_until_serving(&self) {
        eventually("the server serves", || {
            self.pid().is_some() && TcpStream::connect(("127.0.0.1", self.port)).is_ok()
        });
    }

    pub fn pid(&self) -> Option<i32> {
        self.read("logs/nginx.pid").trim().parse().ok()
    }

    /// One request on a connection of its own: the whole answer.
    pub fn request(&self, method: &str, uri: &str, body: &str) -> std::io::Result<String> {
        request(self.port, method, uri, body)
    }

    pub fn publish(&self, channel: &str, text: &str) {
        self.publish_at(&format!("/pub?id={channel}"), text);
    }

    pub fn publish_at(&self, uri: &str, text: &str) {
        let answer = self.request("POST", uri, text).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    /// A streaming subscriber whose head has been read.
    pub fn subscribe(&self, channel: &str) -> BufReader<TcpStream> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "GET /sub/{channel} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            assert!(reader.read_line(&mut line).unwrap() > 0, "closed before the end of the head");
        }
        reader
    }

    pub fn error_log_has(&self, text: &str) {
        eventually(&format!("the error log has {text:?}"), || self.read("logs/error.log").contains(text));
    }
}

impl Drop for Prefix {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("error log:\n{}", self.read("logs/error.log"));
            eprintln!("standard error:\n{}", self.read("stderr"));
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// The server process in the foreground; killed when dropped.
pub struct Running(pub Child);

impl Running {
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.0.id() as i32), signal).unwrap();
    }

    /// Waits for the end of the process.
    pub fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        eventually("the process ends", || {
            status = self.0.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub fn request(port: u16, method: &str, uri: &str, body: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let length = body.len();
    write!(
        stream,
        "{method} {uri} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Reads chunks until one holds `text`; what came before it.
pub fn read_until(reader: &mut BufReader<TcpStream>, text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        assert!(reader.read_line(&mut line).unwrap() > 0, "closed before {text:?}: {lines:?}");
        if line.trim_end() == text {
            return lines;
        }
        lines.push(line.trim_end().to_owned());
    }
}

/// A port nobody listens on, not given twice to the tests of one process.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        let offset = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 20_000 + ((std::process::id() as u16).wrapping_mul(37).wrapping_add(offset)) % 12_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Asks again until it is true.
pub fn eventually(what: &str, mut asked: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !asked() {
        assert!(Instant::now() < until, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// What a command said on standard error.
pub fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Moves a file, as logrotate does.
pub fn rotate(path: &Path) {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    fs::rename(path, name).unwrap();
}
