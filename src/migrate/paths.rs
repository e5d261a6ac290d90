//! Where nginx's relative paths begin, and what its logs and pid file are called for pushstreamd.
//!
//! Knows the usual places of distributions; looks at directories, opens nothing.

use std::path::{Path, PathBuf};

use super::division::blocks_or_values;
use crate::conf::written::Written;

/// Directives with a path relative to the directory of the configuration.
const BY_DIRECTORY: [&str; 6] = [
    "ssl_certificate",
    "ssl_certificate_key",
    "ssl_client_certificate",
    "ssl_dhparam",
    "auth_basic_user_file",
    "push_stream_header_template_file",
];
/// Directives with a path relative to nginx's prefix.
const BY_PREFIX: [&str; 2] = ["root", "alias"];

/// nginx's directories.
#[derive(Clone, Debug)]
pub struct Paths {
    /// That of its configuration.
    pub directory: PathBuf,
    /// Where relative paths of logs, the pid file and documents begin.
    pub prefix: PathBuf,
    /// Logs and the pid file go to the directories of the packages' systemd unit.
    pub unit: bool,
}

/// The directories the packages' unit (packaging/units/pushstreamd.service) makes for its user.
const UNIT_RUN: &str = "/run/pushstreamd";
const UNIT_LOGS: &str = "/var/log/pushstreamd";
pub(super) const UNIT_STATE: &str = "/var/lib/pushstreamd";

impl Paths {
    /// Those of an nginx with this configuration, if nobody says where its prefix is: a build from source has
    /// `PREFIX/conf/nginx.conf`.
    pub fn guessed(file: &Path) -> Self {
        let directory = file.parent().map(Path::to_owned).unwrap_or_default();
        let above = directory.parent().filter(|_| directory.file_name().is_some_and(|name| name == "conf"));
        let prefix = above.map_or_else(|| directory.clone(), Path::to_owned);
        Self { directory, prefix, unit: false }
    }

    /// `pid`, beside nginx's.
    pub(super) fn pid(&self, pid: Option<&Written>) -> Written {
        match pid {
            _ if self.unit => Written::simple(&["pid", &format!("{UNIT_RUN}/pushstreamd.pid")]),
            Some(pid) => self.renamed(pid, "pushstreamd.pid"),
            None => Written::simple(&["pid", &self.usual("/run").join("pushstreamd.pid").to_string_lossy()]),
        }
    }

    /// `error_log`, beside nginx's: those of main, else those of `http`, else where logs usually are.
    pub(super) fn error_logs(&self, tree: &[Written], http: Option<&Written>) -> Vec<Written> {
        let of_http = http.map_or(&[][..], Written::children);
        let mut logs: Vec<&Written> = blocks_or_values(tree, "error_log").collect();
        if logs.is_empty() {
            logs.extend(blocks_or_values(of_http, "error_log"));
        }
        if logs.is_empty() {
            let usual = if self.unit { UNIT_LOGS.into() } else { self.usual("/var/log/nginx") };
            return vec![Written::simple(&["error_log", &usual.join("pushstreamd.log").to_string_lossy()])];
        }
        logs.iter().map(|log| self.renamed(log, "pushstreamd.log")).collect()
    }

    /// nginx's own directory of logs if it has one, else the usual one of distributions.
    fn usual(&self, distribution: &str) -> PathBuf {
        let own = self.prefix.join("logs");
        let candidates = [own.as_path(), Path::new(distribution), Path::new("/var/log"), Path::new("/var/run")];
        candidates.into_iter().find(|directory| directory.is_dir()).unwrap_or(&own).to_owned()
    }

    /// Makes paths absolute, and gives access logs a name of their own.
    pub(super) fn absolute(&self, directive: &mut Written) {
        let name = directive.name();
        if name == "access_log" && directive.args().first().is_some_and(|path| path != "off") {
            let path = directive.args().remove(0);
            let file = Path::new(&path).file_name().map(|file| format!("pushstreamd-{}", file.to_string_lossy()));
            *directive = self.renamed(directive, &file.unwrap_or_default());
        }
        let base = if BY_DIRECTORY.contains(&name.as_str()) {
            Some(&self.directory)
        } else {
            BY_PREFIX.contains(&name.as_str()).then_some(&self.prefix)
        };
        if let Some(base) = base
            && let Some(word) = directive.words.get_mut(1)
            && !word.starts_with(b"$")
        {
            let path = String::from_utf8_lossy(word).into_owned();
            *word = base.join(path).into_os_string().into_encoded_bytes();
        }
        for child in directive.block.iter_mut().flatten() {
            self.absolute(child);
        }
    }

    /// The same directive with another file name in the same directory; targets that are no files of nginx's stay.
    fn renamed(&self, directive: &Written, name: &str) -> Written {
        let mut directive = directive.clone();
        if let Some(word) = directive.words.get_mut(1) {
            let path = String::from_utf8_lossy(word).into_owned();
            let special = path == "stderr" || path.contains(':') || path.starts_with('$');
            if !special && !path.starts_with("/dev/") && !path.starts_with("/proc/") {
                let path = self.prefix.join(path);
                // Images of containers link their logs to the streams of the process.
                let device = std::fs::read_link(&path).ok().filter(|target| target.starts_with("/dev"));
                let file = || if self.unit { Path::new(UNIT_LOGS).join(name) } else { path.with_file_name(name) };
                *word = device.unwrap_or_else(file).into_os_string().into_encoded_bytes();
            }
        }
        directive
    }
}
