//! A whole worker in the thread of a test: its connections are real, its clients sit at the other ends of unix sockets.

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::task::{AbortHandle, LocalSet, spawn_local};

use super::listener_place::ListenerPlace;
use super::session::Session;
use super::workbench::Workbench;
use super::{http1::connection, http2};
use crate::conf::{self, LoadOptions};
use crate::delivery::{Connection, Stream, Worker};
use crate::hub::{Census, Hub};
use crate::metrics::{Tally, tick};
use crate::model::{Capabilities, Draft, Now};
use crate::push::context::Context;
use crate::request::peer::{Peer, PeerAddress};

/// Longer than anything takes on a machine that has time for it at all.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes that may wait for a subscriber.
pub(crate) const BUDGET: usize = 1024 * 1024;

/// The worker of a test.
pub(crate) struct Trial {
    pub(crate) worker: Rc<Worker>,
    bench: Rc<Workbench>,
    serving: RefCell<AbortHandle>,
    pub(crate) tally: Arc<Tally>,
    place: Rc<ListenerPlace>,
}

/// Runs a test on a worker that serves these locations.
pub(crate) fn with_trial(locations: &str, test: impl AsyncFnOnce(&Trial)) {
    let text = format!(
        "events {{}} http {{ push_stream_shared_memory_size 512m; server {{ listen 127.0.0.1:8080; {locations} }} }}"
    );
    let options = LoadOptions {
        file: PathBuf::from("trial.conf"),
        prefix: PathBuf::from("/nonexistent"),
        text: Some(text),
        ..LoadOptions::default()
    };
    let settings = Arc::new(conf::load(&options).unwrap().settings);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        let hub = Arc::new(Hub::new(settings.zone.clone(), Capabilities::default(), 1, Now(1_795_373_031_000), None));
        let tally = Arc::new(Tally::new(1));
        let worker = Rc::new(Worker::new(0, hub, Arc::clone(&tally), BUDGET));
        let serving = RefCell::new(serve(&worker));
        let place = Rc::new(ListenerPlace::new(settings.listeners[0].address.clone(), 0));
        let context = Rc::new(Context::new(Rc::clone(&worker), settings, Arc::default(), Arc::default()));
        let bench = Rc::new(Workbench::new(context));
        test(&Trial { worker, bench, serving, tally, place }).await;
    });
}

fn serve(worker: &Rc<Worker>) -> AbortHandle {
    let worker = Rc::clone(worker);
    spawn_local(async move { worker.serve().await }).abort_handle()
}

impl Trial {
    /// Hands out no messages from now on.
    pub(crate) fn stop_delivering(&self) {
        self.serving.borrow().abort();
    }

    /// Hands out messages again.
    pub(crate) fn go_on_delivering(&self) {
        *self.serving.borrow_mut() = serve(&self.worker);
    }

    fn peer() -> Rc<Peer> {
        Rc::new(Peer { remote: PeerAddress::Unix, local: PeerAddress::Unix, tls: None, proxy: None, connection: 1 })
    }

    /// A client of HTTP/1.
    pub(crate) fn client(&self) -> Client {
        let (client, server) = UnixStream::pair().unwrap();
        let connection = self.worker.enter(Connection::seated(Stream::Unix(server), self.worker.seat()));
        let session = Session::new(Self::peer(), Rc::clone(&self.place), Vec::new());
        spawn_local(connection::serve(Rc::clone(&self.bench), connection, session));
        Client { stream: client, read: RefCell::default() }
    }

    /// The other end of a connection that speaks HTTP/2.
    pub(crate) fn http2(&self) -> UnixStream {
        let (client, server) = UnixStream::pair().unwrap();
        let (bench, place) = (Rc::clone(&self.bench), Rc::clone(&self.place));
        let seat = bench.context.worker.seat();
        spawn_local(http2::serve_http2(bench, Stream::Unix(server), place, Self::peer(), Vec::new(), seat));
        client
    }

    /// Publishes a message.
    pub(crate) fn publish(&self, channel: &str, text: &[u8]) {
        let ids = [channel.into()];
        let now = self.worker.now();
        self.worker.hub().admit_publish(&ids, now).unwrap();
        let draft = Draft { text: text.to_vec().into(), event: None, store: true, at: tick(), ..Draft::default() };
        self.worker.hub().publish(&ids, &draft, now).unwrap();
    }

    /// How many messages were published on a channel.
    pub(crate) fn published(&self, channel: &str) -> usize {
        self.worker.hub().find(&[channel.into()])[0].published as usize
    }

    pub(crate) fn census(&self) -> Census {
        self.worker.hub().census(self.worker.now())
    }

    /// Waits until something is so.
    pub(crate) async fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let waiting = async {
            while !is_so(self) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        assert!(tokio::time::timeout(PATIENCE, waiting).await.is_ok(), "never: {what}");
    }
}

/// A client that reads as much as it wants to see.
pub(crate) struct Client {
    pub(crate) stream: UnixStream,
    read: RefCell<Vec<u8>>,
}

impl Client {
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    pub(crate) async fn get(&mut self, target: &str) {
        self.send(format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes()).await;
    }

    pub(crate) async fn open_websocket(&mut self, target: &str, fields: &str) {
        let text = format!(
            "GET {target} HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n{fields}\r\n"
        );
        self.send(text.as_bytes()).await;
    }

    /// Reads until `wanted` has come; returns everything up to its end. Panics at the connection's end.
    pub(crate) async fn see(&mut self, wanted: &[u8]) -> Vec<u8> {
        let seeing = async {
            let mut from = 0;
            loop {
                let seen = self.read.borrow().len();
                if let Some(at) = memchr::memmem::find(&self.read.borrow()[from..], wanted) {
                    break from + at + wanted.len();
                }
                from = seen.saturating_sub(wanted.len());
                assert!(self.read_some().await > 0, "ended before {:?}", String::from_utf8_lossy(wanted));
            }
        };
        match tokio::time::timeout(PATIENCE, seeing).await {
            Ok(end) => self.read.borrow_mut().drain(..end).collect(),
            Err(tokio::time::error::Elapsed { .. }) => panic!("never came: {:?}", String::from_utf8_lossy(wanted)),
        }
    }

    /// What has come, at least something and at most so many bytes.
    pub(crate) async fn some(&mut self, most: usize) -> Vec<u8> {
        let reading = async {
            while self.read.borrow().is_empty() {
                assert!(self.read_some().await > 0, "ended");
            }
        };
        assert!(tokio::time::timeout(PATIENCE, reading).await.is_ok(), "nothing comes");
        let read = &mut *self.read.borrow_mut();
        read.drain(..read.len().min(most)).collect()
    }

    /// Everything up to the end of the connection.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        let reading = async { while self.read_some().await > 0 {} };
        assert!(tokio::time::timeout(PATIENCE, reading).await.is_ok(), "the connection does not end");
        self.read.take()
    }

    async fn read_some(&self) -> usize {
        let mut buffer = vec![0; 16 * 1024];
        self.stream.readable().await.unwrap();
        match self.stream.try_read(&mut buffer) {
            Ok(read) => {
                self.read.borrow_mut().extend_from_slice(&buffer[..read]);
                read
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => usize::MAX,
            Err(_) => 0,
        }
    }
}
