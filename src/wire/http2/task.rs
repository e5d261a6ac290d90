//! The task of a stream, which ends with the connection that the stream has in the worker.
//!
//! hyper asks a body for more only when the client has opened its window. A client that never does so would keep its stream
//! for ever, whatever the worker decides; here the task is ended from outside, which resets the stream.

use std::cell::{OnceCell, RefCell};
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::delivery::Connection;

/// The connection a task belongs to, once it is known.
type Place = Rc<OnceCell<Rc<Connection>>>;

thread_local! {
    /// The task that is being polled.
    static CURRENT: RefCell<Option<Place>> = const { RefCell::new(None) };
}

/// The running task is about this connection.
pub(super) fn belongs_to(connection: &Rc<Connection>) {
    CURRENT.with_borrow(|current| {
        // A task has one stream, and a stream one connection.
        current.as_ref().map(|place| place.set(Rc::clone(connection)))
    });
}

/// Runs a task to its end, or to that of its connection.
pub(super) async fn run<T>(future: impl Future<Output = T>) {
    let place = Place::default();
    let mut future = pin!(future);
    poll_fn(|cx| {
        if has_ended(&place, cx) {
            return Poll::Ready(());
        }
        CURRENT.set(Some(Rc::clone(&place)));
        let polled = future.as_mut().poll(cx);
        CURRENT.set(None);
        if polled.is_ready() || has_ended(&place, cx) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// Whether the connection of the task has been given up; wakes the task when that happens.
fn has_ended(place: &Place, cx: &mut Context<'_>) -> bool {
    let Some(connection) = place.get() else { return false };
    connection.listen(cx);
    connection.is_broken()
}
