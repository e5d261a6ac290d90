//! What the system says of this process: read from /proc when somebody asks. What cannot be read is 0.

use std::fs;

/// The process at a moment.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Process {
    /// When it began, seconds since the epoch.
    pub started: f64,
    /// Processor time it has used, seconds.
    pub cpu: f64,
    /// Resident memory, bytes.
    pub resident: u64,
    /// Address space, bytes.
    pub virtual_memory: u64,
    /// Open file descriptors.
    pub files: u64,
    /// Most file descriptors it may have open.
    pub most_files: u64,
    /// Its threads.
    pub threads: u64,
}

/// Ticks of the clock in /proc a second: a constant of Linux towards programs.
const TICKS: f64 = 100.0;
const PAGE: u64 = 4096;

impl Process {
    /// This process now.
    pub fn now() -> Self {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let system = fs::read_to_string("/proc/stat").unwrap_or_default();
        let (_, most_files) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE)
            .map_or((0, 0), |(soft, hard)| (hard, soft));
        let files = fs::read_dir("/proc/self/fd").map_or(0, Iterator::count) as u64;
        Self { files: files.saturating_sub(1), most_files, ..parsed(&stat, &system) }
    }
}

fn parsed(stat: &str, system: &str) -> Process {
    // The name in brackets may hold anything; what follows its end begins with the third field.
    let fields: Vec<u64> = stat
        .rsplit_once(')')
        .map_or("", |(_, rest)| rest)
        .split_ascii_whitespace()
        .map(|field| field.parse().unwrap_or(0))
        .collect();
    let field = |number: usize| fields.get(number - 3).copied().unwrap_or(0);
    let boot: f64 = system
        .lines()
        .find_map(|line| line.strip_prefix("btime "))
        .and_then(|time| time.trim().parse().ok())
        .unwrap_or(0.0);
    Process {
        started: boot + field(22) as f64 / TICKS,
        cpu: (field(14) + field(15)) as f64 / TICKS,
        threads: field(20),
        virtual_memory: field(23),
        resident: field(24) * PAGE,
        ..Process::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_of_the_system_are_read_whatever_the_name_of_the_process() {
        let stat =
            "7 (a) b (c)) S 1 7 7 0 -1 4194560 1 2 3 4 250 50 0 0 20 0 5 0 1000 8192000 300 18446744073709551615";
        let process = parsed(stat, "cpu 1\nbtime 1700000000\n");
        assert_eq!((process.started, process.cpu, process.threads), (1_700_000_010.0, 3.0, 5));
        assert_eq!((process.virtual_memory, process.resident), (8_192_000, 300 * 4096));
        assert_eq!(parsed("", ""), Process::default());
        let own = Process::now();
        assert!(own.resident > 0 && own.files > 0 && own.most_files > 0 && own.started > 1_600_000_000.0);
    }
}
