//! HUP: the configuration is compiled anew and swapped in as a whole; on any failure everything stays as it is.
//!
//! Subscribers stay connected (`--strict` says farewell to them, as the module does). Sockets that are wanted before and
//! after keep their queue. Invariant: what can fail comes first, what changes something comes after.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::inherited::Inherited;
use super::listen::{self, Bound, Share};
use super::log::{ALERT, EMERG, NOTICE};
use super::log_paths::{access_paths, log_paths, make_logs, open_each};
use super::now;
use super::privileges;
use super::service::{Server, not_opened, worker_count};
use super::supervisor::Supervisor;
use super::tls::TlsSite;
use super::worker_thread::Order;
use super::zones::{self, Zones};
use crate::conf::ports::Ports;
use crate::conf::settings::{ListenAddress, LogLevel};
use crate::conf::{ConfError, Note, Settings};

impl Server {
    /// Reloads, or says why not.
    pub(super) fn reload(&mut self) {
        Supervisor::reloading();
        let _taken = privileges::take_up();
        let outcome = self.try_reload();
        self.shared.reloads.end(outcome.is_ok());
        match outcome {
            Ok(()) => tracing::info!(target: NOTICE, "reconfigured"),
            Err(error) => tracing::error!(target: EMERG, "{error:#}"),
        }
        Supervisor::ready(false);
    }

    fn try_reload(&mut self) -> anyhow::Result<()> {
        let (mut settings, tls) = self.compiled()?;
        make_logs(&settings, &self.origin.options);
        open_each(&log_paths(&settings, &self.origin.options.prefix))
            .map_err(|(path, error)| not_opened(&path, &error))?;
        let (new, kept) = self.bind_new(&settings)?;
        let shares = self.shares(&new, &kept)?;
        let kept_back = self.keep_what_needs_a_restart(&mut settings);
        let zones = self.zones.prepare(&settings)?;
        if let Err(error) = self.move_files(&settings) {
            Zones::give_up(&zones);
            return Err(error);
        }
        // In the log that is the new configuration's.
        for text in kept_back {
            tracing::warn!("{text}");
        }
        self.zones.add(zones);
        self.bound.retain(|bound| kept.contains(&bound.address));
        self.bound.extend(new);
        self.swap(&Arc::new(settings), &Arc::new(tls), shares, &kept);
        Ok(())
    }

    /// The pid file and the logs where they are wanted now.
    fn move_files(&mut self, settings: &Settings) -> anyhow::Result<()> {
        self.pid.move_to(&settings.process.pid).map_err(|error| not_opened(&settings.process.pid, &error))?;
        let style = settings.log_lines.style;
        self.logs.open(&settings.process.error_log, style).map_err(|(path, error)| not_opened(&path, &error))?;
        self.logs.take_stderr();
        self.shared.opened.keep(access_paths(settings, &self.origin.options.prefix));
        Ok(())
    }

    /// The settings as the files now say, with everything told that there is to tell.
    fn compiled(&self) -> anyhow::Result<(Settings, TlsSite)> {
        match self.origin.load_again(&self.settings.zones) {
            Ok((loaded, tls)) => {
                loaded.notes.iter().filter(|note| note.level >= LogLevel::Warn).for_each(log_note);
                Ok((loaded.settings, tls))
            }
            Err(ConfError { notes }) => {
                notes.iter().for_each(log_note);
                let file = self.origin.options.file.display();
                Err(anyhow::anyhow!("configuration file {file} test failed, the old configuration stays"))
            }
        }
    }

    /// Binds what was not bound before, and only that; also the addresses that are wanted, new or not.
    fn bind_new(&self, settings: &Settings) -> anyhow::Result<(Vec<Bound>, Arc<[ListenAddress]>)> {
        let ports = Ports::of(settings, self.origin.take_over);
        for line in ports.table().iter().filter(|_| ports.leaves_some()) {
            tracing::info!(target: NOTICE, "{line}");
        }
        let file = self.origin.options.file.display().to_string();
        ports.judge(&file).map_err(anyhow::Error::msg)?.iter().for_each(log_note);
        let new: Vec<_> =
            ports.own().filter(|listener| !self.bound.iter().any(|bound| bound.address == listener.address)).collect();
        let mut report = |line: &str| tracing::error!(target: EMERG, "{line}");
        let bound = listen::bind_all(&new, self.workers.len(), &mut Inherited::default(), &mut report)?;
        Ok((bound, ports.addresses().into()))
    }

    /// Memory and threads are what they were; a pid file that cannot be left behind is. Returns what is to be said of it.
    fn keep_what_needs_a_restart(&self, settings: &mut Settings) -> Vec<String> {
        let mut said = Vec::new();
        if settings.zone.memory != self.settings.zone.memory {
            let name = &settings.zone_name;
            said.push(format!("Cannot change memory area size without restart, ignoring change on zone: {name}"));
            settings.zone.memory = self.settings.zone.memory;
        }
        let (wanted, running) = (worker_count(settings), self.workers.len());
        if wanted != running {
            said.push(format!("worker_processes {wanted} needs a restart, {running} workers go on"));
        }
        let changes = [
            ("push_stream_state", settings.state != self.settings.state),
            ("push_stream_backplane", settings.backplane != self.settings.backplane),
            ("push_stream_status", settings.status != self.settings.status),
            ("user", settings.process.user != self.settings.process.user),
        ];
        let changed = changes.into_iter().filter(|(_, changed)| *changed);
        said.extend(changed.map(|(name, _)| format!("a change of \"{name}\" needs a restart")));
        settings.state.clone_from(&self.settings.state);
        settings.backplane.clone_from(&self.settings.backplane);
        said
    }

    /// What each worker has to listen on that it does not: new sockets, and after WINCH, when the workers have let go of everything,
    /// those that are kept.
    fn shares(&self, new: &[Bound], kept: &[ListenAddress]) -> anyhow::Result<Vec<Share>> {
        let workers = self.workers.len();
        let mut shares = listen::shares(new, workers)?;
        let old = self.bound.iter().filter(|bound| self.resting && kept.contains(&bound.address));
        for bound in old {
            for (share, old) in shares.iter_mut().zip(listen::shares(std::slice::from_ref(bound), workers)?) {
                share.extend(old);
            }
        }
        Ok(shares)
    }

    fn swap(
        &mut self,
        settings: &Arc<Settings>,
        tls: &Arc<TlsSite>,
        mut shares: Vec<Share>,
        kept: &Arc<[ListenAddress]>,
    ) {
        self.zones.reconfigure(settings);
        self.shared.tally.reloads.fetch_add(1, Ordering::Relaxed);
        self.shared.reloads.load(now().secs().into());
        self.status.take_certificates(tls);
        self.status.take_zones(self.zones.sources(settings));
        let (hubs, left) = (self.zones.hubs(), zones::left(&self.settings, settings));
        for worker in self.workers.iter().rev() {
            let order = Order::Reconfigure {
                settings: Arc::clone(settings),
                tls: Arc::clone(tls),
                opened: shares.pop().unwrap_or_default(),
                kept: Arc::clone(kept),
                hubs: Arc::clone(&hubs),
                left: left.clone(),
                spread: Duration::from_millis(settings.drain_time),
                farewell: settings.capabilities.reload_says_farewell,
            };
            if worker.orders.send(order).is_err() {
                tracing::error!(target: ALERT, "a worker is gone");
            }
        }
        self.resting = false;
        self.settings = Arc::clone(settings);
    }
}

/// A note of the configuration as a line of the error log.
fn log_note(note: &Note) {
    let text = &note.text;
    match note.level {
        LogLevel::Emerg | LogLevel::Alert | LogLevel::Crit => tracing::error!(target: EMERG, "{text}"),
        LogLevel::Error => tracing::error!("{text}"),
        LogLevel::Warn => tracing::warn!("{text}"),
        LogLevel::Notice => tracing::info!(target: NOTICE, "{text}"),
        LogLevel::Info | LogLevel::Debug => tracing::info!("{text}"),
    }
}
