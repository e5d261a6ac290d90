//! A stream of HTTP/2 that carries a websocket (RFC 8441), as a stream of bytes.
//!
//! Invariant: it takes no more than the windows have room for; dropped before it was shut down, it is reset.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use h2::{RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::window::poll_room;
use crate::delivery::hold;

/// Both directions of a stream.
pub(super) struct Tunnel {
    incoming: RecvStream,
    /// Bytes that have come and were not read.
    read: Bytes,
    out: SendStream<Bytes>,
    /// Counts what HTTP/2 has been given.
    held: Rc<Cell<usize>>,
}

impl Tunnel {
    pub(super) fn new(incoming: RecvStream, out: SendStream<Bytes>, held: Rc<Cell<usize>>) -> Self {
        Self { incoming, read: Bytes::new(), out, held }
    }
}

impl AsyncRead for Tunnel {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, room: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        while self.read.is_empty() {
            match ready!(self.incoming.poll_data(cx)) {
                Some(Ok(data)) => self.read = data,
                Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
                None => return Poll::Ready(Ok(())),
            }
        }
        let some = self.read.len().min(room.remaining());
        room.put_slice(self.read.get(..some).unwrap_or_default());
        self.read.advance(some);
        let _ = self.incoming.flow_control().release_capacity(some);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tunnel {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let Some(room) = ready!(poll_room(&mut self.out, bytes.len(), cx)) else {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        };
        let some = bytes.get(..room).unwrap_or(bytes);
        self.held.set(self.held.get() + some.len());
        self.out.send_data(hold(Bytes::copy_from_slice(some)), false).map_err(io::Error::other)?;
        Poll::Ready(Ok(some.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.out.send_data(Bytes::new(), true).map_err(io::Error::other))
    }
}
