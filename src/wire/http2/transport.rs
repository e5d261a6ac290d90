//! A stream as hyper wants it, with the bytes that were read before it was known to be HTTP/2.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper::rt::{Read, ReadBufCursor, Write};

use crate::delivery::Stream;

/// Bytes for one read.
const READ: usize = 16 * 1024;

/// The stream below an HTTP/2 connection.
pub(super) struct Transport {
    stream: Stream,
    /// Read already, given to the reader first.
    first: Vec<u8>,
}

impl Transport {
    pub(super) fn new(stream: Stream, first: Vec<u8>) -> Self {
        Self { stream, first }
    }
}

impl Read for Transport {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, mut room: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        if !self.first.is_empty() {
            let some = self.first.len().min(room.remaining());
            room.put_slice(self.first.get(..some).unwrap_or_default());
            self.first.drain(..some);
            return Poll::Ready(Ok(()));
        }
        let mut buffer = [0; READ];
        let buffer = buffer.get_mut(..room.remaining().min(READ)).unwrap_or_default();
        loop {
            match self.stream.try_read(buffer) {
                Ok(read) => {
                    room.put_slice(buffer.get(..read).unwrap_or_default());
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready!(self.stream.poll_read_ready(cx))?,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl Write for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            match self.stream.try_write(slices) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready!(self.stream.poll_write_ready(cx))?,
                written => return Poll::Ready(written),
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.stream.try_flush()? {
            ready!(self.stream.poll_write_ready(cx))?;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.as_mut().poll_flush(cx))?;
        self.stream.shutdown_write();
        Poll::Ready(Ok(()))
    }
}
