//! What HTTP/2 itself takes for one connection, beside the bytes that wait for its client: the state of connection and streams,
//! header tables, heads of requests that are being answered. It counts with what the client has sent.
//!
//! The library does not say what it takes; the figures are measured, and where they depend on the client they are what it can
//! have caused at most. Invariant: what a head takes counts until its [`Head`] is dropped.

use std::cell::Cell;
use std::rc::Rc;

use hyper::Request;

use crate::delivery::{Connection, Worker};

/// A connection after its first request takes 24 KiB, by the memory of 400 of them (`h2` 0.4.20); a full table of fields takes
/// another 23 KiB, ours for answers less.
pub(crate) const CONNECTION: usize = 48 * 1024;
/// A stream that waits.
pub(crate) const STREAM: usize = 4 * 1024;
/// A head is there three times: as it came, as `http` has it, and as text.
const COPIES: usize = 3;
/// What `http` takes for a field beside its bytes.
const FIELD: usize = 96;

/// Bytes of an ordinary request: a head that mostly repeats the one before it, a window, a ping.
const ORDINARY: usize = 256;
/// What one entry of the table may keep of what came around it: `h2` cuts the values of pseudo-fields out of the buffer it has
/// read, and with them lives all of the buffer.
const KEPT: usize = 32 * 1024;
/// Entries of pseudo-fields that a table has room for.
const ENTRIES: usize = 107;

/// The burden of one connection.
pub(super) struct Burden {
    worker: Rc<Worker>,
    control: Rc<Connection>,
    /// Bytes that came and were put down to no head yet: they are read ahead of heads.
    read: Cell<usize>,
    /// What the table may keep of those before, as far as it has room for.
    kept: Cell<usize>,
    heads: Cell<usize>,
    streams: Cell<usize>,
}

impl Burden {
    pub(super) fn new(worker: Rc<Worker>, control: Rc<Connection>) -> Rc<Self> {
        let [read, kept, heads, streams] = [const { Cell::new(0) }; 4];
        let burden = Rc::new(Self { worker, control, read, kept, heads, streams });
        burden.weigh();
        burden
    }

    pub(super) fn worker(&self) -> &Worker {
        &self.worker
    }

    pub(super) fn control(&self) -> &Rc<Connection> {
        &self.control
    }

    /// So many bytes of those that have come were a body's, of which a table keeps a quarter at most (measured with 16 KiB between
    /// two heads): they are read into buffers of their own. They may have been put down to their head, with which they came.
    fn pass_body(&self, bytes: usize) {
        let freed = bytes - bytes / 4;
        let unassigned = freed.min(self.read.get());
        self.read.set(self.read.get() - unassigned);
        self.kept.set(self.kept.get().saturating_sub(buffered(freed - unassigned)));
    }

    /// So many bytes have come.
    pub(super) fn has_read(&self, bytes: usize) {
        self.read.set(self.read.get().saturating_add(bytes));
    }

    /// A request has come whose head counts from now on.
    pub(super) fn take_head<B>(self: &Rc<Self>, request: &Request<B>) -> Head {
        let fields = request.headers();
        let bytes: usize = fields.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
        let head = COPIES * (bytes + target) + FIELD * fields.len();
        let around = self.read.get().min(KEPT);
        self.read.set(self.read.get() - around);
        self.kept.set(self.kept.get() + buffered(around.saturating_sub(ORDINARY)));
        self.heads.set(self.heads.get() + head);
        self.weigh();
        Head { burden: Rc::clone(self), bytes: head }
    }

    /// Streams that are open.
    pub(super) fn streams(&self) -> usize {
        self.streams.get()
    }

    /// So many streams are open.
    pub(super) fn set_streams(&self, count: usize) {
        self.streams.set(count);
        self.weigh();
    }

    fn weigh(&self) {
        let kept = self.kept.get().min(ENTRIES * KEPT);
        let bytes = CONNECTION + kept + self.heads.get() + self.streams.get() * STREAM;
        self.worker.hold_input(&self.control, bytes);
    }
}

/// A buffer is half as large again as what came in it.
fn buffered(bytes: usize) -> usize {
    bytes * 3 / 2
}

/// What the head of a request takes until it has been dealt with.
pub(super) struct Head {
    burden: Rc<Burden>,
    bytes: usize,
}

impl Head {
    /// So many bytes of the body have been taken.
    pub(super) fn pass_body(&self, bytes: usize) {
        self.burden.pass_body(bytes);
    }
}

impl Drop for Head {
    fn drop(&mut self) {
        self.burden.heads.set(self.burden.heads.get().saturating_sub(self.bytes));
        self.burden.weigh();
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use h2::client;
    use hyper::Request;
    use tokio::io::AsyncWriteExt;

    use super::*;
    use crate::delivery::held;
    use crate::wire::trial::{Trial, with_trial};

    const LOCATIONS: &str = "
        location = /ok { return 204; }
        location ~ ^/pub/(.*)$ { push_stream_publisher; push_stream_channels_path $1; }
        location ~ ^/poll/(.*)$ { push_stream_subscriber long-polling; push_stream_channels_path $1; }
    ";

    async fn held_is(trial: &Trial, what: &str, bytes: usize) {
        trial.until(&format!("{what}: {bytes}"), |_| held() == bytes).await;
    }

    #[test]
    fn a_connection_its_streams_and_heads_under_way_count_and_nothing_stays() {
        with_trial(LOCATIONS, async |trial| {
            let (client, connection) = client::handshake(trial.http2()).await.unwrap();
            tokio::task::spawn_local(connection);
            let mut client = client.ready().await.unwrap();
            held_is(trial, "a connection", CONNECTION).await;
            let get = |target: &str| Request::get(format!("http://h{target}")).body(()).unwrap();
            let polls: Vec<_> = (0..3).map(|_| client.send_request(get("/poll/a"), true).unwrap()).collect();
            trial.until("all wait", |trial| trial.census().subscribers == 3).await;
            held_is(trial, "with streams, whose heads have gone", CONNECTION + 3 * STREAM).await;
            let post = Request::post("http://h/pub/b").header("x", "y".repeat(7000)).body(()).unwrap();
            let (answer, mut body) = client.send_request(post, false).unwrap();
            // Its bytes may live in the table as well, if it keeps what they came in.
            trial.until("the head waits for its body", |_| held() > CONNECTION + 4 * STREAM + COPIES * 7000).await;
            body.send_data(Bytes::from_static(b"text"), true).unwrap();
            assert_eq!(answer.await.unwrap().status(), 200);
            trial.until("it has gone", |_| held() < CONNECTION + 3 * STREAM + COPIES * 7000).await;
            drop((client, body, polls));
            trial.until("all are gone", |trial| trial.worker.connections() == 0).await;
            held_is(trial, "nothing", 0).await;
        });
    }

    #[test]
    fn what_header_tables_may_keep_counts_and_ordinary_requests_keep_nothing() {
        let block = |fields: &[&[u8]]| fields.concat();
        let frame = |number: u32, block: &[u8]| {
            let length = (block.len() as u32).to_be_bytes();
            [&length[1..], &[1, 5], &number.to_be_bytes(), block].concat()
        };
        // GET http h, the path to be kept in the table, and a field that is not.
        let path = b"\x44\x03/ok";
        let field = [&[0x00, 1, b'x', 0x7f, 0xd9, 0x35][..], &[b'y'; 7000]].concat();
        let long = block(&[&[0x82, 0x86], path, &[0x01, 1, b'h'], &field, &field]);
        let short = block(&[&[0x82, 0x86], path, &[0x01, 1, b'h']]);
        for (what, block, least, most) in [("long", long, 20 * 14_000, usize::MAX), ("short", short, 0, 1000)] {
            with_trial(LOCATIONS, async |trial| {
                let mut socket = trial.http2();
                socket
                    .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")
                    .await
                    .unwrap();
                for number in 0..20 {
                    socket.write_all(&frame(2 * number + 1, &block)).await.unwrap();
                }
                trial.until("all are answered", |trial| trial.tally.totals().requests == 20).await;
                trial.until("all are over", |trial| trial.worker.entered() == 1).await;
                let kept = held() - CONNECTION;
                assert!((least..=most).contains(&kept), "{what}: {kept}");
                drop(socket);
                trial.until("all are gone", |trial| trial.worker.connections() == 0).await;
                held_is(trial, "nothing", 0).await;
            });
        }
    }

    #[test]
    fn a_body_that_has_been_read_counts_for_little() {
        with_trial(LOCATIONS, async |trial| {
            let (client, connection) = client::handshake(trial.http2()).await.unwrap();
            tokio::task::spawn_local(connection);
            let mut client = client.ready().await.unwrap();
            for _ in 0..5 {
                let post = Request::post("http://h/pub/b").body(()).unwrap();
                let (answer, mut body) = client.send_request(post, false).unwrap();
                body.send_data(Bytes::from(vec![b'x'; 16_000]), true).unwrap();
                assert_eq!(answer.await.unwrap().status(), 200);
            }
            trial.until("all are over", |trial| trial.worker.entered() == 1).await;
            let kept = held() - CONNECTION;
            assert!(kept < 5 * 8000, "{kept}");
        });
    }
}
