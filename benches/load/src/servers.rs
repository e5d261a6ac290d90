//! Servers under measurement: started here on a free port, or found by address and pid.
//!
//! A started server is stopped when its handle is dropped, and its files with it. Peers that are somebody else's are only
//! looked at.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::proc::Family;
use crate::tls;

/// What can be measured.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    /// pushstreamd, by its binary.
    Own(PathBuf),
    /// This program's floor.
    Floor,
    /// The nginx of the system with its nchan module.
    Nchan,
    /// A server that runs already.
    Peer { name: String, address: SocketAddr, pid: u32 },
}

impl Kind {
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Own(_) => "pushstreamd",
            Self::Floor => "floor",
            Self::Nchan => "nginx + nchan",
            Self::Peer { name, .. } => name,
        }
    }
}

/// `NAME=ADDRESS:PORT,PID`
impl FromStr for Kind {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let parts = || {
            let (name, rest) = text.split_once('=')?;
            let (address, pid) = rest.split_once(',')?;
            Some(Self::Peer { name: name.to_owned(), address: address.parse().ok()?, pid: pid.parse().ok()? })
        };
        parts().context("a peer is NAME=ADDRESS:PORT,PID")
    }
}

/// How a server is set up.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) workers: usize,
    /// Seconds a message is kept.
    pub(crate) message_ttl: u32,
    /// Variables of its environment.
    pub(crate) environment: Vec<(String, String)>,
    /// Whether messages outlive the process.
    pub(crate) state: bool,
    /// What it shares its channels over.
    pub(crate) backplane: Option<String>,
}

impl Default for Setup {
    fn default() -> Self {
        Self { workers: 1, message_ttl: 600, environment: Vec::new(), state: false, backplane: None }
    }
}

/// Where a server speaks TLS, and where HTTP/2 without it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Doors {
    pub(crate) tls: SocketAddr,
    pub(crate) http2: SocketAddr,
}

/// A running server.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    /// Its other doors; servers of other kinds have none.
    pub(crate) doors: Option<Doors>,
    pub(crate) family: Family,
    child: Option<(Child, PathBuf)>,
    command: Command,
}

impl Server {
    /// Starts a server of this kind, or looks at the one that runs.
    pub(crate) fn start(kind: &Kind, setup: &Setup) -> Result<Self> {
        if let Kind::Peer { address, pid, .. } = kind {
            let (family, command) = (Family(*pid), Command::new("true"));
            return Ok(Self { address: *address, doors: None, family, child: None, command });
        }
        let [address, tls, http2] = free_addresses()?;
        let doors = matches!(kind, Kind::Own(_)).then_some(Doors { tls, http2 });
        let home = std::env::temp_dir().join(format!("pushstreamd-load-{}-{}", std::process::id(), address.port()));
        fs::create_dir_all(&home)?;
        let mut command = match kind {
            Kind::Own(binary) => own(binary, address, Doors { tls, http2 }, setup, &home)?,
            Kind::Nchan => nchan(address, setup, &home)?,
            _ => {
                let mut command = Command::new(std::env::current_exe()?);
                command.arg("floor").arg(address.to_string());
                command
            }
        };
        command.envs(setup.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null());
        let child = command.spawn().with_context(|| format!("cannot start {}", kind.name()))?;
        let family = Family(child.id());
        let mut server = Self { address, doors, family, child: Some((child, home)), command };
        server.wait_until_up(kind.name())?;
        Ok(server)
    }

    /// The answer to a GET.
    pub(crate) fn get(&self, target: &str) -> Result<String> {
        let mut stream = TcpStream::connect(self.address)?;
        write!(stream, "GET {target} HTTP/1.0\r\nHost: load\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// Ends the server and starts it again in the same place; how long it took until a request was answered, and the answer.
    pub(crate) fn restart(&mut self, target: &str) -> Result<(Duration, String)> {
        let Some((child, _)) = &mut self.child else { bail!("a server that is somebody else's is not restarted") };
        kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM)?;
        child.wait()?;
        let began = Instant::now();
        *child = self.command.spawn()?;
        self.family = Family(child.id());
        // Connections are taken before there is anybody to answer them.
        self.wait_until_up("the server")?;
        let answer = self.get(target)?;
        Ok((began.elapsed(), answer))
    }

    /// The number of the newest file of the log.
    pub(crate) fn newest_log(&self) -> Result<u64> {
        Ok(self.logs()?.into_iter().max().unwrap_or(0))
    }

    /// The number of the oldest file of the log.
    pub(crate) fn oldest_log(&self) -> Result<u64> {
        self.logs()?.into_iter().min().context("there is no log")
    }

    fn logs(&self) -> Result<Vec<u64>> {
        let (_, home) = self.child.as_ref().context("the log of a server that is somebody else's is not looked at")?;
        let names = fs::read_dir(home.join("state"))?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        Ok(names.filter_map(|name| name.strip_suffix(".log")?.parse().ok()).collect())
    }

    fn wait_until_up(&mut self, name: &str) -> Result<()> {
        let began = Instant::now();
        while TcpStream::connect(self.address).is_err() {
            if let Some((child, _)) = &mut self.child
                && let Some(status) = child.try_wait()?
            {
                bail!("{name} ended with {status}");
            }
            if began.elapsed() > Duration::from_secs(10) {
                bail!("{name} does not listen");
            }
            sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some((mut child, home)) = self.child.take() {
            let _ = kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM);
            let _ = child.wait();
            let _ = fs::remove_dir_all(home);
        }
    }
}

/// Addresses nobody listens on.
pub(crate) fn free_addresses<const N: usize>() -> Result<[SocketAddr; N]> {
    let any = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let held: Vec<_> = (0..N).map(|_| any()).collect::<Result<_, _>>()?;
    let found: Vec<_> = held.iter().map(TcpListener::local_addr).collect::<Result<_, _>>()?;
    found.try_into().ok().context("addresses")
}

fn own(binary: &Path, address: SocketAddr, doors: Doors, setup: &Setup, home: &Path) -> Result<Command> {
    let Doors { tls: secure, http2 } = doors;
    tls::write_certificate(home)?;
    let Setup { workers, message_ttl, .. } = setup;
    let state = if setup.state { "state" } else { "off" };
    let subscriber = |place: &str, mode: &str, rest: &str| {
        format!("location ~ ^/{place}/(.*) {{ push_stream_subscriber {mode}; push_stream_channels_path $1; {rest} }}\n")
    };
    let text = format!(
        "daemon off; worker_processes {workers}; pid {home}/pid; error_log {home}/error.log crit;
        events {{ worker_connections 100000; }}
        http {{ access_log off; keepalive_requests 1000000000; keepalive_timeout 1h; client_header_timeout 1h;
        push_stream_shared_memory_size 3000m; push_stream_max_messages_stored_per_channel 100;
        push_stream_message_ttl {message_ttl}s; push_stream_channel_inactivity_time 10m;
        push_stream_state {state}; ssl_certificate own.crt; ssl_certificate_key own.key;
        server {{ listen {address} backlog=4096; listen {secure} backlog=4096 ssl; listen {http2} http2;
        location = /pub {{ push_stream_publisher admin; push_stream_channels_path $arg_id; push_stream_store_messages on; }}
        location = /note {{ push_stream_publisher admin; push_stream_channels_path $arg_id; }}
        location = /channels-stats {{ push_stream_channels_statistics; push_stream_channels_path $arg_id; }}
        {}{}{}{} }} }}",
        subscriber("sub", "streaming", "push_stream_header_template 'ok\\n'; push_stream_message_template '~text~\\n';"),
        subscriber("ev", "eventsource", "push_stream_header_template 'ok';"),
        subscriber("lp", "long-polling", "push_stream_message_template '~text~\\n';"),
        subscriber("ws", "websocket", "push_stream_message_template '~text~\\n';"),
        home = home.display(),
    );
    fs::write(home.join("nginx.conf"), text)?;
    let mut command = Command::new(binary);
    command.arg("-p").arg(home).arg("-c").arg("nginx.conf");
    if let Some(backplane) = &setup.backplane {
        command.arg("--backplane").arg(backplane);
    }
    Ok(command)
}

fn nchan(address: SocketAddr, setup: &Setup, home: &Path) -> Result<Command> {
    let Setup { workers, message_ttl, .. } = setup;
    let subscriber = |place: &str, mode: &str| {
        format!(
            "location ~ ^/{place}/(.*) {{ nchan_subscriber {mode}; nchan_channel_id $1; nchan_subscriber_first_message newest; }}\n"
        )
    };
    let text = format!(
        "load_module /usr/lib/nginx/modules/ngx_nchan_module.so; daemon off; user root;
        worker_processes {workers}; worker_rlimit_nofile 100000; pid {home}/pid; error_log {home}/error.log crit;
        events {{ worker_connections 50000; }}
        http {{ access_log off; keepalive_requests 1000000000; keepalive_timeout 1h; client_header_timeout 1h;
        client_body_temp_path {home}/body; proxy_temp_path {home}/proxy; fastcgi_temp_path {home}/fastcgi;
        uwsgi_temp_path {home}/uwsgi; scgi_temp_path {home}/scgi;
        nchan_shared_memory_size 3000m; nchan_message_buffer_length 100; nchan_message_timeout {message_ttl}s;
        server {{ listen {address} backlog=4096;
        location = /pub {{ nchan_publisher; nchan_channel_id $arg_id; }}
        location = /note {{ nchan_publisher; nchan_channel_id $arg_id; nchan_message_buffer_length 0; }}
        {}{}{}{} }} }}",
        subscriber("sub", "http-raw-stream"),
        subscriber("ev", "eventsource"),
        subscriber("lp", "longpoll"),
        subscriber("ws", "websocket"),
        home = home.display(),
    );
    fs::write(home.join("nginx.conf"), text)?;
    let mut command = Command::new("nginx");
    command.arg("-p").arg(home).arg("-c").arg(home.join("nginx.conf")).arg("-e").arg(home.join("error.log"));
    Ok(command)
}
