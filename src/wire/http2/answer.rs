//! Heads and bodies of HTTP/2 responses, made of what was written for HTTP/1.
//!
//! Fields about the connection are left out; the body is whole, or comes piece by piece out of the outbox of the stream.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::Response;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{HeaderName, HeaderValue};
use memchr::memmem;

use super::stream::OpenStream;
use crate::delivery::Event;

/// Fields of HTTP/1 that HTTP/2 has no use for.
const OF_THE_CONNECTION: [&str; 5] =
    ["connection", "keep-alive", "transfer-encoding", "upgrade", "sec-websocket-accept"];

/// The body of a response.
pub(super) enum AnswerBody {
    /// There is none.
    Empty,
    /// What the outbox of a stream holds, and what its subscription brings.
    Outbox {
        /// Whose outbox it is.
        stream: OpenStream,
        /// There is no subscription (any more); what is in the outbox is the rest.
        over: bool,
    },
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let Self::Outbox { stream, over } = self.get_mut() else { return Poll::Ready(None) };
        loop {
            if let Some(piece) = stream.connection().fetch() {
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            if *over {
                stream.complete();
                return Poll::Ready(None);
            }
            match stream.connection().poll_event(cx, false, false) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Event::Ended) => *over = true,
                Poll::Ready(Event::Broken) => return Poll::Ready(Some(Err(io::ErrorKind::TimedOut.into()))),
                Poll::Ready(_) => {}
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Empty)
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Outbox { .. } => SizeHint::default(),
        }
    }
}

/// Splits an answer into its head, as HTTP/2 has it, and its body. `None`: there is no head.
pub(super) fn split(answer: &Bytes) -> Option<(Response<()>, Bytes)> {
    const END: &[u8] = b"\r\n\r\n";
    let end = memmem::find(answer, END)?;
    let head = answer.get(..end)?;
    Some((response(head)?, answer.slice(end + END.len()..)))
}

fn response(head: &[u8]) -> Option<Response<()>> {
    let mut lines = head.split(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let status = lines.next()?.split(|&byte| byte == b' ').nth(1)?;
    let mut response = Response::builder().status(status).body(()).ok()?;
    for line in lines {
        let Some(colon) = memchr::memchr(b':', line) else { continue };
        let (name, value) = line.split_at(colon);
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) else { continue };
        if !OF_THE_CONNECTION.contains(&name.as_str()) {
            response.headers_mut().append(name, value);
        }
    }
    Some(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_loses_what_is_about_the_connection() {
        let answer = Bytes::from_static(
            b"HTTP/1.1 304 Not Modified\r\nServer: x\r\nConnection: close\r\nKeep-Alive: timeout=5\r\n\
              Transfer-Encoding: chunked\r\nX-A: 1\r\nX-A: 2\r\n\r\nbody\r\n\r\n",
        );
        let (response, body) = split(&answer).unwrap();
        assert_eq!(response.status(), 304);
        let fields: Vec<_> = response.headers().iter().map(|(n, v)| (n.as_str(), v.to_str().unwrap())).collect();
        assert_eq!(fields, [("server", "x"), ("x-a", "1"), ("x-a", "2")]);
        assert_eq!(body, "body\r\n\r\n");
        assert!(split(&Bytes::from_static(b"no head")).is_none());
    }
}
