//! A subscription without HTTP, as a stream of messages.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;
use tokio::sync::mpsc::Receiver;

use super::message::Message;
use super::subscriptions::Subscriptions;
use crate::hub::History;

/// The messages of some channels: first those that were missed, then each one as it is published.
///
/// It ends when its last channel has been deleted, and when its reader is so slow that more messages wait for it than are kept
/// (1,024); whoever goes on then from the last message it has seen ([`super::Start::After`]) misses nothing that is stored.
/// Dropping it ends the subscription.
pub struct Subscription {
    subscriptions: Arc<Subscriptions>,
    number: u64,
    history: History,
    page: VecDeque<Message>,
    /// Whether all of the history has been read.
    live: bool,
    messages: Receiver<Message>,
}

impl Subscription {
    pub(super) fn new(
        subscriptions: Arc<Subscriptions>,
        number: u64,
        history: History,
        messages: Receiver<Message>,
    ) -> Self {
        Self { subscriptions, number, history, page: VecDeque::new(), live: false, messages }
    }

    /// The next message; `None` when the subscription has ended.
    pub async fn next(&mut self) -> Option<Message> {
        std::future::poll_fn(|cx| self.poll(cx)).await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        while !self.live {
            if let Some(message) = self.page.pop_front() {
                return Poll::Ready(Some(message));
            }
            let page = self.subscriptions.hub().history_page(&mut self.history);
            self.live = page.is_empty();
            self.page = page.iter().map(Message::missed).collect();
        }
        self.messages.poll_recv(cx)
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
