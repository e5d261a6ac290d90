//! USR2: the binary is started anew, inherits the listening sockets, and takes over what can be taken over.
//!
//! The two talk over a line of one byte each way. A successor that could serve says so and waits; then its predecessor lets go
//! of the sockets, takes nothing more from publishers, hands out what it has acknowledged, says farewell to its subscribers, and
//! tells the successor to begin (`succession`). So no message is acknowledged by a process that the subscribers are about to leave, no
//! connection is refused (meanwhile new ones wait in the queues of the sockets), and everybody comes back to the successor.
//! The predecessor then waits to be told QUIT, as with nginx, and serves again if the successor ends or HUP asks for it.

use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, sleep_until};

use super::inherited::{LINE, VARIABLE};
use super::listen::Bound;
use super::privileges;

/// How long a successor waits to be told to begin.
const PATIENCE: Duration = Duration::from_secs(5);

/// A successor, from its start to its end.
pub(super) struct Successor {
    child: Child,
    stage: Stage,
}

enum Stage {
    /// It reads its configuration and binds what is new.
    Prepares(UnixStream),
    /// It waits for the workers, each of which drops a sender once it is so far; then, or when it is time, this step comes.
    Waits(UnixStream, UnboundedReceiver<()>, Instant, Step),
    /// It serves, or nothing is known of it.
    Serves,
}

/// What happens on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The successor could serve.
    Ready,
    /// What was under way has been answered.
    Settled,
    /// It may begin.
    Begin,
}

impl Successor {
    /// Starts the binary by the name and with the words this process was started with. To be called in a runtime.
    pub(super) fn start<'b>(sockets: impl Iterator<Item = &'b Bound>) -> io::Result<Self> {
        let mut words = std::env::args_os();
        let binary = words.next().ok_or(io::ErrorKind::NotFound)?;
        let (own, other) = StdUnixStream::pair()?;
        own.set_nonblocking(true)?;
        // Copies that stay open across exec; they are closed here once the child has them.
        let copies: Vec<OwnedFd> =
            sockets.flat_map(|bound| &bound.sockets).map(nix::unistd::dup).collect::<Result<_, _>>()?;
        let line = nix::unistd::dup(&other)?;
        let numbers: Vec<String> = copies.iter().map(|copy| copy.as_raw_fd().to_string()).collect();
        let mut command = Command::new(binary);
        if privileges::keeps() {
            // As this process was started: it becomes the configured user by itself.
            command.uid(0).gid(0);
        }
        let child = command
            .args(words)
            .env(VARIABLE, numbers.join(";"))
            .env(LINE, line.as_raw_fd().to_string())
            .env_remove("LISTEN_PID")
            .env_remove("LISTEN_FDS")
            .env_remove("LISTEN_FDNAMES")
            .env_remove("WATCHDOG_PID")
            .spawn()?;
        Ok(Self { child, stage: Stage::Prepares(UnixStream::from_std(own)?) })
    }

    /// Its process id.
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it did.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Waits for the next step. May be dropped and called again.
    pub(super) async fn next(&mut self) -> Step {
        match &mut self.stage {
            Stage::Prepares(line) => {
                let mut byte = [0];
                loop {
                    if line.readable().await.is_err() {
                        break;
                    }
                    match line.try_read(&mut byte) {
                        Ok(0) => break,
                        Ok(_) => return Step::Ready,
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                        Err(_) => break,
                    }
                }
                self.stage = Stage::Serves;
            }
            Stage::Waits(_, told, until, step) => {
                tokio::select! {
                    _ = told.recv() => {}
                    () = sleep_until(*until) => {}
                }
                return *step;
            }
            Stage::Serves => {}
        }
        std::future::pending().await
    }

    /// Lets it wait until all senders of `told` are gone; `step` comes then, in `most` at the latest.
    pub(super) fn wait_for(&mut self, told: UnboundedReceiver<()>, most: Duration, step: Step) {
        if let Stage::Prepares(line) | Stage::Waits(line, ..) = std::mem::replace(&mut self.stage, Stage::Serves) {
            self.stage = Stage::Waits(line, told, Instant::now() + most, step);
        }
    }

    /// Tells it to begin.
    pub(super) fn begin(&mut self) {
        if let Stage::Waits(line, ..) = std::mem::replace(&mut self.stage, Stage::Serves) {
            // One that does not listen begins by itself.
            let _ = line.try_write(b"!");
        }
    }
}

/// Tells the predecessor that this process could serve, and waits until it may.
pub(super) fn await_turn(mut line: StdUnixStream) {
    // Without a predecessor at the other end there is nothing to wait for.
    let _ =
        line.set_read_timeout(Some(PATIENCE)).and_then(|()| line.write_all(b"!")).and_then(|()| line.read(&mut [0]));
}
