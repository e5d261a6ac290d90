//! Every way a peer can end, in every mode, through every door: afterwards descriptors, connection slots, subscriptions,
//! counters and what is held for connections are as before.
//!
//! Each combination has a channel of its own, so what stays says whose it was. All of one door run side by side.

mod line;

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::support::{Server, exchange, free_port, request};
use crate::tls_server::self_signed;
use line::Line;

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
            files: self.server.open_files(),
        }
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

/// One peer in its mode, and how it ends.
struct Peer<'a> {
    house: &'a House,
    door: Door,
    mode: Mode,
    end: End,
    channel: String,
}

impl Peer<'_> {
    fn subscribes(&self) -> bool {
        matches!(self.mode, Mode::Stream | Mode::EventSource | Mode::LongPoll | Mode::WebSocket)
    }

    fn target(&self) -> String {
        let place = match self.mode {
            Mode::Stream => "stream",
            Mode::EventSource => "ev",
            Mode::Poll => "poll",
            Mode::LongPoll => "lp",
            Mode::WebSocket => "ws",
            Mode::Publisher if self.end == End::Silent => "pub-impatient",
            Mode::Publisher => "pub",
            Mode::Idle => "idle",
            Mode::Download => "file",
        };
        // A poll that is to take nothing gets much.
        let backtrack = if self.mode == Mode::Poll { ".b1" } else { "" };
        format!("/{place}?id={}{backtrack}", self.channel)
    }

    fn hello(&self) -> Vec<u8> {
        let target = self.target();
        if self.door.is_http2() {
            let window = if self.end == End::NoWindow { 0 } else { (1 << 31) - 1 };
            let mut fields = vec![(":scheme", "http"), (":path", &*target), (":authority", "t")];
            let body: Option<&[u8]> = match self.mode {
                Mode::Publisher => {
                    fields.push((":method", "POST"));
                    Some(b"half")
                }
                Mode::WebSocket => {
                    fields.extend([
                        (":method", "CONNECT"),
                        (":protocol", "websocket"),
                        ("sec-websocket-version", "13"),
                    ]);
                    Some(b"")
                }
                _ => {
                    fields.push((":method", "GET"));
                    None
                }
            };
            return [line::preface(window), line::stream(&fields, body)].concat();
        }
        match self.mode {
            Mode::Publisher => {
                request("POST", &target, "Content-Length: 1000\r\nExpect: 100-continue\r\n").into_bytes()
            }
            Mode::WebSocket => request(
                "GET",
                &target,
                "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x\r\n",
            )
            .into_bytes(),
            _ => request("GET", &target, "").into_bytes(),
        }
    }

    /// Something more that is right at this place, and need not be wanted yet.
    fn more(&self) -> Vec<u8> {
        match self.mode {
            _ if self.door.is_http2() => line::ping(),
            Mode::WebSocket => line::message(),
            Mode::Publisher => b"more of the body".to_vec(),
            _ => request("GET", &format!("/stats?id={}", self.channel), "").into_bytes(),
        }
    }

    /// Enters the mode.
    fn enter(&self) -> Line {
        if self.mode == Mode::Poll && matches!(self.end, End::Silent | End::NoWindow | End::CloseUnread) {
            let reply = self.house.server.ask(
                &format!("POST /pub?id={}", self.channel),
                &["Connection: close"],
                &vec![b'x'; 8 << 20],
            );
            assert_eq!(reply.status, 200);
        }
        let mut line = self.house.open(self.door);
        line.push(&self.hello());
        let hangs = matches!(self.end, End::Silent | End::NoWindow | End::CloseUnread);
        match self.mode {
            _ if self.subscribes() => {
                let until = Instant::now() + NOTICED;
                while self.house.subscribers(&self.channel) == 0 {
                    assert!(Instant::now() < until, "it never subscribes");
                    std::thread::sleep(Duration::from_millis(10));
                }
            }
            Mode::Publisher if !self.door.is_http2() => {
                line.read_until(b"100 Continue\r\n\r\n");
                line.push(b"half");
            }
            Mode::Idle | Mode::Poll if !hangs => {
                if self.door.is_http2() {
                    assert!(line::read_stream(&mut line), "no answer");
                } else {
                    line.read_until(if self.mode == Mode::Idle { b"idle" } else { b"\r\n\r\n" });
                }
            }
            Mode::Download => {
                let _ = line.read(&mut [0; 100]);
            }
            _ => {}
        }
        line
    }

    /// Ends, and waits until that has been noticed; what is wrong otherwise.
    fn leave(&self, mut line: Line) -> Option<&'static str> {
        let text = vec![b'm'; 100_000];
        match self.end {
            End::CloseUnread if self.subscribes() => self.house.live(&self.channel, &text),
            End::Silent | End::NoWindow if self.mode == Mode::LongPoll => {
                self.house.live(&self.channel, &text.repeat(80));
            }
            End::Silent | End::NoWindow if self.subscribes() => {
                for _ in 0..80 {
                    self.house.live(&self.channel, &text);
                }
            }
            End::CloseBehindMore | End::HalfBehindMore => line.push(&self.more()),
            End::Ahead => line.push_ahead(&self.more()),
            _ => {}
        }
        match self.end {
            End::Close | End::CloseUnread | End::CloseBehindMore => drop(line),
            End::Reset | End::Ahead => line.reset(),
            End::Half | End::HalfBehindMore => {
                line.half_close();
                return (!line.ends()).then_some("it is not closed").or_else(|| self.stays());
            }
            End::CloseNotify => {
                line.close_notify();
                return (!line.ends()).then_some("it is not closed").or_else(|| self.stays());
            }
            End::StreamReset => {
                line.push(&line::rst_stream());
                return self.stays();
            }
            End::GoAway => {
                line.push(&line::goaway());
                line.half_close();
                return (!line.ends()).then_some("it is not closed").or_else(|| self.stays());
            }
            // Nobody has closed anything, and what waits in a full window cannot: the server has to.
            End::Silent | End::NoWindow => return self.stays().or_else(|| self.holds(line)),
        }
        self.stays()
    }

    fn stays(&self) -> Option<&'static str> {
        let until = Instant::now() + NOTICED;
        while self.house.subscribers(&self.channel) > 0 {
            if Instant::now() > until {
                return Some("its subscription stays");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        None
    }

    /// Whether the server still keeps a connection or a stream that takes nothing.
    fn holds(&self, mut line: Line) -> Option<&'static str> {
        if self.mode == Mode::Idle && !self.door.is_http2() || self.mode == Mode::Publisher && self.end == End::NoWindow
        {
            return None;
        }
        if self.end == End::NoWindow || self.door.is_http2() && matches!(self.mode, Mode::Publisher | Mode::Idle) {
            return (!line::read_stream(&mut line)).then_some("its stream is not ended");
        }
        // Reading before its time is over would be progress.
        std::thread::sleep(Duration::from_secs(3));
        (!line.ends()).then_some("it is not closed")
    }
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
