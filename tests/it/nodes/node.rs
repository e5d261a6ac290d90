//! A node of a test: a server with a backplane, and the ways of a client to it.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::program::Program;
use crate::restart::{Stranger, succeed};
use crate::support::{Client, PATIENCE, Prefix, Reply, Running, Socket, exchange, free_port, percent_encoded, within};

const LOCATIONS: &str = "
    location /pub { push_stream_publisher admin; push_stream_channels_path $arg_id; push_stream_store_messages on; }
    location /memory { push_stream_publisher; push_stream_channels_path $arg_id; push_stream_store_messages off; }
    location /stats { push_stream_channels_statistics; push_stream_channels_path $arg_id; }
    location ~ ^/poll/(.*) {
        push_stream_subscriber polling;
        push_stream_channels_path $1;
        push_stream_last_received_message_time $arg_time;
        push_stream_last_received_message_tag $arg_tag;
        push_stream_message_template \"~id~ ~text~\\n\";
    }
    location ~ ^/sub/(.*) {
        push_stream_subscriber;
        push_stream_channels_path $1;
        push_stream_message_template \"~id~ ~channel~ ~text~\\n\";
    }
    location ~ ^/events/(.*) { push_stream_subscriber eventsource; push_stream_channels_path $1; }
    location ~ ^/ws/(.*) {
        push_stream_subscriber websocket;
        push_stream_channels_path $1;
        push_stream_websocket_allow_publish on;
        push_stream_store_messages on;
        push_stream_message_template \"~text~\";
    }";

/// A node. The processes go before their directory.
pub struct Node {
    process: Running,
    /// What has taken the place of that one.
    successor: Option<Stranger>,
    /// How many successors there were when the last one was asked for.
    successions: usize,
    args: Vec<String>,
    status: u16,
    program: Program,
    prefix: Prefix,
}

/// Where a poll is to go on.
pub type Position = Option<(String, String)>;

impl Node {
    /// Starts one, and waits until it has joined.
    pub fn start(url: &str) -> Self {
        Self::with(url, "")
    }

    /// The same with directives of `http`.
    pub fn with(url: &str, http: &str) -> Self {
        let node = Self::begin(&["--backplane", url], http);
        node.await_ready();
        node
    }

    /// Starts one with arguments, and waits until it listens.
    pub fn begin(args: &[&str], http: &str) -> Self {
        let ttl = if http.contains("push_stream_message_ttl") { "" } else { "push_stream_message_ttl 10m;" };
        Self::serving(args, &format!("push_stream_shared_memory_size 64m; {ttl} {http}"), LOCATIONS)
    }

    /// Starts one with locations of its own.
    pub fn serving(args: &[&str], http: &str, locations: &str) -> Self {
        Self::configured(
            args,
            &format!(
                "daemon off; worker_processes 2; pid logs/nginx.pid; error_log logs/error.log info;
                events {{ }}
                http {{
                    {http}
                    server {{ listen 127.0.0.1:@PORT@; client_max_body_size 4m; {locations} }}
                }}"
            ),
        )
    }

    /// Starts one with a configuration of its own.
    pub fn configured(args: &[&str], conf: &str) -> Self {
        let prefix = Prefix::new("node");
        prefix.configure(conf);
        let status = free_port();
        let address = format!("127.0.0.1:{status}");
        let args: Vec<String> = [args, &["--status", &address]].concat().into_iter().map(str::to_owned).collect();
        let words: Vec<&str> = args.iter().map(String::as_str).collect();
        let mut program = Program::new(&prefix);
        let process = prefix.spawn_of(program.next(), &words);
        let node = Self { process, successor: None, successions: 0, args, status, program, prefix };
        node.await_listening();
        node
    }

    /// The process ends at once, and another one begins.
    pub fn kill_and_start(&mut self) {
        self.kill();
        self.go_on();
        self.await_listening();
        self.await_ready();
    }

    /// What is configured from the next start or reload on.
    pub fn configure(&self, conf: &str) {
        self.prefix.configure(conf);
    }

    /// The process ends in order, if that takes no longer than anybody waits.
    pub fn end(&mut self, signal: Signal) {
        self.signal(signal);
        let ending = Stranger::of(self.id());
        let until = Instant::now() + Duration::from_secs(5);
        while ending.lives() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(10));
        }
        drop(ending);
        self.kill();
    }

    /// The process ends at once.
    pub fn kill(&mut self) {
        // A successor that does not serve yet is gone too.
        drop(self.prefix.pid().map(Stranger::of));
        drop(self.successor.take());
        let _ = self.process.0.kill();
        let _ = self.process.0.wait();
    }

    /// Another process begins, which may find nobody to join.
    pub fn go_on(&mut self) {
        let words: Vec<&str> = self.args.iter().map(String::as_str).collect();
        self.process = self.prefix.spawn_of(self.program.next(), &words);
    }

    /// USR2; returns once a successor serves beside it.
    pub fn succeed(&self) -> Stranger {
        succeed(&self.prefix, self.process.process())
    }

    /// USR2 to the process that serves; [`Node::retire`] is what comes then.
    pub fn ask_for_successor(&mut self) {
        self.successions = self.successors();
        self.program.next();
        self.tell(Signal::SIGUSR2);
    }

    /// Sends the process that serves a signal which ends one that has only begun: that is told nothing.
    pub fn tell(&self, signal: Signal) {
        if self.prefix.pid() == Some(self.id()) {
            self.signal(signal);
        }
    }

    /// Ends the process that serves, if its successor does by now; else that one, and the process goes on. Returns whether it has ended.
    pub fn retire(&mut self) -> bool {
        let new = self.prefix.pid().filter(|id| *id != self.id()).map(Stranger::of);
        if self.successors() == self.successions {
            return false;
        }
        let Some(new) = new else { return false };
        self.signal(Signal::SIGQUIT);
        let old = Stranger::of(self.id());
        let until = Instant::now() + Duration::from_secs(2);
        while old.lives() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(10));
        }
        drop(old);
        self.successor = Some(new);
        true
    }

    /// Ends the successor of the process that serves. Returns whether that served by now.
    pub fn dismiss(&mut self) -> bool {
        let Some(new) = self.prefix.pid().filter(|id| *id != self.id()).map(Stranger::of) else { return false };
        if self.successors() == self.successions {
            return false;
        }
        new.signal(Signal::SIGQUIT);
        let until = Instant::now() + Duration::from_secs(2);
        while new.lives() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(10));
        }
        true
    }

    fn successors(&self) -> usize {
        self.log().matches("serves from now on").count()
    }

    fn id(&self) -> i32 {
        self.successor.as_ref().map_or_else(|| self.process.process(), Stranger::process)
    }

    /// Sends the process that serves a signal.
    pub fn signal(&self, signal: Signal) {
        Stranger::signal_to(self.id(), signal);
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.prefix.address()
    }

    fn await_listening(&self) {
        self.prefix.wait_until_serving();
        within(PATIENCE, "it tells its status", || TcpStream::connect(("127.0.0.1", self.status)).is_ok());
    }

    /// Its process.
    pub fn process(&self) -> &Running {
        &self.process
    }

    /// What `/readyz` says.
    pub fn readiness(&self) -> Reply {
        Client::open(([127, 0, 0, 1], self.status).into(), PATIENCE).ask("GET /readyz", &["Connection: close"], b"")
    }

    /// Waits until it is ready.
    pub fn await_ready(&self) {
        within(PATIENCE, "the node is ready", || self.readiness().status == 200);
    }

    /// Whether it is, so far as it can be asked.
    pub fn is_ready(&self) -> bool {
        exchange(self.status, "GET", "/readyz", "").is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
    }

    /// A number of `/metrics`.
    pub fn metric(&self, name: &str) -> f64 {
        let page = self.metrics();
        let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("no {name} in {page}")).trim().parse().unwrap()
    }

    /// `/status`, the part about the backplane.
    pub fn backplane(&self) -> serde_json::Value {
        serde_json::from_str::<serde_json::Value>(&self.told("/status")).unwrap()["backplane"].clone()
    }

    /// What it tells Prometheus.
    pub fn metrics(&self) -> String {
        self.told("/metrics")
    }

    /// What the operators' listener answers.
    fn told(&self, target: &str) -> String {
        let answer = exchange(self.status, "GET", target, "").unwrap();
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    }

    pub fn connect(&self) -> Client {
        Client::open(self.prefix.address(), PATIENCE)
    }

    pub fn ask(&self, line: &str, fields: &[&str], body: &[u8]) -> Reply {
        self.connect().ask(line, fields, body)
    }

    /// Publishes; it must be accepted.
    pub fn publish(&self, channel: &str, text: impl AsRef<[u8]>) {
        let reply = self.try_publish(channel, text.as_ref());
        assert_eq!(reply.status, 200, "{}", reply.head);
    }

    pub fn try_publish(&self, channel: &str, text: &[u8]) -> Reply {
        self.ask(&format!("POST /pub?id={channel}"), &[], text)
    }

    /// Publishes until it is accepted; what is refused must not have been published, or it is twice there.
    pub fn publish_when_possible(&self, channel: &str, text: &str) {
        let until = Instant::now() + PATIENCE;
        loop {
            let reply = self.try_publish(channel, text.as_bytes());
            match reply.status {
                200 => return,
                503 if !reply.head.contains("may have been published") => {}
                _ => panic!("{}", reply.head),
            }
            assert!(Instant::now() < until, "{}", reply.head);
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// One poll: its lines, and where the next one goes on.
    pub fn poll(&self, channels: &str, position: &Position) -> (Vec<String>, Position) {
        let (time, tag) = position.clone().unwrap_or_else(|| ("Thu, 01 Jan 1970 00:00:00 GMT".into(), "0".into()));
        let time = percent_encoded(time.as_bytes());
        let reply = self.ask(&format!("GET /poll/{channels}?time={time}&tag={tag}"), &[], b"");
        let field = |name: &str| Some(reply.field(name)?.trim_start_matches("W/").to_owned());
        // Where nothing was ever published there is nothing to go on from.
        let next = field("Last-Modified").zip(field("Etag")).or_else(|| position.clone());
        match reply.status {
            200 => (reply.text().lines().map(str::to_owned).collect(), next),
            304 => (Vec::new(), next),
            _ => panic!("{}", reply.head),
        }
    }

    /// All stored messages of a channel.
    pub fn stored(&self, channel: &str) -> Vec<String> {
        self.poll(channel, &None).0
    }

    /// Waits until a channel holds these.
    #[track_caller]
    pub fn await_stored(&self, channel: &str, expected: &[&str]) {
        let mut stored = Vec::new();
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            stored = self.stored(channel);
            if stored == expected {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(stored, expected, "{}", self.log());
    }

    /// A streaming subscriber whose head has been read.
    pub fn subscribe(&self, channels: &str) -> Client {
        let mut client = self.connect();
        client.send_request(&format!("GET /sub/{channels}"), &[], b"");
        client.head();
        client
    }

    pub fn websocket(&self, channels: &str) -> Socket {
        Socket::open(self.connect(), &format!("/ws/{channels}"), b"")
    }

    pub fn log(&self) -> String {
        self.prefix.read("logs/error.log")
    }

    #[track_caller]
    pub fn await_log(&self, text: &str) {
        within(PATIENCE, text, || self.log().contains(text));
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert!(!self.log().contains("panicked"), "{}", self.log());
        }
    }
}
