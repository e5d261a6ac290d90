//! Connections to the server: found by name, host or socket, entered with a password, and known to be one that takes writes.
//!
//! It does not know what is said over them. The password stands in no line and no error.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use redis::aio::{MultiplexedConnection, PubSub};
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ErrorKind, IntoConnectionInfo, RedisConnectionInfo, RedisError,
    RedisResult, TlsCertificates,
};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::BackplaneError;
use super::mandate::Mandate;
use crate::conf::settings::{Address, Backplane as Settings, Place};

/// Where the password is where no file is named.
const PASSWORD: &str = "PUSHSTREAMD_BACKPLANE_PASSWORD";
/// How long it may take to be connected, or to be answered.
const CONNECTS: Duration = Duration::from_secs(2);
/// Bytes a second that a line carries at least.
const CARRIES: usize = 4 << 20;
/// What is said where no answer comes in time.
const SILENT: &str = "it does not answer";
/// How often sentinels are asked whether the master is still the same.
const WATCHES: Duration = Duration::from_secs(1);

/// Makes connections.
#[derive(Clone)]
pub(super) struct Linker {
    address: Address,
    password_file: Option<PathBuf>,
    /// What the file said last, or the environment.
    password: Arc<Mutex<Option<String>>>,
    ca: Option<Vec<u8>>,
    /// Which of several hosts is asked.
    entry: Arc<AtomicUsize>,
    /// Where a cluster says that the zone is.
    moved: Arc<Mutex<Option<(String, u16)>>>,
    /// What sentinels said last.
    pub(super) mandate: Arc<Mandate>,
    /// Rung when a connection has broken that was listened to.
    pub(super) broken: Arc<Notify>,
}

/// A connection to a server that takes writes.
pub(super) struct Link {
    pub(super) connection: MultiplexedConnection,
    /// Names the server's process.
    pub(super) run: String,
    /// Where it is, for people.
    pub(super) server: String,
    /// By which rule it drops what it holds when its memory is full; nothing: it has memory enough, or refuses.
    pub(super) evicts: Option<String>,
    /// Milliseconds by its clock, and when that was.
    clock: (u64, Instant),
}

impl Link {
    /// The moment, by the server's clock, after which it may not be the master any more; 0: that is not known.
    pub(super) fn deadline(&self, mandate: &Mandate) -> u64 {
        let (then, at) = self.clock;
        let passed = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        mandate
            .left(&self.server)
            .map_or(0, |left| then.saturating_add(passed(at.elapsed())).saturating_add(passed(left)))
    }
}

impl fmt::Debug for Linker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Linker({})", self.address)
    }
}

impl Linker {
    /// Reads the files that the settings name.
    pub(super) fn new(address: &Address, settings: &Settings) -> Result<Self, BackplaneError> {
        let read = |path: &std::path::PathBuf| {
            std::fs::read(path).map_err(|error| BackplaneError::File { path: path.clone(), error })
        };
        let password = match &settings.password_file {
            Some(path) => Some(first_line(&read(path)?)),
            None => std::env::var(PASSWORD).ok(),
        };
        let ca = settings.ca.as_ref().map(read).transpose()?;
        let linker = Self {
            address: address.clone(),
            password_file: settings.password_file.clone(),
            password: Arc::new(Mutex::new(password)),
            ca,
            entry: Arc::default(),
            moved: Arc::default(),
            mandate: Arc::default(),
            broken: Arc::default(),
        };
        // A certificate that is none is told at the start.
        if let Place::Hosts(hosts) = &address.place
            && let Some((host, port)) = hosts.first()
        {
            linker.client(linker.at(host, *port)).map_err(|error| BackplaneError::Unusable(error.to_string()))?;
        }
        Ok(linker)
    }

    /// One that makes the same connections, and has nothing else in common with this one.
    pub(super) fn anew(&self) -> Self {
        Self {
            entry: Arc::default(),
            moved: Arc::default(),
            mandate: Arc::default(),
            broken: Arc::default(),
            ..self.clone()
        }
    }

    /// A connection for messages that are not kept.
    pub(super) async fn listen(&self) -> RedisResult<PubSub> {
        let (addr, _) = self.find().await?;
        within(self.client(addr)?.get_async_pubsub()).await
    }

    /// A new connection.
    pub(super) async fn link(&self) -> RedisResult<Link> {
        let (addr, server) = self.find().await?;
        let mut connection = self.connect(addr).await?;
        let mut info = redis::pipe();
        info.cmd("TIME").cmd("INFO").arg("server").cmd("INFO").arg("replication").cmd("INFO").arg("memory");
        info.cmd("INFO").arg("cluster");
        let (time, told, replication, memory, cluster): ((u64, u64), String, String, String, String) =
            within(info.query_async(&mut connection)).await?;
        let value = |text: &str, name: &str| {
            text.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim().to_owned()))
        };
        // One of a cluster says itself where to go, whatever it is.
        if value(&cluster, "cluster_enabled").is_none_or(|enabled| enabled == "0") {
            if value(&replication, "role").is_some_and(|role| role == "slave") {
                return Err(failure("it is a replica"));
            }
            if self.hosts() > 1 {
                return Err(failure("several hosts are those of a cluster, and this is none"));
            }
        }
        let run = value(&told, "run_id").ok_or_else(|| failure("it does not tell its run id"))?;
        // The time was told before now: a deadline made of it comes too early rather than too late.
        let at = Instant::now();
        let clock = (time.0.saturating_mul(1000).saturating_add(time.1 / 1000), at);
        let bounded = value(&memory, "maxmemory").is_some_and(|bytes| bytes != "0");
        let evicts = value(&memory, "maxmemory_policy").filter(|policy| bounded && policy != "noeviction");
        Ok(Link { connection, run, server, evicts, clock })
    }

    /// Where the server is, for the client and for people.
    async fn find(&self) -> RedisResult<(ConnectionAddr, String)> {
        let moved = self.moved.lock().clone();
        Ok(match (&self.address.place, moved) {
            (_, Some((host, port))) => (self.at(&host, port), format!("{host}:{port}")),
            (Place::Hosts(hosts), None) => {
                let entry = self.entry.load(Ordering::Relaxed) % hosts.len().max(1);
                let (host, port) = hosts.get(entry).ok_or_else(|| failure("there is no host"))?;
                (self.at(host, *port), format!("{host}:{port}"))
            }
            (Place::Socket(path), None) => (ConnectionAddr::Unix(path.clone()), path.display().to_string()),
            (Place::Sentinels(sentinels, name), None) => {
                let (host, port) = self.ask_sentinels(sentinels, name).await?;
                (self.at(&host, port), format!("{host}:{port}"))
            }
        })
    }

    /// Goes where a cluster says that the zone is, if this error says so, which is returned; else to where it was told to be, or to the next of
    /// several hosts.
    pub(super) fn learn(&self, error: &RedisError) -> bool {
        // Where a slot is under way both of its nodes name the other one: that is waited out.
        let there = error.redirect_node().filter(|_| error.code() == Some("MOVED"));
        let there = there.and_then(|(there, _)| there.rsplit_once(':'));
        let mut moved = self.moved.lock();
        let own = moved.as_ref().map(|(host, _)| host.clone());
        *moved = there.and_then(|(host, port)| Some((self.host_or(host, own)?, port.parse().ok()?)));
        if moved.is_none() {
            self.entry.fetch_add(1, Ordering::Relaxed);
        }
        moved.is_some()
    }

    /// A cluster that does not know the name of a node means the host that was asked.
    fn host_or(&self, host: &str, asked: Option<String>) -> Option<String> {
        if !host.is_empty() {
            return Some(host.to_owned());
        }
        let Place::Hosts(hosts) = &self.address.place else { return asked };
        let entry = self.entry.load(Ordering::Relaxed) % hosts.len().max(1);
        asked.or_else(|| Some(hosts.get(entry)?.0.to_string()))
    }

    fn hosts(&self) -> usize {
        if let Place::Hosts(hosts) = &self.address.place { hosts.len() } else { 1 }
    }

    fn at(&self, host: &str, port: u16) -> ConnectionAddr {
        let host = host.to_owned();
        if self.address.tls {
            ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
        } else {
            ConnectionAddr::Tcp(host, port)
        }
    }

    fn client(&self, addr: ConnectionAddr) -> RedisResult<Client> {
        let mut entrance = RedisConnectionInfo::default().set_db(self.address.db.into()).set_skip_set_lib_name();
        let password = self.password();
        if let Some(user) = &self.address.user {
            // Without a password too: else it would be another user.
            entrance = entrance.set_username(user).set_password(password.unwrap_or_default());
        } else if let Some(password) = password {
            entrance = entrance.set_password(password);
        }
        let info = addr.into_connection_info()?.set_redis_settings(entrance);
        if self.address.tls {
            Client::build_with_tls(info, TlsCertificates { client_tls: None, root_cert: self.ca.clone() })
        } else {
            Client::open(info)
        }
    }

    /// The password as it is now: it may have been changed since the start.
    fn password(&self) -> Option<String> {
        let mut password = self.password.lock();
        if let Some(text) = self.password_file.as_ref().and_then(|path| std::fs::read(path).ok()) {
            *password = Some(first_line(&text));
        }
        password.clone()
    }

    async fn connect(&self, addr: ConnectionAddr) -> RedisResult<MultiplexedConnection> {
        connect(self.client(addr)?).await
    }

    /// Asks the sentinels again and again whether the server is still the master; without sentinels it has nothing to do.
    pub(super) async fn watch(&self) {
        let Place::Sentinels(sentinels, name) = &self.address.place else { return std::future::pending().await };
        loop {
            sleep(WATCHES).await;
            // That none answers is told by the calls that come too late then.
            let _ = self.ask_sentinels(sentinels, name).await;
        }
    }

    /// Where the sentinels say that the master is; the first that answers is believed.
    async fn ask_sentinels(&self, sentinels: &[(Box<str>, u16)], name: &str) -> RedisResult<(String, u16)> {
        let mut last = failure("there is no sentinel");
        for (host, port) in sentinels {
            let asked = Instant::now();
            match self.ask_sentinel(host, *port, name).await {
                Ok(Some((host, port))) => {
                    self.mandate.named(&format!("{host}:{port}"), asked);
                    return Ok((host, port));
                }
                Ok(None) => last = failure("the sentinels do not know the name"),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn ask_sentinel(&self, host: &str, port: u16, name: &str) -> RedisResult<Option<(String, u16)>> {
        let mut question = redis::cmd("SENTINEL");
        question.arg("get-master-addr-by-name").arg(name);
        // A sentinel has a password of its own or, mostly, none.
        let addr = self.at(host, port);
        let client = Client::open(addr.clone().into_connection_info()?);
        let client = if self.address.tls { self.client(addr) } else { client }?;
        let mut connection = connect(client).await?;
        within(question.query_async(&mut connection)).await
    }
}

async fn connect(client: Client) -> RedisResult<MultiplexedConnection> {
    // Who asks knows how long the answer may take.
    let config = AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECTS)).set_response_timeout(None);
    client.get_multiplexed_async_connection_with_config(&config).await
}

fn first_line(text: &[u8]) -> String {
    String::from_utf8_lossy(text).lines().next().unwrap_or_default().to_owned()
}

/// The answer, if it comes in time.
pub(super) async fn within<T>(answer: impl Future<Output = RedisResult<T>>) -> RedisResult<T> {
    within_for(0, answer).await
}

/// The answer, if it comes in time where so many bytes go over the line.
pub(super) async fn within_for<T>(bytes: usize, answer: impl Future<Output = RedisResult<T>>) -> RedisResult<T> {
    timeout(CONNECTS + transfer_of(bytes), answer).await.unwrap_or_else(|_| Err(no_answer()))
}

/// How long a line may take for so many bytes.
pub(super) fn transfer_of(bytes: usize) -> Duration {
    Duration::from_millis((bytes / (CARRIES / 1000)) as u64)
}

/// That no answer came in time.
pub(super) fn no_answer() -> RedisError {
    failure(SILENT)
}

/// Whether that is what an error says.
pub(super) fn is_no_answer(error: &RedisError) -> bool {
    error.to_string().contains(SILENT)
}

/// An error of our own.
pub(super) fn failure(why: &'static str) -> RedisError {
    RedisError::from((ErrorKind::Io, why))
}

/// Whether the server has answered so: nothing was done.
pub(super) fn is_an_answer(error: &RedisError) -> bool {
    !(error.is_io_error() || error.is_timeout() || error.is_connection_dropped() || error.is_unrecoverable_error())
}

/// Whether the connection, or the server behind it, is of no use for writes any more.
pub(super) fn is_over(error: &RedisError) -> bool {
    const WORDS: [&str; 9] =
        ["TOOLATE", "READONLY", "MASTERDOWN", "LOADING", "MOVED", "ASK ", "CLUSTERDOWN", "TRYAGAIN", "NOAUTH"];
    // Before Redis 7 the errors of commands within scripts stand in the text of another one; codes of their own do not always stand in theirs.
    let text = format!("{} {error}", error.code().unwrap_or_default());
    !is_an_answer(error) || error.is_cluster_error() || WORDS.iter().any(|word| text.contains(word))
}
