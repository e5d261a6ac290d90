//! The socket below an HTTP/2 connection, with the bytes that were read before it was known to be HTTP/2.
//!
//! What the socket does not take is timed as for any other connection: a peer that takes nothing for `send_timeout` loses it
//! with all its streams.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::burden::Burden;
use crate::delivery::Stream;

/// Bytes for one read.
const READ: usize = 16 * 1024;

/// The stream below an HTTP/2 connection.
pub(super) struct Transport {
    stream: Stream,
    /// Read already, given to the reader first.
    first: Vec<u8>,
    burden: Rc<Burden>,
    /// Bytes that HTTP/2 has been given and the socket has not taken, about.
    held: Rc<Cell<usize>>,
    /// Bytes have gone since the socket was full last.
    moved: bool,
}

impl Transport {
    pub(super) fn new(stream: Stream, first: Vec<u8>, burden: Rc<Burden>, held: Rc<Cell<usize>>) -> Self {
        Self { stream, first, burden, held, moved: false }
    }

    /// The socket is full.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let moved = std::mem::take(&mut self.moved) | self.stream.has_moved();
        let ready = self.stream.poll_write_ready(cx);
        if ready.is_pending() {
            self.burden.worker().wait_for_peer(self.burden.control(), moved);
        } else {
            self.moved = moved;
        }
        ready
    }
}

impl AsyncRead for Transport {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, room: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.first.is_empty() {
            let some = self.first.len().min(room.remaining());
            room.put_slice(self.first.get(..some).unwrap_or_default());
            self.first.drain(..some);
            return Poll::Ready(Ok(()));
        }
        let space = room.remaining().min(READ);
        let buffer = room.initialize_unfilled_to(space);
        loop {
            match self.stream.try_read(buffer) {
                Ok(read) => {
                    room.advance(read);
                    self.burden.has_read(read);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready!(self.stream.poll_read_ready(cx))?,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            match self.stream.try_write(slices) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready!(self.poll_room(cx))?,
                written => {
                    self.moved |= written.is_ok();
                    let sent = written.as_ref().map_or(0, |sent| *sent);
                    self.held.set(self.held.get().saturating_sub(sent));
                    return Poll::Ready(written);
                }
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Comes after everything that was to be written has been.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.stream.try_flush()? {
            ready!(self.poll_room(cx))?;
        }
        // What was reset meanwhile is gone too.
        self.held.set(0);
        self.burden.control().has_sent_all();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.as_mut().poll_flush(cx))?;
        self.stream.shutdown_write();
        Poll::Ready(Ok(()))
    }
}
