//! What the machine has to say: the kernel's numbers.

use std::fs;

use super::{Finding, clock};

/// Ports a machine should have for connections of its own, to a server behind a proxy on it.
const PORTS: u32 = 20_000;

pub(super) fn look() -> Vec<Finding> {
    ports().into_iter().chain([clock::look()]).collect()
}

fn ports() -> Option<Finding> {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let mut words = text.split_whitespace().filter_map(|word| word.parse::<u32>().ok());
    let (first, last) = (words.next()?, words.next()?);
    let count = (last + 1).saturating_sub(first);
    let found = format!("{count} for connections of this machine ({first} to {last})");
    Some(if count < PORTS {
        let advice = "a proxy on this machine needs one for each subscriber: sysctl -w net.ipv4.ip_local_port_range=\"10240 65535\" and the same in /etc/sysctl.d/pushstreamd.conf, or a unix socket between them";
        Finding::note("local ports", found, advice)
    } else {
        Finding::fine("local ports", found)
    })
}
