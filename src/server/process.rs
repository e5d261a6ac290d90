//! What the process is to the system: pid file, user, limits, signals sent to a running server.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::{Gid, Group, Pid, Uid, User, initgroups, setgid, setuid};

use crate::conf::settings::Process;

/// The pid file; removed when dropped, if it still is this process's.
pub(super) struct PidFile(PathBuf);

impl PidFile {
    /// Writes the pid of this process.
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        let mut file = fs::File::create(path)?;
        writeln!(file, "{}", std::process::id())?;
        Ok(Self(path.to_owned()))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // A server that was started meanwhile may have written its own.
        if read_pid(&self.0).is_ok_and(|pid| pid.as_raw() as u32 == std::process::id()) {
            let _ = fs::remove_file(&self.0);
        }
    }
}

/// Reads a pid file.
pub(super) fn read_pid(path: &Path) -> io::Result<Pid> {
    let text = fs::read_to_string(path)?;
    let pid = text.trim().parse().map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "invalid PID number"))?;
    Ok(Pid::from_raw(pid))
}

/// Sends a signal to a running server.
pub(super) fn signal(pid: Pid, signal: Signal) -> io::Result<()> {
    kill(pid, signal).map_err(io::Error::from)
}

/// The signals the server follows.
fn followed() -> SigSet {
    [Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGTERM, Signal::SIGINT, Signal::SIGUSR1].into_iter().collect()
}

/// Keeps signals for later, in this thread and those it starts: before they are listened for they would end the process.
pub(super) fn hold_signals() -> io::Result<()> {
    followed().thread_block().map_err(io::Error::from)
}

/// Lets the signals come, those that were kept too; to be called once they are listened for.
pub(super) fn release_signals() -> io::Result<()> {
    followed().thread_unblock().map_err(io::Error::from)
}

/// Becomes the configured user, if the process is root and a user is configured. Threads started later inherit it.
pub(super) fn drop_privileges(process: &Process) -> io::Result<()> {
    let Some((user, group)) = &process.user else { return Ok(()) };
    if !Uid::effective().is_root() {
        return Ok(());
    }
    let Some(user) = User::from_name(user)? else {
        tracing::warn!("getpwnam(\"{user}\") failed, the user stays as it is");
        return Ok(());
    };
    let gid = match group {
        None => user.gid,
        Some(group) => Group::from_name(group)?.map_or(user.gid, |group| group.gid),
    };
    let name = std::ffi::CString::new(user.name.as_str()).unwrap_or_default();
    initgroups(&name, gid)?;
    setgid(Gid::from_raw(gid.as_raw()))?;
    setuid(user.uid)?;
    Ok(())
}

/// Raises the limit of open files to the configured one, else as far as the system lets it, and returns it.
pub(super) fn raise_file_limit(process: &Process) -> io::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let wanted = process.worker_rlimit_nofile.unwrap_or(hard);
    if setrlimit(Resource::RLIMIT_NOFILE, wanted, hard.max(wanted)).is_ok() {
        return Ok(wanted);
    }
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).map_or(Ok(soft), |()| Ok(hard))
}

/// Goes to the background: a session of its own, without terminal, the caller's process ended.
pub(super) fn daemonize() -> io::Result<()> {
    nix::unistd::daemon(true, true).map_err(io::Error::from)
}
