//! How much memory there is for the process, and what of it connections may hold where the configuration does not say.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use crate::conf::Settings;
use crate::delivery::AddressBounds;

/// The share of all memory that connections may hold.
const SHARE: u64 = 4;

/// What connections may hold: all of them, and those of one address.
pub(super) fn bounds(settings: &Settings) -> (usize, AddressBounds) {
    let number = |bound: u64| usize::try_from(bound).unwrap_or(usize::MAX);
    let bounds = &settings.bounds;
    let address =
        AddressBounds { connections: number(bounds.address_connections), memory: number(bounds.address_memory) };
    // The module knows no such bound.
    let unsaid = || if settings.compat.strict { 0 } else { usual() };
    (number(bounds.memory.unwrap_or_else(unsaid)), address)
}

/// What all connections may hold where nothing is said; 0 where it cannot be told how much there is.
fn usual() -> u64 {
    static USUAL: OnceLock<u64> = OnceLock::new();
    *USUAL.get_or_init(|| {
        let root = Path::new("/");
        let all = [of_machine(root), of_cgroup(root)].into_iter().flatten().min();
        all.map_or(0, |all| all / SHARE)
    })
}

fn of_machine(root: &Path) -> Option<u64> {
    let text = fs::read_to_string(root.join("proc/meminfo")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The lowest limit of the cgroups the process is in, of either version.
fn of_cgroup(root: &Path) -> Option<u64> {
    let text = fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    let groups = text.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        match (parts.next()?, parts.next()?) {
            ("", group) => Some(("sys/fs/cgroup", "memory.max", group)),
            (controllers, group) if controllers.split(',').any(|name| name == "memory") => {
                Some(("sys/fs/cgroup/memory", "memory.limit_in_bytes", group))
            }
            _ => None,
        }
    });
    let limits = groups.flat_map(|(mount, file, group)| {
        // A group is bounded by those around it too; within a container its own stands at the mount.
        let around = Path::new(group).ancestors().map(|group| group.strip_prefix("/").unwrap_or(group).join(file));
        around.filter_map(move |file| limit(&root.join(mount).join(file))).collect::<Vec<_>>()
    });
    limits.min()
}

/// `max`, or what is no limit, is none.
fn limit(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_limit_around_the_process_counts() {
        let root = std::env::temp_dir().join(format!("pushstreamd-memory-{}", std::process::id()));
        let write = |path: &str, text: &str| {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("proc/meminfo", "MemTotal:        8000 kB\nMemFree: 1 kB\n");
        assert_eq!((of_machine(&root), of_cgroup(&root)), (Some(8000 * 1024), None));
        write("proc/self/cgroup", "0::/system.slice/push.service\n");
        assert_eq!(of_cgroup(&root), None);
        write("sys/fs/cgroup/system.slice/push.service/memory.max", "max\n");
        assert_eq!(of_cgroup(&root), None);
        write("sys/fs/cgroup/system.slice/memory.max", "5000\n");
        assert_eq!(of_cgroup(&root), Some(5000));
        write("sys/fs/cgroup/memory.max", "4000\n");
        assert_eq!(of_cgroup(&root), Some(4000));
        write("proc/self/cgroup", "3:cpu,memory:/a\n2:pids:/b\n0::/\n");
        write("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "3000\n");
        assert_eq!(of_cgroup(&root), Some(3000));
        fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn this_machine_has_memory() {
        assert!(usual() > 1 << 20);
    }
}
