//! The command as a whole: what each switch does, and the life of the server from start to stop.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use nix::sys::signal::Signal;
use socket2::Socket;
use tokio::signal::unix::{SignalKind, signal};

use super::log::{self, ErrorLogs, NOTICE};
use super::process::{self, PidFile};
use super::tls::TlsSite;
use super::worker_thread::{self, Handle, Order, Shared};
use super::{default_config, listen, now};
use crate::cli::Cli;
use crate::conf::settings::{Line, ListenAddress, Listener, LogLevel};
use crate::conf::{self, ConfError, LoadOptions, Loaded, Note, Settings};
use crate::delivery::Tally;
use crate::hub::{Hub, HubOptions};

/// How often the hub is swept.
const SWEEP: Duration = Duration::from_millis(500);
/// How long connections may take to end on TERM, and on QUIT where `worker_shutdown_timeout` says nothing.
const FAST_STOP: Duration = Duration::from_secs(1);
const GRACEFUL_STOP: Duration = Duration::from_secs(30);
const DEFAULT_CONFIG: &str = "conf/nginx.conf";

/// Runs the command; the exit code.
pub fn run(cli: &Cli) -> anyhow::Result<u8> {
    if cli.print_default_config {
        print!("{}", default_text(cli)?);
        return Ok(0);
    }
    if cli.version || cli.build {
        eprintln!("pushstreamd version: pushstreamd/{}", env!("CARGO_PKG_VERSION"));
        if cli.build {
            eprintln!("in place of nginx with nginx-push-stream-module 0.3.4 to 0.6.0");
        }
        return Ok(0);
    }
    let options = load_options(cli)?;
    if let Some(word) = &cli.signal {
        return Ok(send_signal(word, &options));
    }
    let loaded = match conf::load(&options) {
        Ok(loaded) => loaded,
        Err(error) => return Ok(report_failure(cli, &options, &error)),
    };
    let tls = match TlsSite::build(&loaded.settings) {
        Ok(tls) => tls,
        Err(error) => {
            let note = Note { level: LogLevel::Emerg, text: error.to_string() };
            return Ok(report_failure(cli, &options, &ConfError { notes: vec![note] }));
        }
    };
    print_notes(&tls.warnings());
    if cli.test || cli.dump {
        report_success(cli, &options, &loaded);
        return Ok(0);
    }
    print_notes(loaded.notes.iter().filter(|note| note.level >= LogLevel::Warn));
    Server::start(options, loaded.settings, tls)?.run()
}

fn load_options(cli: &Cli) -> anyhow::Result<LoadOptions> {
    let (file, text) = match &cli.config {
        Some(file) => (file.clone(), None),
        None if !cli.prefix.join(DEFAULT_CONFIG).exists() => (PathBuf::from("default.conf"), Some(default_text(cli)?)),
        None if cli.ssl_certificate.is_some() => {
            let found = cli.prefix.join(DEFAULT_CONFIG);
            bail!("--ssl-certificate goes with the embedded configuration, but there is {}", found.display());
        }
        None => (PathBuf::from(DEFAULT_CONFIG), None),
    };
    Ok(LoadOptions {
        file: cli.prefix.join(file),
        prefix: cli.prefix.clone(),
        global_directives: cli.global.clone(),
        compat: cli.compat.line(),
        strict: cli.strict,
        text,
    })
}

/// The embedded configuration, as the command line completes it.
fn default_text(cli: &Cli) -> anyhow::Result<String> {
    let tls = cli.ssl_certificate.as_deref().zip(cli.ssl_certificate_key.as_deref());
    default_config::text(tls).context("the certificate has no usable path")
}

fn print_notes<'a>(notes: impl IntoIterator<Item = &'a Note>) {
    for note in notes {
        eprintln!("pushstreamd: [{}] {}", log::name(note.level), note.text);
    }
}

fn report_failure(cli: &Cli, options: &LoadOptions, error: &ConfError) -> u8 {
    print_notes(&error.notes);
    if cli.test || cli.dump {
        eprintln!("pushstreamd: configuration file {} test failed", options.file.display());
    }
    1
}

fn report_success(cli: &Cli, options: &LoadOptions, loaded: &Loaded) {
    if !cli.quiet {
        print_notes(&loaded.notes);
        eprintln!("pushstreamd: the configuration file {} syntax is ok", options.file.display());
        eprintln!("pushstreamd: configuration file {} test is successful", options.file.display());
    }
    if cli.dump {
        for (path, text) in &loaded.files {
            println!("# configuration file {}:\n{}\n", path.display(), String::from_utf8_lossy(text));
        }
    }
}

/// `-s stop|quit|reopen|reload`: tells the running server by its pid file.
fn send_signal(word: &str, options: &LoadOptions) -> u8 {
    let kind = match word {
        "stop" => Signal::SIGTERM,
        "quit" => Signal::SIGQUIT,
        "reopen" => Signal::SIGUSR1,
        "reload" => Signal::SIGHUP,
        _ => {
            eprintln!("pushstreamd: invalid option: \"-s {word}\"");
            return 1;
        }
    };
    let loaded = match conf::load(options) {
        Ok(loaded) => loaded,
        Err(error) => {
            print_notes(&error.notes);
            return 1;
        }
    };
    let path = &loaded.settings.process.pid;
    let sent = process::read_pid(path)
        .map_err(|error| ("open()", error))
        .and_then(|pid| process::signal(pid, kind).map_err(|error| ("kill()", error)));
    match sent {
        Ok(()) => 0,
        Err(("open()", error)) => {
            let reason = listen::errno_text(&error);
            eprintln!("pushstreamd: [error] open() \"{}\" failed ({reason})", path.display());
            1
        }
        Err((call, error)) => {
            eprintln!("pushstreamd: [alert] {call} failed ({})", listen::errno_text(&error));
            1
        }
    }
}

fn hub_options(settings: &Settings) -> HubOptions {
    HubOptions {
        // A client that goes on from a timeout's tag 0 would miss a message of that second whose tag is 0.
        first_tag: u32::from(settings.compat.line >= Line::V040 || !settings.compat.strict),
        deletion_has_time: settings.compat.line < Line::V040,
        refuse_when_full: settings.compat.strict,
        merge_replay: !settings.compat.strict,
        exact_admission: !settings.compat.strict,
    }
}

/// A running server.
struct Server {
    options: LoadOptions,
    settings: Arc<Settings>,
    shared: Shared,
    workers: Vec<Handle>,
    logs: ErrorLogs,
    _pid: PidFile,
}

impl Server {
    fn start(options: LoadOptions, settings: Settings, tls: TlsSite) -> anyhow::Result<Self> {
        let workers = worker_count(&settings);
        let logs = ErrorLogs::default();
        open_logs(&logs, &settings)?;
        // Whoever finds the ports open may send signals.
        process::hold_signals().context("sigprocmask() failed")?;
        let bound = bind_all(settings.listeners.iter(), workers)?;
        if settings.process.daemon {
            process::daemonize().context("daemon() failed")?;
        }
        logs.install();
        let pid = PidFile::create(&settings.process.pid)
            .with_context(|| format!("open() \"{}\" failed", settings.process.pid.display()))?;
        process::raise_file_limit(&settings.process).context("setrlimit(RLIMIT_NOFILE) failed")?;
        process::drop_privileges(&settings.process).context("cannot become the configured user")?;
        tracing::info!(
            "Using {}KiB of shared memory for push stream module on zone: push_stream_module",
            settings.zone.memory / 1024
        );
        let shared = Shared {
            hub: Arc::new(Hub::new(settings.zone.clone(), hub_options(&settings), workers, now())),
            views: Arc::default(),
            limiter: Arc::default(),
            tally: Arc::new(Tally::default()),
            connections: Arc::default(),
        };
        let (settings, tls) = (Arc::new(settings), Arc::new(tls));
        let handles = bound
            .into_iter()
            .enumerate()
            .map(|(index, sockets)| {
                worker_thread::start(index, shared.clone(), Arc::clone(&settings), Arc::clone(&tls), sockets)
            })
            .collect::<io::Result<Vec<_>>>()
            .context("cannot start a worker")?;
        Ok(Self { options, settings, shared, workers: handles, logs, _pid: pid })
    }

    /// Follows signals until one of them ends the server.
    fn run(mut self) -> anyhow::Result<u8> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let patience = runtime.block_on(self.follow_signals())?;
        for worker in &self.workers {
            // A worker that is gone has stopped already.
            let _ = worker.orders.send(Order::Stop(patience));
        }
        for worker in self.workers.drain(..) {
            if worker.thread.join().is_err() {
                bail!("a worker ended by a panic");
            }
        }
        Ok(0)
    }

    async fn follow_signals(&mut self) -> io::Result<Duration> {
        let mut hup = signal(SignalKind::hangup())?;
        let mut quit = signal(SignalKind::quit())?;
        let mut term = signal(SignalKind::terminate())?;
        let mut int = signal(SignalKind::interrupt())?;
        let mut usr1 = signal(SignalKind::user_defined1())?;
        process::release_signals()?;
        let mut sweep = tokio::time::interval(SWEEP);
        loop {
            tokio::select! {
                _ = hup.recv() => self.reload(),
                _ = usr1.recv() => self.reopen(),
                _ = term.recv() => return Ok(FAST_STOP),
                _ = int.recv() => return Ok(FAST_STOP),
                _ = quit.recv() => {
                    let own = self.settings.process.worker_shutdown_timeout.map(Duration::from_millis);
                    return Ok(own.unwrap_or(GRACEFUL_STOP));
                }
                _ = sweep.tick() => while self.shared.hub.sweep(now()) {},
            }
        }
    }

    fn reopen(&self) {
        if let Err((path, error)) = self.logs.reopen() {
            tracing::error!("open() \"{}\" failed ({})", path.display(), listen::errno_text(&error));
        }
        for worker in &self.workers {
            // A worker that is gone has no logs.
            let _ = worker.orders.send(Order::ReopenLogs);
        }
    }

    /// Compiles the configuration anew and swaps it in; on any failure everything stays as it is.
    fn reload(&mut self) {
        tracing::info!(target: NOTICE, "signal 1 (SIGHUP) received, reconfiguring");
        if let Err(error) = self.try_reload() {
            tracing::error!("the configuration stays as it was: {error:#}");
        }
    }

    fn try_reload(&mut self) -> anyhow::Result<()> {
        let loaded = conf::load(&self.options).map_err(|error| {
            for note in &error.notes {
                tracing::error!("{}", note.text);
            }
            anyhow::anyhow!("{} has errors", self.options.file.display())
        })?;
        let mut settings = loaded.settings;
        let tls = TlsSite::build(&settings)?;
        for note in tls.warnings() {
            tracing::warn!("{}", note.text);
        }
        let tls = Arc::new(tls);
        if settings.zone.memory != self.settings.zone.memory {
            tracing::warn!(
                "Cannot change memory area size without restart, ignoring change on zone: push_stream_module"
            );
            settings.zone.memory = self.settings.zone.memory;
        }
        let known: Vec<_> = self.settings.listeners.iter().map(|listener| listener.address.clone()).collect();
        let new = settings.listeners.iter().filter(|listener| !known.contains(&listener.address));
        let mut bound = bind_all(new, self.workers.len())?;
        open_logs(&self.logs, &settings)?;
        let settings = Arc::new(settings);
        self.shared.hub.reconfigure(settings.zone.clone(), hub_options(&settings), now());
        for worker in self.workers.iter().rev() {
            let opened = bound.pop().unwrap_or_default();
            let farewell = settings.compat.strict;
            let (settings, tls) = (Arc::clone(&settings), Arc::clone(&tls));
            let order = Order::Reconfigure { settings, tls, opened, farewell };
            if worker.orders.send(order).is_err() {
                tracing::error!("a worker is gone");
            }
        }
        self.settings = settings;
        Ok(())
    }
}

fn worker_count(settings: &Settings) -> usize {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    settings.process.worker_processes.unwrap_or_else(cores).clamp(1, 256)
}

fn open_logs(logs: &ErrorLogs, settings: &Settings) -> anyhow::Result<()> {
    logs.open(&settings.process.error_log).map_err(|(path, error): (PathBuf, io::Error)| not_opened(&path, &error))
}

fn not_opened(path: &Path, error: &io::Error) -> anyhow::Error {
    anyhow::anyhow!("open() \"{}\" failed ({})", path.display(), listen::errno_text(error))
}

/// Binds listeners; the sockets by worker.
fn bind_all<'a>(
    listeners: impl Iterator<Item = &'a Listener>,
    workers: usize,
) -> anyhow::Result<Vec<Vec<(ListenAddress, Socket)>>> {
    let mut by_worker: Vec<Vec<_>> = (0..workers).map(|_| Vec::new()).collect();
    for listener in listeners {
        let mut report = |line: &str| eprintln!("pushstreamd: [emerg] {line}");
        let bound = listen::bind(listener, workers, &mut report).context("still could not bind()")?;
        for (worker, socket) in by_worker.iter_mut().zip(bound.sockets) {
            worker.push((bound.address.clone(), socket));
        }
    }
    Ok(by_worker)
}
