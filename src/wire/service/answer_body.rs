//! The body of a response: piece by piece out of an outbox.

use std::future::{pending, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use super::visit::Visit;
use crate::delivery::{Awaited, Event};

/// The body of a response.
pub(crate) enum AnswerBody {
    /// There is none.
    Empty,
    /// What the outbox holds, and what the subscription brings; `over`: there is none (any more), and what is in the outbox
    /// is the rest.
    Outbox { visit: Visit, over: bool },
}

impl AnswerBody {
    /// How many bytes wait, once some do; 0: the body is over. Whoever asks is woken too when the body is given up.
    pub(crate) fn poll_waiting(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Self::Outbox { visit, over } = self else { return Poll::Ready(Ok(0)) };
        loop {
            let connection = visit.connection();
            connection.listen(cx);
            if connection.is_broken() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            match connection.waiting() {
                0 if *over => {
                    visit.complete();
                    return Poll::Ready(Ok(0));
                }
                0 => *over |= ready!(connection.poll_event(cx, Awaited::Nothing)) == Event::Ended,
                waiting => return Poll::Ready(Ok(waiting)),
            }
        }
    }

    /// Takes up to so many bytes off what waits, for whoever sends them at once; and whether they are the last.
    pub(crate) fn take(&mut self, most: usize) -> (Bytes, bool) {
        let Self::Outbox { visit, over } = self else { return (Bytes::new(), true) };
        let piece = visit.connection().take(most);
        visit.context().worker.count_taken(visit.connection(), false);
        let last = *over && visit.connection().waiting() == 0 && !visit.connection().is_broken();
        if last {
            visit.complete();
        }
        (piece, last)
    }

    /// The client has no room for what waits.
    pub(crate) fn waits_for_room(&self) {
        if let Self::Outbox { visit, .. } = self {
            visit.context().worker.count_taken(visit.connection(), true);
        }
    }

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
                visit.context().worker.count_taken(visit.connection(), false);
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            if *over {
                visit.complete();
                return Poll::Ready(None);
            }
            match visit.connection().poll_event(cx, Awaited::Nothing) {
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
