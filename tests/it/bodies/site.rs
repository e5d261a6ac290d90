//! The site that is driven: every kind of location, behind a unix socket, and Debian's nginx with those it has itself.
//!
//! A unix socket tells when the other side has taken what was sent, so a split is a split and no matter of luck. Dropping a
//! [`Site`] asks whether the victim lives and whether a hidden request was run.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::answers::Answers;
use super::forms::LIMIT;
use crate::support::{PROMPTLY, Prefix, Running, Server, backend, eventually};
use crate::tls_server::self_signed;

/// What nginx has itself.
const OF_NGINX: &str = r#"
    location = /end { return 200 "end"; }
    location /r200 { return 200 "r200"; }
    location /r204 { return 204; }
    location /r301 { return 301 /elsewhere; }
    location /r403 { return 403; }
    location /deny { deny all; }
    location /page/ { deny all; error_page 403 /file.txt; }
    location /named/ { deny all; error_page 403 = @named; }
    location @named { return 200 "named"; }
    location /yes/ { auth_request /ask-yes; }
    location /no/ { auth_request /ask-no; }
    location = /ask-yes { internal; proxy_pass http://127.0.0.1:@BACKEND@/?id=204; proxy_pass_request_body off;
                          proxy_set_header Content-Length ""; }
    location = /ask-no { internal; proxy_pass http://127.0.0.1:@BACKEND@/?id=403; proxy_pass_request_body off;
                         proxy_set_header Content-Length ""; }
    location /slow/ { limit_req zone=slow burst=1000; }
"#;

/// What the module adds.
const OF_PUSH: &str = "
    push_stream_channels_path $arg_id;
    push_stream_store_messages on;
    location /pub { push_stream_publisher; }
    location /admin { push_stream_publisher admin; }
    location /asked { auth_request /ask-yes; push_stream_publisher admin; }
    location /slowly { limit_req zone=slow burst=1000; push_stream_publisher admin; }
    location /stats { push_stream_channels_statistics; }
    location /stream { push_stream_subscriber; push_stream_subscriber_connection_ttl 20ms; push_stream_header_template head; }
    location /poll { push_stream_subscriber polling; }
    location /lp { push_stream_subscriber long-polling; push_stream_longpolling_connection_ttl 20ms; }
    location /ev { push_stream_subscriber eventsource; push_stream_subscriber_connection_ttl 20ms; }
    location /ws { push_stream_subscriber websocket; push_stream_websocket_allow_publish on; push_stream_subscriber_connection_ttl 20ms; }
";

/// Targets of [`OF_NGINX`]; the last is no location's.
pub(super) const NGINX_TARGETS: [&str; 14] = [
    "/r200",
    "/r204",
    "/r301",
    "/r403",
    "/deny",
    "/page/x",
    "/named/x",
    "/yes/file.txt",
    "/no/file.txt",
    "/slow/file.txt",
    "/file.txt",
    "/sub",
    "/sub/",
    "/unknown",
];

/// Targets of [`OF_PUSH`].
pub(super) const PUSH_TARGETS: [&str; 13] = [
    "/pub?id=p",
    "/pub?id=fresh",
    "/pub?id=ALL",
    "/admin?id=p",
    "/asked?id=p",
    "/slowly?id=p",
    "/stats",
    "/stats?id=nothing",
    "/stream?id=s",
    "/poll?id=s",
    "/lp?id=s",
    "/ev?id=s",
    "/ws?id=s",
];

/// The running site.
pub(super) struct Site {
    server: Server,
    socket: PathBuf,
    nginx: Option<(Running, Prefix, PathBuf)>,
}

impl Site {
    /// Starts it; with nginx beside it, if there is one.
    pub(super) fn start() -> Self {
        Self::with(&[])
    }

    /// The same with arguments.
    pub(super) fn with(args: &[&str]) -> Self {
        let backend = backend();
        let socket = socket("own");
        let keys = Prefix::new("bodies");
        self_signed(&keys.dir, "a");
        let doors = format!(
            "listen unix:{0}.tls ssl; listen unix:{0}.h2 http2; ssl_certificate {1}/a.crt; ssl_certificate_key {1}/a.key;",
            socket.with_extension("").display(),
            keys.dir.display()
        );
        let text = |main: &str, tls: &str, locations: &str, socket: &Path| {
            format!(
                "daemon off; {main} pid @DIR@/pid; error_log @DIR@/error.log warn; events {{ worker_connections 1000; }}
                http {{ access_log @DIR@/access.log; limit_req_zone $arg_k zone=slow:1m rate=500r/s; limit_req_log_level info;
                    client_body_temp_path tmp; proxy_temp_path tmp2; fastcgi_temp_path tmp3; uwsgi_temp_path tmp4; scgi_temp_path tmp5;
                    default_type text/plain; client_max_body_size {LIMIT}; keepalive_requests 1000000;
                    server {{ listen 127.0.0.1:@PORT@; listen unix:{}; {tls} root @DIR@/html; {locations} }} }}",
                socket.display()
            )
            .replace("@BACKEND@", &backend.to_string())
        };
        let memory = "worker_processes 2;";
        let locations = format!("{OF_NGINX} {OF_PUSH}");
        let conf = text(memory, &doors, &locations, &socket).replace(
            "default_type",
            "push_stream_shared_memory_size 32m; push_stream_max_messages_stored_per_channel 2; default_type",
        );
        let server = Server::configured(&conf, &[&["--take-over"], args].concat());
        files(server.dir());
        let nginx = nginx().map(|program| {
            let (prefix, other) = (Prefix::new("nginx"), self::socket("nginx"));
            prefix.configure(&text("master_process off;", "", OF_NGINX, &other));
            files(&prefix.dir);
            let (dir, conf) = (prefix.dir.clone(), prefix.path("nginx.conf"));
            let args =
                ["-p".as_ref(), dir.as_os_str(), "-c".as_ref(), conf.as_os_str(), "-e".as_ref(), "stderr".as_ref()];
            let child = Command::new(program).args(args).stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            let running = Running(child);
            eventually("nginx serves", || UnixStream::connect(&other).is_ok());
            (running, prefix, other)
        });
        if nginx.is_none() {
            eprintln!("no nginx here: nothing is compared with it");
        }
        for id in ["victim", "p", "s"] {
            server.publish(&format!("/admin?id={id}"), "alive");
        }
        Self { server, socket, nginx }
    }

    pub(super) fn has_nginx(&self) -> bool {
        self.nginx.is_some()
    }

    /// Sends the pieces one behind the other, each once the one before has been taken, and reads to the end.
    pub(super) fn ask(&self, pieces: &[&[u8]], methods: &[&str]) -> Answers {
        exchange(&self.socket, pieces, methods)
    }

    /// The same with nginx.
    pub(super) fn ask_nginx(&self, pieces: &[&[u8]], methods: &[&str]) -> Answers {
        let (_, _, socket) = self.nginx.as_ref().expect("nginx is here");
        exchange(socket, pieces, methods)
    }

    /// All that comes back for bytes behind which nothing follows, here and from nginx.
    pub(super) fn told(&self, pieces: &[&[u8]]) -> [String; 2] {
        let (_, _, nginx) = self.nginx.as_ref().expect("nginx is here");
        [&self.socket, nginx].map(|socket| {
            let mut stream = connect(socket);
            send(&mut stream, pieces.iter().copied());
            let _ = stream.shutdown(Shutdown::Write);
            let (bytes, ended) = all(stream);
            format!("{}{}", String::from_utf8_lossy(&bytes), if ended { "" } else { "NOT CLOSED" })
        })
    }

    /// Where it is asked over TLS.
    pub(super) fn tls(&self) -> PathBuf {
        self.socket.with_extension("tls")
    }

    /// Where it speaks HTTP/2.
    pub(super) fn http2(&self) -> PathBuf {
        self.socket.with_extension("h2")
    }

    /// The first message of a channel; nothing if there is none.
    pub(super) fn stored(&self, channel: &str) -> String {
        let since = "If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT";
        let answer = self.server.ask(&format!("GET /poll?id={channel}"), &[since], b"");
        if answer.status == 200 { answer.text() } else { String::new() }
    }

    /// What a request out of a body would have done has not been done.
    pub(super) fn judge(&self) {
        assert_eq!(self.server.get("/stats?id=victim").status, 200, "a hidden request has deleted the victim");
        let log = self.server.file("access.log");
        let hidden = log.lines().find(|line| line.contains("] \"DELETE /admin?id=victim"));
        assert_eq!(hidden, None, "a hidden request was run");
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        for socket in [self.socket.clone(), self.tls(), self.http2()] {
            let _ = std::fs::remove_file(socket);
        }
        if let Some((_, _, socket)) = &self.nginx {
            let _ = std::fs::remove_file(socket);
        }
    }
}

/// A path short enough for a socket, wherever the project lies.
fn socket(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("pushstreamd-{name}-{}-{}.sock", std::process::id(), crate::support::free_port()))
}

fn nginx() -> Option<&'static str> {
    ["/usr/sbin/nginx", "/usr/bin/nginx", "/usr/local/sbin/nginx"].into_iter().find(|path| Path::new(path).exists())
}

fn files(dir: &Path) {
    for name in ["", "sub", "yes", "no", "slow"] {
        let dir = dir.join("html").join(name);
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("file.txt"), "a file\n").unwrap();
        std::fs::write(dir.join("index.html"), "an index\n").unwrap();
    }
}

pub(super) fn connect(socket: &Path) -> UnixStream {
    let stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(PROMPTLY)).unwrap();
    stream.set_write_timeout(Some(PROMPTLY)).unwrap();
    stream
}

/// Sends each piece once the one before has been taken.
pub(super) fn send<'a>(stream: &mut UnixStream, pieces: impl Iterator<Item = &'a [u8]>) {
    for (number, piece) in pieces.enumerate() {
        if number > 0 {
            await_taken(stream);
        }
        // It may have closed already.
        if stream.write_all(piece).is_err() {
            break;
        }
    }
}

fn exchange(socket: &Path, pieces: &[&[u8]], methods: &[&str]) -> Answers {
    let mut stream = connect(socket);
    send(&mut stream, pieces.iter().copied());
    let (bytes, ended) = all(stream);
    Answers::cut(&bytes, ended, methods)
}

/// What comes up to the end, and whether that came.
fn all(mut stream: UnixStream) -> (Vec<u8>, bool) {
    let mut bytes = Vec::new();
    let ended = match stream.read_to_end(&mut bytes) {
        Ok(_) => true,
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
    };
    (bytes, ended)
}

/// Waits until the other side has read everything, or is busy with something else and does not read.
pub(super) fn await_taken(stream: &UnixStream) {
    let until = Instant::now() + Duration::from_millis(3);
    while unread(stream) > 0 && Instant::now() < until {
        std::thread::yield_now();
    }
}

/// Bytes sent that the other side has not read.
#[expect(unsafe_code, reason = "no safe wrapper knows this question")]
fn unread(stream: &UnixStream) -> i32 {
    let mut count = 0;
    // SAFETY: the descriptor is open, and TIOCOUTQ writes one int.
    let done = unsafe { nix::libc::ioctl(stream.as_raw_fd(), nix::libc::TIOCOUTQ, &raw mut count) };
    assert_eq!(done, 0);
    count
}
