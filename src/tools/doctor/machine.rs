//! What the machine has to say: the kernel's numbers.

use std::fs;

use nix::sys::resource::{Resource, getrlimit};

use super::{Finding, clock};

/// Ports a machine should have for connections of its own, to a server behind a proxy on it.
const PORTS: u32 = 20_000;
/// Connections that may wait to be accepted.
const WAITING: u32 = 4096;

pub(super) fn look() -> Vec<Finding> {
    [files(), waiting(), ports(), Some(clock::look())].into_iter().flatten().collect()
}

fn number(path: &str) -> Option<u32> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn files() -> Option<Finding> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    let found = format!("{soft} may be open, {hard} if it is asked for, which pushstreamd does");
    Some(if hard < 65_536 {
        let advice = "each subscriber is one; LimitNOFILE=1048576 in the systemd unit, or ulimit -Hn in the shell that starts it";
        Finding::note("open files", found, advice)
    } else {
        Finding::fine("open files", found)
    })
}

fn waiting() -> Option<Finding> {
    let length = number("/proc/sys/net/core/somaxconn")?;
    let found = format!("{length} connections may wait to be accepted");
    Some(if length < WAITING {
        let advice =
            format!("when all clients come back at once some are refused: sysctl -w net.core.somaxconn={WAITING}");
        Finding::bad("net.core.somaxconn", found, advice)
    } else {
        Finding::fine("net.core.somaxconn", found)
    })
}

fn ports() -> Option<Finding> {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let mut words = text.split_whitespace().filter_map(|word| word.parse::<u32>().ok());
    let (first, last) = (words.next()?, words.next()?);
    let count = (last + 1).saturating_sub(first);
    let found = format!("{count} for connections of this machine ({first} to {last})");
    Some(if count < PORTS {
        let advice = "a proxy on this machine needs one for each subscriber: sysctl -w net.ipv4.ip_local_port_range=\"10240 65535\", or a unix socket";
        Finding::note("local ports", found, advice)
    } else {
        Finding::fine("local ports", found)
    })
}
