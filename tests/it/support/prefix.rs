//! A prefix directory with a configuration, and the real binary run in it.
//!
//! Knows files and processes. The directory goes when the [`Prefix`] is dropped, a process when its [`Running`] is; what the
//! logs say is shown when the test fails.

use std::ffi::OsStr;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Client, PATIENCE, PROMPTLY, eventually, exchange, free_port, request, within};

/// Where a server may leave what it has to say.
const LOGS: [&str; 3] = ["error.log", "logs/error.log", "stderr"];

/// A directory with `nginx.conf` and logs, and a free port.
pub struct Prefix {
    pub dir: PathBuf,
    pub port: u16,
}

impl Prefix {
    /// An empty one; `name` shows in its path.
    pub fn new(name: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}-{number}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(dir.join("logs")).unwrap();
        Self { dir, port: free_port() }
    }

    /// Where the server of the configuration listens.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    /// A file in the directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Writes a file.
    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// Writes `nginx.conf`, with the port and the directory in their places.
    pub fn configure(&self, conf: &str) {
        let conf = conf.replace("@PORT@", &self.port.to_string()).replace("@DIR@", &self.dir.to_string_lossy());
        self.write("nginx.conf", &conf);
    }

    /// Writes a configuration with a publisher and a stream; `main` and `http` are more directives of those contexts.
    pub fn write_conf(&self, main: &str, http: &str) {
        self.configure(&format!(
            "pid logs/nginx.pid;
                error_log logs/error.log info;
                {main}
                events {{ worker_connections 20000; }}
                http {{
                    access_log logs/access.log;
                    push_stream_shared_memory_size 64m;
                    {http}
                    server {{
                        listen 127.0.0.1:@PORT@ backlog=4096;
                        location /pub {{ push_stream_publisher admin; push_stream_channels_path $arg_id; }}
                        location ~ ^/sub/(.*) {{
                            push_stream_subscriber;
                            push_stream_channels_path $1;
                            push_stream_message_template \"~text~\\n\";
                        }}
                    }}
                }}"
        ));
    }

    /// What a file says; nothing if there is none.
    pub fn read(&self, name: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.path(name)).unwrap_or_default()).into_owned()
    }

    /// All that was said in logs.
    pub fn log(&self) -> String {
        LOGS.map(|name| self.read(name)).concat()
    }

    /// The command, with this prefix and `words`.
    pub fn command(&self, words: &[&str]) -> Command {
        self.command_of(binary(), words)
    }

    fn command_of(&self, program: impl AsRef<OsStr>, words: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.arg("-p").arg(&self.dir).args(["-c", "nginx.conf"]).args(words).stdin(Stdio::null());
        command
    }

    /// Runs the command to its end.
    pub fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    /// Starts the command; its standard error goes to the file `stderr`.
    pub fn spawn(&self, words: &[&str]) -> Running {
        self.spawn_of(binary(), words)
    }

    /// The same with a program of another build.
    pub fn spawn_of(&self, program: impl AsRef<OsStr>, words: &[&str]) -> Running {
        let stderr = fs::File::create(self.path("stderr")).unwrap();
        Running(self.command_of(program, words).stdout(Stdio::null()).stderr(stderr).spawn().unwrap())
    }

    /// Starts a server in the foreground and waits until it serves.
    pub fn start(&self, words: &[&str]) -> Running {
        let running = self.spawn(&[&["-g", "daemon off;"], words].concat());
        self.wait_until_serving();
        running
    }

    pub fn wait_until_serving(&self) {
        eventually("the server serves", || self.pid().is_some() && TcpStream::connect(self.address()).is_ok());
    }

    /// The process id in the pid file.
    pub fn pid(&self) -> Option<i32> {
        self.read("logs/nginx.pid").trim().parse().ok()
    }

    /// One request on a connection of its own: the whole answer.
    pub fn request(&self, method: &str, uri: &str, body: &str) -> std::io::Result<String> {
        exchange(self.port, method, uri, body)
    }

    pub fn publish(&self, channel: &str, text: &str) {
        self.publish_at(&format!("/pub?id={channel}"), text);
    }

    pub fn publish_at(&self, uri: &str, text: &str) {
        let answer = self.request("POST", uri, text).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    /// A streaming subscriber whose head has been read.
    pub fn subscribe(&self, channel: &str) -> Client {
        let mut client = Client::open(self.address(), PATIENCE);
        client.send(request("GET", &format!("/sub/{channel}"), ""));
        client.head();
        client
    }

    pub fn error_log_has(&self, text: &str) {
        eventually(&format!("the error log has {text:?}"), || self.read("logs/error.log").contains(text));
    }
}

impl Drop for Prefix {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for name in LOGS {
                eprintln!("{name}:\n{}", self.read(name));
            }
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// A process; killed when dropped.
pub struct Running(pub Child);

impl Running {
    /// Its number.
    pub fn process(&self) -> i32 {
        i32::try_from(self.0.id()).unwrap()
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.process()), signal).unwrap();
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().unwrap()
    }

    /// Waits for the end of the process.
    pub fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        within(PROMPTLY, "the process ends", || {
            status = self.ended();
            status.is_some()
        });
        status.unwrap()
    }

    /// Memory it has in use.
    pub fn resident_kib(&self) -> usize {
        resident_kib(self.process())
    }

    /// Its entry in /proc.
    pub fn proc(&self, entry: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{entry}", self.0.id()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Memory a process has in use.
pub fn resident_kib(process: i32) -> usize {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// The server: the one that was built, unless `PUSHSTREAMD` names another.
pub fn binary() -> std::ffi::OsString {
    std::env::var_os("PUSHSTREAMD").unwrap_or_else(|| env!("CARGO_BIN_EXE_pushstreamd").into())
}

/// Debian's nginx, in one of the usual places; what compares with it cannot do without.
pub fn nginx() -> &'static str {
    let places = ["/usr/sbin/nginx", "/usr/bin/nginx", "/usr/local/sbin/nginx"];
    let found = places.into_iter().find(|path| Path::new(path).exists());
    found.expect("nginx is needed: apt-get install nginx (`make test` does)")
}

/// What a command said on standard error.
pub fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
