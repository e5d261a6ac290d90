//! A response body on its way from a worker's thread to the application's.
//!
//! One piece at a time: what the application has not taken stays in the outbox, where it is counted. Invariant: a body that was
//! given up ends in an error, so that nobody takes it for whole.

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::mpsc::{Receiver, channel as pieces};

use crate::wire::service::AnswerBody;

/// The application's end.
pub(super) struct ChannelBody {
    /// The pieces; the last one is `None`.
    pieces: Receiver<io::Result<Option<Bytes>>>,
    /// There is no (more) body.
    over: bool,
}

/// Both ends of a body; the future moves it and has to be driven on the worker's thread.
pub(super) fn channel(body: AnswerBody) -> (ChannelBody, impl Future<Output = ()>) {
    let (sender, receiver) = pieces(1);
    let sent = ChannelBody { pieces: receiver, over: body.is_end_stream() };
    let pump = async move {
        let mut body = pin!(body);
        loop {
            // Room first: a piece that was taken out of the outbox is not counted there any more. The worker may have found
            // meanwhile that nothing is taken.
            let room = tokio::select! {
                room = sender.reserve() => room,
                () = body.given_up() => return,
            };
            let Ok(room) = room else { return };
            let frame = tokio::select! {
                frame = body.frame() => frame,
                () = sender.closed() => return,
            };
            match frame.transpose() {
                Ok(None) => return room.send(Ok(None)),
                Ok(Some(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        room.send(Ok(Some(data)));
                    }
                }
                Err(error) => return room.send(Err(error)),
            }
        }
    };
    (sent, pump)
}

impl Body for ChannelBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.over {
            return Poll::Ready(None);
        }
        let piece = ready!(self.pieces.poll_recv(cx));
        self.over = !matches!(piece, Some(Ok(Some(_))));
        Poll::Ready(match piece {
            Some(piece) => piece.map(|piece| piece.map(Frame::data)).transpose(),
            None => Some(Err(io::ErrorKind::TimedOut.into())),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.over
    }

    fn size_hint(&self) -> SizeHint {
        if self.over { SizeHint::with_exact(0) } else { SizeHint::default() }
    }
}
