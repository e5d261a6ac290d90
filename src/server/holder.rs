//! Who holds a port that is busy, as far as /proc tells.
//!
//! For people only: whatever cannot be read leaves the answer out. Processes of other users show themselves to root alone.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use crate::conf::settings::ListenAddress;

/// The state of a listening socket in /proc/net/tcp.
const LISTENS: &str = "0A";

/// The processes that listen at an address: `nginx (pid 12)`; `None` if none can be told.
pub(super) fn of(address: &ListenAddress) -> Option<String> {
    let inodes = match address {
        ListenAddress::Ip(address) => tcp_inodes(address),
        ListenAddress::Unix(path) => unix_inodes(path),
    };
    let mut holders: Vec<String> = processes().filter(|(pid, _)| holds(pid, &inodes)).map(|(_, shown)| shown).collect();
    holders.dedup();
    (!holders.is_empty()).then(|| holders.join(", "))
}

/// Inodes of the sockets in whose way a bind to this address is.
fn tcp_inodes(address: &SocketAddr) -> Vec<String> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|table| fs::read_to_string(table).unwrap_or_default());
    let rows = tables.iter().flat_map(|table| table.lines());
    let listening = rows.filter_map(|row| {
        let words: Vec<&str> = row.split_whitespace().collect();
        let (local, state, inode) = (words.get(1)?, words.get(3)?, words.get(9)?);
        (*state == LISTENS && collides(&socket_address(local)?, address)).then(|| (*inode).to_owned())
    });
    listening.collect()
}

/// Whether one of these is in the way of the other.
pub(super) fn collides(held: &SocketAddr, wanted: &SocketAddr) -> bool {
    let (one, other) = (held.ip(), wanted.ip());
    held.port() == wanted.port() && (one == other || one.is_unspecified() || other.is_unspecified())
}

/// `0100007F:22BD`: the words of the address in the byte order of the machine.
fn socket_address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| Some(u32::from_str_radix(address.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    let ip: IpAddr = match address.len() {
        8 => Ipv4Addr::from(word(0)?).into(),
        32 => {
            let mut bytes = [0; 16];
            for (index, place) in bytes.chunks_exact_mut(4).enumerate() {
                place.copy_from_slice(&word(index * 8)?);
            }
            Ipv6Addr::from(bytes).into()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

fn unix_inodes(path: &Path) -> Vec<String> {
    let table = fs::read_to_string("/proc/net/unix").unwrap_or_default();
    let rows = table.lines().map(|row| row.split_whitespace().collect::<Vec<_>>());
    let named = rows.filter(|words| words.get(7).is_some_and(|name| Path::new(name) == path));
    named.filter_map(|words| words.get(6).map(|inode| (*inode).to_owned())).collect()
}

/// All processes: their directory's name and what they are called.
fn processes() -> impl Iterator<Item = (String, String)> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().into_string().ok());
    pids.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit())).map(|pid| {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        let shown = format!("{} (pid {pid})", name.trim());
        (pid, shown)
    })
}

fn holds(pid: &str, inodes: &[String]) -> bool {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let mut targets = open.filter_map(|entry| fs::read_link(entry.path()).ok());
    targets.any(|target| {
        let target = target.to_string_lossy();
        let inode = target.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']'));
        inode.is_some_and(|inode| inodes.iter().any(|held| held == inode))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_of_a_port_is_found_by_any_address_that_collides() {
        let own = format!("(pid {})", std::process::id());
        for bound in ["127.0.0.1:0", "0.0.0.0:0", "[::1]:0"] {
            let Ok(listener) = std::net::TcpListener::bind(bound) else { continue };
            let address = listener.local_addr().unwrap();
            assert!(of(&ListenAddress::Ip(address)).is_some_and(|holder| holder.contains(&own)), "{address}");
            let wildcard = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port());
            assert!(of(&ListenAddress::Ip(wildcard)).is_some_and(|holder| holder.contains(&own)), "{address}");
            drop(listener);
            assert!(of(&ListenAddress::Ip(address)).is_none_or(|holder| !holder.contains(&own)), "{address}");
        }
    }

    #[test]
    fn the_holder_of_a_unix_socket_is_found() {
        let path = std::env::temp_dir().join(format!("pushstreamd-holder-{}", std::process::id()));
        let _ = fs::remove_file(&path);
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let holder = of(&ListenAddress::Unix(path.clone())).unwrap();
        assert!(holder.contains(&format!("(pid {})", std::process::id())), "{holder}");
        drop(listener);
        fs::remove_file(&path).unwrap();
    }
}
