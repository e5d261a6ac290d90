//! A subscription without HTTP, as a stream of messages.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use tokio::sync::mpsc::Receiver;

use super::message::Message;
use super::subscriptions::Subscriptions;
use crate::hub::History;

/// The messages of some channels: first those that were missed, then each one as it is published.
///
/// It ends when its last channel has been deleted, and when its reader is so slow that more messages wait for it than are kept
/// (1,024, or 8 MiB); [`Subscription::end`] tells which. Dropping it ends the subscription.
pub struct Subscription {
    subscriptions: Arc<Subscriptions>,
    number: u64,
    history: History,
    page: VecDeque<Message>,
    /// Whether the history is over.
    over: bool,
    live: Receiver<Message>,
    shared: Arc<Shared>,
    /// Whether everything there was has been read.
    ended: bool,
}

/// Why a subscription has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum End {
    /// Its last channel has been deleted.
    Deleted,
    /// Its reader was so slow that more messages waited for it than are kept. Whoever goes on from the last message it has
    /// seen ([`super::Start::After`]) misses nothing that is stored.
    TooSlow,
}

/// What a subscription and who sends to it both know.
#[derive(Default)]
pub(super) struct Shared {
    /// Bytes of text that wait.
    pub waiting: AtomicUsize,
    /// Set before the last sender goes.
    pub end: OnceLock<End>,
}

impl Subscription {
    pub(super) fn new(
        subscriptions: Arc<Subscriptions>,
        number: u64,
        history: History,
        live: Receiver<Message>,
        shared: Arc<Shared>,
    ) -> Self {
        Self { subscriptions, number, history, page: VecDeque::new(), over: false, live, shared, ended: false }
    }

    /// The next message; `None` when the subscription has ended.
    pub async fn next(&mut self) -> Option<Message> {
        std::future::poll_fn(|cx| self.poll(cx)).await
    }

    /// Why there is no next message; `None` as long as there may be one.
    pub fn end(&self) -> Option<End> {
        self.shared.end.get().copied().filter(|_| self.ended)
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        while !self.over {
            if let Some(message) = self.page.pop_front() {
                return Poll::Ready(Some(message));
            }
            let page = self.subscriptions.hub().history_page(&mut self.history);
            self.over = page.is_empty();
            self.page = page.iter().map(Message::missed).collect();
        }
        let message = ready!(self.live.poll_recv(cx));
        let size = message.as_ref().map_or(0, |message| message.text.len());
        self.shared.waiting.fetch_sub(size, Ordering::Relaxed);
        self.ended = message.is_none();
        Poll::Ready(message)
    }
}

impl Stream for Subscription {
    type Item = Message;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        self.get_mut().poll(cx)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.subscriptions.leave(self.number);
    }
}

impl std::fmt::Debug for Subscription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subscription").finish_non_exhaustive()
    }
}
