//! Reading what the machine allows a process: rlimits, /proc, control groups.

use std::fs;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::{Allowed, Taken};

/// Raises the soft limit on descriptors to the hard one. Failing to is no error: the ceiling is
/// worked out from what is in force.
pub(super) fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let _ = setrlimit(
            Resource::Nofile,
            Rlimit {
                current: limit.maximum,
                maximum: limit.maximum,
            },
        );
    }
}

/// Reads what the machine allows now. What can't be read (no /proc, no cgroup) sets no limit.
pub(super) fn allowed() -> Allowed {
    let is_root = rustix::process::geteuid().is_root();
    Allowed {
        descriptors: getrlimit(Resource::Nofile).current,
        maps: read_number("/proc/sys/vm/max_map_count"),
        pid_max: read_number("/proc/sys/kernel/pid_max"),
        threads_max: read_number("/proc/sys/kernel/threads-max"),
        user_threads: if is_root {
            None
        } else {
            getrlimit(Resource::Nproc).current
        },
        cgroup_threads: cgroup_pids().map(|(limit, _)| limit),
        address_space: getrlimit(Resource::As).current,
    }
}

/// Reads what is taken. For the start only: a process of thousands of threads has a long list of maps.
pub(super) fn taken() -> Taken {
    let maps = fs::read_to_string("/proc/self/maps");
    Taken {
        maps: maps.map_or(0, |maps| maps.lines().count() as u64),
        threads: threads_of_system(),
        cgroup_threads: cgroup_pids().map_or(0, |(_, taken)| taken),
        address_space: address_space() + allocator_reserve(),
    }
}

/// The size of this process, bytes.
fn address_space() -> u64 {
    let size = || {
        let status = fs::read_to_string("/proc/self/status").ok()?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmSize:"))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    };
    size().unwrap_or(0) * 1024
}

/// glibc takes 64 MiB of addresses for each arena, and 128 for a moment to lay one out. musl has none.
fn allocator_reserve() -> u64 {
    if cfg!(target_env = "gnu") {
        (u64::from(evener_sys::ARENAS_MAX) + 1) * (64 << 20)
    } else {
        0
    }
}

fn read_number(path: &str) -> Option<u64> {
    // `max` in a cgroup file is not a number, and is no limit.
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// The fourth field of /proc/loadavg is "runnable/existing" scheduling entities.
fn threads_of_system() -> u64 {
    let existing = || {
        let loadavg = fs::read_to_string("/proc/loadavg").ok()?;
        loadavg
            .split_whitespace()
            .nth(3)?
            .split_once('/')?
            .1
            .parse()
            .ok()
    };
    existing().unwrap_or(0)
}

/// The tightest pids.max on the way from this process's control group to the root, and how many
/// threads that group has; version 2 (`0::/path`) or the pids controller of version 1 (`N:pids:/path`).
fn cgroup_pids() -> Option<(u64, u64)> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let mut tightest: Option<(u64, u64)> = None;
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) =
            (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let root = match controllers {
            "" => "/sys/fs/cgroup",
            "pids" => "/sys/fs/cgroup/pids",
            _ => continue,
        };
        let mut path = path.trim_end_matches('/');
        loop {
            let limit = read_number(&format!("{root}{path}/pids.max"));
            let used = read_number(&format!("{root}{path}/pids.current")).unwrap_or(0);
            if let Some(limit) = limit
                && tightest.is_none_or(|(l, u)| limit.saturating_sub(used) < l.saturating_sub(u))
            {
                tightest = Some((limit, used));
            }
            match path.rsplit_once('/') {
                Some((parent, _)) => path = parent,
                None => break,
            }
        }
    }
    tightest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_can_be_read() {
        let (allowed, taken) = (allowed(), taken());
        assert!(
            allowed.descriptors.is_some() && allowed.maps.is_some(),
            "{allowed:?}"
        );
        assert!(taken.maps > 10 && taken.threads > 0, "{taken:?}");
    }
}
