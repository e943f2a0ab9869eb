//! What one session pays for being balanced: picking a backend, leasing it, and handing a job to a
//! parked thread. A first pick costs about the same in a pool of 3 backends and in one of 10,000; only
//! `least_connections` and `source_hash` have to look at every backend. The retry of `round_robin` walks
//! one cycle of up to 1,000 slots.
//!
//! ```text
//! cargo bench                                  # all of it: about a minute, then a table of medians
//! cargo bench --bench micro -- lease           # only what has "lease" in its name
//! cargo bench --bench micro -- --quick pick    # a rough answer in seconds
//! ```
//!
//! `cargo test` does not run it; `cargo test --benches` runs each piece once. The figures are
//! nanoseconds of one core's time, and machines differ: compare those of one run with each other.

#![allow(
    clippy::unwrap_used,
    reason = "what can't be measured ends the measurement"
)]

use std::env;
use std::fs;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant, SystemTime};

use criterion::{BenchmarkId, Criterion};
use evener::config::{self, BackendAddress};
use evener::policy::balance::{Choice, Hashing, POLICIES, Policy, Rotation, backend_keys};
use evener::policy::health::{AdminState, Health};
use evener::policy::splitmix;
use evener::pool::{Backend, Pool};
use evener::sync::Active;
use evener::threads::Threads;

/// Backends in a pool: a usual one, a large one, and one to see what grows.
const SIZES: [usize; 3] = [3, 100, 10_000];

/// Whom leases are for.
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// What is measured for each policy and size, as the report names it.
const PICKS: [(&str, &[usize]); 2] = [("pick", &[]), ("pick, one tried", &[0])];
const LEASE: &str = "lease";
const LEASE_OF_TWO: &str = "lease, two threads";
/// What is measured once.
const HAND_OVER: &str = "hand-over";
const GIVEN_BACK: &str = "reserve, give back";
const ROUND_TRIP: &str = "reserve, start, join";

fn main() {
    let results = Path::new(env!("CARGO_TARGET_TMPDIR")).join("criterion");
    let started = SystemTime::now();
    // Short, because the differences that matter here are larger than the noise.
    let mut criterion = Criterion::default()
        .without_plots()
        .sample_size(20)
        .nresamples(2000)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(400))
        .output_directory(&results)
        .configure_from_args();
    pick(&mut criterion);
    lease(&mut criterion);
    lease_on_two_threads(&mut criterion);
    hand_over(&mut criterion);
    criterion.final_summary();
    // Cargo says so when it benches; without it, Criterion only tries each piece.
    if env::args().any(|argument| argument == "--bench") {
        print!("{}", report(&results, started));
    }
}

/// Unequal, so that a cycle has more slots than there are backends.
fn weight(backend: usize) -> u32 {
    backend as u32 % 4 + 1
}

/// Each has one of its own, as the hashing policies expect.
fn address(backend: usize) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], backend as u16 + 1))
}

/// The policy by itself, on a rotation that nobody else uses.
fn pick(criterion: &mut Criterion) {
    for (name, tried) in PICKS {
        let mut group = criterion.benchmark_group(name);
        for (policy, size) in policies_and_sizes() {
            let members: Vec<_> = (0..size).map(|index| (index, weight(index))).collect();
            let rotation = Rotation::new(&members);
            let active: Vec<Active> = (0..size).map(|_| Active::default()).collect();
            let keys = backend_keys((0..size).map(address));
            let weights: Vec<u32> = (0..size).map(weight).collect();
            let table = policy.table.map(|build| build(&keys, &weights));
            let mut ticket = 0;
            group.bench_function(BenchmarkId::new(policy.name, size), |bencher| {
                bencher.iter(|| {
                    ticket += 1;
                    (policy.pick)(&Choice {
                        rotation: black_box(&rotation),
                        is_full: None,
                        share: None,
                        active: &|index| active[index].get(),
                        tried: black_box(tried),
                        ticket,
                        random: splitmix::nth(42, ticket),
                        hashing: Hashing {
                            client: splitmix::nth(43, ticket),
                            backends: &keys,
                            table: table.as_ref(),
                            balance_factor: None,
                        },
                    })
                });
            });
        }
    }
}

/// What a session does: load the rotation, pick, count, and in the end give back.
fn lease(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group(LEASE);
    for (policy, size) in policies_and_sizes() {
        let pool = pool(policy, size);
        group.bench_function(BenchmarkId::new(policy.name, size), |bencher| {
            bencher.iter(|| drop(black_box(pool.lease(&[], CLIENT))));
        });
    }
}

/// The same while another thread does it too: the time of one lease on one of them.
fn lease_on_two_threads(criterion: &mut Criterion) {
    let threads = Threads::default();
    let mut group = criterion.benchmark_group(LEASE_OF_TWO);
    for (policy, size) in policies_and_sizes() {
        let pool = Arc::new(pool(policy, size));
        group.bench_function(BenchmarkId::new(policy.name, size), |bencher| {
            bencher.iter_custom(|times| {
                let barrier = Arc::new(Barrier::new(2));
                let of_other = (Arc::clone(&pool), Arc::clone(&barrier));
                let other = threads.reserve().unwrap().start(move || {
                    let (pool, barrier) = of_other;
                    lease_often(&pool, &barrier, times)
                });
                let mine = lease_often(&pool, &barrier, times);
                (mine + other.join().unwrap()) / 2
            });
        });
    }
    threads.shut_down();
}

/// Waits for the other thread, then leases and gives back so many times; how long that took.
fn lease_often(pool: &Pool, barrier: &Barrier, times: u64) -> Duration {
    barrier.wait();
    let start = Instant::now();
    for _ in 0..times {
        drop(black_box(pool.lease(&[], CLIENT)));
    }
    start.elapsed()
}

/// A parked thread set aside and given back, and one that gets a job and hands over its result. The
/// round trip has two wake-ups in it; a session pays for the first one only.
fn hand_over(criterion: &mut Criterion) {
    let threads = Threads::default();
    let mut group = criterion.benchmark_group(HAND_OVER);
    group.bench_function(GIVEN_BACK, |bencher| {
        bencher.iter(|| drop(threads.reserve().unwrap()));
    });
    group.bench_function(ROUND_TRIP, |bencher| {
        bencher.iter(|| threads.reserve().unwrap().start(|| black_box(7)).join());
    });
    threads.shut_down();
}

fn policies_and_sizes() -> impl Iterator<Item = (&'static Policy, usize)> {
    let of_policy = |policy: &&'static Policy| SIZES.map(|size| (*policy, size));
    POLICIES.iter().flat_map(of_policy)
}

/// A pool whose backends can all serve.
fn pool(policy: &'static Policy, size: usize) -> Pool {
    let server = config::Backend::new(BackendAddress::Ip(address(0)));
    let config = config::Pool {
        balance: policy,
        ..config::Pool::new("web", vec![server])
    };
    let backend = |index| {
        let name = format!("b{index}");
        let weight = weight(index);
        Backend::new(&name, address(index), weight, AdminState::Ready, Health::Up)
    };
    let backends = (0..size).map(|index| Arc::new(backend(index))).collect();
    let pool = Pool::new(&config, backends, 42);
    let _ = pool.publish();
    pool
}

/// The medians of this run, one line for each policy, so that growth is seen along the line.
fn report(results: &Path, started: SystemTime) -> String {
    let of = |path: PathBuf| {
        let median = median(&results.join(path), started);
        median.map_or("-".to_string(), |median| format!("{median:.1}"))
    };
    let [small, large, huge] = SIZES;
    let mut report = format!(
        "\n{:<42} {small:>9} {large:>9} {huge:>9} backends\n",
        "medians in ns"
    );
    for name in [PICKS[0].0, PICKS[1].0, LEASE, LEASE_OF_TWO] {
        for policy in POLICIES {
            let of_size =
                |size: usize| of(Path::new(name).join(policy.name).join(size.to_string()));
            let [small, large, huge] = SIZES.map(of_size);
            report += &format!(
                "{name:<19} {:<22} {small:>9} {large:>9} {huge:>9}\n",
                policy.name
            );
        }
    }
    for name in [GIVEN_BACK, ROUND_TRIP] {
        let median = of(Path::new(HAND_OVER).join(name));
        report += &format!("{HAND_OVER:<19} {name:<22} {median:>9}\n");
    }
    report
}

/// The median in nanoseconds that Criterion has written since then; `None` when it was not asked to.
fn median(of: &Path, started: SystemTime) -> Option<f64> {
    let path = of.join("new/estimates.json");
    let is_new = fs::metadata(&path).ok()?.modified().ok()? >= started;
    let text = fs::read_to_string(path).ok().filter(|_| is_new)?;
    let estimates: serde_json::Value = serde_json::from_str(&text).ok()?;
    estimates["median"]["point_estimate"].as_f64()
}
