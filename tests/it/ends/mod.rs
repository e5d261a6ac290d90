//! Every way a peer can end, in every mode, through every door: afterwards descriptors, connection slots, subscriptions,
//! counters and what is held for connections are as before.
//!
//! Each combination has a channel of its own, so what stays says whose it was. All of one door run side by side.

mod line;
mod peer;

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::support::{Server, exchange, free_port, request};
use crate::tls_server::self_signed;
use line::Line;
use peer::Peer;

/// How long the end of a peer may take to be noticed on a busy machine; `send_timeout` and its like are one second.
const NOTICED: Duration = Duration::from_secs(9);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Door {
    Tcp,
    Unix,
    Tls,
    Http2,
    Http2Tls,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Stream,
    EventSource,
    Poll,
    LongPoll,
    WebSocket,
    /// Within the body of a publish.
    Publisher,
    /// Between two requests.
    Idle,
    /// Within a large file.
    Download,
}

const MODES: [Mode; 8] = [
    Mode::Stream,
    Mode::EventSource,
    Mode::Poll,
    Mode::LongPoll,
    Mode::WebSocket,
    Mode::Publisher,
    Mode::Idle,
    Mode::Download,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Closes; what the server had sent was read.
    Close,
    /// Closes with messages of the server unread.
    CloseUnread,
    /// Sends more, which the server need not want yet, and closes.
    CloseBehindMore,
    Reset,
    /// Closes the sending side and reads on.
    Half,
    /// Sends more, and closes the sending side.
    HalfBehindMore,
    /// Is there, and takes nothing.
    Silent,
    /// Sends as much as the server takes, and resets.
    Ahead,
    /// Says goodbye as TLS does and leaves TCP open.
    CloseNotify,
    /// Resets its stream and keeps the connection.
    StreamReset,
    GoAway,
    /// Gives its stream no window, and reads everything else.
    NoWindow,
}

impl Door {
    fn is_http2(self) -> bool {
        matches!(self, Self::Http2 | Self::Http2Tls)
    }

    fn ends(self) -> Vec<End> {
        let mut ends = vec![
            End::Close,
            End::CloseUnread,
            End::CloseBehindMore,
            End::Reset,
            End::Half,
            End::HalfBehindMore,
            End::Silent,
            End::Ahead,
        ];
        if matches!(self, Self::Tls | Self::Http2Tls) {
            ends.push(End::CloseNotify);
        }
        if self.is_http2() {
            ends.extend([End::StreamReset, End::GoAway, End::NoWindow]);
        }
        ends
    }
}

/// A server with all doors.
struct House {
    server: Server,
    socket: PathBuf,
    tls: SocketAddr,
    http2: SocketAddr,
    status: u16,
}

/// What must be afterwards as it was before.
#[derive(Debug, PartialEq, Eq)]
struct State {
    files: usize,
    connections: u64,
    subscribers: u64,
    by_workers: u64,
    panics: u64,
    /// Bytes held for connections.
    held: u64,
    /// What `stub_status` says of connections: active, reading, writing, waiting.
    doing: [u64; 4],
}

impl House {
    fn start() -> Self {
        let [tls, http2, status] = [free_port(), free_port(), free_port()];
        let certificates = tempdir();
        self_signed(&certificates, "own");
        let socket = certificates.join("socket");
        let conf = format!(
            "daemon off; worker_processes 2; pid @DIR@/pid; error_log @DIR@/error.log info; events {{ worker_connections 4096; }}
            http {{
                access_log off; push_stream_shared_memory_size 256m; client_max_body_size 32m; default_type text/plain;
                send_timeout 1s; client_body_timeout 60s; client_header_timeout 60s; keepalive_timeout 75s;
                push_stream_message_template ~text~; push_stream_channels_path $arg_id;
                ssl_certificate {dir}/own.crt; ssl_certificate_key {dir}/own.key;
                server {{
                    listen 127.0.0.1:@PORT@; listen unix:{socket}; listen 127.0.0.1:{tls} ssl http2; listen 127.0.0.1:{http2} http2;
                    location /pub {{ push_stream_publisher admin; push_stream_store_messages on; }}
                    location /pub-impatient {{ push_stream_publisher admin; client_body_timeout 1s; }}
                    location /live {{ push_stream_publisher admin; }}
                    location /stats {{ push_stream_channels_statistics; }}
                    location /stream {{ push_stream_subscriber; }}
                    location /ev {{ push_stream_subscriber eventsource; }}
                    location /poll {{ push_stream_subscriber polling; }}
                    location /lp {{ push_stream_subscriber long-polling; }}
                    location /ws {{ push_stream_subscriber websocket; push_stream_websocket_allow_publish on; }}
                    location /idle {{ return 200 idle; }}
                    location /doing {{ stub_status; }}
                    location /file {{ root @DIR@; }}
                }}
            }}",
            dir = certificates.display(),
            socket = socket.display(),
        );
        let server = Server::configured(&conf, &["--take-over", "--status", &format!("127.0.0.1:{status}")]);
        std::fs::write(server.dir().join("file"), vec![b'f'; 12 << 20]).unwrap();
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self { server, socket, tls: local(tls), http2: local(http2), status }
    }

    fn open(&self, door: Door) -> Line {
        match door {
            Door::Tcp => Line::tcp(self.server.address()),
            Door::Unix => Line::unix(&self.socket),
            Door::Tls => Line::tls(self.tls, b"http/1.1"),
            Door::Http2 => Line::tcp(self.http2),
            Door::Http2Tls => Line::tls(self.tls, b"h2"),
        }
    }

    fn status(&self) -> serde_json::Value {
        let answer = exchange(self.status, "GET", "/status", "").unwrap();
        serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
    }

    fn state(&self) -> State {
        let status = self.status();
        let number = |name: &str| status[name].as_u64().unwrap();
        State {
            connections: number("connections"),
            subscribers: number("subscribers"),
            by_workers: status["subscribers_by_worker"]
                .as_array()
                .unwrap()
                .iter()
                .filter_map(serde_json::Value::as_u64)
                .sum(),
            panics: number("disconnected_by_panic"),
            held: number("connections_memory_bytes"),
            doing: self.doing(),
            files: self.server.open_files(),
        }
    }

    fn doing(&self) -> [u64; 4] {
        let page = exchange(self.server.address().port(), "GET", "/doing", "").unwrap();
        let page = page.split_once("\r\n\r\n").unwrap().1;
        let numbers = page.split(|c: char| !c.is_ascii_digit()).filter_map(|word| word.parse().ok());
        let numbers: Vec<u64> = numbers.collect();
        [numbers[0], numbers[4], numbers[5], numbers[6]]
    }

    /// The state once nothing moves any more.
    fn at_rest(&self) -> State {
        let mut state = self.state();
        self.server.eventually("the server rests", || {
            std::thread::sleep(Duration::from_millis(100));
            let before = std::mem::replace(&mut state, self.state());
            before == state
        });
        state
    }

    fn subscribers(&self, channel: &str) -> u64 {
        let reply = self.server.ask(&format!("GET /stats?id={channel}"), &["Connection: close"], b"");
        let info: Result<serde_json::Value, _> = serde_json::from_slice(&reply.body);
        info.ok().and_then(|info| info["subscribers"].as_u64()).unwrap_or(0)
    }

    fn live(&self, channel: &str, text: &[u8]) {
        let reply = self.server.ask(&format!("POST /live?id={channel}"), &["Connection: close"], text);
        assert_eq!(reply.status, 200, "{}", reply.head);
    }
}

impl Drop for House {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(self.socket.parent().unwrap());
    }
}

/// A directory whose path is short enough for a socket.
fn tempdir() -> PathBuf {
    let dir = std::env::temp_dir().join(format!("pushstreamd-ends-{}-{}", std::process::id(), free_port()));
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

fn every_end_is_noticed(door: Door) {
    let house = House::start();
    // Whatever is opened once and for all is open.
    for _ in 0..8 {
        let mut line = house.open(door);
        line.push(&Peer { house: &house, door, mode: Mode::Idle, end: End::Close, channel: "warm".into() }.hello());
        line.half_close();
        line.ends();
    }
    let before = house.at_rest();
    let complaints = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for mode in MODES {
            for end in door.ends() {
                let (house, complaints) = (&house, &complaints);
                scope.spawn(move || {
                    let peer = Peer { house, door, mode, end, channel: format!("{mode:?}-{end:?}") };
                    if let Some(complaint) = peer.leave(peer.enter()) {
                        complaints.lock().unwrap().push(format!("{mode:?}, {end:?}: {complaint}"));
                    }
                });
            }
        }
    });
    let mut complaints = complaints.into_inner().unwrap();
    complaints.sort();
    let mut after = house.state();
    let until = Instant::now() + NOTICED;
    while after != before && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(50));
        after = house.state();
    }
    let clean = complaints.is_empty() && after == before;
    assert!(clean, "{door:?}:\n{}\nbefore {before:?}\nafter  {after:?}", complaints.join("\n"));
}

#[test]
fn every_end_of_every_mode_is_noticed_on_tcp() {
    every_end_is_noticed(Door::Tcp);
}

#[test]
fn every_end_of_every_mode_is_noticed_on_a_unix_socket() {
    every_end_is_noticed(Door::Unix);
}

#[test]
fn every_end_of_every_mode_is_noticed_through_tls() {
    every_end_is_noticed(Door::Tls);
}

#[test]
fn every_end_of_every_mode_is_noticed_in_http2() {
    every_end_is_noticed(Door::Http2);
}

#[test]
fn every_end_of_every_mode_is_noticed_in_http2_through_tls() {
    every_end_is_noticed(Door::Http2Tls);
}
