//! The server under siege: all doors, all modes, short timeouts, a log that is read at the end.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::proc::Family;
use crate::servers::free_addresses;
use crate::tls;

/// A running server; stopped, and its files removed, when dropped.
pub(crate) struct Town {
    pub(crate) plain: SocketAddr,
    pub(crate) tls: SocketAddr,
    pub(crate) http2: SocketAddr,
    pub(crate) family: Family,
    status: SocketAddr,
    child: Child,
    home: PathBuf,
}

impl Town {
    pub(crate) fn start(binary: &Path) -> Result<Self> {
        let [plain, secure, http2, status] = free_addresses()?;
        let home = std::env::temp_dir().join(format!("pushstreamd-siege-{}", std::process::id()));
        fs::create_dir_all(&home)?;
        tls::write_certificate(&home)?;
        let conf = configuration(&home, plain, secure, http2);
        fs::write(home.join("nginx.conf"), conf)?;
        fs::write(home.join("file"), vec![b'f'; 8 << 20])?;
        let mut command = Command::new(binary);
        command.arg("-p").arg(&home).args(["-c", "nginx.conf", "--take-over", "--status", &status.to_string()]);
        let log = fs::File::create(home.join("stderr"))?;
        let child = command.stdin(Stdio::null()).stderr(log).spawn().context("cannot start the server")?;
        let family = Family(child.id());
        let mut town = Self { plain, tls: secure, http2, family, status, child, home };
        town.wait_until_up()?;
        Ok(town)
    }

    fn wait_until_up(&mut self) -> Result<()> {
        let until = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(self.plain).is_err() {
            if let Some(status) = self.child.try_wait()? {
                bail!("the server ended with {status}: {}", fs::read_to_string(self.home.join("stderr"))?);
            }
            if Instant::now() > until {
                bail!("the server does not listen");
            }
            sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// What it says about itself.
    pub(crate) fn status(&self) -> Result<String> {
        let mut stream = TcpStream::connect(self.status)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        stream.write_all(b"GET /status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer.split_once("\r\n\r\n").context("no status")?.1.to_owned())
    }

    /// A number of the status.
    pub(crate) fn number(&self, name: &str) -> Result<u64> {
        let status = self.status()?;
        let rest = status.split_once(&format!("\"{name}\":")).with_context(|| format!("no {name}"))?.1;
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        Ok(digits.parse()?)
    }

    /// How often it says that something panicked.
    pub(crate) fn panics(&self) -> Result<usize> {
        let read = |name: &str| fs::read(self.home.join(name)).unwrap_or_default();
        let logs = [read("stderr"), read("error.log")].concat();
        let told = memchr::memmem::find_iter(&logs, b"panicked").count();
        Ok(told.max(self.number("disconnected_by_panic")? as usize))
    }
}

impl Town {
    /// Ends it as an operator would; whether it ends in time.
    pub(crate) fn end(&mut self) -> bool {
        let _ = kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM);
        let until = Instant::now() + Duration::from_secs(20);
        while Instant::now() < until {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return true;
            }
            sleep(Duration::from_millis(20));
        }
        false
    }
}

impl Drop for Town {
    fn drop(&mut self) {
        if !self.end() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if std::env::var_os("KEEP_SIEGE").is_none() {
            let _ = fs::remove_dir_all(&self.home);
        }
    }
}

fn configuration(home: &Path, plain: SocketAddr, tls: SocketAddr, http2: SocketAddr) -> String {
    let subscriber = |place: &str, mode: &str, rest: &str| {
        format!("location ~ ^/{place}/(.*) {{ push_stream_subscriber {mode}; push_stream_channels_path $1; {rest} }}\n")
    };
    format!(
        "daemon off; worker_processes 2; pid {home}/pid; error_log {home}/error.log error;
        events {{ worker_connections 8192; }}
        http {{ access_log off; keepalive_requests 1000000000; keepalive_timeout 1h;
        client_header_timeout 5s; client_body_timeout 5s; send_timeout 5s; client_max_body_size 1m;
        push_stream_shared_memory_size 256m; push_stream_max_messages_stored_per_channel 100;
        push_stream_message_ttl 1h; push_stream_channel_inactivity_time 10s; push_stream_message_template ~text~;
        ssl_certificate own.crt; ssl_certificate_key own.key;
        server {{ listen {plain} backlog=4096; listen {tls} ssl http2; listen {http2} http2;
        location = /pub {{ push_stream_publisher admin; push_stream_channels_path $arg_id; push_stream_store_messages on; }}
        location = /note {{ push_stream_publisher admin; push_stream_channels_path $arg_id; }}
        location = /stats {{ push_stream_channels_statistics; push_stream_channels_path $arg_id; }}
        location = /file {{ root {home}; }}
        location /r200 {{ return 200 ok; }}
        {}{}{}{}{}{} }} }}",
        subscriber("sub", "streaming", "push_stream_header_template ok;"),
        subscriber("ev", "eventsource", "push_stream_header_template ok;"),
        subscriber("lp", "long-polling", ""),
        subscriber("poll", "polling", ""),
        subscriber("ws", "websocket", "push_stream_websocket_allow_publish on;"),
        subscriber("zip", "websocket", "push_stream_websocket_allow_publish on; push_stream_websocket_deflate on;"),
        home = home.display(),
    )
}
