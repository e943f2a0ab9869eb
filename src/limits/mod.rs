//! How many sessions this process can hold: worked out before the first client comes, so that the
//! limit is a number in the log and not an abort under load.
//!
//! A session costs two threads and two descriptors, and a thread costs four memory maps (its stack
//! and its signal stack, each with a guard page). The cliff is steep: when the maps run out, std
//! can't set up the signal stack of a thread that has already started, and aborts the process. So
//! the ceiling stays clear of it.

mod read;

use std::fmt;

/// Descriptors of one session: the client's and the backend's.
const DESCRIPTORS_PER_SESSION: u64 = 2;
/// Descriptors of one pipe, its two ends.
const DESCRIPTORS_PER_PIPE: u64 = 2;
/// Pipes at once at most. With the large ones among them they take about 15,000 pages of the 16,384 that
/// a user without privileges is granted (fs.pipe-user-pages-soft).
const PIPES_MAX: u64 = 600;
/// Threads of one session, one for each direction.
const THREADS_PER_SESSION: u64 = 2;
/// Memory maps of one thread (seen in /proc/PID/maps with Rust 1.95, glibc and musl alike).
const MAPS_PER_THREAD: u64 = 4;

/// Descriptors kept free for probes, admin connections, the log, the listeners and whatever a library opens.
const DESCRIPTORS_RESERVED: u64 = 64 + PROBES_AT_ONCE + ADMIN_CONNECTIONS as u64;
/// Threads kept free for probes, admin connections and the threads of evener itself.
const THREADS_RESERVED: u64 = 32 + PROBES_AT_ONCE + ADMIN_CONNECTIONS as u64;
/// Memory maps kept free for the allocator, on top of those of the reserved threads.
const MAPS_RESERVED: u64 = 256;

/// Address space of one session, bytes: two stacks of 64 KiB, two buffers of 64 KiB, two signal
/// stacks, the allocator's rounding.
const ADDRESS_SPACE_PER_SESSION: u64 = 512 * 1024;
/// Address space kept free for what grows without being a session, bytes.
const ADDRESS_SPACE_RESERVED: u64 = 256 * 1024 * 1024;

/// How many probes run at once at most; see [`crate::health`].
pub const PROBES_AT_ONCE: u64 = 96;

/// How many admin connections there are at once at most; see `crate::admin`. Room for them is set
/// aside, so that evener can be asked and told when it is full.
pub const ADMIN_CONNECTIONS: usize = 16;

/// What the machine allows a process, as read; `None` is "no limit, or none that could be read".
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Allowed {
    /// Descriptors that may be open (RLIMIT_NOFILE).
    pub descriptors: Option<u64>,
    /// Memory maps of this process (vm.max_map_count).
    pub maps: Option<u64>,
    /// Threads of the whole system (kernel.pid_max).
    pub pid_max: Option<u64>,
    /// Threads of the whole system (kernel.threads-max).
    pub threads_max: Option<u64>,
    /// Threads of this user (RLIMIT_NPROC); not enforced for root.
    pub user_threads: Option<u64>,
    /// Threads of the control group (pids.max, the tightest up the tree).
    pub cgroup_threads: Option<u64>,
    /// Bytes of address space (RLIMIT_AS).
    pub address_space: Option<u64>,
}

/// What is taken of that before the first session.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Taken {
    /// Memory maps of this process.
    pub maps: u64,
    /// Threads of the whole system.
    pub threads: u64,
    /// Threads of the control group that is the tightest.
    pub cgroup_threads: u64,
    /// Bytes of address space, with what the allocator sets aside for threads to come.
    pub address_space: u64,
}

/// How many sessions, and what stands in the way of more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ceiling {
    /// Sessions at once.
    pub sessions: u32,
    /// The limit that decides, and its value.
    pub bound: Option<(Bound, u64)>,
}

/// A limit that may decide the ceiling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// RLIMIT_NOFILE.
    Descriptors,
    /// vm.max_map_count.
    Maps,
    /// kernel.pid_max.
    PidMax,
    /// kernel.threads-max.
    ThreadsMax,
    /// RLIMIT_NPROC.
    UserThreads,
    /// pids.max of the control group.
    CgroupThreads,
    /// RLIMIT_AS.
    AddressSpace,
}

impl Bound {
    /// The limit's own name.
    pub fn name(self) -> &'static str {
        match self {
            Bound::Descriptors => "RLIMIT_NOFILE",
            Bound::Maps => "vm.max_map_count",
            Bound::PidMax => "kernel.pid_max",
            Bound::ThreadsMax => "kernel.threads-max",
            Bound::UserThreads => "RLIMIT_NPROC",
            Bound::CgroupThreads => "cgroup pids.max",
            Bound::AddressSpace => "RLIMIT_AS",
        }
    }

    /// What raises it.
    pub fn knob(self) -> &'static str {
        match self {
            Bound::Descriptors => "ulimit -n, or LimitNOFILE= in the unit file",
            Bound::Maps => "sysctl -w vm.max_map_count=131060",
            Bound::PidMax => "sysctl -w kernel.pid_max=4194304",
            Bound::ThreadsMax => "sysctl -w kernel.threads-max=200000",
            Bound::UserThreads => "ulimit -u, or LimitNPROC= in the unit file",
            Bound::CgroupThreads => "TasksMax= in the unit file, or the container's pids limit",
            Bound::AddressSpace => "ulimit -v, or LimitAS= in the unit file",
        }
    }
}

impl fmt::Display for Ceiling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "room for {} connections at once", self.sessions)?;
        match self.bound {
            Some((bound, value)) => {
                write!(
                    f,
                    " (bound by {} = {value}; to raise: {})",
                    bound.name(),
                    bound.knob()
                )
            }
            None => Ok(()),
        }
    }
}

/// How many pipes there may be at once, of so many descriptors. A sixteenth of them at most, so that
/// bulk transfers never take a client's place.
fn pipes(descriptors: Option<u64>) -> u64 {
    descriptors.map_or(PIPES_MAX, |limit| {
        (limit / 16 / DESCRIPTORS_PER_PIPE).min(PIPES_MAX)
    })
}

/// Works out the ceiling. Pure: the readings come in.
pub fn ceiling(allowed: &Allowed, taken: &Taken) -> Ceiling {
    let by_descriptors = |limit: u64| {
        // Of few descriptors, a part: reserving as many as ever would leave none.
        let reserved = DESCRIPTORS_RESERVED.min(limit / 4);
        let of_pipes = pipes(Some(limit)) * DESCRIPTORS_PER_PIPE;
        (limit - reserved - of_pipes) / DESCRIPTORS_PER_SESSION
    };
    let by_maps = |limit: u64| {
        let reserved = MAPS_RESERVED + THREADS_RESERVED * MAPS_PER_THREAD;
        limit.saturating_sub(taken.maps + reserved) / (THREADS_PER_SESSION * MAPS_PER_THREAD)
    };
    let by_threads = |limit: u64, taken: u64| {
        limit.saturating_sub(taken + THREADS_RESERVED) / THREADS_PER_SESSION
    };
    let of_system = |limit| by_threads(limit, taken.threads);
    // How many threads the user has elsewhere is not to be had; the reserve is for them, too.
    let of_user = |limit| by_threads(limit, 0);
    let of_cgroup = |limit| by_threads(limit, taken.cgroup_threads);
    let by_address_space = |limit: u64| {
        let taken = taken.address_space + ADDRESS_SPACE_RESERVED;
        limit.saturating_sub(taken) / ADDRESS_SPACE_PER_SESSION
    };
    let room = |bound, limit: Option<u64>, sessions: &dyn Fn(u64) -> u64| {
        limit.map(|limit| (sessions(limit), bound, limit))
    };
    let tightest = [
        room(Bound::Descriptors, allowed.descriptors, &by_descriptors),
        room(Bound::Maps, allowed.maps, &by_maps),
        room(Bound::PidMax, allowed.pid_max, &of_system),
        room(Bound::ThreadsMax, allowed.threads_max, &of_system),
        room(Bound::UserThreads, allowed.user_threads, &of_user),
        room(Bound::CgroupThreads, allowed.cgroup_threads, &of_cgroup),
        room(
            Bound::AddressSpace,
            allowed.address_space,
            &by_address_space,
        ),
    ]
    .into_iter()
    .flatten()
    .min_by_key(|(sessions, ..)| *sessions);
    match tightest {
        // Never 0: a machine that tight is better served by one session at a time than by none.
        Some((sessions, bound, limit)) => Ceiling {
            sessions: u32::try_from(sessions).unwrap_or(u32::MAX).max(1),
            bound: Some((bound, limit)),
        },
        None => Ceiling {
            sessions: u32::MAX,
            bound: None,
        },
    }
}

/// What the process may hold: the smaller of what the config says and what the machine allows.
#[derive(Debug)]
pub struct Capacity {
    /// Read before the first session, and relied on where it can't be read again.
    at_start: Allowed,
    /// Read before the first session only; from then on it would count the sessions themselves.
    taken: Taken,
}

impl Capacity {
    /// Raises what may be raised and reads what the machine allows.
    pub fn read() -> Capacity {
        read::raise_descriptor_limit();
        evener_sys::bound_arenas();
        let (at_start, taken) = (read::allowed(), read::taken());
        Capacity { at_start, taken }
    }

    /// What the machine allowed at the start.
    pub fn ceiling_at_start(&self) -> Ceiling {
        ceiling(&self.at_start, &self.taken)
    }

    /// Pipes that relays may have at once, by the descriptors there were at the start.
    pub fn pipes(&self) -> u32 {
        u32::try_from(pipes(self.at_start.descriptors)).unwrap_or(u32::MAX)
    }

    /// Sessions allowed by the limits of this moment: somebody may have changed them (`prlimit`,
    /// `systemctl set-property`). What evener itself uses now is not held against it.
    ///
    /// `configured` is `limits.max_connections`; `None` is `auto`.
    pub fn allowed(&self, configured: Option<u32>) -> u32 {
        self.allowed_by(&read::allowed(), configured)
    }

    fn allowed_by(&self, now: &Allowed, configured: Option<u32>) -> u32 {
        let start = &self.at_start;
        // Files can't be read while descriptors are short, which is when this is asked; what was
        // read at the start holds then. Without a limit here, the next thing to run out is maps.
        let allowed = Allowed {
            descriptors: now.descriptors,
            user_threads: now.user_threads,
            address_space: now.address_space,
            maps: now.maps.or(start.maps),
            pid_max: now.pid_max.or(start.pid_max),
            threads_max: now.threads_max.or(start.threads_max),
            cgroup_threads: now.cgroup_threads.or(start.cgroup_threads),
        };
        let machine = ceiling(&allowed, &self.taken).sessions;
        machine.min(configured.unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests;
