//! One peer: how it comes to where its mode has it wait, how it ends, and whether the server has noticed.

use super::*;

/// One peer in its mode, and how it ends.
pub(super) struct Peer<'a> {
    pub(super) house: &'a House,
    pub(super) door: Door,
    pub(super) mode: Mode,
    pub(super) end: End,
    pub(super) channel: String,
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

    pub(super) fn hello(&self) -> Vec<u8> {
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
    pub(super) fn enter(&self) -> Line {
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
    pub(super) fn leave(&self, mut line: Line) -> Option<&'static str> {
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
