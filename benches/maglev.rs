//! The figures of the Maglev paper (Eisenbud et al., NSDI 2016, section 5.3), by our own tables: how even
//! the shares are, what a change of the configured set moves, and how long a table takes to build.
//!
//! ```text
//! cargo bench --bench maglev      # half a minute
//! ```
//!
//! `cargo test --benches` makes one round of each. All but the times is the same on every machine; what
//! came out stands in `scripts/bench.d/NOTES.md`.

use std::env;
use std::hint::black_box;
use std::time::Instant;

use evener::policy::balance::{
    Choice, Hashing, Policy, Rotation, Table, backend_keys, maglev, source_hash,
};
use evener::policy::splitmix;

/// Backends, as in the paper.
const BACKENDS: usize = 1000;

fn main() {
    // Cargo says so when it benches.
    let rounds = match env::args().any(|argument| argument == "--bench") {
        true => 50,
        false => 1,
    };
    print!("{}{}{}", shares(), changes(rounds), times(rounds));
}

fn keys(backends: usize) -> Vec<u64> {
    backend_keys((0..backends).map(|n| format!("10.{}.{}.1:80", n / 256, n % 256)))
}

/// Figure 11: how much more than the mean the backend with the most has, and how much less the one with
/// the least: of the entries of a table, and of so many clients that hash without one.
fn shares() -> String {
    let keys = keys(BACKENDS);
    let table = Table::new(&keys, &[1; BACKENDS]);
    let members: Vec<_> = (0..BACKENDS).map(|backend| (backend, 1)).collect();
    let rotation = Rotation::new(&members);
    let of_entries = table.entries().iter().map(|backend| *backend as usize);
    let clients = (0..u64::from(Table::ENTRIES)).map(|n| splitmix::nth(42, n));
    let client = |policy: &'static Policy| {
        let pick = |client| home(policy, &rotation, &keys, &table, client);
        spread(clients.clone().filter_map(pick))
    };
    format!(
        "shares of {BACKENDS} backends, the most and the least against the mean\n\
         {:<44} {}\n{:<44} {}\n{:<44} {}\n",
        "  maglev, entries of the table",
        spread(of_entries),
        "  source_hash, as many clients as entries",
        client(&source_hash::POLICY),
        "  maglev, the same clients",
        client(&maglev::POLICY),
    )
}

/// Whose a client is when everybody can serve.
fn home(
    policy: &Policy,
    rotation: &Rotation,
    keys: &[u64],
    table: &Table,
    client: u64,
) -> Option<usize> {
    let pick = (policy.pick)(&Choice {
        rotation,
        active: &|_| 0,
        is_full: None,
        share: None,
        tried: &[],
        ticket: 0,
        random: 0,
        hashing: Hashing {
            client,
            backends: keys,
            table: Some(table),
            balance_factor: None,
        },
    });
    pick.map(|pick| pick.backend)
}

fn spread(homes: impl Iterator<Item = usize>) -> String {
    let mut counts = vec![0_u32; BACKENDS];
    let mut all = 0.0;
    for home in homes {
        counts[home] += 1;
        all += 1.0;
    }
    let against = |count: Option<&u32>| {
        let count = count.copied().map_or(0.0, f64::from);
        100.0 * (count * BACKENDS as f64 / all - 1.0)
    };
    let (most, least) = (against(counts.iter().max()), against(counts.iter().min()));
    format!("{most:+7.1} % {least:+7.1} %")
}

/// Figure 12, and some smaller pools: how many entries change when so many backends leave the config,
/// the mean of so many rounds; and how many of them need not have. That a backend is only down changes
/// no entry.
fn changes(rounds: u64) -> String {
    let mut report = String::from("entries that change when backends leave the config\n");
    let paper = [1, 2, 5, 10, 20, 50].map(|leaving| (leaving, BACKENDS));
    for (leaving, backends) in [(1, 3), (1, 10), (1, 100)].into_iter().chain(paper) {
        let keys = keys(backends);
        let before = Table::new(&keys, &vec![1; backends]);
        let (mut changed, mut in_vain) = (0, 0);
        for round in 0..rounds {
            let weights = weights_without(leaving, backends, round);
            let after = Table::new(&keys, &weights);
            for (old, new) in before.entries().iter().zip(after.entries()) {
                changed += u32::from(old != new);
                in_vain += u32::from(old != new && weights[*old as usize] > 0);
            }
        }
        let percent = |count| 100.0 * f64::from(count) / f64::from(Table::ENTRIES) / rounds as f64;
        let name = format!("  {leaving} of {backends}");
        let (changed, in_vain) = (percent(changed), percent(in_vain));
        report += &format!("{name:<44} {changed:7.2} %, of others than theirs {in_vain:6.2} %\n");
    }
    report
}

/// Weights of 1, but for so many backends drawn at random, which have left.
fn weights_without(leaving: usize, backends: usize, round: u64) -> Vec<u32> {
    let mut weights = vec![1; backends];
    let mut draw = splitmix::nth(7, round);
    while weights.iter().filter(|weight| **weight == 0).count() < leaving {
        draw = splitmix::nth(draw, 1);
        weights[splitmix::below(draw, backends as u64) as usize] = 0;
    }
    weights
}

/// How long it takes to build a table, the fastest of so many.
fn times(rounds: u64) -> String {
    let mut report = String::from("time to build a table\n");
    for backends in [3, 100, BACKENDS, 10_000] {
        let keys = keys(backends);
        for (what, weights) in [
            ("equal weights", vec![1; backends]),
            (
                "weights 1 to 4",
                (0..backends).map(|n| n as u32 % 4 + 1).collect(),
            ),
        ] {
            let build = |_| {
                let start = Instant::now();
                black_box(Table::new(black_box(&keys), black_box(&weights)));
                start.elapsed()
            };
            let fastest = (0..rounds.min(20)).map(build).min().unwrap_or_default();
            let name = format!("  {backends} backends, {what}");
            report += &format!("{name:<44} {:7.2} ms\n", 1e3 * fastest.as_secs_f64());
        }
    }
    report
}
