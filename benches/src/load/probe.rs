//! What the system tells of a process (Linux, `/proc`).

use std::fs;

/// CPU time and memory of a process at a moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Nanoseconds that its threads ran, in user and system mode.
    pub cpu: u64,
    /// Of these, the share in user mode, in the system's ticks.
    pub user: u64,
    /// And in system mode.
    pub system: u64,
    /// Memory in use, in KiB.
    pub memory: u64,
}

/// Reads it; nothing where the system does not tell.
pub fn usage(pid: u32) -> Option<Usage> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in brackets may hold anything; after it the state is the third field.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let field = |n: usize| fields.get(n - 3).and_then(|f| f.parse::<u64>().ok());
    let mut cpu = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task")).ok()? {
        let ran = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        cpu += ran.split_whitespace().next()?.parse::<u64>().ok()?;
    }
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let memory = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
    let memory = memory.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(Usage { cpu, user: field(14)?, system: field(15)?, memory })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_seen() {
        let before = usage(std::process::id()).expect("Linux tells");
        let mut sum = 0u64;
        for n in 0..20_000_000u64 {
            sum = std::hint::black_box(sum ^ n);
        }
        let after = usage(std::process::id()).expect("Linux tells");
        assert!(after.cpu > before.cpu && after.memory > 100, "{before:?} {after:?}");
        assert!(usage(u32::MAX).is_none());
    }
}
