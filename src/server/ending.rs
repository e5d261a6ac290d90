//! QUIT and TERM: the end of the server.
//!
//! Balancers are told first; then nothing more is accepted and what is under way is answered; then publishers are refused,
//! everything that was acknowledged is handed out, and only then do subscribers hear farewell. Invariant: between
//! "acknowledged" and "told farewell" nothing can slip in, because the hub is closed to publishers, under its lock, before any
//! worker takes its last notes.

use std::fs;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::timeout;

use super::log::NOTICE;
use super::privileges;
use super::service::Server;
use super::signals::{Signals, Wish};
use super::supervisor::Supervisor;
use super::worker_thread::{Leave, Order};
use crate::conf::settings::ListenAddress;
use crate::delivery::Departure;

/// Close code of websockets when the server ends, and when another one takes its place (RFC 6455, IANA).
pub(super) const GOING_AWAY: u16 = 1001;
/// See [`GOING_AWAY`].
pub(super) const RESTART: u16 = 1012;
/// How long connections may take to end on TERM, and on QUIT where `worker_shutdown_timeout` says nothing.
const FAST_STOP: Duration = Duration::from_secs(1);
const GRACEFUL_STOP: Duration = Duration::from_secs(30);
/// How long requests under way have to be answered before publishers are refused.
pub(super) const SETTLED: Duration = Duration::from_millis(100);
/// How often the end of the workers is looked for.
const POLL: Duration = Duration::from_millis(2);

/// How the server ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// TERM, INT: within a second.
    Fast,
    /// QUIT: answers under way are finished.
    Graceful,
    /// By a mistake of ours.
    Broken,
}

impl Server {
    /// How subscribers are told farewell.
    pub(super) fn leave(&self, code: u16) -> Leave {
        let code = self.settings.capabilities.farewells_have_code.then_some(code);
        let spread = Duration::from_millis(self.settings.drain_time);
        Leave { departure: Departure { close_code: code }, spread }
    }

    fn patience(&self, end: End) -> Duration {
        let own = self.settings.process.worker_shutdown_timeout.map(Duration::from_millis);
        if end == End::Graceful { own.unwrap_or(GRACEFUL_STOP) } else { FAST_STOP }
    }

    /// Ends the workers.
    pub(super) async fn end(mut self, mut end: End, signals: &mut Signals) {
        Supervisor::stopping();
        self.status.leave();
        if end == End::Graceful {
            end = self.lame_duck(signals).await;
        }
        // Whoever connects now is refused at once, or accepted by a successor.
        self.bound.clear();
        let _ = timeout(SETTLED * 2, self.settle().recv()).await;
        // Whoever is refused from now on has not been acknowledged anything.
        self.zones.set_closed(true);
        self.zones.settle().await;
        while !self.zones.are_settled() {
            tokio::time::sleep(POLL).await;
        }
        self.order_stop(end);
        while self.workers.iter().any(|worker| !worker.thread.is_finished()) {
            tokio::select! {
                () = tokio::time::sleep(POLL) => {}
                wish = signals.next() => if wish == Wish::Stop && end == End::Graceful {
                    end = End::Fast;
                    self.order_stop(end);
                },
            }
        }
        for worker in self.workers.drain(..) {
            // Its panic has been told.
            let _ = worker.thread.join();
        }
        self.zones.close_logs();
        self.zones.leave_backplane();
        // The pid file and sockets may stand where the user can change nothing.
        let taken = privileges::take_up();
        if self.successor.is_none() {
            for listener in &self.settings.listeners {
                remove_unix_socket(&listener.address);
            }
        }
        tracing::info!(target: NOTICE, "exit");
        drop(self);
        drop(taken);
    }

    /// Has the workers accept no more and answer what is under way: its end is the end of the channel.
    pub(super) fn settle(&self) -> UnboundedReceiver<()> {
        let (sender, settled) = unbounded_channel();
        for worker in &self.workers {
            // A worker that is gone has nothing under way.
            let _ = worker.orders.send(Order::Settle(SETTLED, sender.clone()));
        }
        settled
    }

    /// Serves on for `push_stream_drain_delay`, while `/readyz` says that it is about to end; how it ends then.
    async fn lame_duck(&self, signals: &mut Signals) -> End {
        let over = tokio::time::sleep(Duration::from_millis(self.settings.drain_delay));
        tokio::pin!(over);
        loop {
            tokio::select! {
                () = &mut over => return End::Graceful,
                wish = signals.next() => if wish == Wish::Stop {
                    return End::Fast;
                },
            }
        }
    }

    fn order_stop(&self, end: End) {
        let patience = self.patience(end);
        let mut leave = self.leave(GOING_AWAY);
        // Time to take the farewell is left.
        leave.spread = leave.spread.min(patience / 2);
        for worker in &self.workers {
            // A worker that is gone has stopped already.
            let _ = worker.orders.send(Order::Stop(leave, patience));
        }
    }
}

fn remove_unix_socket(address: &ListenAddress) {
    if let ListenAddress::Unix(path) = address
        && fs::symlink_metadata(path).is_ok_and(|found| std::os::unix::fs::FileTypeExt::is_socket(&found.file_type()))
    {
        // One that stays is found dead by the next server.
        let _ = fs::remove_file(path);
    }
}
