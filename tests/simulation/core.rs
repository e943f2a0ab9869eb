//! The decisions that a history goes through, as they are, and each of some wrong in one way.

use std::time::Duration;

use evener::policy::balance::{self, Choice, Pick, Policy};
use evener::policy::health::{Health, Machine, Transition};
use evener::policy::intent::{Intent, Wish};
use evener::policy::outlier::Rules;
use evener::policy::schedule;
use evener::pool::Pool;

use super::server::Server;

/// The decisions.
pub struct Core {
    /// For messages.
    pub name: &'static str,
    /// The policy of the pool, if it is not drawn.
    pub policy: Option<&'static Policy>,
    pub observe: fn(&mut Machine, bool) -> Option<Transition>,
    pub has_room: fn(&Rules, usize, usize) -> bool,
    /// Is it one of those that are ejected, when another one is to be?
    pub is_out: fn(&Server) -> bool,
    pub reloaded: fn(Intent, Wish) -> Intent,
    /// The times and the random bits as [`schedule::next_probe`] has them.
    pub next_probe: fn(Duration, Duration, Duration, f64, u64) -> Duration,
    /// Publishes the pool after a change that let somebody in, or took somebody out.
    pub publish: fn(&Pool, bool),
}

fn publish(pool: &Pool, _let_in: bool) {
    pool.publish();
}

/// evener's.
pub static RIGHT: Core = Core {
    name: "as it is",
    policy: None,
    observe: Machine::observe,
    has_room: Rules::has_room,
    is_out: |server| server.ejected_until.is_some(),
    reloaded: Intent::reloaded,
    next_probe: schedule::next_probe,
    publish,
};

/// Wrong ones, each with a part of the words by which it has to be found.
pub static BROKEN: [(Core, &str); 7] = [
    (
        Core {
            name: "the rotation is not rebuilt when somebody goes",
            publish: stale,
            ..RIGHT
        },
        "the rotation is",
    ),
    (
        Core {
            name: "one more is ejected than may be",
            has_room: one_too_many,
            ..RIGHT
        },
        "are ejected, of",
    ),
    (
        Core {
            name: "who is down as well does not count as ejected",
            is_out: |server| server.backend.health() == Health::Ejected,
            ..RIGHT
        },
        "are ejected, of",
    ),
    (
        Core {
            name: "a reload forgets what was asked for by hand",
            reloaded: forgetful,
            ..RIGHT
        },
        "is wanted to be",
    ),
    (
        Core {
            name: "probes that were missed are made up for",
            next_probe: burst,
            ..RIGHT
        },
        "the next probe",
    ),
    (
        Core {
            name: "bad probes are counted in all, not in a row",
            observe: in_all,
            ..RIGHT
        },
        "by its last results",
    ),
    (
        Core {
            name: "a retry forgets whom the session has tried",
            policy: Some(&UNTEACHABLE),
            ..RIGHT
        },
        "was tried before",
    ),
];

fn stale(pool: &Pool, let_in: bool) {
    if let_in {
        pool.publish();
    }
}

fn one_too_many(rules: &Rules, ejected: usize, total: usize) -> bool {
    ejected * 100 <= total * rules.max_ejection_percent as usize && ejected < total
}

fn forgetful(_intent: Intent, configured: Wish) -> Intent {
    Intent::new(configured)
}

fn burst(
    due: Duration,
    _now: Duration,
    interval: Duration,
    _jitter: f64,
    _random: u64,
) -> Duration {
    due + interval
}

/// A good result takes back only one bad one.
fn in_all(machine: &mut Machine, is_good: bool) -> Option<Transition> {
    match is_good && machine.streak() > 0 {
        true => None,
        false => machine.observe(is_good),
    }
}

static UNTEACHABLE: Policy = Policy {
    name: "unteachable",
    summary: "round robin that never learns",
    by_client: false,
    table: None,
    pick: |choice| -> Option<Pick> {
        let untaught = Choice {
            tried: &[],
            ..*choice
        };
        (balance::round_robin::POLICY.pick)(&untaught)
    },
    standing: |_| Vec::new(),
};
