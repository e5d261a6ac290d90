//! What the server was started with: where its configuration is, and what the command line says beside it.
//!
//! A reload starts from the same. Knows nothing of what runs.

use std::net::SocketAddr;
use std::path::PathBuf;

use nix::unistd::{AccessFlags, access};

use super::tls::TlsSite;
use crate::cli::Backplane;
use crate::conf::settings::{ErrorLog, LogLevel, LogTarget};
use crate::conf::{self, ConfError, LoadOptions, Loaded, Note};
use crate::model::Durability;

/// What the server was started with, and what a reload starts from again.
pub(super) struct Origin {
    /// How the configuration is read.
    pub options: LoadOptions,
    /// Where errors go while the configuration names no log (`-e`).
    pub error_log: Option<PathBuf>,
    /// Ports of servers that serve a site too are bound as well.
    pub take_over: bool,
    /// Where the server tells its counters, whatever the configuration says.
    pub status: Option<SocketAddr>,
    /// Where the token is that it asks for, whatever the configuration says.
    pub status_token_file: Option<PathBuf>,
    /// The certificate it shows there, and its key, whatever the configuration says.
    pub status_certificate: Option<(PathBuf, PathBuf)>,
    /// Where the order of the zone is made, whatever the configuration says.
    pub backplane: Option<Backplane>,
    /// Where messages outlive the process, whatever the configuration says; `off`: nowhere.
    pub state: Option<PathBuf>,
    /// When they are safe there, whatever the configuration says.
    pub state_sync: Option<Durability>,
}

impl Origin {
    /// Loads the configuration.
    pub(super) fn load(&self) -> Result<Loaded, ConfError> {
        self.load_as(&self.options)
    }

    fn load_as(&self, options: &LoadOptions) -> Result<Loaded, ConfError> {
        let mut loaded = conf::load(options)?;
        if loaded.settings.process.error_log.is_empty() {
            loaded.settings.process.error_log = vec![self.default_log()];
        }
        let state = &mut loaded.settings.state;
        if let Some(dir) = &self.state {
            state.dir = (dir.as_os_str() != "off").then(|| self.options.prefix.join(dir));
        }
        state.sync = self.state_sync.unwrap_or(state.sync);
        match &self.backplane {
            Some(Backplane::Off) => loaded.settings.backplane.address = None,
            Some(Backplane::At(address)) => loaded.settings.backplane.address = Some(address.clone()),
            None => {}
        }
        if loaded.settings.backplane.address.is_some() {
            share(&mut loaded);
        }
        let status = &mut loaded.settings.status;
        status.address = self.status.or(status.address);
        status.token_file = self.status_token_file.clone().or_else(|| status.token_file.take());
        status.certificate = self.status_certificate.clone().or_else(|| status.certificate.take());
        if self.options.text.is_some() {
            self.do_without_prefix(&mut loaded);
        }
        Ok(loaded)
    }

    /// The embedded layout is served from anywhere: where the prefix cannot be written there is no pid file, and messages do
    /// not outlive the process.
    fn do_without_prefix(&self, loaded: &mut Loaded) {
        let prefix = &self.options.prefix;
        if std::fs::create_dir_all(prefix).is_ok() && access(prefix, AccessFlags::W_OK | AccessFlags::X_OK).is_ok() {
            return;
        }
        loaded.settings.process.pid = PathBuf::from("/dev/null");
        let state = &mut loaded.settings.state;
        let kept = state.dir.take_if(|dir| dir.starts_with(prefix)).is_some();
        let lost = if kept { " and messages do not outlive the process" } else { "" };
        let text =
            format!("{} cannot be written: there is no pid file{lost}; -p names another directory", prefix.display());
        loaded.notes.push(Note { level: LogLevel::Warn, text });
    }

    /// Loads the configuration and the certificates it names.
    pub(super) fn load_all(&self) -> Result<(Loaded, TlsSite), ConfError> {
        self.load_all_as(&self.options)
    }

    /// The same while zones have numbers already.
    pub(super) fn load_again(&self, zones: &[Box<str>]) -> Result<(Loaded, TlsSite), ConfError> {
        self.load_all_as(&LoadOptions { zones: zones.to_vec(), ..self.options.clone() })
    }

    fn load_all_as(&self, options: &LoadOptions) -> Result<(Loaded, TlsSite), ConfError> {
        let mut loaded = self.load_as(options)?;
        match TlsSite::build(&loaded.settings) {
            Ok(tls) => {
                loaded.notes.extend(tls.warnings());
                Ok((loaded, tls))
            }
            Err(error) => {
                // What cannot be applied matters only to a configuration that can be used.
                Err(ConfError { notes: vec![Note { level: LogLevel::Emerg, text: error.to_string() }] })
            }
        }
    }

    /// The log where the configuration names none: that of `-e`, nginx's `logs/error.log` if there is such a directory, else
    /// standard error.
    pub(super) fn default_log(&self) -> ErrorLog {
        let prefix = &self.options.prefix;
        let usual = || Some(prefix.join("logs")).filter(|logs| logs.is_dir()).map(|logs| logs.join("error.log"));
        let named = self.error_log.as_ref().filter(|path| path.as_os_str() != "stderr").map(|path| prefix.join(path));
        let path = if self.error_log.is_some() { named } else { usual() };
        ErrorLog { target: path.map_or(LogTarget::Stderr, LogTarget::File), level: LogLevel::Error }
    }
}

/// What does not go with a backplane.
fn share(loaded: &mut Loaded) {
    if let Some(dir) = loaded.settings.state.dir.take() {
        let text = format!("messages outlive the process in the backplane, {} is not used", dir.display());
        loaded.notes.push(Note { level: LogLevel::Warn, text });
    }
}
