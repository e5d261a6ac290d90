//! One file that lines are appended to.
//!
//! Invariant: a file that cannot be opened or written is told once, tried again, and told again when it works; while a file
//! cannot be opened anew, lines go on into the old one.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::log_context::system_error;
use super::opened_logs::OpenedLogs;

/// How long after a failure a file is opened again.
const RETRY: Duration = Duration::from_secs(1);
/// How often lines that could not be written are told.
const TOLD: Duration = Duration::from_secs(60);

/// A log file.
#[derive(Default)]
pub(super) struct LogFile {
    pub(super) file: Option<Arc<File>>,
    /// The name is to be opened (anew): at once, or not before a time.
    due: Option<Due>,
    /// Lines that were lost since the file was written last.
    lost: u64,
    /// When a failure to write was told last.
    told: Option<Instant>,
    /// Others have told enough: nothing is told of this one.
    pub(super) silent: bool,
}

enum Due {
    Now,
    At(Instant),
}

impl LogFile {
    pub(super) fn to_be_opened() -> Self {
        Self { due: Some(Due::Now), ..Self::default() }
    }

    /// The next line goes to a file opened by name.
    pub(super) fn is_due(&mut self) {
        self.due = Some(Due::Now);
    }

    /// Whether lines have been lost, and nobody has been told yet that lines are written again.
    pub(super) fn fails(&self) -> bool {
        self.lost > 0
    }

    /// Appends a line; the file is that of its name among the opened ones, or opened here.
    pub(super) fn append(&mut self, path: &Path, line: &[u8], opened: &OpenedLogs) {
        self.open(path, opened);
        let written = self.file.as_deref().map(|mut file| file.write_all(line));
        match written {
            Some(Ok(())) => {}
            Some(Err(error)) => {
                self.lost += 1;
                let now = Instant::now();
                if !self.silent && self.told.is_none_or(|told| now.duration_since(told) >= TOLD) {
                    self.told = Some(now);
                    tracing::error!("write() to \"{}\" failed ({})", path.display(), system_error(&error));
                }
                return;
            }
            None => {
                self.lost += 1;
                return;
            }
        }
        if self.lost > 0 {
            let lost = std::mem::take(&mut self.lost);
            self.told = None;
            if self.silent {
                return;
            }
            tracing::warn!("\"{}\" is written again, {lost} lines were lost", path.display());
        }
    }

    /// Opens the file if that is due.
    fn open(&mut self, path: &Path, opened: &OpenedLogs) {
        let first = match self.due {
            Some(Due::Now) => true,
            Some(Due::At(at)) if Instant::now() >= at => false,
            None | Some(Due::At(_)) => return,
        };
        match opened.get(path) {
            Ok(file) => {
                if !first && !self.silent {
                    tracing::warn!("\"{}\" is open at last", path.display());
                }
                (self.file, self.due) = (Some(file), None);
            }
            Err(error) => {
                if first && !self.silent {
                    tracing::error!("open() \"{}\" failed ({})", path.display(), system_error(&error));
                }
                self.due = Some(Due::At(Instant::now() + RETRY));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_opened_anew_goes_on_and_one_that_never_could_is_tried_again() {
        let directory = std::env::temp_dir().join(format!("pushstreamd-log-files-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&directory);
        let path = directory.join("access.log");
        let opened = OpenedLogs::default();
        let mut file = LogFile::to_be_opened();
        file.append(&path, b"lost\n", &opened);
        assert!(matches!(file.due, Some(Due::At(_))) && file.lost == 1);
        std::fs::create_dir_all(&directory).unwrap();
        file.append(&path, b"too early\n", &opened);
        assert_eq!(file.lost, 2);
        file.due = Some(Due::At(Instant::now()));
        file.append(&path, b"one\n", &opened);
        assert!(file.due.is_none() && file.lost == 0);
        // Moved away, and the new one cannot be made: nothing is lost.
        let moved = directory.with_extension("moved");
        let _ = std::fs::remove_dir_all(&moved);
        std::fs::rename(&directory, &moved).unwrap();
        file.due = Some(Due::Now);
        file.append(&path, b"two\n", &opened);
        std::fs::create_dir_all(&directory).unwrap();
        file.due = Some(Due::At(Instant::now()));
        file.append(&path, b"three\n", &opened);
        assert_eq!(std::fs::read_to_string(moved.join("access.log")).unwrap(), "one\ntwo\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "three\n");
        std::fs::remove_dir_all(&directory).unwrap();
        std::fs::remove_dir_all(&moved).unwrap();
    }
}
