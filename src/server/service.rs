//! The running server: from a loaded configuration to bound sockets and workers, then signal after signal to the end.
//!
//! Everything that can fail at start does so before the first worker runs. How a configuration is swapped is told in
//! `reload`.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Child;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::runtime::Runtime;

use super::inherited::Inherited;
use super::listen::{self, Bound};
use super::log::{ALERT, ErrorLogs, NOTICE};
use super::log_paths::{log_paths, make_logs};
use super::now;
use super::origin::Origin;
use super::process::{self, PidFile};
use super::signals::{Held, Signals, Wish};
use super::state;
use super::status::{self, Sources};
use super::successor;
use super::supervisor::Supervisor;
use super::tls::TlsSite;
use super::worker_thread::{self, Handle, Order, Shared};
use crate::conf::Settings;
use crate::conf::ports::Ports;
use crate::conf::settings::{ListenAddress, LogLevel};
use crate::delivery::Tally;
use crate::hub::{Hub, HubOptions};
use crate::model::Stamp;

/// How often the hub is swept.
const SWEEP: Duration = Duration::from_millis(500);
/// How long connections may take to end on TERM, and on QUIT where `worker_shutdown_timeout` says nothing.
const FAST_STOP: Duration = Duration::from_secs(1);
const GRACEFUL_STOP: Duration = Duration::from_secs(30);

/// A running server.
pub(super) struct Server {
    pub(super) origin: Origin,
    pub(super) settings: Arc<Settings>,
    pub(super) shared: Shared,
    pub(super) workers: Vec<Handle>,
    pub(super) logs: ErrorLogs,
    pub(super) bound: Vec<Bound>,
    pub(super) pid: PidFile,
    /// Told to accept no more (WINCH); a reload ends it.
    pub(super) resting: bool,
    pub(super) supervisor: Supervisor,
    /// Away from the terminal, whose size does not matter then.
    background: bool,
    successor: Option<Child>,
}

impl Server {
    /// Starts a server, and the runtime and signals to run it with.
    pub(super) fn start(origin: Origin, settings: Settings, tls: TlsSite, logs: ErrorLogs) -> anyhow::Result<Running> {
        let workers = worker_count(&settings);
        make_logs(&settings, &origin.options);
        logs.open(&settings.process.error_log).map_err(|(path, error)| not_opened(&path, &error))?;
        let held = Held::now().context("sigprocmask() failed")?;
        let mut inherited = Inherited::from_environment();
        let bound = bind(&origin, &settings, workers, &mut inherited, &logs)?;
        let status = origin.status.map(|address| status::bind(address).map_err(|error| not_bound(address, &error)));
        let status = status.transpose()?;
        let background = settings.process.daemon || inherited.from_predecessor;
        // A successor opens it when it may begin.
        let log = if inherited.from_predecessor { None } else { state::open(&settings.state)? };
        if settings.process.daemon && !inherited.from_predecessor {
            process::daemonize(logs.first_file().as_ref()).context("daemon() failed")?;
        }
        logs.install();
        process::give_memory_back();
        report_panics();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let signals = {
            let _inside = runtime.enter();
            Signals::catch().context("signals cannot be caught")?
        };
        drop(held);
        let pid = PidFile::create(&settings.process.pid).map_err(|error| not_opened(&settings.process.pid, &error))?;
        enter_limits(&settings, workers);
        leave_privileges(&origin, &settings, &pid)?;
        let shared = shared(&settings, workers);
        if let Some(log) = log {
            state::restore(log, 0, &shared.hub, &settings.state)?;
        }
        let (settings, tls) = (Arc::new(settings), Arc::new(tls));
        let handles = listen::shares(&bound, workers)?
            .into_iter()
            .enumerate()
            .map(|(index, share)| {
                worker_thread::start(index, shared.clone(), Arc::clone(&settings), Arc::clone(&tls), share)
            })
            .collect::<io::Result<Vec<_>>>()
            .context("cannot start a worker")?;
        for address in inherited.left() {
            tracing::warn!("inherited socket {} is in no \"listen\" of the configuration", listen::shown(address));
        }
        let supervisor = Supervisor::new();
        Supervisor::ready(inherited.from_predecessor);
        let server = Self {
            origin,
            settings,
            shared,
            workers: handles,
            logs,
            bound,
            pid,
            resting: false,
            supervisor,
            background,
            successor: None,
        };
        Ok(Running { server, runtime, signals, status })
    }

    /// Follows signals until one of them ends the server; how long connections may take to end.
    async fn follow(&mut self, signals: &mut Signals) -> Option<Duration> {
        let mut sweep = tokio::time::interval(SWEEP);
        let interval = Supervisor::interval();
        let mut watchdog = tokio::time::interval(interval.unwrap_or(Duration::MAX / 4));
        loop {
            let wish = tokio::select! {
                wish = signals.next() => wish,
                _ = watchdog.tick(), if interval.is_some() => {
                    self.beat();
                    continue;
                }
                _ = sweep.tick() => {
                    while self.shared.hub.sweep(now()) {}
                    if self.lost_a_worker() {
                        return None;
                    }
                    self.look_after_successor();
                    continue;
                }
            };
            tracing::info!(target: NOTICE, "{}", told(wish));
            match wish {
                Wish::Reload => self.reload(),
                Wish::Reopen => self.reopen(),
                Wish::Succeed => self.begin_succession(),
                Wish::Rest => self.rest(),
                Wish::Stop => return Some(FAST_STOP),
                Wish::Quit => {
                    let own = self.settings.process.worker_shutdown_timeout.map(Duration::from_millis);
                    return Some(own.unwrap_or(GRACEFUL_STOP));
                }
            }
        }
    }

    /// Asks every worker for a sign of life.
    fn beat(&mut self) {
        let beats = self.supervisor.next_round(self.workers.len());
        for worker in &self.workers {
            // A worker that is gone gives none.
            let _ = worker.orders.send(Order::Beat(Arc::clone(&beats)));
        }
    }

    /// A worker ends before the server only by a mistake of ours; its subscribers are lost, and half a server is worse than
    /// a new one.
    fn lost_a_worker(&self) -> bool {
        let lost = self.workers.iter().position(|worker| worker.thread.is_finished());
        if let Some(index) = lost {
            tracing::error!(target: ALERT, "worker {index} has ended, the server ends too");
        }
        lost.is_some()
    }

    /// USR1: files anew, after rotation.
    fn reopen(&self) {
        if let Err((path, error)) = self.logs.reopen() {
            tracing::error!("open() \"{}\" failed ({})", path.display(), listen::errno_text(&error));
        }
        if self.background
            && let Some(file) = self.logs.first_file()
        {
            // Where it fails standard error goes on into the old file.
            let _ = nix::unistd::dup2_stderr(&file);
        }
        for worker in &self.workers {
            // A worker that is gone has no logs.
            let _ = worker.orders.send(Order::ReopenLogs);
        }
    }

    /// WINCH: whoever is connected stays, new connections are left to a successor. As in nginx only in the background, where
    /// the signal cannot come from a window.
    fn rest(&mut self) {
        if !self.background {
            return;
        }
        self.resting = true;
        for worker in &self.workers {
            let _ = worker.orders.send(Order::Rest);
        }
    }

    /// USR2: the binary anew, beside this process.
    fn begin_succession(&mut self) {
        if self.successor.is_some() {
            tracing::error!("the new binary is running already");
            return;
        }
        if let Err(error) = self.pid.step_aside() {
            tracing::error!(target: ALERT, "rename() \"{}\" failed ({})", self.pid.path().display(), listen::errno_text(&error));
            return;
        }
        match successor::start(&self.bound) {
            Ok(child) => {
                tracing::info!(target: NOTICE, "start new binary process {}", child.id());
                self.successor = Some(child);
            }
            Err(error) => {
                tracing::error!(target: ALERT, "the new binary cannot be started ({})", listen::errno_text(&error));
                self.take_name_back();
            }
        }
    }

    fn look_after_successor(&mut self) {
        let Some(child) = &mut self.successor else { return };
        if let Ok(Some(status)) = child.try_wait() {
            tracing::error!(target: ALERT, "the new binary process {} has ended: {status}", child.id());
            self.successor = None;
            self.take_name_back();
        }
    }

    fn take_name_back(&mut self) {
        if let Err(error) = self.pid.step_back() {
            tracing::error!(target: ALERT, "the pid file cannot be renamed back ({})", listen::errno_text(&error));
        }
    }

    /// Ends the workers; connections may take `patience`.
    fn end(mut self, patience: Duration) {
        Supervisor::stopping();
        // Closed first: whoever connects now is refused at once, or accepted by a successor.
        self.bound.clear();
        for worker in &self.workers {
            // A worker that is gone has stopped already.
            let _ = worker.orders.send(Order::Stop(patience));
        }
        for worker in self.workers.drain(..) {
            // Its panic has been told.
            let _ = worker.thread.join();
        }
        self.shared.hub.close_log();
        if self.successor.is_none() {
            for listener in &self.settings.listeners {
                remove_unix_socket(&listener.address);
            }
        }
        tracing::info!(target: NOTICE, "exit");
    }
}

/// A started server with what drives it.
pub(super) struct Running {
    server: Server,
    runtime: Runtime,
    signals: Signals,
    status: Option<TcpListener>,
}

impl Running {
    /// Runs the server to its end; the exit code.
    pub(super) fn run(mut self) -> u8 {
        if let Some(listener) = self.status.take() {
            let shared = &self.server.shared;
            let sources = Sources { hub: Arc::clone(&shared.hub), tally: Arc::clone(&shared.tally) };
            self.runtime.spawn(status::serve(listener, sources));
        }
        let patience = self.runtime.block_on(self.server.follow(&mut self.signals));
        self.server.end(patience.unwrap_or(FAST_STOP));
        u8::from(patience.is_none())
    }
}

/// How many workers the settings ask for.
pub(super) fn worker_count(settings: &Settings) -> usize {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    settings.process.worker_processes.unwrap_or_else(cores).clamp(1, 256)
}

/// `open() "F" failed (2: No such file or directory)`
pub(super) fn not_opened(path: &std::path::Path, error: &io::Error) -> anyhow::Error {
    anyhow::anyhow!("open() \"{}\" failed ({})", path.display(), listen::errno_text(error))
}

fn not_bound(address: SocketAddr, error: &io::Error) -> anyhow::Error {
    anyhow::anyhow!("bind() to {address} failed ({})", listen::errno_text(error))
}

fn bind(
    origin: &Origin,
    settings: &Settings,
    workers: usize,
    inherited: &mut Inherited,
    logs: &ErrorLogs,
) -> anyhow::Result<Vec<Bound>> {
    let ports = Ports::of(settings, origin.take_over);
    for line in ports.table().iter().filter(|_| ports.leaves_some()) {
        logs.announce(LogLevel::Notice, line);
    }
    let file = origin.options.file.display().to_string();
    for note in ports.judge(&file).map_err(anyhow::Error::msg)? {
        logs.announce(note.level, &note.text);
    }
    let mut report = |line: &str| logs.announce(LogLevel::Emerg, line);
    Ok(listen::bind_all(&ports.own().collect::<Vec<_>>(), workers, inherited, &mut report)?)
}

fn shared(settings: &Settings, workers: usize) -> Shared {
    tracing::info!(
        "Using {}KiB of shared memory for push stream module on zone: {}",
        settings.zone.memory / 1024,
        settings.zone_name
    );
    // The module begins anew in the second its last process ended in; a client of that one misses what the new one says.
    let floor = settings.compat.strict.then(Stamp::default);
    Shared {
        hub: Arc::new(Hub::new(settings.zone.clone(), HubOptions::of(settings.compat), workers, now(), floor)),
        views: Arc::default(),
        limiter: Arc::default(),
        tally: Arc::new(Tally::default()),
        connections: Arc::default(),
    }
}

/// Takes as many file descriptors as there are, and tells when that is too few.
fn enter_limits(settings: &Settings, workers: usize) {
    for warning in process::limit_warnings(&settings.process, workers) {
        tracing::warn!("{warning}");
    }
    if let Err(limit) = process::raise_file_limit(&settings.process) {
        let reason = listen::errno_text(&limit.error);
        tracing::error!(target: ALERT, "setrlimit(RLIMIT_NOFILE, {}) failed ({reason})", limit.wanted);
    }
}

/// Becomes the configured user, to whom logs and pid file are given before.
fn leave_privileges(origin: &Origin, settings: &Settings, pid: &PidFile) -> anyhow::Result<()> {
    let Some(owner) = process::owner(&settings.process).context("cannot look up the user")? else { return Ok(()) };
    let logs: Vec<PathBuf> = log_paths(settings, &origin.options.prefix).into_iter().collect();
    for path in state::paths(&settings.state) {
        if let Err(error) = process::give(&path, &owner) {
            tracing::warn!("chown() \"{}\" failed ({})", path.display(), listen::errno_text(&error));
        }
    }
    for path in logs.iter().map(PathBuf::as_path).chain([pid.path()]) {
        // What cannot be given stays usable as long as it is open.
        let _ = super::log::open_append(path).map(drop);
        let regular = fs::symlink_metadata(path).is_ok_and(|found| found.is_file());
        if regular && let Err(error) = process::give(path, &owner) {
            tracing::warn!("chown() \"{}\" failed ({})", path.display(), listen::errno_text(&error));
        }
    }
    process::become_user(&owner).context("cannot become the configured user")
}

/// A panic is one line in the error log; the task it happened in is over, everything else goes on.
fn report_panics() {
    std::panic::set_hook(Box::new(|panic| tracing::error!(target: ALERT, "{panic}")));
}

fn remove_unix_socket(address: &ListenAddress) {
    if let ListenAddress::Unix(path) = address
        && fs::symlink_metadata(path).is_ok_and(|found| std::os::unix::fs::FileTypeExt::is_socket(&found.file_type()))
    {
        // One that stays is found dead by the next server.
        let _ = fs::remove_file(path);
    }
}

/// What the log says of a signal, in nginx's words.
fn told(wish: Wish) -> &'static str {
    match wish {
        Wish::Reload => "signal 1 (SIGHUP) received, reconfiguring",
        Wish::Reopen => "signal 10 (SIGUSR1) received, reopening logs",
        Wish::Succeed => "signal 12 (SIGUSR2) received, changing binary",
        Wish::Rest => "signal 28 (SIGWINCH) received, shutting down workers",
        Wish::Quit => "signal 3 (SIGQUIT) received, shutting down",
        Wish::Stop => "signal 15 (SIGTERM) received, exiting",
    }
}
