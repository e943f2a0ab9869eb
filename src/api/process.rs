//! What the kernel knows of this process, from `/proc/self`.

use std::fs;

/// What could be read; the names are those of Prometheus' standard process metrics.
#[derive(Debug, Default)]
pub(super) struct Usage {
    pub(super) cpu_seconds: Option<f64>,
    pub(super) resident_bytes: Option<f64>,
    pub(super) virtual_bytes: Option<f64>,
    pub(super) open_descriptors: Option<f64>,
    pub(super) max_descriptors: Option<f64>,
    pub(super) threads: Option<f64>,
    pub(super) start_seconds: Option<f64>,
}

/// Reads it now.
pub(super) fn usage() -> Usage {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let boot = fs::read_to_string("/proc/stat").unwrap_or_default();
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    Usage {
        open_descriptors: fs::read_dir("/proc/self/fd")
            .ok()
            // The directory that is read is open, too.
            .map(|entries| entries.count().saturating_sub(1) as f64),
        max_descriptors: limit.current.map(|limit| limit as f64),
        ..from_stat(&stat, boot_seconds(&boot), page_bytes())
    }
}

fn page_bytes() -> f64 {
    rustix::param::page_size() as f64
}

/// USER_HZ, in which /proc counts on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// Reads proc_pid_stat(5). The name may hold spaces and ends with the last parenthesis; the fields
/// behind it are counted from 3.
fn from_stat(stat: &str, boot_seconds: Option<f64>, page_bytes: f64) -> Usage {
    let fields: Vec<&str> = stat
        .rsplit_once(')')
        .map(|(_, rest)| rest.split_whitespace().collect())
        .unwrap_or_default();
    let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
    let seconds = |number| Some(field(number)? / TICKS_PER_SECOND);
    Usage {
        cpu_seconds: seconds(14)
            .zip(seconds(15))
            .map(|(user, system)| user + system),
        threads: field(20),
        start_seconds: seconds(22)
            .zip(boot_seconds)
            .map(|(since, boot)| boot + since),
        virtual_bytes: field(23),
        resident_bytes: field(24).map(|pages| pages * page_bytes),
        ..Usage::default()
    }
}

/// When the machine started, since the epoch: the line `btime` of proc_stat(5).
fn boot_seconds(stat: &str) -> Option<f64> {
    let line = stat.lines().find_map(|line| line.strip_prefix("btime "))?;
    line.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_the_process_confuses_nobody() {
        let stat = "42 (a) b (c) S 1 1 1 0 -1 4194560 1 2 3 4 150 50 0 0 20 0 7 0 1000 4096 3 18446744073709551615";
        let usage = from_stat(stat, Some(10.0), 4096.0);
        assert_eq!(usage.cpu_seconds, Some(2.0));
        assert_eq!(usage.threads, Some(7.0));
        assert_eq!(usage.start_seconds, Some(20.0));
        assert_eq!(usage.virtual_bytes, Some(4096.0));
        assert_eq!(usage.resident_bytes, Some(3.0 * 4096.0));
        assert_eq!(from_stat("", None, 1.0).cpu_seconds, None);
    }

    #[test]
    fn this_process_has_all_of_it() {
        let Usage {
            cpu_seconds,
            resident_bytes,
            virtual_bytes,
            open_descriptors,
            max_descriptors,
            threads,
            start_seconds,
        } = usage();
        assert!(cpu_seconds.is_some() && virtual_bytes > resident_bytes);
        assert!(open_descriptors >= Some(3.0) && max_descriptors > open_descriptors);
        assert!(threads >= Some(1.0) && start_seconds > Some(1e9));
    }
}
