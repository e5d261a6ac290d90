//! The body of a response: piece by piece out of an outbox.

use std::future::{pending, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use super::visit::Visit;
use crate::delivery::Event;

/// The body of a response.
pub(crate) enum AnswerBody {
    /// There is none.
    Empty,
    /// What the outbox holds, and what the subscription brings; `over`: there is none (any more), and what is in the outbox
    /// is the rest.
    Outbox { visit: Visit, over: bool },
}

impl AnswerBody {
    /// Waits until the worker gives the connection up, for whoever does not ask for a frame meanwhile.
    pub(crate) async fn given_up(&self) {
        let Self::Outbox { visit, .. } = self else { return pending().await };
        poll_fn(|cx| {
            visit.connection().listen(cx);
            if visit.connection().is_broken() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let Self::Outbox { visit, over } = self.get_mut() else { return Poll::Ready(None) };
        loop {
            if let Some(piece) = visit.connection().fetch() {
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            if *over {
                visit.complete();
                return Poll::Ready(None);
            }
            match visit.connection().poll_event(cx, false, false) {
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
