//! What a start with the configuration would meet, or the running server has: its limits, sockets, certificates, directory.
//!
//! Whoever asks may be another user than the server's: what only that user or root can see is a note, not a fault.

use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use nix::sys::statvfs::statvfs;
use nix::unistd::{AccessFlags, Uid, access};

use super::Finding;
use crate::cli::Cli;
use crate::server::{Examined, Standing, examine};

/// Open files that are many for any machine, whatever number of connections a configuration allows.
const MANY: u64 = 262_144;
/// Bytes a log should have room for.
const ROOM: u64 = 512 << 20;
/// Days before its end from which on a certificate should have been renewed.
const SOON: i64 = 14;

pub(super) fn look(cli: &Cli) -> Vec<Finding> {
    let examined = match examine(cli) {
        Ok(examined) => examined,
        Err(why) => {
            let advice = if why.contains("(13: ") && !Uid::effective().is_root() {
                "keys and logs may be for root alone: sudo pushstreamd doctor, with the same -c and -p"
            } else {
                "pushstreamd -t with the same -c and -p tells all of it"
            };
            return vec![Finding::bad("configuration", why, advice)];
        }
    };
    let running = examined.server.1;
    let configuration = match &examined.file {
        Some(file) => format!("{} can be served", file.display()),
        None => format!("there is none below {}: the embedded layout is served", cli.prefix.display()),
    };
    let mut findings = vec![Finding::fine("configuration", configuration), server(&examined.server)];
    findings.extend(files(&examined));
    findings.extend(examined.sockets.into_iter().map(|(address, standing)| socket(&address, standing, running)));
    findings.extend(waiting(examined.backlog));
    let certificate = |(file, end): (PathBuf, _)| certificate("certificate", &file.to_string_lossy(), end);
    findings.extend(examined.certificates.into_iter().map(certificate));
    findings.extend(examined.state.map(|dir| directory(&dir, running)));
    findings
}

fn server((pid_file, running): &(PathBuf, Option<u32>)) -> Finding {
    match running {
        Some(pid) => Finding::fine("server", format!("process {pid} runs with it")),
        None if pid_file.exists() && access(pid_file, AccessFlags::R_OK).is_err() => Finding::note(
            "server",
            format!("{} cannot be read by this user", pid_file.display()),
            "sudo pushstreamd doctor, with the same -c and -p, looks at the running server",
        ),
        None => Finding::note(
            "server",
            format!("none runs with it, as far as {} tells", pid_file.display()),
            "what follows is of a start from this shell; systemctl start pushstreamd starts that of the packages, which has limits of its own",
        ),
    }
}

/// Whether as many files may be open as there may be connections.
fn files(examined: &Examined) -> Option<Finding> {
    let (files, wanted) = (examined.files?, examined.files_wanted);
    let whose = match examined.server.1 {
        Some(pid) => format!("process {pid} may have {files} open"),
        None => format!("a server started from this shell may have {files} open"),
    };
    if files >= wanted {
        return Some(Finding::fine("open files", format!("{whose}, {wanted} for as many connections as are allowed")));
    }
    let found = format!("{whose}, and worker_connections x worker_processes needs {wanted}");
    let advice = format!(
        "each connection is one: worker_rlimit_nofile {wanted}; in the configuration where root starts it, LimitNOFILE={wanted} by systemctl edit pushstreamd, ulimits in a compose file, or ulimit -n in the shell; then a restart. Or fewer worker_connections"
    );
    // Where none runs the unit or container that will start it has a limit of its own.
    Some(if examined.server.1.is_some() && files < MANY {
        Finding::bad("open files", found, advice)
    } else {
        Finding::note("open files", found, advice)
    })
}

fn socket(address: &str, standing: Standing, running: Option<u32>) -> Finding {
    let bad = |found: String, advice: &str| Finding::bad("socket", format!("{address}: {found}"), advice);
    match standing {
        Standing::Free if running.is_some() => bad(
            "nobody listens there, though the server runs".to_owned(),
            "it runs with another configuration than this: pushstreamd -s reload, and see the error log",
        ),
        Standing::Free => Finding::fine("socket", format!("{address} is free")),
        Standing::Held(holder) if holder.contains("pushstreamd") => {
            Finding::fine("socket", format!("{address} is held by {holder}"))
        }
        Standing::Held(holder) => bad(
            format!("held by {holder}"),
            "end that, or listen elsewhere; beside nginx: pushstreamd migrate, and without --take-over ports of sites stay nginx's",
        ),
        Standing::Taken if running.is_some() || !Uid::effective().is_root() => Finding::note(
            "socket",
            format!("{address} is in use, by whom only root can see"),
            "sudo pushstreamd doctor, with the same -c and -p",
        ),
        Standing::Taken => bad("in use".to_owned(), "ss -ltnp shows by whom, if it is in this container or namespace"),
        Standing::Refused(error) if error.kind() == io::ErrorKind::PermissionDenied => Finding::note(
            "socket",
            format!("{address} cannot be tried by this user"),
            "ports below 1024 are for root and for who has CAP_NET_BIND_SERVICE, as the unit of the packages has: sudo pushstreamd doctor tries them",
        ),
        Standing::Refused(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
            bad(error.to_string(), "no interface of this machine has this address: ip address shows which it has")
        }
        Standing::Refused(error) => bad(error.to_string(), "listen elsewhere"),
    }
}

/// Whether the kernel keeps as many connections waiting as the server asks it to.
fn waiting(backlog: i32) -> Option<Finding> {
    const OF: &str = "net.core.somaxconn";
    let length: i32 = std::fs::read_to_string("/proc/sys/net/core/somaxconn").ok()?.trim().parse().ok()?;
    let found = format!("{length} connections may wait to be accepted, {backlog} are asked for (listen ... backlog=)");
    Some(if length < backlog {
        let advice = format!(
            "when all clients come back at once some wait for seconds: sysctl -w {OF}={backlog}, the same in /etc/sysctl.d/pushstreamd.conf for the next boot (docker run --sysctl for a container), and a restart of pushstreamd"
        );
        Finding::bad(OF, found, advice)
    } else {
        Finding::fine(OF, found)
    })
}

/// How long the certificate of a file or an address lasts.
pub(super) fn certificate(of: &'static str, whose: &str, end: Option<i64>) -> Finding {
    let Some(end) = end.and_then(|end| Timestamp::from_second(end).ok()) else {
        return Finding::note(of, format!("{whose} tells no end"), "openssl x509 -enddate -noout -in FILE");
    };
    let days = end.duration_since(Timestamp::now()).as_hours() / 24;
    let advice = "renew it and reload the server: pushstreamd takes the new one up without closing a connection";
    match days {
        _ if end < Timestamp::now() => Finding::bad(of, format!("{whose} ended at {end}"), advice),
        0..SOON => Finding::bad(of, format!("{whose} ends in {days} days, at {end}"), advice),
        _ => Finding::fine(of, format!("{whose} ends in {days} days")),
    }
}

fn directory(dir: &Path, running: Option<u32>) -> Finding {
    let place = dir.ancestors().find(|dir| dir.exists()).unwrap_or(Path::new("/"));
    let shown = dir.display();
    if running.is_none() && access(place, AccessFlags::W_OK | AccessFlags::X_OK).is_err() {
        let found = format!("{} cannot be written", place.display());
        return if Uid::effective().is_root() || !place.is_dir() {
            let advice = "give it to the user of the server, or name another one (push_stream_state, --state); meanwhile messages end with the process";
            Finding::bad("log", found, advice)
        } else {
            Finding::note("log", format!("{found} by this user"), "the server's user has to: sudo pushstreamd doctor")
        };
    }
    let room = statvfs(place).map_or(u64::MAX, |disk| disk.blocks_available().saturating_mul(disk.fragment_size()));
    if room < ROOM {
        let advice =
            "it takes twice what is stored and 128 MB; a full disk costs nothing but what a restart then forgets";
        return Finding::bad("log", format!("{} MB are left for {shown}", room >> 20), advice);
    }
    let user = running.map(|pid| format!(", of process {pid}")).unwrap_or_default();
    Finding::fine("log", format!("{shown}{user}"))
}
