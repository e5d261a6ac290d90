//! TLS over a socket: a `rustls` session and the stream it speaks through.
//!
//! The session is driven from wherever bytes are read or written, so that a fan-out reaches a TLS subscriber without waking
//! its task. Which certificate is shown and what was negotiated are other rooms' business. Invariant: the session takes new
//! bytes only when the socket has taken the records before, so that what waits stays in the outbox, where it is counted.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice, Read, Write};
use std::task::{Context, Poll, ready};

use rustls::ServerConnection;

use super::ledger::Charge;
use super::stream::Stream;

/// TLS over a TCP or unix socket.
pub struct TlsStream {
    below: Stream,
    session: RefCell<ServerConnection>,
    /// The session may hold bytes for the reader that the socket does not tell of.
    more: Cell<bool>,
    /// The peer has said that it sends no more.
    ended: Cell<bool>,
    /// The socket has taken bytes of the session.
    moved: Cell<bool>,
    /// What the session takes, and what it holds back.
    held: Charge,
}

impl TlsStream {
    /// Memory that a session takes behind its handshake, by the count of the allocator: 7,944 bytes with TLS 1.3, 7,654 with
    /// 1.2 (`rustls` 0.23).
    pub const SESSION: usize = 8 * 1024;

    /// A stream whose handshake goes on with [`TlsStream::poll_handshake`].
    pub fn new(below: Stream, session: ServerConnection) -> Self {
        let [more, ended, moved] = [const { Cell::new(false) }; 3];
        let held = Charge::default();
        held.set(Self::SESSION);
        Self { below, session: RefCell::new(session), more, ended, moved, held }
    }

    /// Looks at the session (protocol, cipher, server name, certificates).
    pub fn inspect<T>(&self, look: impl FnOnce(&ServerConnection) -> T) -> T {
        look(&self.session.borrow())
    }

    /// Drives the handshake to its end.
    pub fn poll_handshake(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if !self.try_flush()? {
                ready!(self.below.poll_write_ready(cx))?;
                continue;
            }
            if !self.session.borrow().is_handshaking() {
                // The first request may have come with the last bytes of the handshake.
                self.more.set(true);
                return Poll::Ready(Ok(()));
            }
            match self.read_records() {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready!(self.below.poll_read_ready(cx))?,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// The socket.
    pub(super) fn below(&self) -> &Stream {
        &self.below
    }

    pub(super) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.read_session(buffer);
        // The end may have come with the last bytes: no event of the socket will tell of it.
        self.more.set(matches!(read, Ok(read) if read == buffer.len() || self.ended.get()));
        read
    }

    pub(super) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.more.get() { Poll::Ready(Ok(())) } else { self.below.poll_read_ready(cx) }
    }

    fn read_session(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.session.borrow_mut().reader().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // A peer that closes its socket without close_notify has ended all the same.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                other => return other,
            }
            if self.read_records()? == 0 {
                return Ok(0);
            }
        }
    }

    /// Reads from the socket into the session; `Ok(0)` is the end of the socket.
    fn read_records(&self) -> io::Result<usize> {
        let mut session = self.session.borrow_mut();
        let read = session.read_tls(&mut &self.below)?;
        let processed = session.process_new_packets();
        drop(session);
        // Answers and alerts of the session go out here; a full socket is found again by the next write.
        let flushed = self.try_flush();
        let state = processed.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        self.ended.set(state.peer_has_closed());
        flushed?;
        Ok(read)
    }

    pub(super) fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        if !self.try_flush()? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let written = self.session.borrow_mut().writer().write_vectored(slices)?;
        if !self.try_flush()? {
            self.held.set(Self::SESSION + written);
        }
        Ok(written)
    }

    /// Sends the records of the session; true when none is left.
    pub(super) fn try_flush(&self) -> io::Result<bool> {
        let mut session = self.session.borrow_mut();
        while session.wants_write() {
            match session.write_tls(&mut &self.below) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(_) => self.moved.set(true),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.held.set(Self::SESSION);
        Ok(true)
    }

    /// What the session takes, with its bytes that the socket has not taken, about.
    pub(super) fn held(&self) -> usize {
        self.held.get()
    }

    pub(super) fn holds_back(&self) -> bool {
        self.session.borrow().wants_write()
    }

    pub(super) fn has_moved(&self) -> bool {
        self.moved.replace(false)
    }

    /// Ends our side as TLS does it, as far as that can be sent at once.
    pub(super) fn close_notify(&self) {
        self.session.borrow_mut().send_close_notify();
        let _ = self.try_flush();
    }
}

impl Drop for TlsStream {
    fn drop(&mut self) {
        // Whoever closes for whatever reason: without this the peer takes the end for an attack.
        if !self.session.borrow().is_handshaking() {
            self.close_notify();
        }
    }
}
