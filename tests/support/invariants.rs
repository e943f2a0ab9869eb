//! What must be true of a balancer when a scenario is over, however rough it was.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::{Process, eventually_ok, http_get};

/// How soon after a scenario everything has to be back to normal.
const SETTLE_LIMIT: Duration = Duration::from_secs(5);

/// State 08 of /proc/net/tcp: the peer has sent FIN and the process has not closed.
const CLOSE_WAIT: &str = " 08 ";

/// What a process held when it was idle.
#[derive(Debug, Clone)]
pub struct Baseline {
    threads: BTreeMap<String, usize>,
    descriptors: BTreeMap<String, usize>,
    serving: Option<SocketAddr>,
    probes: usize,
}

impl Baseline {
    /// Allows for this many probes in flight, each with a thread and a descriptor: where backends are
    /// probed every few milliseconds, there is hardly a moment without.
    pub fn probing(mut self, backends: usize) -> Baseline {
        self.probes = backends;
        self
    }

    /// Adds that HTTP at `address` has to be answered after the scenario. The backends that it goes
    /// to speak HTTP, as `evener::dummy` does.
    pub fn serving(mut self, address: SocketAddr) -> Baseline {
        self.serving = Some(address);
        self
    }
}

impl Process {
    /// Takes down what the process holds now. Take it when all is started and idle.
    pub fn baseline(&self) -> Baseline {
        let held = self.held().unwrap();
        Baseline {
            threads: held.threads,
            descriptors: held.descriptors,
            serving: None,
            probes: 0,
        }
    }

    /// Checks that the process is alive and serves, that its threads and its descriptors are back at
    /// no more than the baseline, that it leaves no socket in CLOSE_WAIT, and that nothing in it has
    /// panicked. Each has to come true within 5 s (evener keeps idle threads for 2 s). Session counts
    /// are the caller's to check, by the log.
    #[track_caller]
    pub fn check_invariants(&self, baseline: &Baseline) {
        // Once and first, because it leaves something to clean up as well.
        eventually_ok("service after the scenario", SETTLE_LIMIT, || {
            self.broken_service(baseline)
        });
        eventually_ok("the invariants after the scenario", SETTLE_LIMIT, || {
            self.broken_invariant(baseline)
        });
    }

    /// In words, how a fresh client fares badly now.
    pub fn broken_service(&self, baseline: &Baseline) -> Result<(), String> {
        if let Some(address) = baseline.serving {
            http_get(address).map_err(|error| format!("{address} doesn't serve: {error}"))?;
        }
        Ok(())
    }

    /// In words, the first invariant that does not hold now.
    pub fn broken_invariant(&self, baseline: &Baseline) -> Result<(), String> {
        if let Some(status) = self.exit_status() {
            return Err(format!("the process has ended: {status}"));
        }
        let held = self.held().map_err(|error| format!("/proc: {error}"))?;
        compare("threads", &baseline.threads, &held.threads, baseline.probes)?;
        compare(
            "descriptors",
            &baseline.descriptors,
            &held.descriptors,
            baseline.probes,
        )?;
        let close_wait = self.close_wait(&held.sockets);
        if !close_wait.is_empty() {
            return Err(format!("sockets in CLOSE_WAIT: {close_wait:?}"));
        }
        // Not just `panic`, which is a word of the config too.
        match self.stderr().iter().find(|line| line.contains("panicked")) {
            Some(line) => Err(format!("a panic: {line}")),
            None => Ok(()),
        }
    }

    fn held(&self) -> io::Result<Held> {
        let proc = format!("/proc/{}", self.pid());
        let mut threads = BTreeMap::new();
        for entry in fs::read_dir(format!("{proc}/task"))? {
            // A thread that ends while we look is one less.
            if let Ok(name) = fs::read_to_string(entry?.path().join("comm")) {
                *threads.entry(name.trim_end().to_string()).or_insert(0) += 1;
            }
        }
        let mut descriptors = BTreeMap::new();
        let mut sockets = BTreeSet::new();
        for entry in fs::read_dir(format!("{proc}/fd"))? {
            let Ok(target) = fs::read_link(entry?.path()) else {
                continue;
            };
            let target = target.to_string_lossy().into_owned();
            let (kind, inode) = target.split_once(":[").unwrap_or((&target, ""));
            if kind == "socket" {
                sockets.insert(inode.trim_end_matches(']').to_string());
            }
            *descriptors.entry(kind.to_string()).or_insert(0) += 1;
        }
        Ok(Held {
            threads,
            descriptors,
            sockets,
        })
    }

    /// Those of these sockets, by inode, that are in CLOSE_WAIT. Asked last: after some thousand
    /// connections the kernel's table is long, and the tested has to share the CPU with this.
    fn close_wait(&self, sockets: &BTreeSet<String>) -> Vec<String> {
        let mut found = Vec::new();
        for table in ["tcp", "tcp6"] {
            // No such file where IPv6 is off.
            let path = format!("/proc/{}/net/{table}", self.pid());
            let text = fs::read_to_string(path).unwrap_or_default();
            for line in text.lines().filter(|line| line.contains(CLOSE_WAIT)) {
                // proc(5): 1 local address, 2 remote address, 3 state, 9 inode.
                let columns: Vec<&str> = line.split_whitespace().collect();
                if columns.get(3) == Some(&CLOSE_WAIT.trim())
                    && columns.get(9).is_some_and(|inode| sockets.contains(*inode))
                {
                    found.push(format!("{} -> {}", columns[1], columns[2]));
                }
            }
        }
        found
    }
}

/// What a process holds at one moment: threads by name, descriptors by kind, sockets by inode.
struct Held {
    threads: BTreeMap<String, usize>,
    descriptors: BTreeMap<String, usize>,
    sockets: BTreeSet<String>,
}

/// The sums are compared; the names are for whoever has to find what is too much.
fn compare(
    what: &str,
    before: &BTreeMap<String, usize>,
    now: &BTreeMap<String, usize>,
    more: usize,
) -> Result<(), String> {
    let (sum_before, sum_now) = (before.values().sum::<usize>(), now.values().sum::<usize>());
    if sum_now <= sum_before + more {
        return Ok(());
    }
    Err(format!(
        "{sum_now} {what}, {sum_before} at the baseline\n  now:  {now:?}\n  then: {before:?}"
    ))
}
