//! What a start with the configuration would meet: its limits, sockets, directory.

use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use nix::sys::statvfs::statvfs;
use nix::unistd::{AccessFlags, access};

use super::Finding;
use crate::cli::Cli;
use crate::server::{Examined, examine};

/// Bytes a log should have room for.
const ROOM: u64 = 512 << 20;
/// Days before its end from which on a certificate should have been renewed.
const SOON: i64 = 14;

pub(super) fn look(cli: &Cli) -> Vec<Finding> {
    let Examined { file, limits, sockets, certificates, state } = match examine(cli) {
        Ok(examined) => examined,
        Err(why) => {
            let advice = "pushstreamd -t with the same -c and -p tells all of it";
            return vec![Finding::bad("configuration", why, advice)];
        }
    };
    let mut findings = vec![Finding::fine("configuration", format!("{} can be served", file.display()))];
    findings.extend(limits.into_iter().map(|text| match text.split_once("; ") {
        Some((found, advice)) => Finding::bad("limits", found, advice),
        None => Finding::bad("limits", text, "raise it"),
    }));
    findings.extend(sockets.into_iter().map(|(address, busy)| socket(&address, busy)));
    let certificate = |(file, end): (PathBuf, _)| certificate("certificate", &file.to_string_lossy(), end);
    findings.extend(certificates.into_iter().map(certificate));
    findings.extend(state.map(|dir| directory(&dir)));
    findings
}

fn socket(address: &str, busy: Option<String>) -> Finding {
    match busy {
        None => Finding::fine("socket", format!("{address} is free")),
        Some(holder) if holder.contains("pushstreamd") => Finding::fine("socket", format!("{address} is {holder}")),
        Some(holder) => Finding::bad(
            "socket",
            format!("{address}: {holder}"),
            "end that, or listen elsewhere; beside nginx: pushstreamd migrate, and without --take-over ports of sites stay nginx's",
        ),
    }
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

fn directory(dir: &Path) -> Finding {
    let holder = fs::read_to_string(dir.join("lock")).unwrap_or_default();
    let holder = holder.trim();
    let running = !holder.is_empty() && Path::new("/proc").join(holder).exists();
    let place = dir.ancestors().find(|dir| dir.exists()).unwrap_or(Path::new("/"));
    let shown = dir.display();
    if access(place, AccessFlags::W_OK | AccessFlags::X_OK).is_err() {
        let advice = "give it to the user of the server, or name another one (push_stream_state, --state); meanwhile messages end with the process";
        return Finding::bad("log", format!("{} cannot be written", place.display()), advice);
    }
    let room = statvfs(place).map_or(u64::MAX, |disk| disk.blocks_available().saturating_mul(disk.fragment_size()));
    if room < ROOM {
        let advice =
            "it takes twice what is stored and 128 MB; a full disk costs nothing but what a restart then forgets";
        return Finding::bad("log", format!("{} MB are left for {shown}", room >> 20), advice);
    }
    let user = if running { format!(", of process {holder}") } else { String::new() };
    Finding::fine("log", format!("{shown}{user}"))
}
