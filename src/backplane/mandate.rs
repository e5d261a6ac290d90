//! Whether the server that is written to is still the one that the sentinels name.
//!
//! A master that was replaced takes writes until it hears of that; what it takes then is lost. Therefore a node asks the sentinels again each
//! second, leaves a server that they do not name any more, and gives each call a moment after which it must not be done: the server that
//! takes over begins its epoch behind everything that may have been handed out until then. It does not ask them itself.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// How long the word of a sentinel counts. Less than the script goes ahead in an epoch (10 s), by what clocks of servers may differ.
const LEASE: Duration = Duration::from_secs(8);

/// What the sentinels said last.
#[derive(Default)]
pub(super) struct Mandate {
    state: Mutex<Option<(String, Instant)>>,
    changed: Notify,
}

impl Mandate {
    /// A sentinel, asked at this moment, has named a server.
    pub(super) fn named(&self, server: &str, asked: Instant) {
        let mut state = self.state.lock();
        let before = state.replace((server.to_owned(), asked));
        drop(state);
        if before.is_some_and(|(before, _)| before != server) {
            self.changed.notify_waiters();
        }
    }

    /// How long a server may still be taken for the master; nothing: nobody asks sentinels.
    pub(super) fn left(&self, server: &str) -> Option<Duration> {
        let state = self.state.lock();
        let (named, asked) = state.as_ref()?;
        Some(if named == server { LEASE.saturating_sub(asked.elapsed()) } else { Duration::ZERO })
    }

    /// Returns when the sentinels name another server than this one.
    pub(super) async fn is_revoked(&self, server: &str) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.state.lock().as_ref().is_some_and(|(named, _)| named != server) {
                return;
            }
            changed.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_of_a_sentinel_counts_for_a_while_and_for_one_server() {
        let mandate = Mandate::default();
        assert_eq!(mandate.left("a"), None, "without sentinels there is nothing to wait for");
        mandate.named("a", Instant::now());
        assert!(mandate.left("a").unwrap() > LEASE / 2);
        assert_eq!(mandate.left("b"), Some(Duration::ZERO));
        mandate.named("a", Instant::now().checked_sub(LEASE).unwrap());
        assert_eq!(mandate.left("a"), Some(Duration::ZERO));
    }

    #[tokio::test]
    async fn whoever_uses_a_server_hears_that_another_one_is_named() {
        let mandate = Mandate::default();
        mandate.named("a", Instant::now());
        let heard = async {
            mandate.is_revoked("a").await;
            true
        };
        let named = async {
            tokio::task::yield_now().await;
            mandate.named("b", Instant::now());
            false
        };
        assert_eq!(tokio::join!(heard, named), (true, false));
        mandate.is_revoked("a").await;
    }
}
