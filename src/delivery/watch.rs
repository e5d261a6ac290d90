//! Time: what is due on the connections of a worker is done.
//!
//! It knows deadlines, pings, ends and peers that take nothing, not what is sent. One entry a connection says when to look
//! at it next.

use std::rc::Rc;

use super::connection::Connection;
use super::parting::Cut;
use super::source::What;
use super::subscribers::Manner;
use super::worker::Worker;
use crate::metrics::Cause;

impl Worker {
    /// Looks at all connections that are due.
    pub(super) fn look_at_deadlines(&self) {
        let clock = self.clock();
        loop {
            let slot = self.deadlines.borrow_mut().pop(clock);
            let Some(slot) = slot else { return };
            let connection = self.connections.borrow().get(slot as usize).cloned();
            self.for_each(connection.as_slice(), |connection| {
                connection.armed.set(0);
                self.look_at(connection, clock);
            });
        }
    }

    /// Does what is due on a connection and sets its next deadline.
    fn look_at(&self, connection: &Rc<Connection>, clock: u64) {
        let mut next = u64::MAX;
        if connection.progress.get() != 0 && connection.waiting() > 0 {
            next = connection.progress.get() + u64::from(connection.send_timeout.get());
            if next <= clock {
                self.cut(connection, Cut::SendTimeout);
                connection.give_up();
                return;
            }
        }
        match self.look_at_subscriber(connection, clock) {
            Some(at) => next = next.min(at),
            None if connection.deadline.get() != 0 => {
                if connection.deadline.get() <= clock {
                    connection.deadline.set(0);
                    connection.signal_timeout();
                } else {
                    next = next.min(connection.deadline.get());
                }
            }
            None => {}
        }
        if next != u64::MAX {
            self.arm(connection, next);
        }
    }

    /// Ping or end, as is due; returns when the subscriber is due again.
    fn look_at_subscriber(&self, connection: &Rc<Connection>, clock: u64) -> Option<u64> {
        let mut guard = connection.subscriber.borrow_mut();
        let subscriber = guard.as_mut()?;
        if subscriber.ends_at != 0 && subscriber.ends_at <= clock {
            self.say_farewell(connection, subscriber);
            drop(guard);
            self.end(connection, if self.is_departing() { Cause::Farewell } else { Cause::Ttl });
            return None;
        }
        if subscriber.ping != 0 && subscriber.last_sent + subscriber.ping <= clock {
            subscriber.last_sent = clock;
            let ping = subscriber.view.ping().clone();
            match &subscriber.manner {
                Manner::Encoded(encoding) => self.hand_encoded(connection, encoding, What::Piece(ping)),
                _ => self.hand(connection, ping),
            }
        }
        subscriber.due()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::Arc;

    use bytes::Bytes;
    use tokio::net::{TcpStream, UnixStream};

    use super::*;
    use crate::delivery::clock::skip;
    use crate::delivery::subscribers::tests::zone;
    use crate::delivery::{Awaited, Flush, Source, Stream};
    use crate::hub::Hub;
    use crate::metrics::Tally;
    use crate::model::{Capabilities, Now};

    const TIMEOUT: u64 = 10_000;

    /// A worker with one connection, and the peer's end of it.
    fn with_connection(test: impl AsyncFnOnce(&Worker, &Rc<Connection>, &UnixStream)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let hub = Arc::new(Hub::new(zone(), Capabilities::default(), 1, Now(0), None));
            let worker = Worker::new(0, hub, Arc::new(Tally::new(1)), 1 << 20);
            let (peer, own) = UnixStream::pair().unwrap();
            let connection = worker.enter(Connection::new(Stream::Unix(own)));
            connection.set_send_timeout(TIMEOUT);
            test(&worker, &connection, &peer).await;
        });
    }

    /// Sends what the socket takes, once it takes something.
    async fn flush(worker: &Worker, connection: &Rc<Connection>) -> Flush {
        std::future::poll_fn(|cx| connection.stream().poll_write_ready(cx)).await.unwrap();
        worker.flush(connection)
    }

    /// Takes up to so many bytes.
    fn take(peer: &UnixStream, most: usize) -> usize {
        use std::io::Read;
        let socket = socket2::SockRef::from(peer);
        let mut buffer = vec![0; most];
        (&*socket).read(&mut buffer).unwrap_or(0)
    }

    fn is_cut(worker: &Worker, connection: &Connection) -> bool {
        worker.look_at_deadlines();
        connection.is_broken()
    }

    #[test]
    fn a_peer_has_send_timeout_from_the_last_byte_it_took_and_no_longer() {
        with_connection(async |worker, connection, peer| {
            skip(123);
            connection.push(Bytes::from(vec![b'x'; 8 << 20]));
            assert_eq!(flush(worker, connection).await, Flush::Pending);
            for _ in 0..3 {
                skip(TIMEOUT - 50);
                assert!(!is_cut(worker, connection), "it has taken something in time");
                assert!(take(peer, 256 * 1024) > 0);
                assert_eq!(flush(worker, connection).await, Flush::Pending);
            }
            skip(TIMEOUT - 50);
            assert!(!is_cut(worker, connection));
            // Whatever else happens to the connection is no progress.
            connection.push(Bytes::from_static(b"more"));
            assert_eq!(worker.flush(connection), Flush::Pending);
            skip(70);
            assert!(is_cut(worker, connection), "one send_timeout after the last byte");
            assert_eq!(worker.tally().totals().cut(Cause::SendTimeout), 1);
        });
    }

    #[test]
    fn time_in_which_nothing_waits_does_not_count() {
        with_connection(async |worker, connection, peer| {
            for _ in 0..3 {
                connection.push(Bytes::from_static(b"message"));
                assert_eq!(flush(worker, connection).await, Flush::Done);
                skip(TIMEOUT * 2);
                assert!(!is_cut(worker, connection));
            }
            assert_eq!(take(peer, 100), 21);
            connection.push(Bytes::from(vec![b'x'; 8 << 20]));
            assert_eq!(flush(worker, connection).await, Flush::Pending);
            skip(TIMEOUT - 50);
            assert!(!is_cut(worker, connection));
        });
    }

    struct Endless;

    impl Source for Endless {
        fn next(&mut self, room: usize) -> std::io::Result<Option<Bytes>> {
            Ok(Some(Bytes::from(vec![b'h'; room])))
        }
    }

    #[test]
    fn what_is_made_as_it_is_taken_costs_a_page_and_has_the_same_timeout() {
        with_connection(async |worker, connection, peer| {
            connection.push_source(Box::new(Endless));
            for _ in 0..100 {
                assert_eq!(flush(worker, connection).await, Flush::Pending);
                assert!(connection.waiting() <= 3 * 64 * 1024, "{}", connection.waiting());
                assert_eq!(connection.backlog() / 1024, 0);
                skip(TIMEOUT - 50);
                assert!(!is_cut(worker, connection));
                while take(peer, 1 << 20) > 0 {}
            }
            assert_eq!(flush(worker, connection).await, Flush::Pending);
            skip(TIMEOUT + 20);
            assert!(is_cut(worker, connection));
        });
    }

    /// Makes pages without end; from the third on somebody else's byte waits.
    struct Hasty {
        made: Rc<Cell<usize>>,
        other: std::os::unix::net::UnixStream,
    }

    impl Source for Hasty {
        fn next(&mut self, room: usize) -> std::io::Result<Option<Bytes>> {
            if self.made.get() / room == 2 {
                std::io::Write::write_all(&mut self.other, b"x")?;
            }
            self.made.set(self.made.get() + room);
            // Slower than it is taken: the socket is never full.
            std::thread::sleep(std::time::Duration::from_millis(1));
            Ok(Some(Bytes::from(vec![b'h'; room])))
        }
    }

    #[test]
    fn whoever_takes_all_that_is_made_lets_others_have_their_turn() {
        use std::io::Read as _;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut taker = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (own, _) = listener.accept().unwrap();
        own.set_nonblocking(true).unwrap();
        let (other, awaited) = std::os::unix::net::UnixStream::pair().unwrap();
        awaited.set_nonblocking(true).unwrap();
        // It takes as fast as it can, until the connection is closed.
        let taking = std::thread::spawn(move || {
            let mut buffer = vec![0; 1 << 20];
            while taker.read(&mut buffer).is_ok_and(|read| read > 0) {}
        });
        let made = Rc::new(Cell::new(0));
        let local = tokio::task::LocalSet::new();
        local.block_on(&runtime, async {
            let connection = Rc::new(Connection::new(Stream::Tcp(TcpStream::from_std(own).unwrap())));
            connection.push_source(Box::new(Hasty { made: Rc::clone(&made), other }));
            let task = tokio::task::spawn_local(async move { connection.event(Awaited::Drained).await });
            UnixStream::from_std(awaited).unwrap().readable().await.unwrap();
            task.abort();
        });
        drop(local);
        taking.join().unwrap();
        assert!(made.get() < 2 << 20, "{} MiB were made while somebody waited", made.get() >> 20);
    }
}
