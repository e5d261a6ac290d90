//! The running server: from a loaded configuration to bound sockets and workers, then signal after signal to the end.
//!
//! Everything that can fail at start does so before the first worker runs. How a configuration is swapped is told in
//! `reload`.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::runtime::Runtime;
use tokio::time::{Instant, MissedTickBehavior};

use super::ending::End;
use super::holder;
use super::inherited::Inherited;
use super::listen::{self, Bound};
use super::log::{ALERT, ErrorLogs, NOTICE};
use super::log_paths::{access_paths, log_paths, make_logs};
use super::memory;
use super::now;
use super::origin::Origin;
use super::privileges;
use super::process::{self, PidFile};
use super::purpose;
use super::signals::{Held, Signals, Wish};
use super::state;
use super::status::{self, Desk};
use super::successor::{self, Step, Successor};
use super::supervisor::Supervisor;
use super::tls::TlsSite;
use super::worker_thread::{self, Handle, Order, Shared};
use super::zones::{self, Zones};
use crate::backplane::Reached;
use crate::conf::Settings;
use crate::conf::ports::Ports;
use crate::conf::settings::{ListenAddress, LogLevel};
use crate::delivery;
use crate::metrics::Tally;
use crate::site::opened_logs::OpenedLogs;
use crate::status::Guard;

/// How often the hub is swept. The runtime keeps its timers in slots of 64 ms, as they count from its start: a pause that ends
/// where a slot begins wakes the process once, any other two or three times.
const SWEEP: Duration = Duration::from_millis(8 * 64);
/// Ticks come this much before the end of a slot, so that rounding up leads to it: what was noted as the runtime's start is a little
/// later than the start.
const SLACK: Duration = Duration::from_micros(500);
/// Workers are asked how late they are with each sweep of so many, as each question wakes a worker too.
const SWEEPS_A_LOOK: u32 = 4;

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
    pub(super) status: Desk,
    /// The process that was told USR2 to be started, while it lives.
    pub(super) successor: Option<Successor>,
    /// Sockets and publishers are the successor's.
    pub(super) handed_over: bool,
    /// Channels and messages.
    pub(super) zones: Zones,
    /// When the runtime began.
    began: Instant,
}

impl Server {
    /// Starts a server, and the runtime and signals to run it with.
    pub(super) fn start(origin: Origin, settings: Settings, tls: TlsSite, logs: ErrorLogs) -> anyhow::Result<Running> {
        let workers = worker_count(&settings);
        make_logs(&settings, &origin.options);
        logs.open(&settings.process.error_log, settings.log_lines.style)
            .map_err(|(path, error)| not_opened(&path, &error))?;
        let held = Held::now().context("sigprocmask() failed")?;
        let mut inherited = Inherited::from_environment();
        let bound = bind(&origin, &settings, workers, &mut inherited, &logs)?;
        let status = desk(&settings, &bound, &mut inherited, &logs)?;
        status.take_certificates(&tls);
        let background = settings.process.daemon || inherited.from_predecessor;
        // A successor opens it when it may begin.
        let state_logs = if inherited.from_predecessor { Vec::new() } else { zones::open_logs(&settings)? };
        if settings.process.daemon && !inherited.from_predecessor {
            process::daemonize(logs.first_file().as_deref()).context("daemon() failed")?;
        }
        logs.install();
        process::give_memory_back();
        report_panics();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let began = Instant::now();
        let signals = {
            let _inside = runtime.enter();
            Signals::catch().context("signals cannot be caught")?
        };
        drop(held);
        let pid = PidFile::create(&settings.process.pid).map_err(|error| not_opened(&settings.process.pid, &error))?;
        enter_limits(&settings, workers);
        let reached = Reached::read(&settings.backplane)?;
        let opened = Arc::new(OpenedLogs::default());
        opened.keep(access_paths(&settings, &origin.options.prefix));
        leave_privileges(&origin, &settings, &pid)?;
        let state_logs = if inherited.from_predecessor {
            inherited.predecessor.take().into_iter().for_each(successor::await_turn);
            // The predecessor has given them up.
            zones::open_logs(&settings)?
        } else {
            state_logs
        };
        let mut zones = Zones::new(&settings, workers);
        let shared = shared(&zones, workers, opened);
        shared.reloads.load(now().secs().into());
        zones.restore(state_logs)?;
        zones::tell_idle(&settings);
        zones.follow(reached)?;
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
        logs.take_stderr();
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
            status,
            successor: None,
            handed_over: false,
            zones,
            began,
        };
        Ok(Running { server, runtime, signals })
    }

    /// Follows signals until one of them ends the server.
    async fn follow(&mut self, signals: &mut Signals) -> End {
        let mut sweep = tokio::time::interval_at(self.began + SWEEP - SLACK, SWEEP);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut sweeps = 0_u32;
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
                    if sweeps.is_multiple_of(SWEEPS_A_LOOK) {
                        self.shared.tally.ask_for_lag();
                    }
                    sweeps += 1;
                    self.zones.sweep();
                    self.relieve();
                    self.retry_logs();
                    if self.lost_a_worker() {
                        return End::Broken;
                    }
                    self.look_after_successor();
                    continue;
                }
                step = next_step(&mut self.successor) => {
                    self.succeed(step);
                    continue;
                }
            };
            if wish == Wish::Look {
                self.look_after_successor();
                continue;
            }
            tracing::info!(target: NOTICE, "{}", told(wish));
            match wish {
                Wish::Reload if self.successor.is_some() => self.serve_beside_successor(),
                Wish::Reload => self.reload(),
                Wish::Reopen => self.reopen(),
                Wish::Succeed => self.begin_succession(),
                Wish::Rest => self.rest(),
                Wish::Stop => return End::Fast,
                Wish::Quit => return End::Graceful,
                Wish::Look => {}
            }
        }
    }

    /// Tells of itself.
    pub(super) fn open_status(&mut self) {
        self.status.take_zones(self.zones.sources(&self.settings));
        self.status.open(&self.shared);
    }

    /// Asks every worker for a sign of life.
    fn beat(&mut self) {
        let beats = self.supervisor.next_round(self.workers.len());
        for worker in &self.workers {
            // A worker that is gone gives none.
            let _ = worker.orders.send(Order::Beat(Arc::clone(&beats)));
        }
    }

    /// What all connections hold may have grown where no worker looks.
    fn relieve(&self) {
        let (most, _) = memory::bounds(&self.settings);
        if most == 0 || delivery::held() <= most {
            return;
        }
        for worker in &self.workers {
            let _ = worker.orders.send(Order::Relieve);
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

    /// Tries log files again that could not be opened. Privileges stay put away while there are none.
    fn retry_logs(&self) {
        if self.logs.lack_some() || self.shared.opened.lack_some() {
            let _taken = privileges::take_up();
            self.logs.retry();
            self.shared.opened.retry();
        }
    }

    /// USR1: files anew, after rotation.
    fn reopen(&self) {
        let taken = privileges::take_up();
        self.logs.reopen();
        self.shared.opened.reopen();
        drop(taken);
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
}

/// A started server with what drives it.
pub(super) struct Running {
    server: Server,
    runtime: Runtime,
    signals: Signals,
}

impl Running {
    /// Runs the server to its end; the exit code.
    pub(super) fn run(mut self) -> u8 {
        let end = self.runtime.block_on(async {
            self.server.open_status();
            let end = self.server.follow(&mut self.signals).await;
            self.server.end(end, &mut self.signals).await;
            end
        });
        u8::from(end == End::Broken)
    }
}

/// The next step of a successor; without one there is none.
async fn next_step(successor: &mut Option<Successor>) -> Step {
    match successor {
        Some(successor) => successor.next().await,
        None => std::future::pending().await,
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

/// The operators' listener, if there is to be one.
fn desk(settings: &Settings, bound: &[Bound], inherited: &mut Inherited, logs: &ErrorLogs) -> anyhow::Result<Desk> {
    let Some(address) = settings.status.address else { return Ok(Desk::default()) };
    status::is_apart(address, bound.iter().map(|bound| &bound.address))?;
    let guard = status::guard(address, settings.status.token_file.as_deref())?;
    if guard == Guard::Closed {
        let text = format!(
            "{address} is not of the loopback interface: /healthz and /readyz are all it answers without \
             \"push_stream_status_token_file\" (--status-token-file)"
        );
        logs.announce(LogLevel::Warn, &text);
    }
    let desk = Desk::bind(address, guard, settings.status.messages, inherited)
        .map_err(|error| not_bound(&ListenAddress::Ip(address), &error))?;
    if !settings.compat.strict {
        logs.announce(LogLevel::Notice, &purpose::of_operators(address, settings.status.certificate.is_some()));
    }
    Ok(desk)
}

fn not_bound(address: &ListenAddress, error: &io::Error) -> anyhow::Error {
    let holder = holder::of(address).filter(|_| error.kind() == io::ErrorKind::AddrInUse);
    let held = holder.map(|holder| format!("; it is held by {holder}")).unwrap_or_default();
    anyhow::anyhow!("{}{held}", listen::cannot_bind(address, error))
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
    let own: Vec<_> = ports.own().collect();
    let bound = listen::bind_all(&own, workers, inherited, &mut report)?;
    // nginx says nothing.
    if !settings.compat.strict {
        for listener in own {
            logs.announce(LogLevel::Notice, &purpose::line(listener));
        }
        if origin.options.text.is_some() {
            logs.announce(LogLevel::Notice, purpose::TRY_IT);
        }
    }
    Ok(bound)
}

fn shared(zones: &Zones, workers: usize, opened: Arc<OpenedLogs>) -> Shared {
    Shared {
        hub: zones.first_hub(),
        hubs: zones.hubs(),
        views: Arc::default(),
        limiter: Arc::default(),
        tally: Arc::new(Tally::new(workers)),
        addresses: Arc::default(),
        reloads: Arc::default(),
        connections: Arc::default(),
        opened,
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
    for path in zones::states(settings)
        .flat_map(|state| state::paths(&state))
        .chain([settings.state.dir.clone(), settings.state.of_zones()].into_iter().flatten().filter(|dir| dir.is_dir()))
    {
        if let Err(error) = process::give(&path, &owner) {
            tracing::warn!("chown() \"{}\" failed ({})", path.display(), listen::errno_text(&error));
        }
    }
    for path in logs.iter().map(PathBuf::as_path).chain([pid.path()]) {
        // What cannot be given stays usable as long as it is open.
        let regular = std::fs::symlink_metadata(path).is_ok_and(|found| found.is_file());
        if regular && let Err(error) = process::give(path, &owner) {
            tracing::warn!("chown() \"{}\" failed ({})", path.display(), listen::errno_text(&error));
        }
    }
    privileges::become_user(&owner).context("cannot become the configured user")
}

/// A panic is one line in the error log; the task it happened in is over, everything else goes on.
fn report_panics() {
    std::panic::set_hook(Box::new(|panic| tracing::error!(target: ALERT, "{panic}")));
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
        Wish::Look => "signal 17 (SIGCHLD) received",
    }
}
