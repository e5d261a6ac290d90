//! How much a stream of HTTP/2 may send: what the peer's windows have room for.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::SendStream;

/// Waits for room in the windows for so many bytes, or fewer; `None`: the stream is over.
pub(super) fn poll_room(out: &mut SendStream<Bytes>, wanted: usize, cx: &mut Context<'_>) -> Poll<Option<usize>> {
    out.reserve_capacity(wanted);
    loop {
        let room = out.capacity();
        if room > 0 {
            return Poll::Ready(Some(room));
        }
        // Told of changes only, nothing among them.
        match ready!(out.poll_capacity(cx)) {
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return Poll::Ready(None),
        }
    }
}
