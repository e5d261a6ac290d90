//! Access logs whose file a request names (`access_log logs/$host.log`).
//!
//! As in nginx a file is opened for each line unless `open_log_file_cache` keeps it open, and a request of a site that is not
//! there leaves none. Invariants: no more descriptors stay open than the cache may have, whatever names clients think of; a name
//! does not lead out of the directory that the configuration says.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hashbrown::HashMap;

use super::access_log::{OpenLine, Outcome};
use super::exchange::Exchange;
use super::log_file::LogFile;
use super::opened_logs::OpenedLogs;
use crate::conf::settings::{LogEscape, LogFileCache, NamedLog};
use crate::conf::variable::Part;

/// Files of which it is remembered that they cannot be written.
const FAILING: usize = 64;
/// Of how many files it is told within [`MINUTE`] that lines are lost, or come again.
const TOLD: u32 = 10;
const MINUTE: Duration = Duration::from_secs(60);

/// The name of a file that waits for the end of its request.
pub(crate) struct OpenPath {
    log: Arc<NamedLog>,
    path: OpenLine,
}

impl OpenPath {
    pub(super) fn open(log: Arc<NamedLog>, exchange: &Exchange<'_>) -> Self {
        let path = OpenLine::open(&log.path, LogEscape::None, exchange);
        Self { log, path }
    }
}

/// Whether a request has such a log: its site must be there. Where that is the same for all requests (a push server has none as a
/// rule) only the strict ask.
pub(super) fn has_site(log: &NamedLog, exchange: &Exchange<'_>) -> bool {
    let root = &exchange.location.core.root.path;
    let is_chosen = root.parts.iter().any(|part| matches!(part, Part::Variable(_)));
    !(is_chosen || log.needs_root()) || Path::new(OsStr::from_bytes(&exchange.value(root))).is_dir()
}

/// The files, as far as they are open or known to fail.
#[derive(Default)]
pub(super) struct NamedLogs {
    kept: HashMap<PathBuf, Kept>,
    /// When it was looked last for files that nobody writes to.
    swept: Option<Instant>,
    /// Those that are opened for all workers have names of their own.
    none: OpenedLogs,
    /// A name that leads elsewhere has been told.
    told: bool,
    telling: Telling,
}

/// How much has been told of files that fail, whose names clients think of.
#[derive(Default)]
struct Telling {
    since: Option<Instant>,
    told: u32,
    unsaid: u64,
}

impl Telling {
    /// Whether more may be told; what was left out before is counted in one line.
    fn may_go_on(&mut self, now: Instant) -> bool {
        if self.since.is_none_or(|since| now.duration_since(since) >= MINUTE) {
            if self.unsaid > 0 {
                tracing::error!("{} access logs that requests name failed or came back, untold", self.unsaid);
            }
            *self = Self { since: Some(now), ..Self::default() };
        }
        self.told < TOLD
    }

    fn count(&mut self, silent: bool) {
        if silent {
            self.unsaid += 1;
        } else {
            self.told += 1;
        }
    }
}

struct Kept {
    log: LogFile,
    /// Lines since the file is known.
    uses: u64,
    used: Instant,
    /// When it was seen last that the name still means the file.
    checked: Instant,
}

impl NamedLogs {
    pub(super) fn reopen(&mut self) {
        self.kept.clear();
    }

    /// Writes a line to the file that the end of the request names.
    pub(super) fn append(&mut self, to: &OpenPath, outcome: &Outcome<'_>, line: &[u8]) {
        let path = to.path.close(outcome);
        if !to.log.allows(&path) || path.contains(&0) {
            if !std::mem::replace(&mut self.told, true) {
                tracing::error!("a request names an access log outside of its directory, which is told once");
            }
            return;
        }
        self.write(Path::new(OsStr::from_bytes(&path)), to.log.cache, line, Instant::now());
    }

    fn write(&mut self, path: &Path, cache: Option<LogFileCache>, line: &[u8], now: Instant) {
        self.sweep(cache, now);
        let mut kept = self.kept.remove(path).unwrap_or_else(|| Kept {
            log: LogFile::to_be_opened(),
            uses: 0,
            used: now,
            checked: now,
        });
        kept.refresh(path, cache, now);
        let failed = kept.log.fails();
        kept.log.silent = !self.telling.may_go_on(now);
        // The workers' user has to be able to.
        kept.log.append(path, line, &self.none);
        if kept.log.fails() != failed {
            self.telling.count(kept.log.silent);
        }
        let stays = cache.is_some_and(|cache| kept.uses >= cache.min_uses);
        if !stays && kept.log.file.take().is_some() {
            kept.log.is_due();
        }
        // What is neither open, nor counted, nor failing is as good as new.
        if cache.is_some() || kept.log.fails() {
            self.make_room(cache.map_or(0, |cache| cache.max).max(FAILING));
            self.kept.insert(path.to_owned(), kept);
        }
        if let Some(cache) = cache {
            self.close_beyond(cache.max);
        }
    }

    /// Lets go of files that nobody has written to for a while.
    fn sweep(&mut self, cache: Option<LogFileCache>, now: Instant) {
        let Some(cache) = cache else { return };
        let inactive = Duration::from_millis(cache.inactive);
        if self.swept.is_none_or(|swept| now.duration_since(swept) >= inactive) {
            self.swept = Some(now);
            self.kept.retain(|_, kept| kept.log.fails() || now.duration_since(kept.used) < inactive);
        }
    }

    /// Forgets the file that was used longest ago, if there are so many.
    fn make_room(&mut self, most: usize) {
        if self.kept.len() >= most
            && let Some(oldest) = self.kept.iter().min_by_key(|(_, kept)| kept.used).map(|(path, _)| path.clone())
        {
            self.kept.remove(&oldest);
        }
    }

    /// Closes the file that was used longest ago, if more than so many are open.
    fn close_beyond(&mut self, most: usize) {
        let open = || self.kept.values().filter(|kept| kept.log.file.is_some());
        if open().count() > most
            && let Some(oldest) = open().map(|kept| kept.used).min()
            && let Some(kept) = self.kept.values_mut().find(|kept| kept.log.file.is_some() && kept.used == oldest)
        {
            kept.log.file = None;
            kept.log.is_due();
        }
    }
}

impl Kept {
    /// Counts a use, and has the file opened anew where its name means another by now.
    fn refresh(&mut self, path: &Path, cache: Option<LogFileCache>, now: Instant) {
        self.uses += 1;
        self.used = now;
        let Some(file) = &self.log.file else { return };
        let valid = cache.map_or(Duration::ZERO, |cache| Duration::from_millis(cache.valid));
        if now.duration_since(self.checked) < valid {
            return;
        }
        self.checked = now;
        let same = match (file.metadata(), path.metadata()) {
            (Ok(open), Ok(named)) => (open.dev(), open.ino()) == (named.dev(), named.ino()),
            _ => false,
        };
        if !same {
            self.log.is_due();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Directory(PathBuf);

    impl Directory {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("pushstreamd-named-{name}-{}", std::process::id()));
            let _ = std::fs::remove_dir_all(&path);
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn read(&self, name: &str) -> String {
            std::fs::read_to_string(self.0.join(name)).unwrap_or_default()
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn open(logs: &NamedLogs) -> usize {
        logs.kept.values().filter(|kept| kept.log.file.is_some()).count()
    }

    #[test]
    fn without_a_cache_nothing_stays_open_and_a_moved_file_is_made_anew_at_once() {
        let (dir, mut logs, now) = (Directory::new("none"), NamedLogs::default(), Instant::now());
        for number in 0..200 {
            logs.write(&dir.0.join(format!("{number}.log")), None, b"a\n", now);
        }
        assert_eq!((open(&logs), logs.kept.len()), (0, 0));
        std::fs::rename(dir.0.join("7.log"), dir.0.join("moved")).unwrap();
        logs.write(&dir.0.join("7.log"), None, b"b\n", now);
        assert_eq!((dir.read("7.log"), dir.read("moved")), ("b\n".into(), "a\n".into()));
    }

    #[test]
    fn of_files_that_cannot_be_opened_few_are_remembered_and_tried_again() {
        let (dir, mut logs, now) = (Directory::new("failing"), NamedLogs::default(), Instant::now());
        for number in 0..200 {
            logs.write(&dir.0.join(format!("none/{number}.log")), None, b"a\n", now);
        }
        assert_eq!((open(&logs), logs.kept.len()), (0, FAILING));
        assert_eq!((logs.telling.told, logs.telling.unsaid), (TOLD, 190), "clients do not fill the error log");
        std::fs::create_dir(dir.0.join("none")).unwrap();
        let path = dir.0.join("none/199.log");
        logs.kept.get_mut(&path).unwrap().log.is_due();
        logs.write(&path, None, b"b\n", now);
        assert_eq!((dir.read("none/199.log"), logs.kept.len()), ("b\n".into(), FAILING - 1));
        assert!(logs.telling.may_go_on(now + MINUTE) && logs.telling.unsaid == 0);
    }

    #[test]
    fn a_cache_keeps_the_files_used_last_and_looks_whether_they_still_are_what_their_names_say() {
        let (dir, mut logs, start) = (Directory::new("cache"), NamedLogs::default(), Instant::now());
        let cache = LogFileCache { max: 3, inactive: 10_000, min_uses: 2, valid: 5_000 };
        let write = |logs: &mut NamedLogs, name: &str, second: u64| {
            logs.write(&dir.0.join(name), Some(cache), b"x\n", start + Duration::from_secs(second));
            open(logs)
        };
        assert_eq!((write(&mut logs, "a", 0), write(&mut logs, "a", 0)), (0, 1), "kept from the second use on");
        for (at, name) in ["b", "b", "c", "c", "d", "d"].into_iter().enumerate() {
            write(&mut logs, name, 1 + at as u64 / 2);
        }
        assert_eq!(open(&logs), 3);
        assert!(logs.kept[&dir.0.join("a")].log.file.is_none(), "the one used longest ago was closed");
        std::fs::rename(dir.0.join("d"), dir.0.join("moved")).unwrap();
        write(&mut logs, "d", 4);
        assert_eq!(dir.read("moved"), "x\nx\nx\n", "valid for five seconds");
        write(&mut logs, "d", 9);
        assert_eq!((dir.read("moved").as_str(), dir.read("d").as_str()), ("x\nx\nx\n", "x\n"));
        assert_eq!(write(&mut logs, "d", 30), 0, "all but this one were forgotten, and it has been used once again");
    }
}
