//! The decisions of the balancer in a history that nobody wrote: a seed makes backends, dead and alive,
//! clients, probes, administrators, agents, reloads and a clock that crawls, stands and leaps; the rules of
//! `rules.rs` are checked after every step.
//!
//! What decides is evener's own: everything in `policy`, and the pool that sessions take their leases from.
//! What happens around it (who calls whom, when) is retold here on one thread and one clock, as the health
//! thread and the sessions have it. So a history is the same each time:
//!
//! ```text
//! EVENER_SIM_SEED=17 cargo test --test simulation         the one history of that seed
//! EVENER_SIM_RUNS=10000 cargo test --test simulation      more of them than 256
//! EVENER_SIM_STEPS=50000 cargo test --test simulation     longer ones than 3,000 steps
//! ```

#![allow(
    unreachable_pub,
    clippy::disallowed_methods,
    clippy::expect_used,
    reason = "a test of its own: nothing of it can be reached, and it ends where something is missing"
)]

mod core;
mod picks;
mod random;
mod rules;
mod server;
mod serving;
mod steps;
mod world;

use std::fmt::Write as _;
use std::num::NonZero;

use self::core::{BROKEN, Core};
use world::World;

/// Histories in one run of the test.
const RUNS: u64 = 256;

/// Steps of each.
const STEPS: u64 = 3_000;

/// Where the seeds of a run begin.
const FIRST_SEED: u64 = 1;

/// Of a broken core, so many histories are tried until one shows it.
const RUNS_TO_FIND: u64 = 64;

fn from_environment(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    let number = text.parse();
    Some(number.unwrap_or_else(|error| panic!("{name} is {text}: {error}")))
}

/// Lives through one history; what broke which rule, when, and what happened just before, if one broke.
fn live(core: &'static Core, seed: u64, steps: u64) -> Result<(), String> {
    let mut world = World::new(core, seed);
    for step in 0..steps {
        let broken = steps::step(&mut world).and_then(|()| rules::check(&mut world));
        if let Err(broken) = broken {
            let mut text = format!("seed {seed}, step {step}: {broken}\nthe last that happened:\n");
            for line in &world.journal {
                let _ = writeln!(text, "  {line}");
            }
            let _ = write!(
                text,
                "once more: EVENER_SIM_SEED={seed} cargo test --test simulation"
            );
            return Err(text);
        }
    }
    Ok(())
}

/// Every rule holds after every step of every history.
#[test]
fn the_rules_hold_in_every_history() {
    let steps = from_environment("EVENER_SIM_STEPS").unwrap_or(STEPS);
    if let Some(seed) = from_environment("EVENER_SIM_SEED") {
        return live(&core::RIGHT, seed, steps).unwrap_or_else(|broken| panic!("{broken}"));
    }
    let runs = from_environment("EVENER_SIM_RUNS").unwrap_or(RUNS);
    println!("seeds {FIRST_SEED} to {runs}, {steps} steps each");
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get) as u64;
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|first| {
                scope.spawn(move || {
                    let seeds = (FIRST_SEED + first..FIRST_SEED + runs).step_by(threads as usize);
                    seeds
                        .map(|seed| live(&core::RIGHT, seed, steps))
                        .find(Result::is_err)
                })
            })
            .collect();
        for worker in workers {
            if let Some(Err(broken)) = worker.join().expect("no history panics") {
                panic!("{broken}");
            }
        }
    });
}

/// The same seed is the same history, to the last line; another one is another.
#[test]
fn a_seed_is_a_history() {
    let journal = |seed| {
        let mut world = World::new(&core::RIGHT, seed);
        for _ in 0..500 {
            steps::step(&mut world).expect("the rules hold");
        }
        world.journal
    };
    assert_eq!(journal(7), journal(7));
    assert_ne!(journal(7), journal(8));
}

/// A core with a mistake in one decision breaks the rule that the decision is there for, before long.
#[test]
fn a_broken_core_is_found() {
    for (core, expected) in &BROKEN {
        let mut seeds = FIRST_SEED..FIRST_SEED + RUNS_TO_FIND;
        let found = seeds.find_map(|seed| live(core, seed, STEPS).err());
        let found = found.unwrap_or_else(|| panic!("{}: no history shows it", core.name));
        let broken = found.lines().next().unwrap_or_default();
        assert!(broken.contains(expected), "{}: {found}", core.name);
    }
}
