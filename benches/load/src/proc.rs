//! What the kernel says about a process: cpu time, memory, context switches; of its children too.
//!
//! Read from /proc and only there, so that any server can be measured without its help. Memory is PSS: pages shared with
//! other processes count by their share.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result};

/// A process and everything it has started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Family(pub u32);

impl Family {
    /// Nanoseconds on a cpu so far, all threads together. Threads that have ended are not counted.
    pub(crate) fn cpu(self) -> Result<u64> {
        let mut sum = 0;
        for pid in self.members() {
            for text in tasks(pid, "schedstat")? {
                sum += text.split(' ').next().unwrap_or_default().parse::<u64>().unwrap_or(0);
            }
        }
        Ok(sum)
    }

    /// Nanoseconds on a cpu, and of waiting for one while there was something to do, of each thread of this name.
    pub(crate) fn turns(self, name: &str) -> Result<Vec<(u64, u64)>> {
        let mut turns = Vec::new();
        for pid in self.members() {
            for task in fs::read_dir(format!("/proc/{pid}/task")).with_context(|| format!("no process {pid}"))? {
                let task = task?.path();
                let read = |file: &str| fs::read_to_string(task.join(file)).unwrap_or_default();
                if read("comm").starts_with(name) {
                    turns.push(turn(&read("schedstat")));
                }
            }
        }
        Ok(turns)
    }

    /// Bytes of memory (PSS).
    pub(crate) fn memory(self) -> Result<u64> {
        let mut sum = 0;
        for pid in self.members() {
            let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).context("no smaps_rollup")?;
            sum += number_after(&text, "Pss:").context("no Pss")? * 1024;
        }
        Ok(sum)
    }

    /// How often threads were put on a cpu after they had slept.
    pub(crate) fn wakeups(self) -> Result<u64> {
        let mut sum = 0;
        for pid in self.members() {
            for text in tasks(pid, "status")? {
                sum += number_after(&text, "voluntary_ctxt_switches:").unwrap_or(0);
            }
        }
        Ok(sum)
    }

    /// Open file descriptors.
    pub(crate) fn descriptors(self) -> usize {
        self.members().iter().filter_map(|pid| fs::read_dir(format!("/proc/{pid}/fd")).ok()).map(Iterator::count).sum()
    }

    /// Waits until the process does next to nothing.
    pub(crate) fn settle(self) -> Result<()> {
        let mut before = self.cpu()?;
        for _ in 0..200 {
            sleep(Duration::from_millis(100));
            let now = self.cpu()?;
            if now - before < 2_000_000 {
                return Ok(());
            }
            before = now;
        }
        Ok(())
    }

    fn members(self) -> Vec<u32> {
        let mut all = vec![self.0];
        let mut next = 0;
        while let Some(&pid) = all.get(next) {
            next += 1;
            let children = tasks(pid, "children").unwrap_or_default();
            all.extend(
                children.iter().flat_map(|list| list.split_whitespace()).filter_map(|pid| pid.parse::<u32>().ok()),
            );
        }
        all
    }
}

/// Nanoseconds for which this thread has waited for a cpu while it had something to do.
pub(crate) fn waited() -> u64 {
    turn(&fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default()).1
}

fn turn(schedstat: &str) -> (u64, u64) {
    let mut numbers = schedstat.split_whitespace().map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// A file of each thread of a process.
fn tasks(pid: u32, file: &str) -> Result<Vec<String>> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).with_context(|| format!("no process {pid}"))?;
    Ok(tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join(file)).ok()).collect())
}

fn number_after(text: &str, label: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.starts_with(label))?;
    line.get(label.len()..)?.split_whitespace().next()?.parse().ok()
}

/// Cores, processor and kernel of this machine.
pub(crate) fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split(": ").nth(1));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    // What follows the first dash is the name of a build.
    let kernel = kernel.trim().split('-').next().unwrap_or_default().to_owned();
    format!("{cores} cores of {}, Linux {kernel}", model.unwrap_or("an unknown processor"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_can_read_its_own_figures() {
        let own = Family(std::process::id());
        assert!(own.cpu().unwrap() > 0);
        assert!(own.memory().unwrap() > 100_000);
        assert_eq!(number_after("Rss: 1 kB\nPss:   77 kB\n", "Pss:"), Some(77));
    }
}
