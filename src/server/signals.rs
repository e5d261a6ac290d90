//! The signals the server follows.
//!
//! They are caught before the pid file names the process, so that none of them ends a server that is just starting.

use std::io;

use nix::sys::signal::SigSet;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// HUP
    Reload,
    /// USR1
    Reopen,
    /// USR2
    Succeed,
    /// WINCH
    Rest,
    /// QUIT
    Quit,
    /// TERM, INT
    Stop,
    /// CHLD: a successor may have ended.
    Look,
}

/// The signals that are caught.
pub(super) struct Signals {
    hup: Signal,
    usr1: Signal,
    usr2: Signal,
    winch: Signal,
    quit: Signal,
    term: Signal,
    int: Signal,
    chld: Signal,
    /// A write to a connection that is gone is an error, not the end.
    _pipe: Signal,
}

/// Signals kept for later: before they are listened for they would end the process, and whoever finds a port open may send
/// one. Those that came meanwhile come when this is dropped.
pub(super) struct Held(SigSet);

impl Held {
    /// Keeps signals from now on.
    pub(super) fn now() -> io::Result<Self> {
        use nix::sys::signal::Signal as S;
        let set: SigSet =
            [S::SIGHUP, S::SIGQUIT, S::SIGTERM, S::SIGINT, S::SIGUSR1, S::SIGUSR2, S::SIGWINCH].into_iter().collect();
        set.thread_block()?;
        Ok(Self(set))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.0.thread_unblock();
    }
}

impl Signals {
    /// Catches them. To be called in a runtime.
    pub(super) fn catch() -> io::Result<Self> {
        Ok(Self {
            hup: signal(SignalKind::hangup())?,
            usr1: signal(SignalKind::user_defined1())?,
            usr2: signal(SignalKind::user_defined2())?,
            winch: signal(SignalKind::window_change())?,
            quit: signal(SignalKind::quit())?,
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
            chld: signal(SignalKind::child())?,
            _pipe: signal(SignalKind::pipe())?,
        })
    }

    /// Waits for the next one.
    pub(super) async fn next(&mut self) -> Wish {
        tokio::select! {
            biased;
            _ = self.term.recv() => Wish::Stop,
            _ = self.int.recv() => Wish::Stop,
            _ = self.quit.recv() => Wish::Quit,
            _ = self.hup.recv() => Wish::Reload,
            _ = self.usr1.recv() => Wish::Reopen,
            _ = self.usr2.recv() => Wish::Succeed,
            _ = self.winch.recv() => Wish::Rest,
            _ = self.chld.recv() => Wish::Look,
        }
    }
}
