//! What the process is to the system: pid file, user, limits, signals sent to a running server.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Gid, Group, Pid, Uid, User, chown, initgroups, setgid, setuid};

use crate::conf::settings::Process;

/// Descriptors beside connections: logs, listeners, the runtime's own.
const SPARE_FILES: u64 = 64;

/// The pid file; removed when dropped, if it still is this process's.
pub(super) struct PidFile(PathBuf);

impl PidFile {
    /// Writes the pid of this process. A predecessor's file is its own business: it has moved it away.
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        let mut file = fs::File::create(path)?;
        writeln!(file, "{}", std::process::id())?;
        Ok(Self(path.to_owned()))
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Moves to another path, as a reload may want it.
    pub(super) fn move_to(&mut self, path: &Path) -> io::Result<()> {
        if path != self.0 {
            *self = Self::create(path)?;
        }
        Ok(())
    }

    /// Makes room for a successor's: `nginx.pid` becomes `nginx.pid.oldbin`.
    pub(super) fn step_aside(&mut self) -> io::Result<()> {
        let aside = suffixed(&self.0);
        fs::rename(&self.0, &aside)?;
        self.0 = aside;
        Ok(())
    }

    /// Takes its name back when the successor is gone.
    pub(super) fn step_back(&mut self) -> io::Result<()> {
        if let Some(path) = self.0.to_str().and_then(|path| path.strip_suffix(ASIDE)).map(PathBuf::from) {
            fs::rename(&self.0, &path)?;
            self.0 = path;
        }
        Ok(())
    }
}

const ASIDE: &str = ".oldbin";

fn suffixed(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ASIDE);
    PathBuf::from(name)
}

/// Gives a file to the user the process will become: the pid file, which could not be emptied otherwise, and logs, which
/// could not be opened anew.
pub(super) fn give(path: &Path, owner: &Owner) -> io::Result<()> {
    chown(path, Some(owner.user.uid), Some(owner.group)).map_err(io::Error::from)
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // A server that was started meanwhile may have written its own.
        let own = read_pid(&self.0).is_ok_and(|pid| pid.as_raw() as u32 == std::process::id());
        if own && fs::remove_file(&self.0).is_err() {
            // The directory is not ours (any more), the file is: an empty one names no process.
            let _ = fs::File::create(&self.0);
        }
    }
}

/// Whether the pid file could be written (`-t`); what was not there is not there afterwards.
pub(super) fn probe_pid(path: &Path) -> io::Result<()> {
    let existed = path.exists();
    fs::OpenOptions::new().append(true).create(true).open(path)?;
    if existed { Ok(()) } else { fs::remove_file(path) }
}

/// Reads a pid file.
pub(super) fn read_pid(path: &Path) -> io::Result<Pid> {
    let text = fs::read_to_string(path)?;
    let pid =
        text.trim().parse().ok().filter(|pid| *pid > 0).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, format!("invalid PID number \"{}\"", text.trim()))
        })?;
    Ok(Pid::from_raw(pid))
}

/// Sends a signal to a running server.
pub(super) fn signal(pid: Pid, signal: Signal) -> io::Result<()> {
    kill(pid, signal).map_err(io::Error::from)
}

/// Whom the process becomes.
pub(super) struct Owner {
    user: User,
    group: Gid,
}

impl Owner {
    /// Whether it is root, as it was.
    pub(super) fn is_root(&self) -> bool {
        self.user.uid.is_root()
    }
}

/// The configured user, if the process is root and one is configured.
pub(super) fn owner(process: &Process) -> io::Result<Option<Owner>> {
    let Some((user, group)) = &process.user else { return Ok(None) };
    if !Uid::effective().is_root() {
        return Ok(None);
    }
    // The configuration has warned of a user that does not exist.
    let Some(user) = User::from_name(user)? else { return Ok(None) };
    let group = match group {
        None => user.gid,
        Some(group) => Group::from_name(group)?.map_or(user.gid, |group| group.gid),
    };
    Ok(Some(Owner { user, group }))
}

/// Becomes another user. Threads started later inherit it.
pub(super) fn become_user(owner: &Owner) -> io::Result<()> {
    let name = std::ffi::CString::new(owner.user.name.as_str()).unwrap_or_default();
    initgroups(&name, owner.group)?;
    setgid(owner.group)?;
    setuid(owner.user.uid)?;
    Ok(())
}

/// Raises the limit of open files to the configured one, else as far as the system lets it, and returns it. Returns what
/// the configuration wanted as an error when it cannot be had.
pub(super) fn raise_file_limit(process: &Process) -> Result<u64, FileLimit> {
    let failed = |wanted| move |errno: nix::Error| FileLimit { wanted, error: errno.into() };
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(failed(0))?;
    match process.worker_rlimit_nofile {
        None => Ok(setrlimit(Resource::RLIMIT_NOFILE, hard, hard).map_or(soft, |()| hard)),
        Some(wanted) => {
            let set = setrlimit(Resource::RLIMIT_NOFILE, wanted, hard.max(wanted));
            set.map(|()| wanted).map_err(|errno| {
                // As much as there is to have.
                let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
                failed(wanted)(errno)
            })
        }
    }
}

/// A limit of open files that cannot be had.
#[derive(Debug)]
pub(super) struct FileLimit {
    /// What was wanted.
    pub wanted: u64,
    /// Why not.
    pub error: io::Error,
}

/// The process that a pid file names, if it is there and one of ours.
pub(super) fn running(pid_file: &Path) -> Option<u32> {
    let pid = read_pid(pid_file).ok()?.as_raw();
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    name.trim().eq(env!("CARGO_PKG_NAME")).then_some(pid)?.try_into().ok()
}

/// How many files a running process may open.
pub(super) fn files_of(pid: u32) -> Option<u64> {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
    let mut words = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?.split_whitespace();
    let soft = words.next()?;
    if soft == "unlimited" { Some(u64::MAX) } else { soft.parse().ok() }
}

/// How many a server started here could open.
pub(super) fn files_of_start(process: &Process) -> Option<u64> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    Some(process.worker_rlimit_nofile.map_or(hard, |own| own.min(hard.max(own))))
}

/// How many it may come to need.
pub(super) fn files_wanted(process: &Process, workers: usize) -> u64 {
    (process.worker_connections.saturating_mul(workers) as u64).saturating_add(SPARE_FILES)
}

/// What the person who starts the server should know about its limits.
pub(super) fn limit_warnings(process: &Process, workers: usize) -> Vec<String> {
    let mut warnings = Vec::new();
    let wanted = files_wanted(process, workers);
    let connections = wanted.saturating_sub(SPARE_FILES);
    if let Some(files) = files_of_start(process).filter(|files| *files < wanted) {
        warnings.push(format!(
            "{connections} connections (worker_connections x worker_processes) exceed the limit of {files} open files; \
             raise worker_rlimit_nofile, LimitNOFILE= of the systemd unit, or ulimit -n to {wanted}"
        ));
    }
    let somaxconn = fs::read_to_string("/proc/sys/net/core/somaxconn").ok().and_then(|text| text.trim().parse().ok());
    if connections > 1024
        && let Some(length @ 0..512_u32) = somaxconn
    {
        warnings.push(format!(
            "net.core.somaxconn is {length}: when many clients reconnect at once some will be refused; raise it to 4096"
        ));
    }
    warnings
}

/// Goes to the background: a session of its own, without terminal, the caller's process ended. Standard error becomes
/// `log`, so that whoever reads the caller's output is not kept waiting; without a log file it is the log.
pub(super) fn daemonize(log: Option<&fs::File>) -> io::Result<()> {
    nix::unistd::daemon(true, true)?;
    let nothing = fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
    nix::unistd::dup2_stdin(&nothing)?;
    nix::unistd::dup2_stdout(&nothing)?;
    if let Some(log) = log {
        nix::unistd::dup2_stderr(log)?;
    }
    Ok(())
}

/// Has a thread of the allocator give free memory back to the system, also while nothing happens. Comes after
/// [`daemonize`], which no thread survives.
pub(super) fn give_memory_back() {
    if let Err(error) = tikv_jemalloc_ctl::background_thread::write(true) {
        tracing::warn!("free memory is given back only under load: {error}");
    }
}

/// The allocator this program allocates by, by its own word: jemalloc counts what a thread asks of it.
pub(super) fn allocator() -> String {
    const PROBE: usize = 1 << 20;
    let asked = || tikv_jemalloc_ctl::thread::allocatedp::read().map_or(0, tikv_jemalloc_ctl::thread::ThreadLocal::get);
    let before = asked();
    drop(std::hint::black_box(vec![1_u8; PROBE]));
    if asked() < before + PROBE as u64 {
        return "the system's".to_owned();
    }
    let version = tikv_jemalloc_ctl::version::read().unwrap_or("of an unknown version");
    // Behind it stands a commit.
    let version = version.split('-').next().unwrap_or(version);
    match tikv_jemalloc_ctl::background_thread::write(true) {
        Ok(()) => format!("jemalloc {version}, with a thread that gives memory back"),
        Err(_) => format!("jemalloc {version}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("pushstreamd-{name}-{}", std::process::id()));
        let _ = fs::remove_file(&path);
        path
    }

    #[test]
    fn a_pid_file_is_removed_by_its_owner_only() {
        let path = scratch("owner");
        let pid = PidFile::create(&path).unwrap();
        assert_eq!(read_pid(&path).unwrap().as_raw() as u32, std::process::id());
        fs::write(&path, "1\n").unwrap();
        drop(pid);
        assert!(path.exists());
        drop(PidFile::create(&path).unwrap());
        assert!(!path.exists());
    }

    #[test]
    fn a_pid_file_makes_room_for_a_successor_and_comes_back() {
        let path = scratch("aside");
        let mut pid = PidFile::create(&path).unwrap();
        pid.step_aside().unwrap();
        assert!(!path.exists() && suffixed(&path).exists());
        pid.step_back().unwrap();
        assert!(path.exists() && !suffixed(&path).exists());
    }

    #[test]
    fn a_pid_file_without_a_pid_names_no_process() {
        let path = scratch("empty");
        for text in ["", "0\n", "-1", "x"] {
            fs::write(&path, text).unwrap();
            assert!(read_pid(&path).is_err(), "{text:?}");
        }
        fs::remove_file(&path).unwrap();
    }
}
