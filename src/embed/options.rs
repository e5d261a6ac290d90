//! How a configuration becomes a push server.
//!
//! Looks at what says how requests are answered.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::PushStream;
use super::failure::Error;
use super::pool::Pool;
use crate::conf::settings::LogLevel;
use crate::conf::{self, LoadOptions, Note, default_layout};
use crate::model::ALERT;

/// What stands around the directives of one server.
const AROUND: &str = "access_log off; push_stream_shared_memory_size 64m;";

/// How a configuration is to be read; made by [`PushStream::options`].
///
/// ```no_run
/// # fn read() -> Result<(), pushstreamd::Error> {
/// let push = pushstreamd::PushStream::options().strict(true).prefix("/usr/share/nginx").from_file("/etc/nginx/nginx.conf")?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Options {
    prefix: Option<PathBuf>,
    strict: bool,
    quiet: bool,
}

impl Options {
    /// Nobody is told who leaves: for what the server has for itself.
    #[must_use]
    pub(crate) fn quiet(mut self) -> Self {
        self.quiet = true;
        self
    }

    /// Where relative paths of documents and password files start (`-p` of nginx); the directory of the configuration if it is
    /// not given, the working directory for a text.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<PathBuf>) -> Self {
        self.prefix = Some(prefix.into());
        self
    }

    /// Whether the module is followed to the letter, its defects included (`--strict`).
    #[must_use]
    pub fn strict(mut self, strict: bool) -> Self {
        self.strict = strict;
        self
    }

    /// A push server with the configuration of this file, an `nginx.conf`.
    pub fn from_file(&self, path: impl AsRef<Path>) -> Result<PushStream, Error> {
        let file = std::path::absolute(path.as_ref())?;
        let beside = file.parent().unwrap_or(Path::new("/")).to_owned();
        self.load(LoadOptions { file, prefix: beside, ..LoadOptions::default() }, false)
    }

    /// A push server with this configuration: a whole `nginx.conf`, or the directives of one `server` block, which then
    /// has one thread, 64 MB for messages, and no access log unless they name one.
    pub fn from_text(&self, text: &str) -> Result<PushStream, Error> {
        let prefix = std::env::current_dir()?;
        let options = |text: String| LoadOptions {
            file: "configuration".into(),
            prefix: prefix.clone(),
            text: Some(text),
            ..LoadOptions::default()
        };
        match self.load(options(text.to_owned()), false) {
            // Directives that may not stand at the top level stand in a server.
            Err(error) if error.is_about_context() => {
                let whole = format!("events {{}} http {{ {AROUND} server {{ listen 127.0.0.1:80; {text} }} }}");
                self.load(options(whole), false)
            }
            loaded => loaded,
        }
    }

    /// A push server with the layout of 1C-Bitrix.
    pub fn bitrix(&self) -> Result<PushStream, Error> {
        let text = default_layout::text(None, true)?;
        self.load(
            LoadOptions { file: "bitrix".into(), prefix: "/".into(), text: Some(text), ..LoadOptions::default() },
            true,
        )
    }

    fn load(&self, options: LoadOptions, bitrix: bool) -> Result<PushStream, Error> {
        let prefix = self.prefix.as_ref().map(std::path::absolute).transpose()?;
        let prefix = prefix.unwrap_or_else(|| options.prefix.clone());
        let options = LoadOptions { prefix, strict: self.strict, ..options };
        let mut loaded = conf::load(&options).map_err(Error::of_configuration)?;
        let lines = &mut loaded.settings.log_lines;
        (lines.untold_ends, lines.untold_refusals) = (self.quiet, lines.untold_refusals || self.quiet);
        if loaded.settings.listeners.is_empty() {
            return Err(Error::NoServer);
        }
        loaded.notes.iter().for_each(tell);
        Ok(PushStream { pool: Arc::new(Pool::start(Arc::new(loaded.settings))?), bitrix })
    }
}

/// What the reader of a configuration would be told by the server.
fn tell(note: &Note) {
    let text = &note.text;
    match note.level {
        LogLevel::Debug => tracing::debug!("{text}"),
        LogLevel::Info | LogLevel::Notice => tracing::info!("{text}"),
        LogLevel::Warn => tracing::warn!("{text}"),
        LogLevel::Error => tracing::error!("{text}"),
        LogLevel::Crit | LogLevel::Alert | LogLevel::Emerg => tracing::error!(target: ALERT, "{text}"),
    }
}
