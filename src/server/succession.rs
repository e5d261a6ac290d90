//! USR2 from the side of the process that is followed: it hands over to its successor, and takes back what that one leaves.
//!
//! The line between the two, and what is said on it, is `successor`'s.

use std::time::Duration;

use tokio::sync::mpsc::unbounded_channel;

use super::ending::{RESTART, SETTLED};
use super::listen;
use super::log::{ALERT, NOTICE};
use super::privileges;
use super::service::Server;
use super::successor::{Step, Successor};
use super::worker_thread::Order;

/// How long new connections wait at most for subscribers of this process to be told.
const QUEUE: Duration = Duration::from_millis(250);

impl Server {
    /// USR2: the binary anew, beside this process.
    pub(super) fn begin_succession(&mut self) {
        if self.successor.is_some() {
            tracing::error!("the new binary is running already");
            return;
        }
        let _taken = privileges::take_up();
        if let Err(error) = self.pid.step_aside() {
            tracing::error!(target: ALERT, "rename() \"{}\" failed ({})", self.pid.path().display(), listen::errno_text(&error));
            return;
        }
        match Successor::start(self.bound.iter().chain(self.status.bound())) {
            Ok(successor) => {
                tracing::info!(target: NOTICE, "start new binary process {}", successor.id());
                self.successor = Some(successor);
            }
            Err(error) => {
                tracing::error!(target: ALERT, "the new binary cannot be started ({})", listen::errno_text(&error));
                self.take_name_back();
            }
        }
    }

    /// The successor has come a step further.
    pub(super) fn succeed(&mut self, step: Step) {
        match step {
            Step::Ready => self.let_go(),
            Step::Settled => self.hand_over(),
            Step::Begin => {
                if let Some(successor) = &mut self.successor {
                    tracing::info!(target: NOTICE, "the new binary process {} serves from now on", successor.id());
                    successor.begin();
                }
            }
        }
    }

    /// Lets go of sockets: new connections wait for the successor, what is under way is answered.
    fn let_go(&mut self) {
        self.handed_over = true;
        self.status.close();
        let settled = self.settle();
        if let Some(successor) = &mut self.successor {
            successor.wait_for(settled, SETTLED + QUEUE, Step::Settled);
        }
    }

    /// Lets go of publishers and subscribers. From now on this process knows of no message that the successor does
    /// not know of, but for those its subscribers have been sent.
    fn hand_over(&mut self) {
        self.close_publishers();
        self.zones.close_logs();
        let (sender, told) = unbounded_channel();
        let leave = self.leave(RESTART);
        for worker in &self.workers {
            // A worker that is gone has no subscribers.
            let _ = worker.orders.send(Order::HandOver(leave, sender.clone()));
        }
        if let Some(successor) = &mut self.successor {
            successor.wait_for(told, QUEUE, Step::Begin);
        }
    }

    /// Takes nothing more from publishers, and has what was admitted reach its channels.
    fn close_publishers(&self) {
        self.zones.set_closed(true);
        while !self.zones.are_settled() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// HUP while there is a successor: as with nginx this process serves again beside it, as it did before, so that the
    /// successor can be ended. The configuration is read by whoever stays.
    pub(super) fn serve_beside_successor(&mut self) {
        tracing::info!(target: NOTICE, "a new binary is running: serving again with the configuration in force");
        if self.handed_over && self.zones.have_no_log() {
            // Each process has messages of its own from now on, as with nginx; one directory cannot hold both.
            tracing::warn!(
                "the log is the new binary's: what is published here does not survive a restart until that one has ended"
            );
            self.zones.part_from_successor();
        }
        self.resume();
    }

    /// Looks whether the successor has ended; then this process is the server again.
    pub(super) fn look_after_successor(&mut self) {
        let Some(successor) = &mut self.successor else { return };
        let Some(status) = successor.ended() else { return };
        tracing::error!(target: ALERT, "the new binary process {} has ended: {status}", successor.id());
        self.successor = None;
        if self.zones.have_no_log() {
            // What is published while a log is read would be in memory, and neither in what was read nor in what is written then.
            self.close_publishers();
            self.zones.take_logs_back();
            self.zones.set_closed(self.handed_over);
        }
        self.take_name_back();
        self.resume();
    }

    /// Accepts and takes from publishers again what had been handed over.
    fn resume(&mut self) {
        if !std::mem::take(&mut self.handed_over) {
            return;
        }
        self.zones.set_closed(false);
        self.open_status();
        match listen::shares(&self.bound, self.workers.len()) {
            Ok(shares) => {
                for (worker, share) in self.workers.iter().zip(shares) {
                    let share = if self.resting { Vec::new() } else { share };
                    let _ = worker.orders.send(Order::Resume(share));
                }
            }
            Err(error) => tracing::error!(target: ALERT, "cannot listen again ({})", listen::errno_text(&error)),
        }
    }

    fn take_name_back(&mut self) {
        let _taken = privileges::take_up();
        if let Err(error) = self.pid.step_back() {
            tracing::error!(target: ALERT, "the pid file cannot be renamed back ({})", listen::errno_text(&error));
        }
    }
}
