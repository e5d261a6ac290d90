//! The body of a request as it comes by a stream of HTTP/2.
//!
//! Invariant: a body that was broken off, whatever the client calls it, ends in an error: half a message is none.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use hyper::body::{Body, Frame};

/// A body, if there is one.
pub(super) struct RequestBody(Option<RecvStream>);

impl RequestBody {
    pub(super) fn new(incoming: RecvStream) -> Self {
        Self(Some(incoming))
    }

    pub(super) fn none() -> Self {
        Self(None)
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let Some(incoming) = &mut self.0 else { return Poll::Ready(None) };
        Poll::Ready(match ready!(incoming.poll_data(cx)) {
            Some(Ok(data)) => {
                // An error here is the connection's, and comes by the next read.
                let _ = incoming.flow_control().release_capacity(data.len());
                Some(Ok(Frame::data(data)))
            }
            Some(Err(error)) => Some(Err(io::Error::other(error))),
            None => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(RecvStream::is_end_stream)
    }
}
