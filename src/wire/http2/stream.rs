//! One stream of HTTP/2: its request is answered by the service, and what the outbox of the answer holds is sent as far as
//! the client has opened its windows.
//!
//! Invariant: nothing leaves the outbox before the windows have room for it, so that what a client does not take waits where
//! it is counted and timed; a stream that was given up is reset.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use hyper::{Method, Request};
use tokio::sync::oneshot;

use super::burden::Head;
use super::request_body::RequestBody;
use super::tunnel::Tunnel;
use super::window::poll_room;
use crate::delivery::Connection;
use crate::wire::service::{self, AnswerBody, Visit};

/// Bytes that are taken out of an outbox at a time.
const PIECE: usize = 16 * 1024;

/// Why a stream ends before its time.
enum Cut {
    /// The client has reset it, or is gone.
    ByPeer,
    /// The worker has given it up.
    ByUs(Reason),
}

/// Serves a stream to its end. A websocket goes on in its tunnel.
/// `held`: counts what HTTP/2 has been given.
pub(super) fn serve(
    visit: Visit,
    request: Request<RecvStream>,
    weight: Head,
    respond: SendResponse<Bytes>,
    held: Rc<Cell<usize>>,
) -> impl Future<Output = ()> {
    let asked = Box::new(Asked { visit, request, weight, respond });
    async move {
        let answering = Box::pin(asked.answer(Rc::clone(&held)));
        let Some((mut body, mut out)) = answering.await else { return };
        if let Err(Cut::ByUs(reason)) = send(&mut body, &mut out, &held).await {
            out.send_reset(reason);
        }
    }
}

/// A stream whose turn has not come. On the heap, as what answering it takes is from then on: a stream that goes on for hours
/// carries neither.
struct Asked {
    visit: Visit,
    request: Request<RecvStream>,
    weight: Head,
    respond: SendResponse<Bytes>,
}

impl Asked {
    async fn answer(mut self, held: Rc<Cell<usize>>) -> Option<(AnswerBody, SendStream<Bytes>)> {
        let answered = answer(self.visit, self.request, self.weight, &mut self.respond, held).await;
        answered.unwrap_or_else(|cut| {
            if let Cut::ByUs(reason) = cut {
                self.respond.send_reset(reason);
            }
            None
        })
    }
}

/// Answers, but for the body that is to follow, and where it goes.
async fn answer(
    visit: Visit,
    request: Request<RecvStream>,
    weight: Head,
    respond: &mut SendResponse<Bytes>,
    held: Rc<Cell<usize>>,
) -> Result<Option<(AnswerBody, SendStream<Bytes>)>, Cut> {
    let connection = Rc::clone(visit.connection());
    let (parts, incoming) = request.into_parts();
    // What comes behind a CONNECT is no body.
    let (body, incoming) = match parts.method {
        Method::CONNECT => (RequestBody::none(weight), Some(incoming)),
        _ => (RequestBody::new(incoming, weight), None),
    };
    let (opener, tunnel) = oneshot::channel();
    let answering = service::answer(visit, Request::from_parts(parts, body), async { tunnel.await.ok() });
    let answered = unless_cut(answering, respond, &connection).await?;
    let (head, body) = answered.map_err(|_| reason(&connection))?.into_parts();
    let head = hyper::Response::from_parts(head, ());
    // The service waits for a tunnel where it has opened one.
    if let Some(incoming) = incoming.filter(|_| !opener.is_closed()) {
        let out = respond.send_response(head, false).map_err(|_| Cut::ByUs(Reason::INTERNAL_ERROR))?;
        let _ = opener.send(Tunnel::new(incoming, out, held));
        return Ok(None);
    }
    let empty = matches!(body, AnswerBody::Empty);
    let out = respond.send_response(head, empty).map_err(|_| Cut::ByUs(Reason::INTERNAL_ERROR))?;
    Ok((!empty).then_some((body, out)))
}

/// Runs to the end, unless the client resets the stream or the worker gives it up before.
async fn unless_cut<T>(
    work: impl Future<Output = T>,
    respond: &mut SendResponse<Bytes>,
    connection: &Connection,
) -> Result<T, Cut> {
    let mut work = pin!(work);
    poll_fn(|cx| {
        if let Poll::Ready(done) = work.as_mut().poll(cx) {
            return Poll::Ready(Ok(done));
        }
        if respond.poll_reset(cx).is_ready() {
            return Poll::Ready(Err(Cut::ByPeer));
        }
        connection.listen(cx);
        if connection.is_broken() { Poll::Ready(Err(reason(connection))) } else { Poll::Pending }
    })
    .await
}

fn reason(connection: &Connection) -> Cut {
    Cut::ByUs(if connection.is_broken() { Reason::CANCEL } else { Reason::INTERNAL_ERROR })
}

/// Sends a body to its end.
async fn send(body: &mut AnswerBody, out: &mut SendStream<Bytes>, held: &Cell<usize>) -> Result<(), Cut> {
    poll_fn(|cx| {
        loop {
            if out.poll_reset(cx).is_ready() {
                return Poll::Ready(Err(Cut::ByPeer));
            }
            let (piece, last) = ready!(poll_piece(body, out, cx))?;
            if piece.is_empty() && !last {
                continue;
            }
            held.set(held.get() + piece.len());
            if out.send_data(piece, last).is_err() {
                return Poll::Ready(Err(Cut::ByPeer));
            }
            if last {
                return Poll::Ready(Ok(()));
            }
        }
    })
    .await
}

/// The next piece the windows have room for, and whether it is the last one.
fn poll_piece(
    body: &mut AnswerBody,
    out: &mut SendStream<Bytes>,
    cx: &mut Context<'_>,
) -> Poll<Result<(Bytes, bool), Cut>> {
    let waiting = match ready!(body.poll_waiting(cx)) {
        Ok(waiting) => waiting.min(PIECE),
        Err(_) => return Poll::Ready(Err(Cut::ByUs(Reason::CANCEL))),
    };
    if waiting == 0 {
        return Poll::Ready(Ok((Bytes::new(), true)));
    }
    let room = poll_room(out, waiting, cx);
    if room.is_pending() {
        body.waits_for_room();
    }
    let room = match ready!(room) {
        Some(room) => room.min(PIECE),
        None => return Poll::Ready(Err(Cut::ByPeer)),
    };
    let taken = body.take(room);
    // What is not needed is others' to use.
    out.reserve_capacity(taken.0.len());
    Poll::Ready(Ok(taken))
}
