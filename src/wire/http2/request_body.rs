//! The body of a request as it comes by a stream of HTTP/2.
//!
//! What the head takes counts as long as the body is there: whoever answers has done with both at once. Invariant: a body that was
//! broken off, whatever the client calls it, ends in an error: half a message is none.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use hyper::body::{Body, Frame};

use super::burden::Head;

/// A body, if there is one.
pub(super) struct RequestBody {
    incoming: Option<RecvStream>,
    weight: Head,
}

impl RequestBody {
    pub(super) fn new(incoming: RecvStream, weight: Head) -> Self {
        Self { incoming: Some(incoming), weight }
    }

    pub(super) fn none(weight: Head) -> Self {
        Self { incoming: None, weight }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let Self { incoming: Some(incoming), weight } = &mut *self else { return Poll::Ready(None) };
        Poll::Ready(match ready!(incoming.poll_data(cx)) {
            Some(Ok(data)) => {
                weight.pass_body(data.len());
                // An error here is the connection's, and comes by the next read.
                let _ = incoming.flow_control().release_capacity(data.len());
                Some(Ok(Frame::data(data)))
            }
            Some(Err(error)) => Some(Err(io::Error::other(error))),
            None => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(RecvStream::is_end_stream)
    }
}
