//! A response body on its way from a worker's thread to the application's.
//!
//! One piece at a time: what the application has not taken stays in the outbox, where it is counted.

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::mpsc::{Receiver, channel as pieces};

use crate::wire::service::AnswerBody;

/// The application's end.
pub(super) struct ChannelBody {
    pieces: Receiver<io::Result<Bytes>>,
    /// There is no body.
    empty: bool,
}

/// Both ends of a body; the future moves it and has to be driven on the worker's thread.
pub(super) fn channel(body: AnswerBody) -> (ChannelBody, impl Future<Output = ()>) {
    let (sender, receiver) = pieces(1);
    let sent = ChannelBody { pieces: receiver, empty: body.is_end_stream() };
    let pump = async move {
        let mut body = pin!(body);
        loop {
            // Room first: a piece that was taken out of the outbox is not counted there any more.
            let Ok(room) = sender.reserve().await else { return };
            let frame = tokio::select! {
                frame = body.frame() => frame,
                () = sender.closed() => return,
            };
            match frame {
                None => return,
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        room.send(Ok(data));
                    }
                }
                Some(Err(error)) => return room.send(Err(error)),
            }
        }
    };
    (sent, pump)
}

impl Body for ChannelBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.pieces.poll_recv(cx).map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.empty
    }

    fn size_hint(&self) -> SizeHint {
        if self.empty { SizeHint::with_exact(0) } else { SizeHint::default() }
    }
}
